//! Semi-relaxed optimal transport (notation 1.4): `min_{G >= 0, G 1 = p} <c, G> + D_f(G^T 1 | q)`, solved exactly.
//!
//! ```text
//! min_{G >= 0, G 1 = p} <c, G> + D_f(G^T 1 | q)  =  max_psi  sum_i p_i min_j (c_ij + psi_j) - Lambda_q(psi)
//! ```
//! The optimum lives on a forest of arcs. The solver keeps one (see `forest`), settles every tree by its closed-form
//! constant, prices the arcs outside (see `pricing`) and pivots in those of negative reduced cost, until none is left:
//! a finite active-set method, exact up to rounding. What it returns is bounded independently (see
//! [`super::certificate`]).

mod plan;

use std::time::Instant;

pub use self::plan::SemiRelaxedPlan;

use super::certificate::{self, SparsePlan};
use super::cost::GroundCost;
use super::forest::Forest;
use super::law::TargetLaw;
use super::pricing::{self, Pricer, Shortlist};
use super::start;
use crate::certificate::{Bounds, Certified, Sign, Termination, gated};
use crate::divergence::{Generator, generalised_cumulant};
use crate::measure;
use crate::observer::{Progress, Stopped, Watch};
use crate::options::Options;
use crate::rigorous;
use crate::specification::{DivergenceKind, InvalidInput};

/// Masses are known to eps of themselves, so that divergences are known to a multiple of its square where they vanish.
const ROUNDED_MASSES: f64 = 64.0 * f64::EPSILON;

/// The largest rounding of plain sums, relative to `1 + |value|`, that is taken for granted.
const PLAIN: f64 = 1e-9;

/// Solution and certificate of semi-relaxed transport.
pub type SemiRelaxedTransport = Certified<SemiRelaxedPlan>;

/// Solves semi-relaxed transport for `p` (length n) on the sources and `q` (length m) on the targets of `cost`.
///
/// Weights are non-negative with sum 1 (to 1e-5; they are normalised). A value of `+inf` cannot occur: the second
/// marginal is free, so some plan always lands on the support of `q`. Errors: lengths, weights, an order of `Alpha` out of
/// range, options out of range.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{DivergenceKind, Options};
/// use proxflow_reference::transport::{DenseCost, semi_relaxed_transport};
/// let cost = DenseCost::new(array![[0.0, 1.0], [1.0, 0.0]])?;
/// let kind = DivergenceKind::KullbackLeibler;
/// let solved = semi_relaxed_transport(&cost, &[0.9, 0.1], &[0.5, 0.5], kind, &Options::new())?;
/// assert!(solved.is_converged() && solved.gap() < 1e-12);
/// assert!((solved.transport + solved.divergence - solved.upper).abs() < 1e-15);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn semi_relaxed_transport(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    kind: DivergenceKind,
    options: &Options<'_>,
) -> Result<SemiRelaxedTransport, InvalidInput> {
    options.check()?;
    if cost.forbids() {
        return Err(InvalidInput::new("cost", f64::INFINITY, "finite"));
    }
    let given = [p, q];
    let p = checked_weights("source weights", p, cost.sources())?;
    let q = checked_weights("target weights", q, cost.targets())?;
    let generator = Generator::new(kind)?;
    if options.rigorous {
        rigorous::check(kind)?;
    }
    let problem = Problem { cost, p: &p, q: &q, given, generator: &generator, options };
    options.in_pool(|| problem.solve_and_certify(Sign::Any, &mut options.watch()))
}

/// What is solved, and how.
pub(crate) struct Problem<'a> {
    pub cost: &'a dyn GroundCost,
    /// Sum 1 (see [`checked_weights`]).
    pub p: &'a [f64],
    /// Sum 1.
    pub q: &'a [f64],
    /// Both weights before they were divided by their sums.
    pub given: [&'a [f64]; 2],
    pub generator: &'a Generator,
    pub options: &'a Options<'a>,
}

/// A forest that has come to rest, and how.
struct Solved<'a> {
    forest: Forest<'a>,
    termination: Termination,
    progress: Progress,
    /// `sum_i p_i min_j (c_ij + psi_j)` and `psi` of the last complete pass.
    last_dual: Option<(f64, Vec<f64>)>,
}

