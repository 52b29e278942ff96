//! What `torus solve` is asked: its options, their ranges, and which of them a solver would ignore.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proxflow_io::command::Failure;
use proxflow_io::options::{divergence, non_negative};
use proxflow_reference::{DivergenceKind, InvalidInput};
use serde::Serialize;

/// Which of the three independent solvers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SolverName {
    /// Semi-relaxed transport on the nodes, exact (every divergence), at most 2^20 nodes and 2^28 pairs of nodes with mass
    Static,
    /// Ascent on the terminal potential, large grids (KL); the cap by an augmented Lagrangian
    Dual,
    /// Time-dependent: monotone Hamilton-Jacobi scheme and its adjoint (every divergence where the target is positive on every
    /// node; kl, chi2 and alpha > 1 also where it is not), at most 4096 nodes
    Pde,
}

impl SolverName {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Dual => "dual",
            Self::Pde => "pde",
        }
    }
}

/// Arguments of `torus solve`.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example: torus solve --dim 2 --grid 256 --source bump --target mixture --solver dual \
                        --out runs/torus --json -"
)]
pub struct SolveArguments {
    /// Dimension of the torus
    #[arg(long = "dim", default_value_t = 2)]
    pub dimension: usize,
    /// Nodes per side
    #[arg(long, default_value_t = 32)]
    pub grid: usize,
    /// Weight of the kinetic energy
    #[arg(long, default_value_t = 1.0)]
    pub lambda: f64,
    /// Time horizon
    #[arg(long, default_value_t = 1.0)]
    pub horizon: f64,
    /// Lipschitz constant of the terminal potential
    #[arg(long, default_value_t = 1.0)]
    pub lipschitz: f64,
    /// Divergence: kl, reverse-kl, alpha:A (A > 0, A != 1), chi2 (half of Pearson's), js, hellinger
    #[arg(long, default_value = "kl", value_parser = divergence)]
    pub f: DivergenceKind,
    /// Source density: a name, or a file of node masses (.npy, .npz:NAME, .safetensors:NAME)
    #[arg(long, default_value = "bump")]
    pub source: String,
    /// Target density: a name, or a file of node masses
    #[arg(long, default_value = "mixture")]
    pub target: String,
    /// Solver
    #[arg(long, value_enum, default_value_t = SolverName::Static)]
    pub solver: SolverName,
    /// Relative gap (above 0, below 1) that the run fails without (exit code 1). Default: static and pde 1e-4; dual works
    /// towards 1e-3 and succeeds with whatever its grid allows, which it reports
    #[arg(long)]
    pub tolerance: Option<f64>,
    /// Finer grids (0 to 4, each of twice the nodes per side) that the dual solver may try where the Lipschitz cap acts
    /// [default: 1]; refused with the other solvers
    #[arg(long)]
    pub refinements: Option<usize>,
    /// Viscosity s >= 0 of the time-dependent solver [default: 0]; refused with the other solvers
    #[arg(long, value_parser = non_negative)]
    pub viscosity: Option<f64>,
    /// Accepted for uniformity; no solver draws random numbers
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the report as JSON to this file (`-`: standard output)
    #[arg(long)]
    pub json: Option<String>,
    /// Write the terminal potential phi (N, ..., N) to this .npy file
    #[arg(long)]
    pub potential: Option<PathBuf>,
    /// Write the terminal masses rho_T (N, ..., N) to this .npy file
    #[arg(long)]
    pub density: Option<PathBuf>,
    /// Folder for pictures and arrays (created)
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// Refuses a tolerance or a number of refinements out of range.
pub fn check_ranges(arguments: &SolveArguments) -> Result<(), Failure> {
    if let Some(tolerance) = arguments.tolerance.filter(|tolerance| !(*tolerance > 0.0 && *tolerance < 1.0)) {
        return Err(InvalidInput::new("tolerance", tolerance, "above 0 and below 1").into());
    }
    match arguments.refinements.filter(|refinements| *refinements > 4) {
        Some(refinements) => Err(InvalidInput::new("refinements", refinements, "0 to 4").into()),
        None => Ok(()),
    }
}

/// Options that the chosen solver would ignore.
pub fn refuse_ignored(arguments: &SolveArguments) -> Result<(), Failure> {
    let ignored = |option: &str, value: String, solver: &str| {
        Err(Failure::bad_input(option, format!("{value} with --solver {}", arguments.solver.name()), solver))
    };
    match (arguments.solver, arguments.viscosity, arguments.refinements) {
        (SolverName::Static | SolverName::Dual, Some(viscosity), _) => {
            ignored("--viscosity", viscosity.to_string(), "with --solver pde only")
        }
        (SolverName::Static | SolverName::Pde, _, Some(refinements)) => {
            ignored("--refinements", refinements.to_string(), "with --solver dual only")
        }
        _ => Ok(()),
    }
}
