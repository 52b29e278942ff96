//! `certify proximal`.

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array1, Axis, concatenate};
use proxflow_io::array_file::{read_points, read_trajectories, write_array};
use proxflow_io::command::Failure;
use proxflow_reference::ProximalParameters;
use proxflow_reference::proximal::{combined_proximal, optimality_gap};

use crate::certificate::{Certificate, Flow, Interval};
use crate::problem::{Problem, require_writable};
use crate::progress::Gauge;

#[derive(Args)]
pub struct ProximalTask {
    /// Source points, (n, d).
    #[arg(long, value_name = "FILE", required_unless_present = "trajectories")]
    source: Option<String>,
    /// A flow to compare with the optimum instead of bare source points: its positions (N + 1, n, d) at N + 1 equally spaced
    /// times of [0, T]. It starts from the source.
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    trajectories: Option<String>,
    /// Weights of the source points (or samples of the flow), (n).
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
    let problem = &task.problem;
    let parameters = ProximalParameters::new(problem.lipschitz, task.lambda, task.horizon)?;
    require_writable(problem.outputs().chain(task.endpoints.as_deref()))?;
    let trajectories = task.trajectories.as_deref().map(read_trajectories).transpose()?;
    let source = match (&trajectories, &task.source) {
        (Some(positions), _) => positions.index_axis(Axis(0), 0).to_owned(),
        (None, Some(file)) => read_points(file)?,
        (None, None) => return Err(Failure::bad_input("source", "missing", "a file of points (n, d)")),
    };
    let input = problem.read(source, task.source_weights.as_deref())?;
    let progress = Gauge::new("distances and a first potential");
    let observe = progress.observer();
    let (kind, options, data) = (input.kind, problem.options().observed_by(&observe), input.data()?);
    let (solved, comparison, elsewhere) = match &trajectories {
        None => (combined_proximal(&input.model()?, &data, kind, parameters, &options)?, None, 0.0),
        Some(positions) => {
            let weights = Some(input.model_weights.as_slice());
            let found = optimality_gap(positions.view(), weights, &data, kind, parameters, &options)?;
            let flow = Flow {
                objective: found.objective.into(),
                kinetic_energy: found.kinetic_energy,
                terminal: found.terminal.bounds().into(),
                steps: positions.len_of(Axis(0)) - 1,
            };
            let interval = Interval { lower: found.lower, upper: found.upper };
            (found.optimum, Some((interval, flow)), found.terminal.seconds)
        }
    };
    progress.stage("writing the optimisers");
    problem.write_potential(&solved.initial_potential, || solved.potential.values_at_atoms())?;
    problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
    if let Some(file) = &task.endpoints {
        let masses = Array1::from(solved.masses()).insert_axis(Axis(1));
        write_array(file, &concatenate![Axis(1), solved.endpoints.view(), masses])?;
    }
    let (optimality_gap, flow) = comparison.unzip();
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        kinetic_energy: Some(solved.kinetic_energy),
        lambda: Some(task.lambda),
        horizon: Some(task.horizon),
        optimality_gap,
        flow,
        outcome: solved.termination.name(),
        seconds: solved.seconds + elsewhere,
        ..Certificate::of(&input, problem)
    };
    drop(progress);
    certificate.report("J*", problem)
}
