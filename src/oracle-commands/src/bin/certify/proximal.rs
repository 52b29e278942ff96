//! `certify proximal`.

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array1, Array2, Array3, Axis, concatenate};
use proxflow_io::array::{ArrayPath, read_points, write_array};
use proxflow_io::command::Failure;
use proxflow_io::options::positive;
use proxflow_io::recording::read_trajectories;
use proxflow_reference::ProximalParameters;
use proxflow_reference::proximal::{combined_proximal, optimality_gap};

use crate::certificate::{Certificate, Flow};
use crate::problem::{Problem, file};
use crate::progress::Gauge;

/// The horizon of the published problem.
const HORIZON: f64 = 5.0;

/// Times may differ from equal steps by this much of a step: files in single precision.
const UNEVEN: f64 = 1e-4;

#[derive(Args)]
pub struct ProximalTask {
    /// Source points, (n, d).
    #[arg(long, value_name = "FILE", required_unless_present = "trajectories")]
    source: Option<ArrayPath>,
    /// A flow to compare with the optimum instead of bare source points: its positions (N + 1, n, d) at N + 1 equally spaced
    /// times of [0, T], or an archive with `trajectories` and `times` as `validate` reads it. It starts from the source.
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    trajectories: Option<ArrayPath>,
    /// Weights of the source points (or samples of the flow), (n).
    #[arg(long, value_name = "FILE")]
    source_weights: Option<ArrayPath>,
    /// Weight lambda of the kinetic energy.
    #[arg(long, default_value_t = 0.05, value_name = "LAMBDA", value_parser = positive)]
    lambda: f64,
    /// Time horizon T [default: 5, or what the archive's times say].
    #[arg(long, value_name = "T", value_parser = positive)]
    horizon: Option<f64>,
    /// Write the generated law rho_T: (k, d + 1), a row an atom, its weight last.
    #[arg(long, value_name = "FILE.npy")]
    endpoints: Option<PathBuf>,
    #[command(flatten)]
    problem: Problem,
}

/// Solves, writes the optimisers asked for and reports.
pub fn run(task: &ProximalTask) -> Result<(), Failure> {
    let problem = &task.problem;
    let files = problem.files().input("--source", file(&task.source));
    let files = files.input("--trajectories", file(&task.trajectories));
    let files = files.input("--source-weights", file(&task.source_weights));
    files.output("--endpoints", task.endpoints.as_deref()).check()?;
    let (source, flow, horizon) = start(task)?;
    let parameters = ProximalParameters::new(problem.lipschitz, task.lambda, horizon)?;
    let input = problem.read(source, task.source_weights.as_ref())?;
    let progress = Gauge::new("distances and a first potential");
    let observe = progress.observer();
    let options = problem.options().observed_by(&observe);
    let (solved, comparison, ended) = match &flow {
        None => (combined_proximal(&input.model, &input.data, problem.f, parameters, &options)?, None, None),
        Some(positions) => {
            let weights = Some(match problem.common.normalise {
                true => input.model.weights(),
                false => input.model.given_weights(),
            });
            let found =
                optimality_gap(positions.view(), weights, &input.data, problem.f, parameters, &options)?;
            let flow = Flow {
                objective: found.objective.into(),
                kinetic_energy: found.kinetic_energy,
                terminal: found.terminal.bounds().into(),
                steps: positions.len_of(Axis(0)) - 1,
            };
            let (interval, ended) = (found.bounds().into(), (found.termination, found.terminal.seconds));
            (found.solution.optimum, Some((interval, flow)), Some(ended))
        }
    };
    let (optimality_gap, flow) = comparison.unzip();
    let (termination, elsewhere) = ended.unwrap_or((solved.termination, 0.0));
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        kinetic_energy: Some(solved.kinetic_energy),
        lambda: Some(task.lambda),
        horizon: Some(horizon),
        optimality_gap,
        flow,
        outcome: termination.name(),
        seconds: solved.seconds + elsewhere,
        ..Certificate::of(&input, problem)
    };
    if certificate.is_known() {
        progress.stage("writing the optimisers");
        let common = &problem.common;
        common.write_potential(&solved.initial_potential, || solved.potential.values_at_atoms())?;
        let arrived =
            solved.paths.iter().filter_map(|path| Some((path.source as u32, path.data? as u32, path.mass)));
        common.write_plan(arrived, [input.model.len(), input.data.len()])?;
        problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
        if let Some(file) = &task.endpoints {
            let masses = Array1::from(solved.masses()).insert_axis(Axis(1));
            write_array(file, &concatenate![Axis(1), solved.endpoints.view(), masses])?;
        }
    }
    drop(progress);
    certificate.report("J*", problem)
}

/// Source points, the flow if one is given, and the horizon.
fn start(task: &ProximalTask) -> Result<(Array2<f64>, Option<Array3<f64>>, f64), Failure> {
    let Some(path) = &task.trajectories else {
        let source = task.source.as_ref().map(read_points).transpose()?;
        let source =
            source.ok_or_else(|| Failure::bad_input("--source", "missing", "a file of points (n, d)"))?;
        return Ok((source, None, task.horizon.unwrap_or(HORIZON)));
    };
    let recorded = read_trajectories(path)?;
    let horizon = match (&recorded.times, task.horizon) {
        (None, given) => given.unwrap_or(HORIZON),
        (Some(times), given) => {
            let (first, steps) = (times[0], times.len() - 1);
            let span = times[steps] - first;
            let step = span / steps as f64;
            let uneven = (0..=steps).find(|k| (times[*k] - first - *k as f64 * step).abs() > UNEVEN * step);
            if let Some(k) = uneven {
                let value = format!("{} at [{k}]", times[k]);
                return Err(Failure::bad_input(format!("{path}: times"), value, "equally spaced times"));
            }
            match given {
                Some(given) if (given / span - 1.0).abs() > 1e-6 => {
                    let allowed = format!("{span}, which the times of {path} span");
                    return Err(Failure::bad_input("--horizon", given, allowed));
                }
                _ => span,
            }
        }
    };
    let source = recorded.positions.index_axis(Axis(0), 0).to_owned();
    Ok((source, Some(recorded.positions), horizon))
}
