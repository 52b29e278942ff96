//! Both bounds as a theorem about the floating-point data (option [`Options::rigorous`](crate::Options::rigorous)).
//!
//! The measures are `sum_i w_i delta_{x_i} / sum_i w_i` with the coordinates and weights as they were given, every double
//! standing for itself. The plan and the potential of the solver are taken as doubles, too; from them
//!
//! - costs are enclosed: the distances of the solver, whose relative error is at most `(d + 16) 2^-52` (differences,
//!   squares and their sums round once each), widened by that much;
//! - `phi_i = min_j (c_ij + psi_j)` is bounded from below by one more pass in doubles rounded outwards;
//! - the rows of the plan are scaled to the exact weights, its columns (balanced transport) too, and what rounding has left
//!   over is moved at the largest cost;
//! - `f`, `f*` and all sums are evaluated in 320 bits by formulas of their own and rounded outwards at the end, for which
//!   `nu` in `Lambda` may be any number.
//!
//! The cost: one pass over the cost matrix (two for balanced transport) and 320-bit arithmetic for each atom. What is
//! trusted: IEEE arithmetic of the processor, and `astro-float-num` to within `2^-300`.

mod generator;
mod wide;

use astro_float_num::BigFloat;
use ndarray::{ArrayView3, Axis};
use rayon::prelude::*;

use self::generator::{SMALLEST_ORDER, WideGenerator};
use self::wide::{Sum, Wide, add, div, exact, mul, shares, sub};
use crate::certificate::Bounds;
use crate::divergence::Generator;
use crate::observer::{Stopped, Watch};
use crate::specification::{DivergenceKind, InvalidInput};
use crate::transport::GroundCost;
use crate::transport::certificate::SparsePlan;
use crate::transport::potential::distance;

/// A cost and the weights as they were given (any positive sum).
pub(crate) struct Data<'a> {
    pub(crate) cost: &'a dyn GroundCost,
    pub(crate) p: &'a [f64],
    pub(crate) q: &'a [f64],
}

/// Refuses what cannot be evaluated rigorously.
pub(crate) fn check(kind: DivergenceKind) -> Result<(), InvalidInput> {
    match kind {
        DivergenceKind::Alpha(order) if order < SMALLEST_ORDER => Err(InvalidInput::new(
            "f",
            format!("alpha:{order}"),
            "an order of at least 1e-30 with `rigorous`",
        )),
        _ => Ok(()),
    }
}

/// Bounds of semi-relaxed transport from a plan, a potential and the minimiser `nu` in `Lambda`.
pub(crate) fn semi_relaxed(
    data: &Data<'_>,
    generator: &Generator,
    plan: &SparsePlan,
    psi: &[f64],
    nu: f64,
    watch: &mut Watch<'_>,
) -> Result<Bounds, Stopped> {
    let Some(wide) = Wide::new() else { return Ok(Bounds::UNKNOWN) };
    let mut f = WideGenerator { kind: generator.kind(), centred: generator.is_centred(), wide };
    let (p, q) = (shares(data.p), shares(data.q));
    let phi = transform_from_below(data.cost, psi, watch)?;
    let lower = cumulant_from_above(&mut f, data, &q, psi, nu, watch)?;
    let lower = lower.map_or(f64::NEG_INFINITY, |mut sum| {
        p.iter().zip(&phi).filter(|(p, _)| !p.is_zero()).for_each(|(p, phi)| sum.add(&mul(p, &exact(*phi))));
        sum.below()
    });

    let plan = scale_rows(plan, &p);
    let mut sum = transport_from_above(data.cost, &plan);
    let mut eta = vec![exact(0.0); q.len()];
    plan.iter().for_each(|(_, j, mass)| eta[*j] = add(&eta[*j], mass));
    for (eta, q) in eta.iter().zip(&q) {
        watch.tick()?;
        let term = match (q.is_zero(), eta.is_zero()) {
            (true, true) => continue,
            (true, false) => f.recession().map(|slope| mul(eta, &slope)),
            (false, _) => f.value(&div(eta, q)).map(|value| mul(q, &value)),
        };
        let Some(term) = term else { return Ok(Bounds { lower, upper: f64::INFINITY }) };
        sum.add(&term);
    }
    Ok(Bounds { lower, upper: sum.above() })
}

