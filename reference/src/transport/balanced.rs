//! Exact optimal transport between two fixed marginals, `min { <c, G> : G >= 0, G 1 = p, G^T 1 = q }`.

mod basis;
mod certify;
mod forbidden;
mod known;
mod plan;
mod simplex;
mod stretches;

use super::cost::GroundCost;
use super::semi_relaxed::checked_weights;
use crate::certificate::Sign;
use crate::observer::Watch;
use crate::options::Options;
use crate::specification::InvalidInput;
pub use plan::{BalancedPlan, BalancedTransport};
use simplex::Problem;

/// Solves balanced transport for `p` (length n) on the sources and `q` (length m) on the targets of `cost`, exactly.
///
/// Costs are finite and of any sign, or `+inf` for pairs that may carry no mass (see
/// [`DenseCost::with_forbidden`](super::DenseCost::with_forbidden)). Where no plan avoids those, both bounds are `+inf` and
/// the status is [`Termination::Infeasible`](crate::Termination::Infeasible). Weights are non-negative with sum 1 (to 1e-5; they are normalised).
/// Errors: lengths, weights.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{Options, Termination};
/// use proxflow_reference::transport::{DenseCost, balanced_transport};
/// let cost = DenseCost::with_forbidden(array![[f64::INFINITY, 1.0], [-2.0, 5.0]])?;
/// let solved = balanced_transport(&cost, &[0.5, 0.5], &[0.5, 0.5], &Options::new())?;
/// assert_eq!(solved.plan, [(0, 1, 0.5), (1, 0, 0.5)]);
/// assert!((solved.lower + 0.5).abs() < 1e-15 && (solved.upper + 0.5).abs() < 1e-15);
/// let impossible = balanced_transport(&cost, &[0.9, 0.1], &[0.5, 0.5], &Options::new())?;
/// assert_eq!(impossible.termination, Termination::Infeasible);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn balanced_transport(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    options: &Options<'_>,
) -> Result<BalancedTransport, InvalidInput> {
    options.check()?;
    options.in_pool(|| solve_balanced(cost, [p, q], [p, q], options, &mut options.watch(), Sign::Any))?
}

pub(super) fn solve_balanced(
    cost: &dyn GroundCost,
    [p, q]: [&[f64]; 2],
    given: [&[f64]; 2],
    options: &Options<'_>,
    watch: &mut Watch<'_>,
    sign: Sign,
) -> Result<BalancedTransport, InvalidInput> {
    let p = checked_weights("source weights", p, cost.sources())?;
    let q = checked_weights("target weights", q, cost.targets())?;
    let problem = Problem { cost, p: &p, q: &q, given, options };
    if cost.forbids() && options.rigorous {
        return Err(InvalidInput::new("rigorous", "with forbidden pairs", "finite costs"));
    }
    if cost.forbids() {
        forbidden::solve(&problem, watch)
    } else {
        Ok(problem.solve_and_certify(sign, watch))
    }
}
