//! How far a given flow is from optimal: `J(flow) - J*` on the same samples, as an interval.

use ndarray::{ArrayView3, Axis};

use super::{CombinedProximal, combined_proximal};
use crate::certificate::Bounds;
use crate::divergence::exact::probability_weights;
use crate::divergence::lipschitz::{Divergence, LipschitzRegularisedDivergence};
use crate::measure::Measure;
use crate::options::Options;
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::potential::distance;

/// `J(flow) - J*` between two bounds, with both terms.
#[derive(Debug, Clone)]
pub struct OptimalityGap {
    /// `J(flow).lower - J*.upper`.
    pub lower: f64,
    /// `J(flow).upper - J*.lower`.
    pub upper: f64,
    /// `J = lambda K_h + D_f^L(x_N|pi)` of the flow.
    pub objective: Bounds,
    /// The flow's kinetic energy `K_h = sum_k h E|v_k|^2/2`, `v_k = (x_{k+1} - x_k)/h`, `h = T/N`.
    pub kinetic_energy: f64,
    /// `D_f^L` of the flow's end points.
    pub terminal: LipschitzRegularisedDivergence,
    /// The optimum from the flow's starting points.
    pub optimum: CombinedProximal,
}

/// `J = lambda K_h + D_f^L(x_N|pi)` of the flow `trajectories` `(N + 1, n, d)` on a uniform time grid of `[0, T]`, minus `J*`
/// from its starting points. The interval contains the true difference, which is non-negative.
///
/// Weights of the samples default to uniform. Refused: fewer than two times, coordinates that are not finite, and what
/// [`combined_proximal`] refuses. The observer sees the flow's terminal cost first, then the optimum.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::proximal::optimality_gap;
/// use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
/// let data = Measure::uniform(array![[1.0]])?;
/// let parameters = ProximalParameters::new(9.0, 1.0, 1.0)?;
/// let detour = array![[[0.0]], [[2.0]], [[1.0]]]; // (N + 1, n, d)
/// let kind = DivergenceKind::KullbackLeibler;
/// let gap = optimality_gap(detour.view(), None, &data, kind, parameters, &Options::new())?;
/// // sum_k |x_{k+1} - x_k|^2 / (2h) = 4 + 1 against 1/2.
/// assert!((gap.lower - 4.5).abs() < 1e-12 && (gap.upper - 4.5).abs() < 1e-12);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn optimality_gap(
    trajectories: ArrayView3<f64>,
    weights: Option<&[f64]>,
    data: &Measure,
    kind: DivergenceKind,
    parameters: ProximalParameters,
    options: &Options<'_>,
) -> Result<OptimalityGap, InvalidInput> {
    let (times, n, _) = trajectories.dim();
    if times < 2 {
        return Err(InvalidInput::new("trajectories", format!("{times} times"), "(N + 1, n, d) with N >= 1"));
    }
    if let Some(((k, i, c), value)) = trajectories.indexed_iter().find(|(_, value)| !value.is_finite()) {
        return Err(InvalidInput::new(format!("trajectories[{k}, {i}, {c}]"), value, "finite"));
    }
    let p = probability_weights("weights", weights, n)?;
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let at = |k: usize| trajectories.index_axis_move(Axis(0), k);
    let step = horizon / (times - 1) as f64;
    let mut kinetic_energy = 0.0;
    for k in 1..times {
        for (i, mass) in p.iter().enumerate() {
            let length = distance(at(k).row(i), at(k - 1).row(i));
            kinetic_energy += mass * length * length / (2.0 * step);
        }
    }
    let law = |k: usize| Measure::new(at(k), p.as_slice());
    let functional = Divergence::of(kind).lipschitz(lipschitz).options(*options);
    let terminal = functional.between(&law(times - 1)?, data)?;
    let optimum = combined_proximal(&law(0)?, data, kind, parameters, options)?;
    let running = lambda * kinetic_energy;
    let objective = Bounds { lower: running + terminal.lower, upper: running + terminal.upper };
    Ok(OptimalityGap {
        lower: objective.lower - optimum.upper,
        upper: objective.upper - optimum.lower,
        objective,
        kinetic_energy,
        terminal,
        optimum,
    })
}
