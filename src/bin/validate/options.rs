//! Options of `validate`.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use proxflow_io::array::ArrayPath;
use proxflow_io::options::positive;
use proxflow_validation::claim::Scale;

/// Checks every claim of arXiv:2407.11901 and writes a report; examines your own model when given one.
///
/// Exit 0 when every claim about theory and implementation holds, 1 when one fails, 2 on bad input. Statements about an
/// examined model are reported and do not decide the exit code.
#[derive(Parser)]
#[command(name = "validate", after_help = NOTES)]
pub struct Arguments {
    /// The page; the same content goes to report.json beside it.
    #[arg(long, default_value = "report.html")]
    pub out: PathBuf,
    /// Also write the JSON here (`-` for standard output).
    #[arg(long)]
    pub json: Option<String>,
    /// ci: minutes on two cores; paper: the long form.
    #[arg(long, value_enum, default_value = "ci")]
    pub scale: ScaleName,
    /// Root seed.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Only these claims, separated by commas; `none` for the model alone.
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the claims and stop.
    #[arg(long, exclusive = true)]
    pub list: bool,
    /// Write the table of claims (docs/claims.md) here and stop.
    #[arg(long, exclusive = true)]
    pub document: Option<PathBuf>,
    /// A checkpoint (safetensors) to examine.
    #[arg(long, conflicts_with = "trajectories")]
    pub checkpoint: Option<PathBuf>,
    /// Trajectories (times, samples, d) to examine, .npy or .npz; several files, separated by commas: the same starting
    /// points with different step sizes, in any order.
    #[arg(long, value_delimiter = ',')]
    pub trajectories: Vec<ArrayPath>,
    /// Data points (m, d): .npy, .npz or .npz:NAME.
    #[arg(long)]
    pub data: Option<ArrayPath>,
    /// Starting points of a checkpoint's flow: own (the law that the checkpoint states, uniform:0,0.5 where it states none),
    /// uniform:LOW,HIGH or normal or a .npy file (n, d).
    #[arg(long, default_value = "own")]
    pub source: String,
    /// Samples drawn from the source.
    #[arg(long, default_value_t = 100)]
    pub samples: usize,
    /// Numbers of Euler steps for a checkpoint, increasing [default: its own number and 8 times it, 5,40 where it states none]
    #[arg(long, value_delimiter = ',')]
    pub steps: Vec<usize>,
    /// Kinetic weight; a checkpoint's own value otherwise.
    #[arg(long, value_parser = positive)]
    pub lambda: Option<f64>,
    /// Lipschitz constant; a checkpoint's own value otherwise.
    #[arg(long, value_parser = positive)]
    pub lipschitz: Option<f64>,
    /// Horizon T: of a checkpoint in the place of its own; of trajectories without times of their own (1 otherwise).
    #[arg(long, value_parser = positive)]
    pub horizon: Option<f64>,
    /// Divergence of the objective: kl, reverse-kl, alpha:A, chi2, js, hellinger.
    #[arg(long = "f", default_value = "kl")]
    pub divergence: String,
    /// Relative slack of the statements about a model.
    #[arg(long, default_value_t = 0.05, value_parser = positive)]
    pub tolerance: f64,
}

const NOTES: &str = "Arrays of an .npz archive (whole numbers, float16, float32 or float64, C or Fortran order), N steps, n samples, dimension d:
  trajectories      (N+1, n, d)  positions x_k                                                   required
  times             (N+1,)       t_0 < ... < t_N, whole numbers too; otherwise uniform on [0, --horizon]
  gradients         (N+1, n, d)  grad_x U(x_k, t_k)  } both or neither: Hamilton-Jacobi and
  time_derivatives  (N+1, n)     dU/dt (x_k, t_k)    } terminal condition
  critic_gradients  (n, d)       grad phi(x_N): terminal condition and Lipschitz bound
Straightness, energies and step-size invariance need trajectories alone; the optimality gap needs --data, --lambda and
--lipschitz; the largest speed needs the latter two.

From Python, any framework:
  import numpy as np
  x = [x0]                                # (n, d)
  for k in range(N):
      x.append(x[k] + h * velocity(x[k], k * h))
  np.savez('mine.npz', trajectories=np.stack(x), times=h * np.arange(N + 1))
  np.save('data.npy', data)               # (m, d)

Examples:
  validate --out report.html
  validate --only none --trajectories mine.npz --data data.npy --lambda 0.05 --lipschitz 1 --out model.html
  validate --only none --trajectories coarse.npz,fine.npz
  validate --only none --checkpoint runs/w1w2/checkpoint.safetensors --data data.npy --steps 5,40,320";

/// The names of [`Scale`] on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub enum ScaleName {
    Ci,
    Paper,
}

impl From<ScaleName> for Scale {
    fn from(name: ScaleName) -> Self {
        match name {
            ScaleName::Ci => Self::Ci,
            ScaleName::Paper => Self::Paper,
        }
    }
}
