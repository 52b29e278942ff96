//! Exact optimal transport between two fixed marginals, `min { <c, G> : G >= 0, G 1 = p, G^T 1 = q }`.
//!
//! The network simplex method: a spanning tree of arcs with tight potentials, arcs of negative reduced cost enter, mass is
//! pushed round the cycle they close. Ties are broken so that the tree stays strongly feasible (Cunningham: arcs without
//! mass point to the root), which rules out cycling. It starts greedily from the potentials of the thinned problem and
//! prices a few sources at a time ([`super::stretches`]).

use std::time::Instant;

use super::basis::{Basis, greedy_tree};
use super::certificate::{SparsePlan, compensated_sum, largest_charged, lower_transform, rounding_of_sums};
use super::cost::GroundCost;
use super::forbidden;
use super::pricing;
use super::semi_relaxed::checked_weights;
use super::start;
use super::stretches::{Candidate, Stretches};
use crate::certificate::{Bounds, Certified, Sign, Termination, gated};
use crate::gradient;
use crate::observer::{Progress, Stopped, Watch};
use crate::options::Options;
use crate::rigorous;
use crate::specification::InvalidInput;

/// Gap relative to the value that counts as converged.
const RELATIVE_GAP: f64 = 1e-12;

/// Gap relative to `sum_i p_i |phi_i| + sum_j q_j |psi_j|` that counts as converged where those terms cancel: rounding of the sums.
const ROUNDING_GAP: f64 = 32.0 * f64::EPSILON;

/// `converged`, but for a gap that neither the value nor the rounding of the dual's terms, of sum `scale` in size, explains.
fn judged(bounds: Bounds, scale: f64) -> Termination {
    let met = bounds.gap() <= (RELATIVE_GAP * bounds.upper.abs()).max(ROUNDING_GAP * scale);
    if met { Termination::Converged } else { Termination::Stalled }
}

/// Every so many rounds, and in the last one, all sources are priced at the same potentials, free of the rounding that pivots add
/// up: that bounds the value from below.
const ROUNDS: usize = 4;

/// The optimisers of balanced transport.
#[derive(Debug, Clone)]
pub struct BalancedPlan {
    /// `(i, j, G_ij)` with `G_ij > 0`; rows sum to `p` and columns to `q` up to rounding.
    pub plan: SparsePlan,
    /// `phi_i = min_j (c_ij + psi_j)` on the sources, length n: `phi_i - psi_j <= c_ij`, with equality on the plan.
    pub source_potential: Vec<f64>,
    /// `psi_j` on the targets, length m; where `q_j = 0` the smallest admissible value `max_i (phi_i - c_ij)`.
    pub target_potential: Vec<f64>,
    /// Passes over the whole cost.
    pub passes: usize,
    /// Arcs pivoted in.
    pub iterations: usize,
}

impl BalancedPlan {
    /// The derivatives of the value in the weights `p` and `q` (see [`crate::gradient`]); in the cost it is the plan.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::Options;
    /// # use proxflow_reference::transport::{DenseCost, balanced_transport};
    /// let cost = DenseCost::new(array![[0.0, 1.0], [1.0, 0.0]])?;
    /// let (p, q) = ([0.7, 0.3], [0.5, 0.5]);
    /// // Near these weights the value is p_0 - q_0.
    /// let (in_p, in_q) = balanced_transport(&cost, &p, &q, &Options::new())?.weight_gradients(&p, &q)?;
    /// for (found, exact) in in_p.iter().chain(&in_q).zip([0.3, -0.7, -0.5, 0.5]) {
    ///     assert!((found - exact).abs() < 1e-14);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn weight_gradients(&self, p: &[f64], q: &[f64]) -> Result<(Vec<f64>, Vec<f64>), InvalidInput> {
        let p = checked_weights("source weights", p, self.source_potential.len())?;
        let q = checked_weights("target weights", q, self.target_potential.len())?;
        let in_q = self.target_potential.iter().map(|psi| -psi);
        Ok((gradient::centred(self.source_potential.iter().copied(), &p), gradient::centred(in_q, &q)))
    }
}

