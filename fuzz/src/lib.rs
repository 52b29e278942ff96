//! Everything that reads files of others, as functions of bytes that must come back: with a value that keeps its promises, or with
//! an error. A panic, an abort or a broken promise is a fault.
//!
//! `make fuzz` runs them under coverage guidance (libFuzzer, with the instrumentation that stable rustc has), `tests/corpus.rs` on the
//! committed corpus and on random changes of it.

#![warn(missing_docs)]

use std::path::Path;

use proxflow::curves;
use proxflow::dataset::idx::{images_from_bytes, labels_from_bytes};
use proxflow::run_configuration::parse;
use proxflow::run_directory::mended;
use proxflow_gpu::configuration::Configuration;
use proxflow_io::array::ArrayFile;
use proxflow_reference::checkpoint::NamedArrays;
use proxflow_reference::checkpoint::container::Container;

/// A target: its name, which is that of its folder in `corpus`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 5] = [
    ("arrays", arrays),
    ("checkpoint", checkpoint),
    ("idx", idx),
    ("configuration", configuration),
    ("metrics", metrics),
];

/// `.npy`, `.npz` and safetensors files of arrays: every number a shape promises is there, and reading twice gives the same.
pub fn arrays(bytes: &[u8]) {
    let Ok(mut file) = ArrayFile::from_bytes(Path::new("array"), bytes.to_vec()) else { return };
    for name in file.names().into_iter().take(8) {
        let (first, second) = (file.read(&name), ArrayFile::from_bytes(Path::new("array"), bytes.to_vec()));
        let Ok(first) = first else { continue };
        assert_eq!(first.len(), first.shape().iter().product::<usize>(), "{name}");
        let second = second.and_then(|mut file| file.read(&name)).expect("readable a second time");
        let bits = |array: &ndarray::ArrayD<f64>| array.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert!(first.shape() == second.shape() && bits(&first) == bits(&second), "{name}");
    }
}

/// Checkpoints: what is parsed is written again as it was, and its arrays have the shapes they state.
pub fn checkpoint(bytes: &[u8]) {
    if let Ok(container) = Container::parse(bytes) {
        let _ = container.verify();
        let written = container.serialise().expect("what was parsed can be written");
        let again = Container::parse(&written).expect("what was written can be parsed");
        assert_eq!(again.tensors.len(), container.tensors.len());
        for (name, part) in &container.tensors {
            assert_eq!(again.tensors[name].bytes, part.bytes, "{name}");
        }
    }
    if let Ok(arrays) = NamedArrays::from_safetensors(bytes) {
        let _ = (arrays.positive("horizon"), arrays.steps(), arrays.source_law());
    }
}

/// IDX files of images and labels, packed or not: 784 finite pixels an image, labels of 0 to 9.
pub fn idx(bytes: &[u8]) {
    let path = Path::new("idx");
    if let Ok(images) = images_from_bytes(path, bytes) {
        assert!(images.ncols() == 784 && images.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    }
    if let Ok(labels) = labels_from_bytes(path, bytes) {
        assert!(labels.iter().all(|label| *label <= 9));
    }
}

/// `config.toml`: what passes its checks is read back from its own text as it was.
pub fn configuration(bytes: &[u8]) {
    let Ok(run) = parse::<Run>("config", "config.toml", bytes) else { return };
    if run.training.validate().is_ok() {
        // TOML has no whole numbers beyond 2^63.
        let Ok(text) = toml::to_string(&run) else { return };
        let again = parse::<Run>("config", "config.toml", text.as_bytes()).expect("its own text");
        assert_eq!(again.training, run.training);
    }
}

/// What the configurations of the programs have in common.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Run {
    iterations: u64,
    dataset: String,
    data: Option<std::path::PathBuf>,
    threads: Option<usize>,
    stop_hj: Option<f64>,
    training: Configuration,
}

impl Default for Run {
    fn default() -> Self {
        let (iterations, dataset, training) = (1, "auto".to_owned(), Configuration::default());
        Self { iterations, dataset, data: None, threads: None, stop_hj: None, training }
    }
}

/// `metrics.csv`: what is kept is kept again, and the picture's reader takes it.
pub fn metrics(bytes: &[u8]) {
    let names = ["iteration", "kinetic_energy", "terminal"];
    let iteration = bytes.first().map_or(0, |byte| u64::from(*byte));
    if let Some(found) = mended(bytes, iteration, &names) {
        let again = mended(found.kept.as_bytes(), iteration, &names).expect("its own columns");
        assert!(again.kept == found.kept && again.cut == 0 && again.beyond == 0);
        let (rows, columns) = curves::size(found.kept.as_bytes()).expect("a whole table");
        assert!(columns == 3 && rows + 1 == found.kept.lines().count());
    }
    let _ = curves::size(bytes);
}
