//! `certify potential`: the optimal discriminator and its gradient at new points.

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array1, Array2};
use proxflow_io::array::{ArrayPath, read_points, write_array};
use proxflow_io::command::Failure;
use proxflow_reference::Divergence;

use crate::certificate::Certificate;
use crate::problem::{Problem, file};
use crate::progress::Gauge;

#[derive(Args)]
pub struct PotentialTask {
    /// Model points, (n, d).
    #[arg(long, value_name = "FILE")]
    model: ArrayPath,
    /// Weights of the model points, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<ArrayPath>,
    /// Where to evaluate phi*, (k, d).
    #[arg(long, value_name = "FILE")]
    at: ArrayPath,
    /// Write phi* at those points, (k).
    #[arg(long, value_name = "FILE.npy", required_unless_present = "gradients")]
    values: Option<PathBuf>,
    /// Write its gradients, (k, d): of norm L, or 0 at a data point and where the price of singular mass caps phi*.
    #[arg(long, value_name = "FILE.npy")]
    gradients: Option<PathBuf>,
    #[command(flatten)]
    problem: Problem,
}

/// Solves, evaluates, reports the certificate of the solve.
pub fn run(task: &PotentialTask) -> Result<(), Failure> {
    let problem = &task.problem;
    let files = problem.files().input("--model", Some(&task.model.file)).input("--at", Some(&task.at.file));
    let files = files.input("--model-weights", file(&task.model_weights));
    let files = files.output("--values", task.values.as_deref());
    files.output("--gradients", task.gradients.as_deref()).check()?;
    let at = read_points(&task.at)?;
    let input = problem.read(read_points(&task.model)?, task.model_weights.as_ref())?;
    if at.ncols() != input.data.dimension() {
        let allowed = format!("(k, {}), the dimension of the data", input.data.dimension());
        return Err(Failure::bad_input(&task.at, format!("shape {:?}", at.shape()), allowed));
    }
    let progress = Gauge::new("distances and a first potential");
    let observe = progress.observer();
    let functional = Divergence::of(problem.f).lipschitz(problem.lipschitz);
    let solved =
        functional.options(problem.options().observed_by(&observe)).between(&input.model, &input.data)?;
    let certificate = Certificate::of_divergence(&solved, &input, problem);
    if certificate.is_known() {
        progress.stage("values and gradients");
        if let Some(path) = &task.values {
            write_array(path, &Array1::from(solved.potential.values(at.view())?))?;
        }
        if let Some(path) = &task.gradients {
            let mut gradients = Array2::zeros(at.raw_dim());
            for (point, mut gradient) in at.outer_iter().zip(gradients.outer_iter_mut()) {
                gradient.assign(&solved.potential.value_and_gradient(point)?.1.gradient);
            }
            write_array(path, &gradients)?;
        }
        certificate.write_optimisers(&solved, &input, problem)?;
    }
    drop(progress);
    certificate.report("D_f^L(model|data)", problem)
}