/// The largest crossing of both bounds by rounding, relative to `1 + |value|`, that is reported.
const PLAIN: f64 = 1e-9;

/// Solution and certificate of balanced transport: lower bound `sum_i p_i phi_i - sum_j q_j psi_j`, upper bound `<c, G>`.
pub type BalancedTransport = Certified<BalancedPlan>;

/// Solves balanced transport for `p` (length n) on the sources and `q` (length m) on the targets of `cost`, exactly.
///
/// Costs are finite and of any sign, or `+inf` for pairs that may carry no mass (see
/// [`DenseCost::with_forbidden`](super::DenseCost::with_forbidden)). Where no plan avoids those, both bounds are `+inf` and
/// the status is [`Termination::Infeasible`]. Weights are non-negative with sum 1 (to 1e-5; they are normalised).
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

/// What is solved: finite costs, weights of sum 1.
pub(super) struct Problem<'a> {
    pub(super) cost: &'a dyn GroundCost,
    pub(super) p: &'a [f64],
    pub(super) q: &'a [f64],
    /// Both weights before they were divided by their sums.
    pub(super) given: [&'a [f64]; 2],
    pub(super) options: &'a Options<'a>,
}

/// A tree that has come to rest, and how.
struct Solved {
    basis: Basis,
    termination: Termination,
    progress: Progress,
    /// `sum_i p_i min_j (c_ij + psi_j)` and `psi` of the last complete pass.
    last_dual: Option<(f64, Vec<f64>)>,
}