/// `-nu - sum_j q_j f*(psi_j - nu)` as a sum to go on with; `nu` is raised until the constraint of atoms without weight holds.
fn cumulant_from_above(
    f: &mut WideGenerator,
    data: &Data<'_>,
    q: &[BigFloat],
    psi: &[f64],
    mut nu: f64,
    watch: &mut Watch<'_>,
) -> Result<Option<Sum>, Stopped> {
    if let Some(recession) = f.recession() {
        let highest = psi.iter().zip(data.q).filter(|(_, q)| **q <= 0.0).map(|(psi, _)| *psi);
        let highest = highest.fold(f64::NEG_INFINITY, f64::max);
        // The recession slope is known to 2^-300; a unit in the last place of a double covers that.
        let least = if highest.is_finite() { sub(&exact(highest), &recession) } else { exact(f64::MIN) };
        for _ in 0..8 {
            let holds = sub(&exact(nu.next_down()), &least);
            if !holds.is_negative() || holds.is_zero() {
                break;
            }
            nu = nu.next_up();
        }
        if highest.is_finite() && sub(&exact(nu), &least).is_negative() {
            return Ok(None);
        }
    }
    let mut sum = Sum::new();
    sum.subtract(&exact(nu));
    for (q, psi) in q.iter().zip(psi).filter(|(q, _)| !q.is_zero()) {
        watch.tick()?;
        let Some(value) = f.conjugate(&sub(&exact(*psi), &exact(nu))) else { return Ok(None) };
        sum.subtract(&mul(q, &value));
    }
    Ok(Some(sum))
}

/// Bounds of `lambda K_h = lambda sum_k h E|v_k|^2/2` for positions `(N + 1, n, d)` at equal steps of `[0, horizon]` and weights
/// of any positive sum. Distances are enclosed as those of the costs are.
pub(crate) fn running_cost(positions: ArrayView3<f64>, weights: &[f64], lambda: f64, horizon: f64) -> Bounds {
    let (times, _, dimension) = positions.dim();
    let relative = (dimension as f64 + 16.0) * (-52f64).exp2();
    // Squares below the smallest double are lost: at most d 2^-1074 under the root.
    let lost = (dimension as f64).sqrt() * (-536f64).exp2();
    let shares = shares(weights);
    let (mut least, mut most) = (Sum::new(), Sum::new());
    for k in 1..times {
        let (before, after) = (positions.index_axis(Axis(0), k - 1), positions.index_axis(Axis(0), k));
        for (i, share) in shares.iter().enumerate() {
            let length = distance(after.row(i), before.row(i));
            let slack = (relative * length + lost).next_up();
            let low = exact((length - slack).next_down().max(0.0));
            let high = exact((length + slack).next_up());
            least.add(&mul(share, &mul(&low, &low)));
            most.add(&mul(share, &mul(&high, &high)));
        }
    }
    // lambda N / (2 T), exact up to 2^-318.
    let factor = div(&mul(&exact(lambda), &exact((times - 1) as f64)), &mul(&exact(2.0), &exact(horizon)));
    let scaled = |sum: f64| {
        let mut scaled = Sum::new();
        scaled.add(&mul(&exact(sum), &factor));
        scaled
    };
    Bounds { lower: scaled(least.below().max(0.0)).below().max(0.0), upper: scaled(most.above()).above() }
}

