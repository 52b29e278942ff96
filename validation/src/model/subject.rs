//! The model under examination: its simulations, its networks, and what is known of its problem.

use ndarray::{Array2, Array3, ArrayView2, Axis};
use proxflow_reference::flow::Flow;
use proxflow_reference::network::Network;
use proxflow_reference::trajectory::Trajectories;
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};

use crate::array::Recorded;
use crate::claim::CheckError;

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

    pub(super) fn trajectories(&self) -> Result<Trajectories<'_>, InvalidInput> {
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

    pub(super) fn finest(&self) -> Result<Trajectories<'_>, InvalidInput> {
        self.paths
            .last()
            .ok_or_else(|| InvalidInput::new("trajectories", "none", "at least one"))?
            .trajectories()
    }

    pub(super) fn parameters(&self) -> Result<ProximalParameters, CheckError> {
        self.parameters.ok_or_else(|| CheckError::NotApplicable("lambda, L and T are not known".into()))
    }
}

/// Root mean square distance of the first and last points of the finest simulation from their common centre; 1 where they all
/// coincide.
pub(super) fn spread(subject: &Subject) -> f64 {
    let Some(path) = subject.paths.last() else { return 1.0 };
    let ends = [0, path.times.len() - 1].map(|k| path.positions.index_axis(Axis(0), k));
    let count = (2 * ends[0].nrows()) as f64;
    let centre = (ends[0].sum_axis(Axis(0)) + ends[1].sum_axis(Axis(0))) / count;
    let square: f64 = ends.iter().map(|end| (end - &centre).mapv(|x| x * x).sum()).sum();
    if square > 0.0 { (square / count).sqrt() } else { 1.0 }
}
