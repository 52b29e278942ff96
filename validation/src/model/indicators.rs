//! The optimality indicators of section 5 of docs/notation.md, as they are: one column for each step size, no bound.

use ndarray::{Axis, s};
use proxflow_reference::InvalidInput;
use proxflow_reference::trajectory::{Mean, slope, terminal_residual};
use serde::Serialize;

use super::{Path, Subject};

/// Indicators of one simulation; what the model does not tell is absent.
#[derive(Debug, Clone, Serialize)]
pub struct Indicators {
    /// Number of steps `N`.
    pub steps: usize,
    /// Mean step `h = T / N`.
    pub step: f64,
    /// Means over samples, in the order of the page.
    pub means: Vec<Indicator>,
    /// `max |grad phi(x_N)|`.
    pub critic_slope_max: Option<f64>,
}

/// One indicator.
#[derive(Debug, Clone, Serialize)]
pub struct Indicator {
    /// Name in words.
    pub name: &'static str,
    /// Mean over samples with its standard error, where the model tells it: a flow that does not move has no straightness.
    pub mean: Option<Mean>,
}

/// The indicators of every simulation of `subject`, coarsest first; the last one is the reference of the deviation.
pub fn indicators(subject: &Subject) -> Result<Vec<Indicators>, InvalidInput> {
    subject.paths.iter().map(|path| of(path, subject)).collect()
}

fn of(path: &Path, subject: &Subject) -> Result<Indicators, InvalidInput> {
    let paths = path.trajectories()?;
    let steps = paths.steps();
    let reference = subject.finest()?;
    let deviation =
        if steps == reference.steps() { None } else { Some(paths.step_size_deviation(&reference)?) };
    let residual = match (&path.potential, subject.parameters) {
        (Some(known), Some(parameters)) => Some(paths.hamilton_jacobi(
            known.time_derivatives.slice(s![..steps, ..]),
            known.gradients.slice(s![..steps, .., ..]),
            parameters.lambda,
        )?),
        _ => None,
    };
    let residual = residual.as_ref();
    let terminal = match (&path.potential, &path.critic_gradients) {
        (Some(known), Some(critic)) => {
            Some(terminal_residual(known.gradients.index_axis(Axis(0), steps), critic.view())?)
        }
        _ => None,
    };
    let critic = path.critic_gradients.as_ref().map(|gradients| slope(gradients.view()));
    Ok(Indicators {
        steps,
        step: paths.horizon() / steps as f64,
        means: [
            ("kinetic energy K_h", Some(paths.kinetic_energy())),
            ("displacement energy", Some(paths.displacement_energy())),
            ("straightness", Some(paths.straightness())),
            ("step-size deviation from the finest", deviation),
            ("acceleration", (steps > 1).then(|| paths.acceleration())),
            ("Hamilton-Jacobi residual", residual.map(|r| r.raw)),
            ("the same with the sign flipped", residual.map(|r| r.sign_flipped)),
            ("residual / (lambda K), raw", residual.map(|r| r.relative)),
            ("residual / (lambda K), gauged", residual.map(|r| r.gauged_relative)),
            ("terminal residual", terminal),
            ("mean critic slope at x_N", critic.map(|slope| slope.mean)),
        ]
        .into_iter()
        .map(|(name, mean)| Indicator { name, mean: mean.filter(|mean| mean.value.is_finite()) })
        .collect(),
        critic_slope_max: critic.map(|slope| slope.max),
    })
}
