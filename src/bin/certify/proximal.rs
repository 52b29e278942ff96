//! `certify proximal`.

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array1, concatenate};
use proxflow::array_file::write_array;
use proxflow::command::Failure;
use proxflow_reference::ProximalParameters;
use proxflow_reference::proximal::combined_proximal_observed;

use crate::certificate::{Certificate, name_of};
use crate::problem::{Problem, require_writable};
use crate::progress::Gauge;

#[derive(Args)]
pub struct ProximalTask {
    /// Source points, (n, d).
    #[arg(long, value_name = "FILE")]
    source: String,
    /// Weights of the source points, (n).
    #[arg(long, value_name = "FILE")]
    source_weights: Option<String>,
    /// Weight lambda of the kinetic energy.
    #[arg(long, default_value_t = 0.05, value_name = "LAMBDA", allow_negative_numbers = true)]
    lambda: f64,
    /// Time horizon T.
    #[arg(long, default_value_t = 5.0, value_name = "T", allow_negative_numbers = true)]
    horizon: f64,
    /// Write the generated law rho_T: (k, d + 1), a row an atom, its weight last.
    #[arg(long, value_name = "FILE.npy")]
    endpoints: Option<PathBuf>,
    #[command(flatten)]
    problem: Problem,
}

/// Solves, writes the optimisers asked for and reports.
pub fn run(task: &ProximalTask) -> Result<(), Failure> {
    let parameters = ProximalParameters::new(task.problem.lipschitz, task.lambda, task.horizon)?;
    require_writable(task.problem.outputs().chain(task.endpoints.as_deref()))?;
    let input = task.problem.read(&task.source, task.source_weights.as_deref())?;
    let progress = Gauge::new();
    let solved = combined_proximal_observed(
        input.model.view(),
        Some(&input.model_weights),
        input.data.view(),
        Some(&input.data_weights),
        input.kind,
        parameters,
        &task.problem.options(),
        &mut |state| progress.show(state),
    )?;
    progress.finish();
    task.problem.write_potential(&solved.initial_potential, || solved.potential.values_at_atoms())?;
    task.problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
    if let Some(file) = &task.endpoints {
        let masses = Array1::from(solved.masses()).insert_axis(ndarray::Axis(1));
        write_array(file, &concatenate![ndarray::Axis(1), solved.endpoints, masses])?;
    }
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        kinetic_energy: Some(solved.kinetic_energy),
        lambda: Some(task.lambda),
        horizon: Some(task.horizon),
        outcome: name_of(solved.outcome),
        seconds: solved.seconds,
        ..Certificate::of(&input, &task.problem)
    };
    certificate.report("J*", &task.problem)
}