impl Problem<'_> {
    pub(super) fn solve_and_certify(&self, sign: Sign, watch: &mut Watch<'_>) -> BalancedTransport {
        let clock = Instant::now();
        match self.solve(watch) {
            Err(Stopped) => self.nothing_known(clock),
            Ok(solved) if solved.termination == Termination::Cancelled => {
                self.certify_what_is_known(&solved, sign, clock)
            }
            Ok(solved) => self
                .certify(&solved, sign, watch, clock)
                .unwrap_or_else(|Stopped| self.certify_what_is_known(&solved, sign, clock)),
        }
    }

    /// The network simplex method, started from the solution of the thinned problem. Stopped before there is a tree, it has
    /// nothing to return.
    fn solve(&self, watch: &mut Watch<'_>) -> Result<Solved, Stopped> {
        let Self { cost, p, q, options, .. } = *self;
        let psi = match start::thin(cost, p, q, watch)? {
            None => vec![0.0; q.len()],
            Some(thinned) => {
                let (p, q) = (thinned.p.as_slice(), thinned.q.as_slice());
                let coarse = Problem { cost: &thinned.cost, p, q, given: [p, q], options };
                let coarse = coarse.solve(watch)?;
                if coarse.termination == Termination::Cancelled {
                    return Err(Stopped);
                }
                start::extend(cost, &thinned, &coarse.basis.potential[..thinned.p.len()], watch)?
            }
        };
        let mut basis = Basis::new(p.len(), q.len(), &greedy_tree(cost, p, q, &psi, watch)?);
        let mut stretches = Stretches::new(cost, p, q);
        let mut progress = Progress::NONE;
        let climbed = self.climb(&mut basis, &mut stretches, &mut progress, watch);
        let termination = climbed.unwrap_or(Termination::Cancelled);
        Ok(Solved { basis, termination, progress, last_dual: stretches.into_last_dual() })
    }

    /// Price a stretch of sources, pivot, and so on round all of them until no arc of negative reduced cost is left.
    fn climb(
        &self,
        basis: &mut Basis,
        stretches: &mut Stretches<'_>,
        state: &mut Progress,
        watch: &mut Watch<'_>,
    ) -> Result<Termination, Stopped> {
        let (n, m) = (self.p.len(), self.q.len());
        // Ordinary problems take a few dozen pivots for each atom; where rounding lets arcs come and go, this ends it.
        let limit = 100_000 + 1000 * (n + m);
        let mut found = Vec::new();
        let (mut scale, mut rounds_left) = (0.0, 0);
        loop {
            let whole = rounds_left == 0;
            if whole {
                rounds_left = ROUNDS;
                basis.retighten();
                scale = basis.potential.iter().fold(0.0_f64, |scale, v| scale.max(v.abs()));
            }
            // Potentials carry a rounding error of a few eps of the largest one; smaller reduced costs mean nothing.
            let rounding = 16.0 * f64::EPSILON * (scale + basis.drift());
            if whole {
                state.gap_estimate = stretches.price_all(&basis.potential, rounding, watch)?;
            }
            rounds_left -= 1;
            state.passes += 1;
            watch.report(*state)?;
            let before = state.pivots;
            for rows in stretches.all() {
                if !whole {
                    stretches.price(rows.clone(), &basis.potential, rounding, watch)?;
                }
                found.clear();
                found.extend(stretches.candidates(rows).copied());
                state.pivots += exhaust(basis, &mut found, rounding, limit, watch)?;
            }
            if state.pivots == before {
                if whole {
                    return Ok(Termination::Converged);
                }
                rounds_left = 0;
            }
            if state.passes >= self.options.maximum_passes || state.pivots >= limit {
                return Ok(Termination::IterationLimit);
            }
        }
    }

    fn certify(
        &self,
        solved: &Solved,
        sign: Sign,
        watch: &mut Watch<'_>,
        clock: Instant,
    ) -> Result<BalancedTransport, Stopped> {
        let Self { cost, p, q, .. } = *self;
        let mut psi = solved.basis.potential[p.len()..].to_vec();
        if q.contains(&0.0) {
            let phi = &solved.basis.potential[..p.len()];
            let nearest = pricing::nearest_sources(cost, p, phi, watch)?;
            for j in (0..q.len()).filter(|&j| q[j] == 0.0) {
                psi[j] = phi[nearest[j].0 as usize] - nearest[j].1;
            }
        }
        let phi = lower_transform(cost, &psi, watch)?;
        let found = self.certificate(solved, phi, psi, sign, clock);
        // Bounds that cross by rounding, as of W2^2 = 0 between far points, say how little plain sums know there.
        let crossed = found.gap() < -PLAIN * (1.0 + found.upper.abs());
        if self.options.rigorous || crossed { self.rigorously(found, sign, watch) } else { Ok(found) }
    }

    /// After a stop: the plan at hand bounds from above, the last complete pass from below.
    fn certify_what_is_known(&self, solved: &Solved, sign: Sign, clock: Instant) -> BalancedTransport {
        let Self { cost, p, q, .. } = *self;
        let mut known = self.nothing_known(clock);
        // Bounds of a stopped solve are those of plain arithmetic: no theorem, hence nothing.
        let Some((linear, psi)) = solved.last_dual.as_ref().filter(|_| !self.options.rigorous) else {
            return known;
        };
        let plan = solved.basis.plan(p, q);
        let upper = plan_cost(cost, &plan);
        let charged = q.iter().zip(psi).filter(|(q, _)| **q > 0.0);
        let lower = linear - compensated_sum(charged.map(|(q, psi)| q * psi));
        let rounding = self.rounding(&plan, linear.abs() + largest_charged(psi, q));
        let (bounds, termination) = gated(Bounds { lower, upper }, rounding, sign, Termination::Cancelled);
        known.solution.plan = plan;
        (known.solution.passes, known.solution.iterations) = (solved.progress.passes, solved.progress.pivots);
        (known.lower, known.upper, known.termination) = (bounds.lower, bounds.upper, termination);
        known
    }

    /// Stopped before there was a tree.
    fn nothing_known(&self, clock: Instant) -> BalancedTransport {
        Certified {
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
            termination: Termination::Cancelled,
            seconds: clock.elapsed().as_secs_f64(),
            solution: BalancedPlan {
                plan: SparsePlan::new(),
                source_potential: vec![f64::NAN; self.p.len()],
                target_potential: vec![f64::NAN; self.q.len()],
                passes: 0,
                iterations: 0,
            },
        }
    }

    /// Both bounds, from the plan and the potentials alone.
    fn certificate(
        &self,
        solved: &Solved,
        phi: Vec<f64>,
        psi: Vec<f64>,
        sign: Sign,
        clock: Instant,
    ) -> BalancedTransport {
        let Self { cost, p, q, .. } = *self;
        let plan = solved.basis.plan(p, q);
        let dual = |weights: &[f64], values: &[f64], sign: f64| -> Vec<f64> {
            weights.iter().zip(values).filter(|(w, _)| **w > 0.0).map(|(w, v)| sign * w * v).collect()
        };
        let terms = [dual(p, &phi, 1.0), dual(q, &psi, -1.0)].concat();
        let lower = compensated_sum(terms.iter().copied());
        let upper = plan_cost(cost, &plan);
        let scale: f64 = terms.iter().map(|term| term.abs()).sum();
        let termination = match solved.termination {
            Termination::IterationLimit => Termination::IterationLimit,
            _ => judged(Bounds { lower, upper }, scale),
        };
        let rounding = self.rounding(&plan, scale + largest_charged(&phi, p) + largest_charged(&psi, q));
        let (bounds, termination) = gated(Bounds { lower, upper }, rounding, sign, termination);
        Certified {
            lower: bounds.lower,
            upper: bounds.upper,
            termination,
            seconds: clock.elapsed().as_secs_f64(),
            solution: BalancedPlan {
                plan,
                source_potential: phi,
                target_potential: psi,
                passes: solved.progress.passes,
                iterations: solved.progress.pivots,
            },
        }
    }

    /// The same solution with outward-rounded bounds.
    fn rigorously(
        &self,
        mut found: BalancedTransport,
        sign: Sign,
        watch: &mut Watch<'_>,
    ) -> Result<BalancedTransport, Stopped> {
        let data = rigorous::Data { cost: self.cost, p: self.given[0], q: self.given[1] };
        let bounds = rigorous::balanced(&data, &found.plan, &found.target_potential, watch)?;
        // Wider arithmetic may know of a gap that plain sums did not see.
        let charged =
            |(weight, value): (&f64, &f64)| if *weight > 0.0 { (weight * value).abs() } else { 0.0 };
        let scale: f64 = self.p.iter().zip(&found.source_potential).map(charged).sum::<f64>()
            + self.q.iter().zip(&found.target_potential).map(charged).sum::<f64>();
        let ended = match found.termination {
            Termination::Converged => judged(bounds, scale),
            ended => ended,
        };
        let (bounds, termination) = gated(bounds, 0.0, sign, ended);
        (found.lower, found.upper, found.termination) = (bounds.lower, bounds.upper, termination);
        Ok(found)
    }

    fn rounding(&self, plan: &SparsePlan, scale: f64) -> f64 {
        let paid = |&(i, j, mass): &(u32, u32, f64)| mass * self.cost.entry(i as usize, j as usize).abs();
        rounding_of_sums(self.cost, plan.iter().map(paid).sum(), scale, self.p.len() + self.q.len())
    }
}

