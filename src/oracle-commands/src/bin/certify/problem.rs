//! What the tasks share: input files, the functional, output files.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use ndarray::{Array1, Array2, s};
use proxflow_io::array::{
    ArrayPath, Column, read_counts, read_points, read_weights, write_array, write_columns,
};
use proxflow_io::command::Failure;
use proxflow_io::options::{divergence, positive};
use proxflow_io::output::Outputs;
use proxflow_reference::transport::cost::DENSE_COST_BYTES;
use proxflow_reference::{DivergenceKind, Measure, Options, SingularMass};

/// What every task has: weights, method, outputs.
#[derive(Args)]
pub struct Common {
    /// Weights of the target points, (m).
    #[arg(long, value_name = "FILE")]
    pub data_weights: Option<ArrayPath>,
    /// Take weights of any positive sum, counts for example, and divide them by it.
    #[arg(long)]
    pub normalise: bool,
    /// The largest certified gap that counts as success, relative to 1 + |value|.
    #[arg(long, default_value_t = 1e-10, value_name = "GAP", value_parser = positive)]
    pub tolerance: f64,
    /// Keep the n x m costs in memory up to this size; beyond it they are computed on the fly, again in every pass.
    #[arg(long, default_value_t = (DENSE_COST_BYTES >> 20) as u64, value_name = "MIB")]
    pub cost_memory: u64,
    /// Write the potentials at the source points, then at the data points: (n + m).
    #[arg(long, value_name = "FILE.npy")]
    pub potential: Option<PathBuf>,
    /// Write the transport plan as a sparse matrix (n, m): `scipy.sparse.load_npz` reads it.
    #[arg(long, value_name = "FILE.npz")]
    pub plan: Option<PathBuf>,
    /// Write the certificate as JSON to a file, or to standard output for `-`.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<String>,
    /// Make [lower, upper] a theorem about the numbers in the files: both bounds are evaluated anew, costs enclosed, sums and
    /// logarithms in 320 bits, rounded outwards. Costs one more pass over the n x m costs and 320-bit arithmetic for each atom;
    /// finite costs and orders of alpha from 1e-30 on. (`transport --normalise`: about the weights divided by their sum.)
    #[arg(long)]
    pub rigorous: bool,
    /// Accepted for uniformity; nothing here is random.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// The functional D_f^L and its data.
#[derive(Args)]
pub struct Problem {
    /// Target (data) points, (m, d).
    #[arg(long, value_name = "FILE")]
    pub data: ArrayPath,
    /// The divergence: kl, reverse-kl, alpha:A (A > 0, A != 1), chi2 (half of Pearson's), js, hellinger.
    #[arg(long, default_value = "kl", value_name = "NAME", value_parser = divergence)]
    pub f: DivergenceKind,
    /// Lipschitz constant L of the discriminator.
    #[arg(long, default_value_t = 1.0, value_name = "L", value_parser = positive)]
    pub lipschitz: f64,
    /// Mass outside the data, where f'(inf) is finite: `forbidden`, or `priced` at f'(inf) per unit.
    #[arg(long, value_enum, default_value_t = Singular::Forbidden)]
    pub singular: Singular,
    /// Write the intermediate measure eta*: weights on the data points (m), with `--singular priced` followed by what stayed
    /// at the model points (m + n).
    #[arg(long, value_name = "FILE.npy")]
    pub intermediate: Option<PathBuf>,
    #[command(flatten)]
    pub common: Common,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Singular {
    Forbidden,
    Priced,
}

/// The input files, read and checked.
pub struct Input {
    pub model: Measure,
    pub data: Measure,
}

/// The file of an optional array.
pub fn file(path: &Option<ArrayPath>) -> Option<&Path> {
    path.as_ref().map(|path| path.file.as_path())
}

impl Common {
    /// The files that the shared options read and write.
    pub fn files(&self) -> Outputs {
        Outputs::new()
            .input("--data-weights", file(&self.data_weights))
            .json(self.json.as_deref())
            .output("--potential", self.potential.as_deref())
            .output("--plan", self.plan.as_deref())
    }

    /// `atoms` weights from a file, as they stand there; uniform without one.
    pub fn weights(&self, path: Option<&ArrayPath>, atoms: usize) -> Result<Vec<f64>, Failure> {
        match path {
            None => Ok(vec![1.0 / atoms as f64; atoms]),
            Some(path) if self.normalise => Ok(read_counts(path, atoms)?),
            Some(path) => Ok(read_weights(path, atoms)?),
        }
    }