/// Bounds of balanced transport from a plan and a potential; costs finite.
pub(crate) fn balanced(
    data: &Data<'_>,
    plan: &SparsePlan,
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Bounds, Stopped> {
    let (p, q) = (shares(data.p), shares(data.q));
    let phi = transform_from_below(data.cost, psi, watch)?;
    let mut lower = Sum::new();
    p.iter().zip(&phi).filter(|(p, _)| !p.is_zero()).for_each(|(p, phi)| lower.add(&mul(p, &exact(*phi))));
    q.iter()
        .zip(psi)
        .filter(|(q, _)| !q.is_zero())
        .for_each(|(q, psi)| lower.subtract(&mul(q, &exact(*psi))));

    // Columns that are too full are scaled down; what is taken away goes wherever there is room, at the largest cost.
    let mut plan = scale_rows(plan, &p);
    let mut columns = vec![exact(0.0); q.len()];
    plan.iter().for_each(|(_, j, mass)| columns[*j] = add(&columns[*j], mass));
    let mut moved = Sum::new();
    for (column, q) in columns.iter().zip(&q) {
        let excess = sub(column, q);
        if !excess.is_negative() {
            moved.add(&excess);
        }
    }
    for (_, j, mass) in &mut plan {
        if !sub(&columns[*j], &q[*j]).is_negative() && !columns[*j].is_zero() {
            *mass = div(&mul(mass, &q[*j]), &columns[*j]);
        }
    }
    let mut upper = transport_from_above(data.cost, &plan);
    let largest = largest_from_above(data.cost, watch)?;
    upper.add(&mul(&exact(moved.above()), &exact(largest.max(0.0))));
    Ok(Bounds { lower: lower.below(), upper: upper.above() })
}

/// Rows scaled so that row `i` sums to `p_i`.
fn scale_rows(plan: &SparsePlan, p: &[BigFloat]) -> Vec<(usize, usize, BigFloat)> {
    let mut rows = vec![exact(0.0); p.len()];
    plan.iter().for_each(|&(i, _, mass)| rows[i as usize] = add(&rows[i as usize], &exact(mass)));
    let scaled = |&(i, j, mass): &(u32, u32, f64)| {
        let (i, j) = (i as usize, j as usize);
        (i, j, div(&mul(&exact(mass), &p[i]), &rows[i]))
    };
    plan.iter().map(scaled).collect()
}

/// `<c, G>` with the costs rounded up.
fn transport_from_above(cost: &dyn GroundCost, plan: &[(usize, usize, BigFloat)]) -> Sum {
    let (relative, absolute) = cost.enclosure();
    let mut sum = Sum::new();
    for (i, j, mass) in plan {
        let c = cost.entry(*i, *j);
        sum.add(&mul(mass, &exact((c + (relative * c.abs() + absolute)).next_up().next_up())));
    }
    sum
}

/// A number above all costs.
fn largest_from_above(cost: &dyn GroundCost, watch: &mut Watch<'_>) -> Result<f64, Stopped> {
    let (relative, absolute) = cost.enclosure();
    let mut largest = f64::NEG_INFINITY;
    let mut buffer = vec![0.0; cost.targets()];
    watch.in_pieces(cost.sources(), |rows| {
        for i in rows {
            cost.fill_row(i, &mut buffer);
            largest = buffer.iter().fold(largest, |largest, c| largest.max(*c));
        }
    })?;
    Ok((largest + (relative * largest.abs() + absolute)).next_up().next_up())
}

/// Doubles below `min_j (c_ij + psi_j)`.
fn transform_from_below(
    cost: &dyn GroundCost,
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>, Stopped> {
    let (relative, absolute) = cost.enclosure();
    // Two roundings of c - (relative |c| + absolute), one of the sum with psi: at most 2^-50 of what is added up.
    let margin = (-50f64).exp2();
    let mut values = vec![0.0; cost.sources()];
    watch.in_pieces(cost.sources(), |rows| {
        let first = rows.start;
        values[rows].par_iter_mut().enumerate().for_each_init(
            || vec![0.0; psi.len()],
            |buffer, (k, value)| {
                cost.fill_row(first + k, buffer);
                *value = buffer.iter().zip(psi).fold(f64::INFINITY, |least, (c, psi)| {
                    let c_below = c - (relative * c.abs() + absolute);
                    least.min((c_below + psi) - margin * (c.abs() + psi.abs()))
                });
                *value = value.next_down();
            },
        );
    })?;
    Ok(values)
}
