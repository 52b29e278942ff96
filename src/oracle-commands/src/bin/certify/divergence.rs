//! `certify divergence`.

use clap::Args;
use proxflow_io::array::{ArrayPath, read_points};
use proxflow_io::command::Failure;
use proxflow_reference::Divergence;

use crate::certificate::Certificate;
use crate::problem::{Problem, file};
use crate::progress::Gauge;

#[derive(Args)]
pub struct DivergenceTask {
    /// Model points, (n, d).
    #[arg(long, value_name = "FILE")]
    model: ArrayPath,
    /// Weights of the model points, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<ArrayPath>,
    #[command(flatten)]
    problem: Problem,
}

/// Solves, writes the optimisers asked for and reports.
pub fn run(task: &DivergenceTask) -> Result<(), Failure> {
    let problem = &task.problem;
    let files = problem.files().input("--model", Some(&task.model.file));
    files.input("--model-weights", file(&task.model_weights)).check()?;
    let input = problem.read(read_points(&task.model)?, task.model_weights.as_ref())?;
    let progress = Gauge::new("distances and a first potential");
    let observe = progress.observer();
    let functional = Divergence::of(problem.f).lipschitz(problem.lipschitz);
    let solved =
        functional.options(problem.options().observed_by(&observe)).between(&input.model, &input.data)?;
    let certificate = Certificate::of_divergence(&solved, &input, problem);
    if certificate.is_known() {
        progress.stage("writing the optimisers");
        certificate.write_optimisers(&solved, &input, problem)?;
    }
    drop(progress);
    certificate.report("D_f^L(model|data)", problem)
}
