//! What a check may depend on besides itself: scale, seed, data folders.

use std::path::PathBuf;

use serde::Serialize;

/// How much work a check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Minutes for the whole list on two cores; what `cargo test` runs.
    #[default]
    Ci,
    /// The long form: larger instances, more seeds, longer training.
    Paper,
}

/// What a check may depend on besides itself.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// How much work to do.
    pub scale: Scale,
    /// Root seed; every check derives its own labelled ChaCha streams from it.
    pub seed: u64,
    /// Folder of the released weights and curves (`PROXFLOW_PUBLISHED`).
    pub published: Option<PathBuf>,
    /// Folder of the MNIST IDX files (`PROXFLOW_MNIST`).
    pub mnist: Option<PathBuf>,
}

impl Setting {
    /// The setting of the tests: CI scale unless `PROXFLOW_SCALE=paper`, data folders from the environment.
    pub fn from_environment() -> Self {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_dir());
        let paper = std::env::var("PROXFLOW_SCALE").is_ok_and(|text| text == "paper");
        Self {
            scale: if paper { Scale::Paper } else { Scale::Ci },
            seed: 0,
            published: folder("PROXFLOW_PUBLISHED"),
            mnist: folder("PROXFLOW_MNIST"),
        }
    }

    /// `ci` at CI scale, `paper` at paper scale.
    pub fn choose<T>(&self, ci: T, paper: T) -> T {
        match self.scale {
            Scale::Ci => ci,
            Scale::Paper => paper,
        }
    }

    /// The labelled ChaCha stream `label` of the root seed: equal labels give equal numbers on every platform.
    pub fn stream(&self, label: &str) -> rand_chacha::ChaCha8Rng {
        use rand::SeedableRng;
        // FNV-1a of the label picks the stream; the root seed picks the key.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(hash);
        generator
    }
}
