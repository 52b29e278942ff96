//! Semi-relaxed optimal transport (notation 1.4): `min_{G >= 0, G 1 = p} <c, G> + D_f(G^T 1 | q)`, solved exactly.
//!
//! ```text
//! min_{G >= 0, G 1 = p} <c, G> + D_f(G^T 1 | q)  =  max_psi  sum_i p_i min_j (c_ij + psi_j) - Lambda_q(psi)
//! ```
//! The optimum lives on a forest of arcs. The solver keeps one (see `forest`), settles every tree by its closed-form
//! constant, prices the arcs outside (see `pricing`) and pivots in those of negative reduced cost, until none is left:
//! a finite active-set method, exact up to rounding. What it returns is bounded independently (see
//! [`super::certificate`]).

use std::time::Instant;

use super::certificate::{self, Bounds, SparsePlan};
use super::cost::GroundCost;
use super::forest::Forest;
use super::law::TargetLaw;
use super::pricing::{self, Pricer, Shortlist};
use super::start;
use crate::divergence::Generator;
use crate::specification::{DivergenceKind, InvalidInput};

/// Problems with fewer sources or targets than this start from zero potentials.
const SMALLEST_THINNED: usize = 128;

/// When to stop, and how hard to look for arcs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SemiRelaxedOptions {
    /// Stop when the certified gap is at most `tolerance (1 + |value|)`.
    pub tolerance: f64,
    /// Passes over the whole cost before giving up.
    pub maximum_passes: usize,
    /// Arcs per source that are priced between two passes.
    pub shortlist: usize,
}

impl Default for SemiRelaxedOptions {
    /// Gap 1e-11 relative to `1 + |value|`: a tenth of what the project promises, far above rounding.
    fn default() -> Self {
        Self { tolerance: 1e-11, maximum_passes: 10_000, shortlist: 16 }
    }
}

impl SemiRelaxedOptions {
    fn check(&self) -> Result<(), InvalidInput> {
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            return Err(InvalidInput::new("tolerance", self.tolerance, "finite and >= 0"));
        }
        if self.maximum_passes == 0 || self.shortlist == 0 {
            return Err(InvalidInput::new("maximum_passes, shortlist", 0, ">= 1"));
        }
        Ok(())
    }
}

/// How the solver ended. Whatever it says, the bounds are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The certified gap meets the tolerance.
    Converged,
    /// No arc of negative reduced cost is left above rounding, but the certified gap exceeds the tolerance.
    Stalled,
    /// The pass limit was reached first.
    IterationLimit,
}

/// The state after one pass, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Passes over the cost so far.
    pub passes: usize,
    /// Arcs pivoted in so far.
    pub pivots: usize,
    /// Upper estimate of the remaining gap: `sum_i p_i max(0, phi_i - min_j (c_ij + psi_j))`.
    pub gap_estimate: f64,
}

/// Solution and certificate of semi-relaxed transport.
#[derive(Debug, Clone)]
pub struct SemiRelaxedTransport {
    /// `(i, j, G_ij)` with `G_ij > 0`; rows sum to `p`.
    pub plan: SparsePlan,
    /// `psi_j` on the targets, length m, in the gauge `psi_j = f'(eta_j / q_j)` (so `nu = 0` in `Lambda_q`); where
    /// `eta_j = 0` the smallest admissible value `max_i (phi_i - c_ij)`.
    pub potential: Vec<f64>,
    /// `phi_i = min_j (c_ij + psi_j)` on the sources, length n.
    pub source_potential: Vec<f64>,
    /// `eta = G^T 1`, the intermediate measure, length m, sum 1.
    pub second_marginal: Vec<f64>,
    /// `<c, G>`.
    pub transport: f64,
    /// `D_f(eta | q)`.
    pub divergence: f64,
    /// Certified lower bound: the dual value at `potential`.
    pub lower: f64,
    /// Certified upper bound: `transport + divergence` of the plan.
    pub upper: f64,
    /// How the solver ended.
    pub outcome: Outcome,
    /// Passes over the whole cost.
    pub passes: usize,
    /// Arcs pivoted in.
    pub iterations: usize,
    /// Wall-clock time, certificate included.
    pub seconds: f64,
}

impl SemiRelaxedTransport {
    /// Both bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds { lower: self.lower, upper: self.upper }
    }

    /// `upper - lower`, non-negative up to rounding.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }
}

