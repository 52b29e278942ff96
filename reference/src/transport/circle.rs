//! Optimal transport on a circle with the geodesic distance `min_k |x - y + k period|`.
//!
//! `W1` is a median: with the distribution functions `F`, `G` from any cut, `W1 = min_a int |F - G - a|`.
//! `W2`: lift one measure to the line, periodically; pairing quantiles shifted by `s`,
//! `C(s) = int_0^1 (X(u) - Y(u - s))^2 du` is convex and piecewise linear in `s` for atoms, and `W2^2 = min_s C(s)`
//! (Delon, Salomon, Sobolevski 2010). Both are exact up to rounding; `O(n log n)` after which `W2` adds `O(n)` per
//! step of a search in `s`.

use super::certificate::compensated_sum;
use super::line::sorted_atoms;
use crate::specification::InvalidInput;

/// Steps of the search for the shift; each keeps 2/3 of the interval, so that it ends far below rounding.
const SEARCH_STEPS: usize = 100;

fn wrapped(places: &[f64], period: f64) -> Result<Vec<f64>, InvalidInput> {
    InvalidInput::require_positive("period", period)?;
    Ok(places.iter().map(|place| place.rem_euclid(period)).collect())
}

/// `W1` on the circle of the given circumference; places are taken modulo `period`.
/// Errors: `period`, lengths, non-finite places, weights that are not probabilities.
///
/// ```
/// use proxflow_reference::transport::circle::w1_circle;
/// assert!((w1_circle(1.0, &[0.05], &[1.0], &[0.95], &[1.0])? - 0.1).abs() < 1e-15);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn w1_circle(period: f64, x: &[f64], p: &[f64], y: &[f64], q: &[f64]) -> Result<f64, InvalidInput> {
    let sources = sorted_atoms("x", &wrapped(x, period)?, p)?;
    let targets = sorted_atoms("y", &wrapped(y, period)?, q)?;
    let mut jumps: Vec<(f64, f64)> = sources.iter().map(|atom| (atom.0, atom.1)).collect();
    jumps.extend(targets.iter().map(|atom| (atom.0, -atom.1)));
    jumps.sort_by(|a, b| a.0.total_cmp(&b.0));
    // F - G on each arc between neighbouring atoms, with the length of the arc.
    let mut difference = 0.0;
    let mut arcs: Vec<(f64, f64)> = Vec::with_capacity(jumps.len());
    for k in 0..jumps.len() {
        difference += jumps[k].1;
        let next = if k + 1 < jumps.len() { jumps[k + 1].0 } else { jumps[0].0 + period };
        arcs.push((difference, next - jumps[k].0));
    }
    arcs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut length = 0.0;
    let median = arcs.iter().find(|arc| {
        length += arc.1;
        length >= 0.5 * period
    });
    let median = median.map_or(0.0, |arc| arc.0);
    Ok(compensated_sum(arcs.iter().map(|(value, length)| (value - median).abs() * length)))
}

/// `W2` on the circle of the given circumference; places are taken modulo `period`. Errors as in [`w1_circle`].
///
/// ```
/// use proxflow_reference::transport::circle::w2_circle;
/// assert!((w2_circle(1.0, &[0.05], &[1.0], &[0.95], &[1.0])? - 0.1).abs() < 1e-9);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn w2_circle(period: f64, x: &[f64], p: &[f64], y: &[f64], q: &[f64]) -> Result<f64, InvalidInput> {
    let sources = sorted_atoms("x", &wrapped(x, period)?, p)?;
    let targets = sorted_atoms("y", &wrapped(y, period)?, q)?;
    let (mut low, mut high) = (-1.0, 1.0);
    for _ in 0..SEARCH_STEPS {
        let third = (high - low) / 3.0;
        if shifted_cost(period, &sources, &targets, low + third)
            <= shifted_cost(period, &sources, &targets, high - third)
        {
            high -= third;
        } else {
            low += third;
        }
    }
    Ok(shifted_cost(period, &sources, &targets, 0.5 * (low + high)).max(0.0).sqrt())
}

/// `C(s) = int_0^1 (X(u) - Y(u - s))^2 du` for sorted atoms and `-1 <= s <= 1`.
fn shifted_cost(period: f64, sources: &[(f64, f64, u32)], targets: &[(f64, f64, u32)], shift: f64) -> f64 {
    // Y starts at quantile -s: whole turns lift it, the rest enters the list of targets at a partial atom.
    let turns = (-shift).floor();
    let mut lift = turns * period;
    let mut skipped = -shift - turns;
    let mut t = 0;
    while t + 1 < targets.len() && skipped >= targets[t].1 {
        skipped -= targets[t].1;
        t += 1;
    }
    let mut demand = (targets[t].1 - skipped).max(0.0);
    let mut cost = 0.0;
    for &(place, mass, _) in sources {
        let mut supply = mass;
        while supply > 0.0 {
            let paired = supply.min(demand);
            cost += paired * (place - targets[t].0 - lift).powi(2);
            supply -= paired;
            demand -= paired;
            if demand <= 0.0 {
                t += 1;
                if t == targets.len() {
                    t = 0;
                    lift += period;
                }
                demand = targets[t].1;
            }
        }
    }
    cost
}
