//! What holds for a given model: trajectories from any program, or a checkpoint, against the statements of the paper.
//!
//! These statements are measured against stated requirements, not derived bounds: an optimal flow obeys every one of them
//! exactly, a trained one up to what its training left. The verdict says which, with numbers.

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use proxflow_reference::flow::Flow;
use proxflow_reference::network::Network;
use proxflow_reference::trajectory::{Mean, Trajectories, slope, terminal_residual};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};

use crate::claim::{Basis, Bound, CheckError, Finding, Outcome, Verdict};
use crate::instances::{Measure, huber_transport, largest, lipschitz_divergence};
use crate::report::plot::Plot;

/// Times and positions `(times, samples, d)` of one simulation.
#[derive(Debug, Clone)]
pub struct Path {
    /// Strictly increasing times.
    pub times: Vec<f64>,
    /// Positions, shape `(times, samples, d)`.
    pub positions: Array3<f64>,
}

/// The networks behind a flow.
#[derive(Debug, Clone)]
pub struct Networks {
    /// `U(x, t)`.
    pub potential: Network,
    /// `phi(x)`, where the checkpoint holds one.
    pub discriminator: Option<Network>,
}

/// A model under examination.
#[derive(Debug, Clone)]
pub struct Subject {
    /// How the report calls it.
    pub name: String,
    /// Simulations from the same starting points, the finest step last; at least one.
    pub paths: Vec<Path>,
    /// The networks, when the model is a checkpoint.
    pub networks: Option<Networks>,
    /// Data points, shape `(m, d)`.
    pub data: Option<Array2<f64>>,
    /// `L`, `lambda`, `T`, when known.
    pub parameters: Option<ProximalParameters>,
    /// The divergence of the objective.
    pub kind: DivergenceKind,
    /// Relative slack of every statement, 0.05 for five percent.
    pub tolerance: f64,
}

impl Subject {
    /// Simulates the flow of a checkpoint from `start`, shape `(n, d)`, with each of `steps`, increasing.
    pub fn from_networks(
        name: String,
        networks: Networks,
        start: ArrayView2<f64>,
        steps: &[usize],
        parameters: ProximalParameters,
    ) -> Result<Self, InvalidInput> {
        if steps.is_empty() || steps.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(InvalidInput::new("steps", format!("{steps:?}"), "increasing counts, at least one"));
        }
        let simulate = |&n: &usize| {
            Flow::simulate(&networks.potential, start, parameters.horizon, n, parameters.lambda)
                .map(|flow| Path { times: flow.times, positions: flow.positions })
        };
        let paths = steps.iter().map(simulate).collect::<Result<_, _>>()?;
        Ok(Self {
            name,
            paths,
            networks: Some(networks),
            data: None,
            parameters: Some(parameters),
            kind: DivergenceKind::KullbackLeibler,
            tolerance: 0.05,
        })
    }

    fn finest(&self) -> Result<Trajectories<'_>, InvalidInput> {
        let path =
            self.paths.last().ok_or_else(|| InvalidInput::new("trajectories", "none", "at least one"))?;
        Trajectories::new(path.times.clone(), path.positions.view())
    }

    fn requirement(&self) -> Basis {
        Basis::Requirement(format!("{}% of the exact value, stated in advance", 100.0 * self.tolerance))
    }

    fn parameters(&self) -> Result<ProximalParameters, CheckError> {
        self.parameters.ok_or_else(|| CheckError::NotApplicable("lambda, L and T are not known".into()))
    }

    fn networks(&self) -> Result<&Networks, CheckError> {
        self.networks
            .as_ref()
            .ok_or_else(|| CheckError::NotApplicable("needs the networks (--checkpoint)".into()))
    }

    fn discriminator(&self) -> Result<&Network, CheckError> {
        let networks = self.networks()?;
        networks
            .discriminator
            .as_ref()
            .ok_or_else(|| CheckError::NotApplicable("the checkpoint holds no discriminator".into()))
    }
}