/// Solves semi-relaxed transport for `p` (length n) on the sources and `q` (length m) on the targets of `cost`.
///
/// Weights are non-negative with sum 1 (to 1e-9; they are normalised). A value of `+inf` cannot occur: the second
/// marginal is free, so some plan always lands on the support of `q`. Errors: lengths, weights, non-finite costs, an
/// order of `Alpha` out of range, options out of range.
pub fn semi_relaxed_transport(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    kind: DivergenceKind,
    options: &SemiRelaxedOptions,
) -> Result<SemiRelaxedTransport, InvalidInput> {
    semi_relaxed_transport_observed(cost, p, q, kind, options, &mut |_| ())
}

/// [`semi_relaxed_transport`] that reports its [`Progress`] after every pass over the cost.
pub fn semi_relaxed_transport_observed(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    kind: DivergenceKind,
    options: &SemiRelaxedOptions,
    observe: &mut dyn FnMut(&Progress),
) -> Result<SemiRelaxedTransport, InvalidInput> {
    let clock = Instant::now();
    options.check()?;
    let p = checked_weights("source weights", p, cost.sources())?;
    let q = checked_weights("target weights", q, cost.targets())?;
    let generator = Generator::new(kind)?;
    let solved = solve(cost, &p, &q, &generator, options, observe);
    Ok(certify(cost, &p, &q, &generator, &solved, options, clock))
}

/// A forest that has come to rest, and how.
struct Solved<'a> {
    forest: Forest<'a>,
    outcome: Outcome,
    progress: Progress,
}

/// The active-set method, started from the solution of the thinned problem.
fn solve<'a>(
    cost: &dyn GroundCost,
    p: &'a [f64],
    q: &[f64],
    generator: &Generator,
    options: &SemiRelaxedOptions,
    observe: &mut dyn FnMut(&Progress),
) -> Solved<'a> {
    let law = TargetLaw::new(generator, q);
    let mut forest = Forest::new(p, &law, q.len());
    let psi = starting_potential(cost, p, q, generator, options);
    plant(&mut forest, cost, p, q, generator, &law, &psi);

    let mut state = Progress { passes: 0, pivots: 0, gap_estimate: f64::INFINITY };
    let scale = forest
        .phi()
        .iter()
        .chain(forest.psi())
        .filter(|v| v.is_finite())
        .fold(1.0_f64, |a, v| a.max(v.abs()));
    let mut pricer = Pricer::new(cost, p, options.shortlist);
    forest.settle_all(&law);
    grow_on_idle_targets(&mut forest, cost, p, q, &law);
    let outcome = loop {
        forest.retighten_all(&law);
        forest.settle_all(&law);
        let lists = pricer.pass(forest.psi());
        state.passes += 1;
        state.gap_estimate = violation(p, forest.phi(), lists);
        observe(&state);
        if state.gap_estimate <= 0.1 * options.tolerance {
            break Outcome::Converged;
        }
        if state.passes >= options.maximum_passes {
            break Outcome::IterationLimit;
        }
        // Potentials carry a rounding error of a few eps of the largest one; smaller reduced costs mean nothing.
        let pivots = exhaust(&mut forest, &law, lists, 16.0 * f64::EPSILON * scale);
        state.pivots += pivots;
        if pivots == 0 {
            break Outcome::Stalled;
        }
    };
    Solved { forest, outcome, progress: state }
}

/// Pivots in the arcs of the shortlists, most negative reduced cost first, until none is below `-rounding`.
fn exhaust(forest: &mut Forest<'_>, law: &TargetLaw<'_>, lists: &[Shortlist], rounding: f64) -> usize {
    let mut pivots = 0;
    let mut candidates: Vec<(f64, u32, u32, f64)> = Vec::new();
    loop {
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
            return pivots;
        }
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let before = pivots;
        for &(reduced, i, j, c) in &candidates {
            let (i, j) = (i as usize, j as usize);
            // Earlier pivots have moved the potentials: skip what has lost most of its promise.
            let bar = (0.5 * reduced).min(-rounding);
            if forest.reduced_cost(i, j, c) < bar && forest.settled_reduced_cost(law, i, j, c) < bar {
                forest.pivot(law, i, j, c);
                pivots += 1;
            }
        }
        if pivots == before {
            return pivots;
        }
    }
}