fn plan_cost(cost: &dyn GroundCost, plan: &SparsePlan) -> f64 {
    compensated_sum(plan.iter().map(|&(i, j, mass)| mass * cost.entry(i as usize, j as usize)))
}

/// Pivots in the candidates, most negative reduced cost first, until none is below `-rounding` (or `limit` pivots are made).
fn exhaust(
    basis: &mut Basis,
    candidates: &mut Vec<Candidate>,
    rounding: f64,
    limit: usize,
    watch: &mut Watch<'_>,
) -> Result<usize, Stopped> {
    let mut pivots = 0;
    loop {
        watch.tick()?;
        candidates.retain_mut(|arc| {
            arc.reduced = basis.reduced_cost(arc.source, arc.target, arc.cost);
            arc.reduced < -rounding
        });
        if candidates.is_empty() || pivots >= limit {
            return Ok(pivots);
        }
        candidates.sort_unstable_by(|a, b| a.reduced.total_cmp(&b.reduced));
        for arc in candidates.iter() {
            // Earlier pivots have moved the potentials: skip what has lost most of its promise.
            if basis.reduced_cost(arc.source, arc.target, arc.cost) < (0.5 * arc.reduced).min(-rounding) {
                basis.pivot(arc.source, arc.target, arc.cost);
                pivots += 1;
            }
        }
    }
}