/// Every statement about `subject`, in the order of the paper.
pub fn examine(subject: &Subject) -> Vec<Outcome> {
    type Check = fn(&Subject) -> Result<Finding, CheckError>;
    let statements: [(&str, &str, &str, Check); 7] = [
        (
            "model_optimality",
            "The flow attains J*: its objective exceeds the certified optimum by a small fraction.",
            "[10]-[12], notation 2.1",
            optimality,
        ),
        ("model_speed", "No sample moves faster than L / lambda.", "notation 2.2", speed),
        ("model_straight_lines", "Paths are straight lines at constant speed.", "[22]-[29]", straight_lines),
        ("model_step_size", "Generated samples do not depend on the step size.", "[39]", step_size),
        (
            "model_hamilton_jacobi",
            "The potential solves Hamilton-Jacobi along its paths, raw and up to a gauge c(t).",
            "[43]",
            hamilton_jacobi,
        ),
        (
            "model_terminal_condition",
            "grad U(., T) = grad phi at the generated samples.",
            "[44]",
            terminal_condition,
        ),
        ("model_lipschitz", "The discriminator is L-Lipschitz.", "[40], [41]", lipschitz),
    ];
    let run = |(id, statement, source, check): &(&str, &str, &str, Check)| {
        let start = std::time::Instant::now();
        let (verdict, finding) = match check(subject) {
            Ok(finding) => (finding.verdict(), finding),
            Err(CheckError::NotApplicable(reason)) => (Verdict::NotApplicable(reason), Finding::new()),
            Err(error) => (Verdict::Fails(error.to_string()), Finding::new()),
        };
        Outcome {
            id: (*id).into(),
            statement: (*statement).into(),
            source: (*source).into(),
            verdict,
            finding,
            seconds: start.elapsed().as_secs_f64(),
        }
    };
    statements.iter().map(run).collect()
}

fn measure_mean(finding: &mut Finding, quantity: &str, mean: Mean, bound: Bound, basis: Basis) {
    finding.measure(format!("{quantity} ({} samples)", mean.count), mean.value, bound, basis);
    if let Some(last) = finding.measurements.pop() {
        finding.measurements.push(last.with_standard_error(mean.standard_error));
    }
}

fn shifted(mean: Mean, by: f64) -> Mean {
    Mean { value: mean.value + by, ..mean }
}

fn straight_lines(subject: &Subject) -> Result<Finding, CheckError> {
    let paths = subject.finest()?;
    let bound = Bound::AtMost(subject.tolerance);
    let mut finding = Finding::new();
    measure_mean(
        &mut finding,
        "straightness - 1",
        shifted(paths.straightness(), -1.0),
        bound,
        subject.requirement(),
    );
    let ratio = shifted(paths.energy_ratio(), -1.0);
    measure_mean(&mut finding, "kinetic / displacement energy - 1", ratio, bound, subject.requirement());
    if paths.steps() > 1 {
        let bound = Bound::AtMost(subject.tolerance);
        measure_mean(
            &mut finding,
            "acceleration E|v' - v| / E|v|",
            paths.acceleration(),
            bound,
            subject.requirement(),
        );
    }
    // Every interior point leaves its path by one mean displacement in alternating directions.
    let mut bent = subject.paths[subject.paths.len() - 1].positions.clone();
    let size = (2.0 * paths.horizon() * paths.displacement_energy().value).sqrt().max(1e-3);
    let last = paths.steps();
    if last > 1 {
        for k in 1..last {
            bent.index_axis_mut(Axis(0), k)
                .column_mut(0)
                .mapv_inplace(|x| x + size * if k % 2 == 0 { 1.0 } else { -1.0 });
        }
        let control = Trajectories::new(paths.times().to_vec(), bent.view())?;
        finding.control(
            "interior points displaced",
            control.straightness().value - 1.0,
            bound,
            subject.requirement(),
        );
    } else {
        return Err(CheckError::NotApplicable("a single step is a straight line by construction".into()));
    }
    finding.figure("kinetic energy", paths.kinetic_energy().value);
    finding.figure("displacement energy", paths.displacement_energy().value);
    let mut plot = Plot::new(
        "Mean speed along the paths",
        "t",
        "E |v|",
        "Constant for an optimal flow; one line for each step size.",
    );
    for path in &subject.paths {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let speeds = (0..paths.steps()).map(|k| (paths.times()[k], mean_speed(&paths, k))).collect();
        plot = plot.line(format!("{} steps", paths.steps()), speeds);
    }
    finding.plot(plot);
    Ok(finding)
}

fn mean_speed(paths: &Trajectories, k: usize) -> f64 {
    let step = &paths.at(k + 1) - &paths.at(k);
    let h = paths.times()[k + 1] - paths.times()[k];
    step.rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f64>() / (h * paths.samples() as f64)
}

fn step_size(subject: &Subject) -> Result<Finding, CheckError> {
    let reference = subject.finest()?;
    if subject.paths.len() < 2 {
        return Err(CheckError::NotApplicable("needs simulations with several step sizes".into()));
    }
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    for path in &subject.paths[..subject.paths.len() - 1] {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let quantity = format!("deviation of {} steps from {}", paths.steps(), reference.steps());
        measure_mean(
            &mut finding,
            &quantity,
            paths.step_size_deviation(&reference)?,
            bound,
            subject.requirement(),
        );
        finding.figure(format!("kinetic energy, {} steps", paths.steps()), paths.kinetic_energy().value);
    }
    // Ending where one started is a deviation of one.
    let path = &subject.paths[subject.paths.len() - 1];
    let still = Array3::from_shape_fn((2, reference.samples(), path.positions.shape()[2]), |(_, i, c)| {
        path.positions[[0, i, c]]
    });
    let still = Trajectories::new(vec![0.0, reference.horizon()], still.view())?;
    let control = still.step_size_deviation(&reference)?.value;
    finding.control("a flow that does not move", control, bound, subject.requirement());
    Ok(finding)
}

