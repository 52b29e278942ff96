//! Balanced transport with forbidden pairs (infinite costs).
//!
//! A plan avoids the forbidden pairs if they carry no mass once they cost enough. So each of them gets the price `M`, and
//! `M` rises until none is used; a price beyond `(n + m) (max c - min c)` is enough, if any is. Whether any is,
//! a transport problem with the costs 0 (allowed) and 1 (forbidden) decides with a certificate: its value is the mass that
//! every plan must put on forbidden pairs. The result is certified with the infinite costs themselves.

use ndarray::Array2;

use super::plan::BalancedTransport;
use super::simplex::Problem;
use crate::certificate::{Sign, Termination};
use crate::observer::{Stopped, Watch};
use crate::specification::InvalidInput;
use crate::transport::certificate::lower_transform;
use crate::transport::cost::{DenseCost, GroundCost, row_of};

/// Mass on forbidden pairs that rounding of the marginals explains.
const ROUNDING_MASS: f64 = 1e-12;

/// The first price, in units of `max c - min c`, and the factor by which it rises.
const PRICE: f64 = 4.0;

pub(super) fn solve(problem: &Problem<'_>, watch: &mut Watch<'_>) -> Result<BalancedTransport, InvalidInput> {
    let matrix = dense(problem.cost);
    let finite = matrix.iter().copied().filter(|c| c.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(c), h.max(c)));
    let forbid = |allowed: &dyn Fn(f64) -> f64, price: f64| {
        DenseCost::new(matrix.mapv(|c| if c.is_finite() { allowed(c) } else { price }))
    };
    let count = |c: f64| f64::from(u8::from(c == f64::INFINITY));
    // Where no pair is allowed at all, any price will do to find that out.
    let (low, high) = if high >= low { (low, high) } else { (0.0, 0.0) };
    let spread = if high > low { high - low } else { 1.0 };
    let enough = 2.0 * PRICE * (problem.p.len() + problem.q.len()) as f64;
    let mut factor = PRICE;
    loop {
        let cost = forbid(&|c| c, high + factor * spread)?;
        let priced = Problem { cost: &cost, ..*problem };
        let mut solved = priced.solve_and_certify(Sign::Any, watch);
        let charged: f64 =
            solved.plan.iter().map(|&(i, j, mass)| mass * count(matrix[[i as usize, j as usize]])).sum();
        if solved.termination == Termination::Cancelled {
            // Bounds of the priced problem bound this one from below alone.
            solved.upper = f64::INFINITY;
            return Ok(solved);
        }
        if charged <= ROUNDING_MASS {
            return Ok(certified(problem, solved, &matrix, watch));
        }
        if factor == PRICE {
            let unavoidable = forbid(&|_| 0.0, 1.0)?;
            let unavoidable = Problem { cost: &unavoidable, ..*problem }.solve_and_certify(Sign::Any, watch);
            if unavoidable.lower > ROUNDING_MASS {
                (solved.lower, solved.upper) = (f64::INFINITY, f64::INFINITY);
                solved.termination = Termination::Infeasible;
                solved.solution.plan.clear();
                return Ok(solved);
            }
        }
        if factor > enough {
            (solved.lower, solved.upper) = (f64::NEG_INFINITY, f64::INFINITY);
            solved.termination = Termination::Failed;
            return Ok(solved);
        }
        factor *= PRICE;
    }
}

/// The solution of the priced problem, certified with the infinite costs: what rounding left on forbidden pairs is dropped,
/// and the source potential is the transform over the allowed pairs.
fn certified(
    problem: &Problem<'_>,
    mut solved: BalancedTransport,
    matrix: &Array2<f64>,
    watch: &mut Watch<'_>,
) -> BalancedTransport {
    solved.solution.plan.retain(|&(i, j, _)| matrix[[i as usize, j as usize]].is_finite());
    match lower_transform(problem.cost, &solved.solution.target_potential, watch) {
        // Never below the transform over all pairs: the lower bound of the priced problem stays valid.
        Ok(phi) => {
            for (value, (own, p)) in
                solved.solution.source_potential.iter_mut().zip(phi.iter().zip(problem.p))
            {
                if *p > 0.0 {
                    *value = *own;
                }
            }
        }
        Err(Stopped) => solved.termination = Termination::Cancelled,
    }
    solved
}

fn dense(cost: &dyn GroundCost) -> Array2<f64> {
    let (n, m) = (cost.sources(), cost.targets());
    let (mut matrix, mut buffer) = (Array2::zeros((n, m)), vec![0.0; m]);
    for (i, mut row) in matrix.outer_iter_mut().enumerate() {
        row.assign(&ndarray::aview1(row_of(cost, i, &mut buffer)));
    }
    matrix
}