impl<'a> Problem<'a> {
    pub(crate) fn solve_and_certify(&self, sign: Sign, watch: &mut Watch<'_>) -> SemiRelaxedTransport {
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

    /// The active-set method, started from the solution of the thinned problem. Stopped before there is a plan, it has
    /// nothing to return.
    fn solve(&self, watch: &mut Watch<'_>) -> Result<Solved<'a>, Stopped> {
        let Self { cost, p, q, generator, options, .. } = *self;
        let law = TargetLaw::new(generator, q);
        let mut forest = Forest::new(p, &law, q.len());
        let psi = self.starting_potential(watch)?;
        forest.plant(&law, &start::greedy_forest(cost, p, q, generator, &psi, watch)?, &psi);
        let mut pricer = Pricer::new(cost, p, options.shortlist);
        let mut state = Progress::NONE;
        let climbed = self.climb(&mut forest, &law, &mut pricer, &mut state, watch);
        let termination = climbed.unwrap_or(Termination::Cancelled);
        Ok(Solved { forest, termination, progress: state, last_dual: pricer.last_dual().cloned() })
    }

    /// Settle, price, pivot, until no arc of negative reduced cost is left.
    fn climb(
        &self,
        forest: &mut Forest<'_>,
        law: &TargetLaw<'_>,
        pricer: &mut Pricer<'_>,
        state: &mut Progress,
        watch: &mut Watch<'_>,
    ) -> Result<Termination, Stopped> {
        // Idle targets wait at a price that says nothing about the size of the potentials.
        let psi = forest.psi().iter().enumerate().filter(|(j, _)| !forest.is_idle(*j)).map(|(_, psi)| psi);
        let finite = forest.phi().iter().chain(psi).filter(|v| v.is_finite());
        let scale = finite.fold(1.0_f64, |a, v| a.max(v.abs()));
        let budget = pivots_between_passes(self.p.len() + self.q.len());
        let mut exceeded = 0;
        forest.settle_all(law);
        self.grow_on_idle_targets(forest, law, watch)?;
        loop {
            forest.retighten_all(law);
            forest.settle_all(law);
            let lists = pricer.pass(forest.psi(), watch)?;
            state.passes += 1;
            state.gap_estimate = violation(self.p, forest.phi(), lists);
            watch.report(*state)?;
            if state.gap_estimate <= 0.1 * self.options.tolerance {
                return Ok(Termination::Converged);
            }
            if state.passes >= self.options.maximum_passes || exceeded == BUDGETS {
                return Ok(Termination::IterationLimit);
            }
            // Potentials carry a rounding error of a few eps of the largest one; smaller reduced costs mean nothing.
            let pivots = exhaust(forest, law, lists, 16.0 * f64::EPSILON * scale, budget, watch)?;
            state.pivots += pivots;
            exceeded += usize::from(pivots >= budget);
            if pivots == 0 {
                return Ok(Termination::Stalled);
            }
        }
    }

    /// Potentials of the thinned problem extended to all targets; zero when there is little to thin.
    fn starting_potential(&self, watch: &mut Watch<'_>) -> Result<Vec<f64>, Stopped> {
        let Self { cost, p, q, generator, options, .. } = *self;
        let Some(thinned) = start::thin(cost, p, q, watch)? else { return Ok(vec![0.0; q.len()]) };
        let (p, q) = (thinned.p.as_slice(), thinned.q.as_slice());
        let coarse = Problem { cost: &thinned.cost, p, q, given: [p, q], generator, options };
        let coarse = coarse.solve(watch)?;
        if coarse.termination == Termination::Cancelled {
            return Err(Stopped);
        }
        start::extend(cost, &thinned, coarse.forest.phi(), watch)
    }

    /// Hangs every idle target that attracts mass at any price on its cheapest source.
    fn grow_on_idle_targets(
        &self,
        forest: &mut Forest<'_>,
        law: &TargetLaw<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(), Stopped> {
        if !law.always_attracts() {
            return Ok(());
        }
        let is_wanting = |&j: &usize| self.q[j] > 0.0 && forest.is_idle(j);
        let idle: Vec<usize> = (0..self.q.len()).filter(is_wanting).collect();
        if !idle.is_empty() {
            let nearest = pricing::nearest_sources(self.cost, self.p, forest.phi(), watch)?;
            for j in idle {
                watch.tick()?;
                let (i, c) = nearest[j];
                forest.pivot(law, i as usize, j, c);
            }
        }
        Ok(())
    }

    fn certify(
        &self,
        solved: &Solved<'_>,
        sign: Sign,
        watch: &mut Watch<'_>,
        clock: Instant,
    ) -> Result<SemiRelaxedTransport, Stopped> {
        let Self { cost, p, q, given, generator, options } = *self;
        let forest = &solved.forest;
        let mut plan = forest.arcs();
        certificate::renormalise_rows(&mut plan, p);
        let primal = certificate::primal_value(cost, q, generator, &plan);
        let mut potential = forest.psi().to_vec();
        let idle: Vec<usize> = (0..q.len()).filter(|&j| forest.is_idle(j)).collect();
        if !idle.is_empty() {
            let nearest = pricing::nearest_sources(cost, p, forest.phi(), watch)?;
            for j in idle {
                let (i, c) = nearest[j];
                potential[j] = forest.phi()[i as usize] - c;
            }
        }
        let dual = certificate::dual_value_watched(cost, p, q, generator, &potential, watch)?;
        let mut bounds = Bounds { lower: dual.lower, upper: primal.transport + primal.divergence };
        let scale = ROUNDED_MASSES
            + primal.scale
            + certificate::largest_charged(&dual.source_potential, p)
            + certificate::largest_charged(&potential, q);
        let rounding = certificate::rounding_of_sums(cost, primal.transport_scale, scale, p.len() + q.len());
        // Where plain sums cannot vouch for the asked accuracy, as beside potentials of 1e30, wider arithmetic does.
        let most = PLAIN.max(options.tolerance) * (1.0 + bounds.upper.abs());
        let finite = bounds.is_finite() && rounding.is_finite();
        let wide =
            options.rigorous || (finite && rounding > most && rigorous::check(generator.kind()).is_ok());
        if wide {
            let nu = generalised_cumulant(generator, &potential, q).shift;
            let data = rigorous::Data { cost, p: given[0], q: given[1] };
            bounds = rigorous::semi_relaxed(&data, generator, &plan, &potential, nu, watch)?;
        }
        let termination = match solved.termination {
            Termination::IterationLimit => Termination::IterationLimit,
            _ if bounds.gap() <= options.tolerance * (1.0 + bounds.upper.abs()) => Termination::Converged,
            _ => Termination::Stalled,
        };
        let rounding = if wide { 0.0 } else { rounding.min(most) };
        let (bounds, termination) = gated(bounds, rounding, sign, termination);
        let unless_failed = |value: f64| if bounds.is_finite() { value } else { f64::NAN };
        let solution = SemiRelaxedPlan {
            plan,
            potential,
            source_potential: dual.source_potential,
            second_marginal: primal.second_marginal,
            transport: unless_failed(primal.transport),
            divergence: unless_failed(primal.divergence),
            passes: solved.progress.passes,
            iterations: solved.progress.pivots,
        };
        Ok(certified(bounds, termination, solution, clock))
    }

    /// After a stop: the plan at hand bounds from above, the last complete pass from below.
    fn certify_what_is_known(&self, solved: &Solved<'_>, sign: Sign, clock: Instant) -> SemiRelaxedTransport {
        let Self { cost, p, q, generator, .. } = *self;
        let mut known = self.nothing_known(clock);
        // Bounds of a stopped solve are those of plain arithmetic: no theorem, hence nothing.
        let Some((linear, psi)) = solved.last_dual.as_ref().filter(|_| !self.options.rigorous) else {
            return known;
        };
        let mut plan = solved.forest.arcs();
        certificate::renormalise_rows(&mut plan, p);
        let primal = certificate::primal_value(cost, q, generator, &plan);
        let lower = linear - generalised_cumulant(generator, psi, q).value;
        let scale = ROUNDED_MASSES + primal.scale + linear.abs() + certificate::largest_charged(psi, q);
        let rounding = certificate::rounding_of_sums(cost, primal.transport_scale, scale, p.len() + q.len());
        let bounds = Bounds { lower, upper: primal.transport + primal.divergence };
        let (bounds, termination) = gated(bounds, rounding, sign, Termination::Cancelled);
        known.solution = SemiRelaxedPlan {
            plan,
            potential: psi.clone(),
            second_marginal: primal.second_marginal,
            transport: primal.transport,
            divergence: primal.divergence,
            passes: solved.progress.passes,
            iterations: solved.progress.pivots,
            ..known.solution
        };
        certified(bounds, termination, known.solution, clock)
    }

    /// Stopped before there was a plan.
    fn nothing_known(&self, clock: Instant) -> SemiRelaxedTransport {
        let (n, m) = (self.p.len(), self.q.len());
        let solution = SemiRelaxedPlan {
            plan: SparsePlan::new(),
            potential: vec![f64::NAN; m],
            source_potential: vec![f64::NAN; n],
            second_marginal: vec![f64::NAN; m],
            transport: f64::NAN,
            divergence: f64::NAN,
            passes: 0,
            iterations: 0,
        };
        certified(Bounds::UNKNOWN, Termination::Cancelled, solution, clock)
    }
}

fn certified(
    bounds: Bounds,
    termination: Termination,
    solution: SemiRelaxedPlan,
    clock: Instant,
) -> SemiRelaxedTransport {
    let seconds = clock.elapsed().as_secs_f64();
    Certified { lower: bounds.lower, upper: bounds.upper, termination, seconds, solution }
}

/// Ordinary problems take a few pivots for each atom. Where rounding lets arcs come and go for ever, this many between two passes
/// are enough, [`BUDGETS`] times: atoms of the ratio 1e300 in weight, `alpha` of 1e-3, 3 x 4 atoms took 11 s without it.
fn pivots_between_passes(atoms: usize) -> usize {
    1000 + 20 * atoms
}

/// How often the pivots between two passes may reach their limit.
const BUDGETS: usize = 3;

/// Pivots in the arcs of the shortlists, most negative reduced cost first, until none is below `-rounding`.
fn exhaust(
    forest: &mut Forest<'_>,
    law: &TargetLaw<'_>,
    lists: &[Shortlist],
    rounding: f64,
    budget: usize,
    watch: &mut Watch<'_>,
) -> Result<usize, Stopped> {
    let mut pivots = 0;
    let mut candidates: Vec<(f64, u32, u32, f64)> = Vec::new();
    loop {
        watch.tick()?;
        candidates.clear();
        for (i, list) in lists.iter().enumerate() {
            let reduced = |&(j, c): &(u32, f64)| (forest.reduced_cost(i, j as usize, c), i as u32, j, c);
            if let Some(best) = list.entries.iter().map(reduced).min_by(|a, b| a.0.total_cmp(&b.0))
                && best.0 < -rounding
            {
                candidates.push(best);
            }
        }
        if candidates.is_empty() {
            return Ok(pivots);
        }
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let before = pivots;
        for &(reduced, i, j, c) in &candidates {
            watch.tick()?;
            let (i, j) = (i as usize, j as usize);
            // Earlier pivots have moved the potentials: skip what has lost most of its promise.
            let bar = (0.5 * reduced).min(-rounding);
            if forest.reduced_cost(i, j, c) < bar && forest.settled_reduced_cost(law, i, j, c) < bar {
                forest.pivot(law, i, j, c);
                pivots += 1;
            }
        }
        if pivots == before || pivots >= budget {
            return Ok(pivots);
        }
    }
}

/// `sum_i p_i max(0, phi_i - min_j (c_ij + psi_j))`: how far the potentials of the forest are from dual feasible.
fn violation(p: &[f64], phi: &[f64], lists: &[Shortlist]) -> f64 {
    (0..p.len()).filter(|&i| p[i] > 0.0).map(|i| p[i] * (phi[i] - lists[i].least).max(0.0)).sum()
}

/// Non-negative finite weights of the given length with sum 1, divided by their compensated sum.
pub(crate) fn checked_weights(name: &str, weights: &[f64], length: usize) -> Result<Vec<f64>, InvalidInput> {
    measure::check_probability(name, weights, length)?;
    let total = certificate::compensated_sum(weights.iter().copied());
    Ok(weights.iter().map(|w| w / total).collect())
}