fn hamilton_jacobi(subject: &Subject) -> Result<Finding, CheckError> {
    let networks = subject.networks()?;
    let lambda = subject.parameters()?.lambda;
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    let mut plot = Plot::new(
        "Mean Hamiltonian along the paths",
        "t",
        "E |grad U|^2 / (2 lambda)",
        "Constant at the optimum.",
    );
    for path in &subject.paths {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let steps = paths.steps();
        let mut gradients = Array3::zeros((steps, paths.samples(), path.positions.shape()[2]));
        let mut rates = Array2::zeros((steps, paths.samples()));
        for k in 0..steps {
            let jet = networks.potential.jet(paths.at(k), path.times[k])?;
            gradients.index_axis_mut(Axis(0), k).assign(&jet.gradients);
            rates.row_mut(k).assign(&jet.time_derivatives);
        }
        let residual = paths.hamilton_jacobi(rates.view(), gradients.view(), lambda)?;
        let name = |what: &str| format!("{what}, {steps} steps");
        finding.figure(name("raw residual"), residual.raw.value);
        finding.figure(name("raw residual with flipped sign"), residual.sign_flipped.value);
        measure_mean(
            &mut finding,
            &name("residual / (lambda K)"),
            residual.relative,
            bound,
            subject.requirement(),
        );
        measure_mean(
            &mut finding,
            &name("gauged residual / (lambda K)"),
            residual.gauged_relative,
            bound,
            subject.requirement(),
        );
        // At a solution U_t equals the Hamiltonian, so dropping U_t leaves one energy.
        let frozen =
            paths.hamilton_jacobi(Array2::zeros(rates.raw_dim()).view(), gradients.view(), lambda)?;
        finding.control(name("time feature dropped"), frozen.relative.value, bound, subject.requirement());
        let line =
            residual.mean_hamiltonian.iter().zip(&path.times).map(|(mean, t)| (*t, mean.value)).collect();
        plot = plot.line(format!("{steps} steps"), line);
    }
    finding.plot(plot);
    Ok(finding)
}

fn terminal_condition(subject: &Subject) -> Result<Finding, CheckError> {
    let discriminator = subject.discriminator()?;
    let parameters = subject.parameters()?;
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    for path in &subject.paths {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let potential = subject.networks()?.potential.jet(paths.endpoints(), parameters.horizon)?.gradients;
        let critic = discriminator.jet(paths.endpoints(), 0.0)?.gradients;
        let residual = terminal_residual(potential.view(), critic.view())?;
        finding.figure(format!("terminal residual, {} steps", paths.steps()), residual.value);
        finding.figure(
            format!("mean |grad U(., T)|, {} steps", paths.steps()),
            slope(potential.view()).mean.value,
        );
        let relative = Mean {
            value: residual.value / parameters.lipschitz,
            standard_error: residual.standard_error / parameters.lipschitz,
            ..residual
        };
        let quantity = format!("terminal residual / L, {} steps", paths.steps());
        measure_mean(&mut finding, &quantity, relative, bound, subject.requirement());
        let unit = critic.mapv(|g| g + parameters.lipschitz);
        let control = terminal_residual(potential.view(), unit.view())?.value / parameters.lipschitz;
        finding.control("critic tilted by L on every axis", control, bound, subject.requirement());
    }
    Ok(finding)
}

fn lipschitz(subject: &Subject) -> Result<Finding, CheckError> {
    let discriminator = subject.discriminator()?;
    let l = subject.parameters()?.lipschitz;
    let paths = subject.finest()?;
    let mut sets = vec![("generated samples", paths.endpoints().to_owned())];
    if let Some(data) = &subject.data {
        let count = data.nrows().min(paths.samples());
        let data = data.slice(s![..count, ..]).to_owned();
        let middle = 0.5 * (&data + &paths.endpoints().slice(s![..count, ..]));
        sets.push(("data", data));
        sets.push(("midpoints between both", middle));
    }
    let mut finding = Finding::new();
    let bound = Bound::AtMost(l * (1.0 + subject.tolerance));
    for (name, points) in sets {
        let slopes = slope(discriminator.jet(points.view(), 0.0)?.gradients.view());
        measure_mean(
            &mut finding,
            &format!("mean |grad phi| at {name}"),
            slopes.mean,
            bound,
            subject.requirement(),
        );
        finding.measure(format!("largest |grad phi| at {name}"), slopes.max, bound, subject.requirement());
        let factor = 1.0 + 2.0 * l * (1.0 + subject.tolerance) / slopes.max.max(1e-12);
        finding.control(
            format!("critic scaled up at {name}"),
            slopes.max * factor,
            bound,
            subject.requirement(),
        );
    }
    Ok(finding)
}

