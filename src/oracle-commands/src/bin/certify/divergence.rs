//! `certify divergence`.

use clap::Args;
use proxflow_io::array_file::read_points;
use proxflow_io::command::Failure;
use proxflow_reference::Divergence;

use crate::certificate::Certificate;
use crate::problem::{Problem, require_writable};
use crate::progress::Gauge;

#[derive(Args)]
pub struct DivergenceTask {
    /// Model points, (n, d).
    #[arg(long, value_name = "FILE")]
    model: String,
    /// Weights of the model points, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<String>,
    #[command(flatten)]
    problem: Problem,
}

/// Solves, writes the optimisers asked for and reports.
pub fn run(task: &DivergenceTask) -> Result<(), Failure> {
    require_writable(task.problem.outputs())?;
    let input = task.problem.read(read_points(&task.model)?, task.model_weights.as_deref())?;
    let progress = Gauge::new("distances and a first potential");
    let observe = progress.observer();
    let functional = Divergence::of(input.kind).lipschitz(task.problem.lipschitz);
    let functional = functional.options(task.problem.options().observed_by(&observe));
    let solved = functional.between(&input.model()?, &input.data()?)?;
    progress.stage("writing the optimisers");
    task.problem.write_potential(&solved.model_potential, || solved.data_potential())?;
    task.problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        outcome: solved.termination.name(),
        seconds: solved.seconds,
        ..Certificate::of(&input, &task.problem)
    };
    drop(progress);
    certificate.report("D_f^L(model|data)", &task.problem)
}
