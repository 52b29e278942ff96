//! What holds for a given model: trajectories from any program, or a checkpoint, against the statements of the paper.
//!
//! These statements are measured against stated requirements, not derived bounds: an optimal flow obeys every one of them
//! exactly, a trained one up to what its training left. The verdict says which, with numbers.

mod indicators;
mod networks;
mod optimality;
mod paths;

use ndarray::{Array2, Array3, ArrayView2, Axis};
use proxflow_reference::flow::Flow;
use proxflow_reference::network::Network;
use proxflow_reference::trajectory::{Mean, Trajectories};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};

pub use self::indicators::{Indicators, indicators};
use crate::array::Recorded;
use crate::claim::{Basis, Bound, CheckError, Finding, Outcome, Verdict};

/// One simulation: times and positions `(times, samples, d)`, with the slopes met along it where they are known.
#[derive(Debug, Clone)]
pub struct Path {
    /// Strictly increasing times.
    pub times: Vec<f64>,
    /// Positions, shape `(times, samples, d)`.
    pub positions: Array3<f64>,
    /// Derivatives of the potential at `(x_k, t_k)`.
    pub potential: Option<PotentialDerivatives>,
    /// `grad phi(x_N)`, shape `(samples, d)`.
    pub critic_gradients: Option<Array2<f64>>,
}

/// Derivatives of a potential along a path of shape `(times, samples, d)`, the last time included.
#[derive(Debug, Clone)]
pub struct PotentialDerivatives {
    /// `grad_x U(x_k, t_k)`, shape `(times, samples, d)`.
    pub gradients: Array3<f64>,
    /// `dU/dt (x_k, t_k)`, shape `(times, samples)`.
    pub time_derivatives: Array2<f64>,
}

impl Path {
    /// Times and positions alone.
    pub fn new(times: Vec<f64>, positions: Array3<f64>) -> Self {
        Self { times, positions, potential: None, critic_gradients: None }
    }

    /// A simulation read from a file; without times of its own it runs uniformly over `[0, horizon]`.
    pub fn from_recorded(recorded: Recorded, horizon: f64) -> Self {
        let steps = recorded.positions.shape()[0] - 1;
        let uniform = || (0..=steps).map(|k| horizon * k as f64 / steps as f64).collect();
        let derivatives = recorded.gradients.zip(recorded.time_derivatives);
        Self {
            times: recorded.times.unwrap_or_else(uniform),
            positions: recorded.positions,
            potential: derivatives
                .map(|(gradients, time_derivatives)| PotentialDerivatives { gradients, time_derivatives }),
            critic_gradients: recorded.critic_gradients,
        }
    }

    fn trajectories(&self) -> Result<Trajectories<'_>, InvalidInput> {
        Trajectories::new(self.times.clone(), self.positions.view())
    }
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
        let simulate = |&n: &usize| -> Result<Path, InvalidInput> {
            let flow = Flow::simulate(&networks.potential, start, parameters.horizon, n, parameters.lambda)?;
            let end = flow.positions.index_axis(Axis(0), n);
            let critic = networks.discriminator.as_ref().map(|phi| phi.jet(end, 0.0)).transpose()?;
            let (gradients, time_derivatives) = (flow.gradients, flow.time_derivatives);
            Ok(Path {
                critic_gradients: critic.map(|jet| jet.gradients),
                potential: Some(PotentialDerivatives { gradients, time_derivatives }),
                times: flow.times,
                positions: flow.positions,
            })
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
        self.paths
            .last()
            .ok_or_else(|| InvalidInput::new("trajectories", "none", "at least one"))?
            .trajectories()
    }

    fn requirement(&self) -> Basis {
        Basis::Requirement(format!("{}% of the exact value, stated in advance", 100.0 * self.tolerance))
    }

    fn parameters(&self) -> Result<ProximalParameters, CheckError> {
        self.parameters.ok_or_else(|| CheckError::NotApplicable("lambda, L and T are not known".into()))
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
            optimality::optimality,
        ),
        ("model_speed", "No sample moves faster than L / lambda.", "notation 2.2", paths::speed),
        (
            "model_straight_lines",
            "Paths are straight lines at constant speed.",
            "[22]-[29]",
            paths::straight_lines,
        ),
        ("model_step_size", "Generated samples do not depend on the step size.", "[39]", paths::step_size),
        (
            "model_hamilton_jacobi",
            "The potential solves Hamilton-Jacobi along its paths, raw and up to a gauge c(t).",
            "[43]",
            networks::hamilton_jacobi,
        ),
        (
            "model_terminal_condition",
            "grad U(., T) = grad phi at the generated samples.",
            "[44]",
            networks::terminal_condition,
        ),
        ("model_lipschitz", "The discriminator is L-Lipschitz.", "[40], [41]", networks::lipschitz),
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
            method: Vec::new(),
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
            paths: vec![Path::new(times, positions)],
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