fn speed(subject: &Subject) -> Result<Finding, CheckError> {
    let parameters = subject.parameters()?;
    let limit = parameters.lipschitz / parameters.lambda;
    let paths = subject.finest()?;
    let fastest = largest((0..paths.steps()).map(|k| {
        let step = &paths.at(k + 1) - &paths.at(k);
        largest(step.rows().into_iter().map(|row| row.dot(&row).sqrt()))
            / (paths.times()[k + 1] - paths.times()[k])
    }));
    let bound = Bound::AtMost(limit * (1.0 + subject.tolerance));
    let mut finding = Finding::new();
    finding.measure("largest |v| over samples and steps", fastest, bound, subject.requirement());
    let factor = (2.0 * limit / fastest.max(1e-12)).max(2.0);
    finding.control("time running faster", fastest * factor, bound, subject.requirement());
    Ok(finding)
}

fn optimality(subject: &Subject) -> Result<Finding, CheckError> {
    let parameters = subject.parameters()?;
    let data =
        subject.data.as_ref().ok_or_else(|| CheckError::NotApplicable("needs data (--data)".into()))?;
    let paths = subject.finest()?;
    let uniform = |points: Array2<f64>| {
        let n = points.nrows();
        Measure { points, weights: vec![1.0 / n as f64; n] }
    };
    let (source, end) = (uniform(paths.at(0).to_owned()), uniform(paths.endpoints().to_owned()));
    let target = uniform(data.clone());
    let optimum = huber_transport(&source, &target, subject.kind, parameters)?;
    let terminal = lipschitz_divergence(&end, &target, subject.kind, parameters.lipschitz)?;
    let kinetic = parameters.lambda * paths.kinetic_energy().value;
    let objective = kinetic + terminal.upper;
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    let quantity = "(J - J*) / J*, both certified, same samples";
    finding
        .measure(quantity, (objective - optimum.lower) / optimum.upper, bound, subject.requirement())
        .measure(
            "J - J*, never negative",
            objective - optimum.lower,
            Bound::AtLeast(-1e-9),
            Basis::Exact("J* is the infimum".into()),
        )
        .control(
            "one more J* of kinetic energy (a detour)",
            (objective + optimum.upper - optimum.lower) / optimum.upper,
            bound,
            subject.requirement(),
        )
        .figure("J", objective)
        .figure("lambda K", kinetic)
        .figure("D_f^L of the generated samples, lower", terminal.lower)
        .figure("D_f^L of the generated samples, upper", terminal.upper)
        .figure("D_f^L, divergence part", terminal.divergence)
        .figure("J*, lower", optimum.lower)
        .figure("J*, upper", optimum.upper)
        .figure("L T / lambda", parameters.kink());
    Ok(finding)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Points that move straight from `(i, 0)` to the data atom `(i, 1)` in unit time.
    fn subject(bend: f64) -> Subject {
        let positions = Array3::from_shape_fn((9, 12, 2), |(k, i, c)| {
            let t = k as f64 / 8.0;
            if c == 0 { i as f64 + bend * (std::f64::consts::PI * t).sin() } else { t }
        });
        let data = positions.index_axis(Axis(0), 8).to_owned();
        let times = (0..9).map(|k| k as f64 / 8.0).collect();
        Subject {
            name: "planted".into(),
            paths: vec![Path { times, positions }],
            networks: None,
            data: Some(data),
            parameters: Some(ProximalParameters::new(4.0, 0.5, 1.0).unwrap()),
            kind: DivergenceKind::KullbackLeibler,
            tolerance: 0.05,
        }
    }

    fn verdict(subject: &Subject, id: &str) -> Verdict {
        examine(subject).into_iter().find(|o| o.id == id).unwrap().verdict
    }

    #[test]
    fn an_optimal_flow_passes_and_a_bent_one_fails() {
        // Every atom moves to its own data atom at distance 1: optimal, since L exceeds the slope it needs.
        for id in ["model_optimality", "model_straight_lines", "model_speed"] {
            assert_eq!(verdict(&subject(0.0), id), Verdict::Holds, "{id}");
        }
        for id in ["model_optimality", "model_straight_lines"] {
            assert!(matches!(verdict(&subject(0.6), id), Verdict::Fails(_)), "{id}");
        }
    }

    #[test]
    fn what_cannot_be_measured_is_not_applicable() {
        for id in ["model_step_size", "model_hamilton_jacobi", "model_terminal_condition", "model_lipschitz"]
        {
            assert!(matches!(verdict(&subject(0.0), id), Verdict::NotApplicable(_)), "{id}");
        }
    }
}