/// Potentials of the thinned problem extended to all targets; zero when there is little to thin.
fn starting_potential(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    options: &SemiRelaxedOptions,
) -> Vec<f64> {
    let thinned = if p.len().min(q.len()) < SMALLEST_THINNED { None } else { start::thin(cost, p, q) };
    match thinned {
        None => vec![0.0; q.len()],
        Some(thinned) => {
            let coarse = solve(&thinned.cost, &thinned.p, &thinned.q, generator, options, &mut |_| ());
            start::extend(cost, &thinned, coarse.forest.phi())
        }
    }
}

/// Plants the entropic plan of `psi`.
fn plant(
    forest: &mut Forest<'_>,
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    law: &TargetLaw<'_>,
    psi: &[f64],
) {
    forest.plant(law, &start::greedy_forest(cost, p, q, generator, psi, 16), psi);
}

/// Hangs every idle target that attracts mass at any price on its cheapest source.
fn grow_on_idle_targets(
    forest: &mut Forest<'_>,
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    law: &TargetLaw<'_>,
) {
    if law.always_attracts() {
        let idle: Vec<u32> =
            (0..q.len() as u32).filter(|&j| q[j as usize] > 0.0 && forest.is_idle(j as usize)).collect();
        let nearest =
            if idle.is_empty() { Vec::new() } else { pricing::nearest_sources(cost, p, forest.phi()) };
        for j in idle {
            let (i, c) = nearest[j as usize];
            forest.pivot(law, i as usize, j as usize, c);
        }
    }
}

/// `sum_i p_i max(0, phi_i - min_j (c_ij + psi_j))`: how far the potentials of the forest are from dual feasible.
fn violation(p: &[f64], phi: &[f64], lists: &[Shortlist]) -> f64 {
    (0..p.len()).filter(|&i| p[i] > 0.0).map(|i| p[i] * (phi[i] - lists[i].least).max(0.0)).sum()
}

fn certify(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    solved: &Solved<'_>,
    options: &SemiRelaxedOptions,
    clock: Instant,
) -> SemiRelaxedTransport {
    let Solved { forest, outcome, progress } = solved;
    let mut plan = forest.arcs();
    certificate::renormalise_rows(&mut plan, p);
    let primal = certificate::primal_value(cost, q, generator, &plan);
    let mut potential = forest.psi().to_vec();
    let idle: Vec<u32> = (0..q.len() as u32).filter(|&j| forest.is_idle(j as usize)).collect();
    let nearest = if idle.is_empty() { Vec::new() } else { pricing::nearest_sources(cost, p, forest.phi()) };
    for j in idle {
        let (i, c) = nearest[j as usize];
        potential[j as usize] = forest.phi()[i as usize] - c;
    }
    let dual = certificate::dual_value(cost, p, q, generator, &potential);
    let upper = primal.transport + primal.divergence;
    let outcome = match outcome {
        Outcome::IterationLimit => Outcome::IterationLimit,
        _ if upper - dual.lower <= options.tolerance * (1.0 + upper.abs()) => Outcome::Converged,
        _ => Outcome::Stalled,
    };
    SemiRelaxedTransport {
        plan,
        potential,
        source_potential: dual.source_potential,
        second_marginal: primal.second_marginal,
        transport: primal.transport,
        divergence: primal.divergence,
        lower: dual.lower,
        upper,
        outcome,
        passes: progress.passes,
        iterations: progress.pivots,
        seconds: clock.elapsed().as_secs_f64(),
    }
}

/// Non-negative finite weights of the given length with sum 1 to 1e-9, normalised.
pub(super) fn checked_weights(name: &str, weights: &[f64], length: usize) -> Result<Vec<f64>, InvalidInput> {
    if weights.len() != length {
        return Err(InvalidInput::new(format!("length of {name}"), weights.len(), length));
    }
    if let Some((k, value)) = weights.iter().enumerate().find(|(_, w)| !(w.is_finite() && **w >= 0.0)) {
        return Err(InvalidInput::new(format!("{name}[{k}]"), value, "finite and >= 0"));
    }
    let total = certificate::compensated_sum(weights.iter().copied());
    if (total - 1.0).abs() > 1e-9 {
        return Err(InvalidInput::new(format!("sum of {name}"), total, "1 within 1e-9"));
    }
    Ok(weights.iter().map(|w| w / total).collect())
}
