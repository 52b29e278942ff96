//! How far a given flow is from optimal: `J(flow) - J*` on the same samples, as an interval.

use std::time::Instant;

use ndarray::{ArrayView3, Axis};

use super::{CombinedProximal, combined_proximal};
use crate::certificate::{Bounds, Certified, Sign, Termination, gated};
use crate::divergence::exact::probability_weights;
use crate::divergence::lipschitz::{Divergence, LipschitzRegularisedDivergence};
use crate::measure::Measure;
use crate::options::Options;
use crate::rigorous;
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::potential::distance;

/// Both terms of `J(flow) - J*`.
#[derive(Debug, Clone)]
pub struct ComparedFlow {
    /// `J = lambda K_h + D_f^L(x_N|pi)` of the flow.
    pub objective: Bounds,
    /// The flow's kinetic energy `K_h = sum_k h E|v_k|^2/2`, `v_k = (x_{k+1} - x_k)/h`, `h = T/N`.
    pub kinetic_energy: f64,
    /// `D_f^L` of the flow's end points.
    pub terminal: LipschitzRegularisedDivergence,
    /// The optimum from the flow's starting points.
    pub optimum: CombinedProximal,
}

/// `J(flow) - J*` between `J(flow).lower - J*.upper`, not below zero, and `J(flow).upper - J*.lower`, through the same gate as
/// every certificate; it ends as the worse of its two solves.
pub type OptimalityGap = Certified<ComparedFlow>;

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
    let clock = Instant::now();
    let p = probability_weights("weights", weights, n)?;
    let given = weights.unwrap_or(&p);
    let ProximalParameters { lipschitz, lambda, horizon } =
        ProximalParameters::new(parameters.lipschitz, parameters.lambda, parameters.horizon)?;
    let at = |k: usize| trajectories.index_axis_move(Axis(0), k);
    let step = horizon / (times - 1) as f64;
    let mut kinetic_energy = 0.0;
    for k in 1..times {
        for (i, mass) in p.iter().enumerate() {
            let length = distance(at(k).row(i), at(k - 1).row(i));
            kinetic_energy += mass * length * length / (2.0 * step);
        }
    }
    let law = |k: usize| Measure::new(at(k), given);
    let functional = Divergence::of(kind).lipschitz(lipschitz).options(*options);
    let terminal = functional.between(&law(times - 1)?, data)?;
    let optimum = combined_proximal(&law(0)?, data, kind, parameters, options)?;
    let running = if options.rigorous {
        rigorous::running_cost(trajectories, given, lambda, horizon)
    } else {
        Bounds { lower: lambda * kinetic_energy, upper: lambda * kinetic_energy }
    };
    let objective = sum(running, terminal.bounds(), options.rigorous);
    let opposite = Bounds { lower: -optimum.upper, upper: -optimum.lower };
    let difference = sum(objective, opposite, options.rigorous);
    // Each term of K_h carries the rounding of a distance and of a few operations, their sum that of its addends.
    let operations = 64.0 + trajectories.dim().2 as f64 + (n as f64 * times as f64).sqrt();
    let scale = running.upper + terminal.upper.abs() + optimum.upper.abs();
    let rounding = if options.rigorous { 0.0 } else { operations * f64::EPSILON * scale };
    let ended = worse(terminal.termination, optimum.termination);
    let (bounds, termination) = gated(difference, rounding, Sign::NonNegative, ended);
    Ok(Certified {
        lower: bounds.lower,
        upper: bounds.upper,
        termination,
        seconds: clock.elapsed().as_secs_f64(),
        solution: ComparedFlow { objective, kinetic_energy, terminal, optimum },
    })
}

/// The sum of two intervals, rounded outwards if asked for.
fn sum(a: Bounds, b: Bounds, outwards: bool) -> Bounds {
    let (lower, upper) = (a.lower + b.lower, a.upper + b.upper);
    if outwards {
        Bounds { lower: lower.next_down(), upper: upper.next_up() }
    } else {
        Bounds { lower, upper }
    }
}

/// Of two ends the one that says less.
fn worse(a: Termination, b: Termination) -> Termination {
    let order = [
        Termination::Failed,
        Termination::Infeasible,
        Termination::Cancelled,
        Termination::IterationLimit,
        Termination::Stalled,
    ];
    order.into_iter().find(|end| [a, b].contains(end)).unwrap_or(Termination::Converged)
}
