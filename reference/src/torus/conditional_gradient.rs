//! Conditional gradient (Frank-Wolfe) on plans, for what the smooth ascent leaves out: an active Lipschitz cap and targets
//! with empty nodes. At `psi = ln(eta/q)` the exact transforms give a dual value *and* the plan that minimises the linearised
//! primal; mixing plans keeps feasibility, so every step carries its certificate. Sublinear: the gap falls like 1/steps.

use super::level::{DualPoint, Level, PrimalPoint};
use super::smooth_dual::SmoothDual;
use super::vector::{kullback_leibler, maximum, sum_pairs, update};

/// Best primal and dual points found.
pub(crate) struct Polished {
    pub primal: PrimalPoint,
    pub dual: DualPoint,
    pub steps: usize,
}

/// Mixes plans from `start` (feasible points, or none) until the gap is at most `relative_gap * |upper|` or `limit` steps.
pub(crate) fn polish(
    level: &Level,
    start: Option<(PrimalPoint, DualPoint)>,
    relative_gap: f64,
    limit: usize,
) -> Polished {
    let mut smooth = SmoothDual::new(level.grid, level.curvature(), level.source.clone());
    // No two values of an optimal potential on the target differ by more than the largest cost.
    let dimension = level.grid.dimension as f64;
    let spread = (level.lipschitz * dimension.sqrt() / 2.0).min(level.kinetic * dimension / 4.0);
    let mut psi: Vec<f64> = level.target.iter().map(|q| if *q > 0.0 { 0.0 } else { f64::INFINITY }).collect();
    let (start, mut best) = start.unzip();
    let mut primal = start.filter(|point| point.value().is_finite());
    let mut steps = 0;
    loop {
        if let Some(point) = &primal {
            potential_of(level, &point.intermediate, spread, &mut psi);
        }
        let dual = level.dual_point(&psi);
        let cost = smooth.evaluate(&dual.phi).cost;
        let vertex = level.carried_primal(cost, &smooth.marginal, &dual);
        best = match best {
            Some(best) if best.lower >= dual.lower => Some(best),
            _ => Some(dual),
        };
        let mixed = match primal {
            Some(point) => mix(level, point, &vertex),
            None => vertex,
        };
        steps += 1;
        let dual = best.take().expect("set above");
        if steps >= limit || mixed.value() - dual.lower <= relative_gap * mixed.value().abs() {
            return Polished { primal: mixed, dual, steps };
        }
        best = Some(dual);
        primal = Some(mixed);
    }
}

/// `psi = ln(eta / q)` where the target has mass, no lower than `spread` below its largest value.
fn potential_of(level: &Level, eta: &[f64], spread: f64, psi: &mut [f64]) {
    psi.copy_from_slice(eta);
    update(psi, &level.target, |eta, q| if q > 0.0 { (eta / q).ln() } else { f64::NEG_INFINITY });
    let floor = maximum(psi) - spread;
    update(psi, &level.target, |psi, q| if q > 0.0 { psi.max(floor) } else { f64::INFINITY });
}

/// The best convex combination of two plans: the derivative of the (convex) value is bisected.
fn mix(level: &Level, mut point: PrimalPoint, vertex: &PrimalPoint) -> PrimalPoint {
    let cost_change = vertex.kinetic_cost + vertex.lipschitz_cost - point.kinetic_cost - point.lipschitz_cost;
    let mut change = vertex.intermediate.clone();
    update(&mut change, &point.intermediate, |new, old| new - old);
    let mut mixed = vec![0.0; change.len()];
    let mut derivative = |part: f64| {
        mixed.copy_from_slice(&point.intermediate);
        update(&mut mixed, &change, |old, change| (old + part * change).max(0.0));
        update(&mut mixed, &level.target, |eta, q| if q > 0.0 { (eta / q).ln() } else { 0.0 });
        cost_change + sum_pairs(&mixed, &change, |log, change| if change == 0.0 { 0.0 } else { log * change })
    };
    let (mut low, mut high) = (0.0, 1.0);
    if derivative(1.0) > 0.0 {
        for _ in 0..24 {
            let middle = 0.5 * (low + high);
            if derivative(middle) > 0.0 { high = middle } else { low = middle }
        }
    } else {
        low = 1.0;
    }
    let part = low;
    point.kinetic_cost += part * (vertex.kinetic_cost - point.kinetic_cost);
    point.lipschitz_cost += part * (vertex.lipschitz_cost - point.lipschitz_cost);
    update(&mut point.intermediate, &change, |old, change| (old + part * change).max(0.0));
    update(&mut point.terminal, &vertex.terminal, |old, new| old + part * (new - old));
    point.divergence = kullback_leibler(&point.intermediate, &level.target);
    point
}
