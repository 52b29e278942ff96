//! Optimal transport on the line: the monotone plan is optimal for every convex cost of the difference.
//!
//! With quantile functions `X(u)`, `Y(u)`: `W_k^k = int_0^1 |X(u) - Y(u)|^k du`. Exact up to rounding, `O(n log n)`.

use super::certificate::{SparsePlan, compensated_sum};
use super::semi_relaxed::checked_weights;
use crate::specification::InvalidInput;

/// Atoms on the line sorted by place: place, mass, index before sorting. Atoms without mass are left out.
pub(super) fn sorted_atoms(
    name: &str,
    places: &[f64],
    weights: &[f64],
) -> Result<Vec<(f64, f64, u32)>, InvalidInput> {
    if let Some((k, value)) = places.iter().enumerate().find(|(_, place)| !place.is_finite()) {
        return Err(InvalidInput::new(format!("{name}[{k}]"), value, "finite"));
    }
    let weights = checked_weights(&format!("weights of {name}"), weights, places.len())?;
    let mut atoms: Vec<(f64, f64, u32)> = places
        .iter()
        .zip(&weights)
        .enumerate()
        .filter(|(_, (_, mass))| **mass > 0.0)
        .map(|(k, (place, mass))| (*place, *mass, k as u32))
        .collect();
    atoms.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    Ok(atoms)
}

/// The monotone plan `(i, j, mass)` between `sum_i p_i delta_{x_i}` and `sum_j q_j delta_{y_j}`, by increasing place.
/// Errors: lengths, non-finite places, weights that are not probabilities.
///
/// ```
/// use proxflow_reference::transport::line::monotone_plan;
/// let plan = monotone_plan(&[1.0, 0.0], &[0.5, 0.5], &[5.0, 2.0], &[0.5, 0.5])?;
/// assert_eq!(plan, [(1, 1, 0.5), (0, 0, 0.5)]);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn monotone_plan(x: &[f64], p: &[f64], y: &[f64], q: &[f64]) -> Result<SparsePlan, InvalidInput> {
    let (sources, targets) = (sorted_atoms("x", x, p)?, sorted_atoms("y", y, q)?);
    let (mut s, mut t) = (0, 0);
    let (mut supply, mut demand) = (sources[0].1, targets[0].1);
    let mut plan = Vec::with_capacity(sources.len() + targets.len());
    loop {
        let last = s + 1 == sources.len() && t + 1 == targets.len();
        // At the end rounding may leave a little of one side only; it goes with the last pair.
        let mass = if last { supply.max(demand) } else { supply.min(demand) };
        if mass > 0.0 {
            plan.push((sources[s].2, targets[t].2, mass));
        }
        if last {
            return Ok(plan);
        }
        (supply, demand) = (supply - mass, demand - mass);
        if (supply <= demand && s + 1 < sources.len()) || t + 1 == targets.len() {
            s += 1;
            supply += sources[s].1;
        } else {
            t += 1;
            demand += targets[t].1;
        }
    }
}

/// `W1` on the line.
///
/// ```
/// use proxflow_reference::transport::line::w1_line;
/// assert_eq!(w1_line(&[0.0, 1.0], &[0.5, 0.5], &[2.0], &[1.0])?, 1.5);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn w1_line(x: &[f64], p: &[f64], y: &[f64], q: &[f64]) -> Result<f64, InvalidInput> {
    let plan = monotone_plan(x, p, y, q)?;
    Ok(compensated_sum(plan.iter().map(|&(i, j, mass)| mass * (x[i as usize] - y[j as usize]).abs())))
}

/// `W2` on the line.
///
/// ```
/// use proxflow_reference::transport::line::w2_line;
/// assert_eq!(w2_line(&[0.0, 1.0], &[0.5, 0.5], &[3.0, 4.0], &[0.5, 0.5])?, 3.0);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn w2_line(x: &[f64], p: &[f64], y: &[f64], q: &[f64]) -> Result<f64, InvalidInput> {
    let plan = monotone_plan(x, p, y, q)?;
    Ok(compensated_sum(plan.iter().map(|&(i, j, mass)| mass * (x[i as usize] - y[j as usize]).powi(2)))
        .sqrt())
}
