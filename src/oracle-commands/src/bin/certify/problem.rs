//! What both tasks share: the problem's options, its input files and its output files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ndarray::{Array1, Array2, s};
use proxflow_io::array_file::{read_points, read_weights, write_array};
use proxflow_io::command::Failure;
use proxflow_reference::transport::cost::DENSE_COST_BYTES;
use proxflow_reference::{DivergenceKind, InvalidInput, Measure, Options, SingularMass};

#[derive(Args)]
pub struct Problem {
    /// Target (data) points, (m, d).
    #[arg(long, value_name = "FILE")]
    pub data: String,
    /// Weights of the target points, (m).
    #[arg(long, value_name = "FILE")]
    pub data_weights: Option<String>,
    /// The divergence: kl, reverse-kl, alpha:A (A > 0, A != 1), chi2, js, hellinger.
    #[arg(long, default_value = "kl", value_name = "NAME")]
    pub f: String,
    /// Lipschitz constant L of the discriminator.
    #[arg(long, default_value_t = 1.0, value_name = "L", allow_negative_numbers = true)]
    pub lipschitz: f64,
    /// Mass outside the data, where f'(inf) is finite: `forbidden`, or `priced` at f'(inf) per unit.
    #[arg(long, value_enum, default_value_t = Singular::Forbidden)]
    pub singular: Singular,
    /// The largest certified gap that counts as success, relative to 1 + |value|.
    #[arg(long, default_value_t = 1e-10, value_name = "GAP", allow_negative_numbers = true)]
    pub tolerance: f64,
    /// Keep the n x m costs in memory up to this size; beyond it they are computed on the fly, again in every pass.
    #[arg(long, default_value_t = (DENSE_COST_BYTES >> 20) as u64, value_name = "MIB")]
    pub cost_memory: u64,
    /// Write phi at the model (or source: U(., 0)) points, then at the data points: (n + m).
    #[arg(long, value_name = "FILE.npy")]
    pub potential: Option<PathBuf>,
    /// Write the intermediate measure eta*: weights on the data points (m), with `--singular priced` followed by what stayed
    /// at the model points (m + n).
    #[arg(long, value_name = "FILE.npy")]
    pub intermediate: Option<PathBuf>,
    /// Write the certificate as JSON to a file, or to standard output for `-`.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<String>,
    /// Accepted for uniformity; nothing here is random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Singular {
    Forbidden,
    Priced,
}

/// The input files, read and checked.
pub struct Input {
    pub kind: DivergenceKind,
    pub model: Array2<f64>,
    pub model_weights: Vec<f64>,
    pub data: Array2<f64>,
    pub data_weights: Vec<f64>,
}

impl Input {
    pub fn model(&self) -> Result<Measure, InvalidInput> {
        Measure::new(self.model.view(), self.model_weights.as_slice())
    }

    pub fn data(&self) -> Result<Measure, InvalidInput> {
        Measure::new(self.data.view(), self.data_weights.as_slice())
    }
}

impl Problem {
    /// The files that will be written, `-` excluded.
    pub fn outputs(&self) -> impl Iterator<Item = &Path> {
        let json = self.json.as_deref().filter(|target| *target != "-").map(Path::new);
        json.into_iter().chain(self.potential.as_deref()).chain(self.intermediate.as_deref())
    }

    /// Reads the data and all weights; the `model` has been read.
    pub fn read(&self, model: Array2<f64>, model_weights: Option<&str>) -> Result<Input, Failure> {
        let kind = self.f.parse()?;
        let data = read_points(&self.data)?;
        if model.ncols() != data.ncols() {
            let shapes = format!("{:?} against {:?}", data.shape(), model.shape());
            return Err(Failure::bad_input(&self.data, shapes, "equal numbers of columns"));
        }
        let weights = |file: Option<&str>, atoms: usize| match file {
            Some(file) => read_weights(file, atoms),
            None => Ok(vec![1.0 / atoms as f64; atoms]),
        };
        let model_weights = weights(model_weights, model.nrows())?;
        let data_weights = weights(self.data_weights.as_deref(), data.nrows())?;
        Ok(Input { kind, model, model_weights, data, data_weights })
    }

    pub fn options<'a>(&self) -> Options<'a> {
        let singular = match self.singular {
            Singular::Forbidden => SingularMass::Forbidden,
            Singular::Priced => SingularMass::Priced,
        };
        let bytes = usize::try_from(self.cost_memory.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        // The solver aims ten times lower, so that rounding in its own estimate does not decide success.
        Options::new().tolerance(0.1 * self.tolerance).singular(singular).dense_cost_bytes(bytes)
    }

    /// `data` costs distances among all data points: evaluated only when asked for.
    pub fn write_potential(&self, model: &[f64], data: impl Fn() -> Vec<f64>) -> Result<(), Failure> {
        match &self.potential {
            Some(file) => write_array(file, &model.iter().copied().chain(data()).collect::<Array1<f64>>()),
            None => Ok(()),
        }
    }

    pub fn write_intermediate(&self, arrived: &[f64], stayed: &[f64]) -> Result<(), Failure> {
        let Some(file) = &self.intermediate else { return Ok(()) };
        let weights: Array1<f64> = arrived.iter().chain(stayed).copied().collect();
        match self.singular {
            Singular::Forbidden => write_array(file, &weights.slice(s![..arrived.len()])),
            Singular::Priced => write_array(file, &weights),
        }
    }
}

/// Refuses, before any work is done, an output that cannot be written: a folder, a protected file, one named twice, or one
/// in a folder that takes no files.
pub fn require_writable<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for file in files {
        let refuse = |value: &dyn std::fmt::Display, allowed: &str| {
            Err(Failure::bad_input(format!("cannot write {}", file.display()), value, allowed))
        };
        if !seen.insert(file) {
            return refuse(&"named for two outputs", "a file for each output");
        }
        match file.metadata() {
            Ok(found) if found.is_dir() => return refuse(&"a folder", "a file"),
            Ok(found) if found.permissions().readonly() => {
                return refuse(&"read-only", "a file that can be written to");
            }
            _ => {}
        }
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Err(error) = tempfile::NamedTempFile::new_in(folder) {
            return refuse(&error, "a folder that can be written to");
        }
    }
    Ok(())
}