    /// [`Self::weights`], divided by their sum with `--normalise`: by the largest first, so that the sum stays finite.
    pub fn shares(&self, path: Option<&ArrayPath>, atoms: usize) -> Result<Vec<f64>, Failure> {
        let weights = self.weights(path, atoms)?;
        if !self.normalise {
            return Ok(weights);
        }
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let total: f64 = weights.iter().map(|weight| weight / largest).sum();
        Ok(weights.iter().map(|weight| weight / largest / total).collect())
    }

    /// `--normalise` without weights would be ignored: refused.
    pub fn require_weights(&self, model_weights: Option<&ArrayPath>) -> Result<(), Failure> {
        if self.normalise && model_weights.is_none() && self.data_weights.is_none() {
            let allowed = "with a file of weights; without one they are uniform";
            return Err(Failure::bad_input("--normalise", "alone", allowed));
        }
        Ok(())
    }

    /// Both measures, of one dimension.
    pub fn measures(
        &self,
        (model, model_weights): (Array2<f64>, Option<&ArrayPath>),
        data: &ArrayPath,
    ) -> Result<Input, Failure> {
        self.require_weights(model_weights)?;
        let points = read_points(data)?;
        if model.ncols() != points.ncols() {
            let shapes = format!("{:?} against {:?}", points.shape(), model.shape());
            return Err(Failure::bad_input(data, shapes, "equal numbers of columns"));
        }
        let weights = self.weights(model_weights, model.nrows())?;
        let data_weights = self.weights(self.data_weights.as_ref(), points.nrows())?;
        // The measure keeps the numbers of the file beside those divided by their sum.
        let measure = |points: Array2<f64>, weights: Vec<f64>| match self.normalise {
            true => Measure::normalised(points, weights),
            false => Measure::new(points, weights),
        };
        Ok(Input { model: measure(model, weights)?, data: measure(points, data_weights)? })
    }

    /// The solver aims ten times lower than the tolerance, so that rounding in its own estimate does not decide success.
    pub fn options<'a>(&self) -> Options<'a> {
        let bytes = usize::try_from(self.cost_memory.saturating_mul(1 << 20)).unwrap_or(usize::MAX);
        Options::new().tolerance(0.1 * self.tolerance).dense_cost_bytes(bytes).rigorous(self.rigorous)
    }

    /// `data` costs distances among all data points: evaluated only when asked for.
    pub fn write_potential(&self, model: &[f64], data: impl Fn() -> Vec<f64>) -> Result<(), Failure> {
        match &self.potential {
            Some(file) => write_array(file, &model.iter().copied().chain(data()).collect::<Array1<f64>>()),
            None => Ok(()),
        }
    }

    /// `(i, j, G_ij)` as scipy's COO matrix of shape `(n, m)`.
    pub fn write_plan(
        &self,
        plan: impl IntoIterator<Item = (u32, u32, f64)>,
        [rows, columns]: [usize; 2],
    ) -> Result<(), Failure> {
        let Some(file) = &self.plan else { return Ok(()) };
        let (mut row, mut column, mut mass) = (Vec::new(), Vec::new(), Vec::new());
        for (i, j, value) in plan {
            row.push(i64::from(i));
            column.push(i64::from(j));
            mass.push(value);
        }
        let shape = vec![rows as i64, columns as i64];
        write_columns(
            file,
            &[
                ("row", Column::Whole(row)),
                ("col", Column::Whole(column)),
                ("format", Column::Text("coo")),
                ("shape", Column::Whole(shape)),
                ("data", Column::Real(Array1::from(mass).into_dyn())),
            ],
        )
    }
}

impl Problem {
    /// The files that the shared options read and write.
    pub fn files(&self) -> Outputs {
        self.common
            .files()
            .input("--data", Some(&self.data.file))
            .output("--intermediate", self.intermediate.as_deref())
    }

    /// Reads the data and all weights; the `model` has been read.
    pub fn read(&self, model: Array2<f64>, model_weights: Option<&ArrayPath>) -> Result<Input, Failure> {
        self.common.measures((model, model_weights), &self.data)
    }

    pub fn options<'a>(&self) -> Options<'a> {
        self.common.options().singular(match self.singular {
            Singular::Forbidden => SingularMass::Forbidden,
            Singular::Priced => SingularMass::Priced,
        })
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
