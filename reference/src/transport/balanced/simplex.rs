//! The network simplex method: a spanning tree of arcs with tight potentials, arcs of negative reduced cost enter, mass is
//! pushed round the cycle they close. Ties are broken so that the tree stays strongly feasible (Cunningham: arcs without
//! mass point to the root), which rules out cycling. It starts greedily from the potentials of the thinned problem,
//! pivots among the arcs it knows until those hold nothing more ([`super::known`]), and reads the cost for others a few sources at
//! a time ([`super::stretches`]).

use super::basis::{Basis, greedy_tree};
use super::known::{Candidate, groups};
use super::stretches::Stretches;
use crate::certificate::Termination;
use crate::observer::{Progress, Stopped, Watch};
use crate::options::Options;
use crate::transport::cost::GroundCost;
use crate::transport::start;

/// Every so many rounds, and in the last one, all sources are priced at the same potentials: that bounds the value from below, should the observer stop
/// the solver.
const ROUNDS: usize = 4;

/// So are they after a round with fewer pivots than sources, divided by this: they make little worthless of what is found next. (Where
/// arcs are kept; small problems with a handful of targets take up to twice the time by it.)
const FEW: usize = 8;

/// Known arcs are left for the cost once a round of them makes fewer pivots than the last round of the cost, divided by this.
const WORTHWHILE: usize = 8;

/// Potentials carry a rounding error of so many times the largest one.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

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
pub(super) struct Solved {
    pub(super) basis: Basis,
    pub(super) termination: Termination,
    pub(super) progress: Progress,
    /// `sum_i p_i min_j (c_ij + psi_j)` and `psi` of the last complete pass.
    pub(super) last_dual: Option<(f64, Vec<f64>)>,
}

impl Problem<'_> {
    /// The network simplex method, started from the solution of the thinned problem. Stopped before there is a tree, it has
    /// nothing to return.
    pub(super) fn solve(&self, watch: &mut Watch<'_>) -> Result<Solved, Stopped> {
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
        let start = greedy_tree(cost, p, q, &psi, watch)?;
        let mut basis = Basis::new(p.len(), q.len(), &start.tree);
        let mut stretches = Stretches::new(cost, p, q, start.shortlists);
        let mut progress = Progress::NONE;
        let climbed = self.climb(&mut basis, &mut stretches, &mut progress, watch);
        let termination = climbed.unwrap_or(Termination::Cancelled);
        Ok(Solved { basis, termination, progress, last_dual: stretches.into_last_dual() })
    }

    /// Pivot among known arcs; price a stretch of sources, pivot, and so on round all of them; until no arc of negative reduced
    /// cost is left.
    fn climb(
        &self,
        basis: &mut Basis,
        stretches: &mut Stretches<'_>,
        state: &mut Progress,
        watch: &mut Watch<'_>,
    ) -> Result<Termination, Stopped> {
        let mut found = Vec::new();
        self.exhaust_known(basis, stretches, state, 0, watch)?;
        let mut rounds_left = 0;
        loop {
            let rounding = tighten(basis);
            let at_once = rounds_left == 0;
            if at_once {
                rounds_left = ROUNDS;
                state.gap_estimate = stretches.price_all(&basis.potential, rounding, watch)?;
            }
            rounds_left -= 1;
            state.passes += 1;
            watch.report(*state)?;
            let before = state.pivots;
            for rows in stretches.all() {
                if !at_once {
                    // The root moves with the larger part: its way is rounding to come.
                    let rounding = rounding + ROUNDING * basis.drift();
                    stretches.price(rows.clone(), &basis.potential, rounding, watch)?;
                }
                found.clear();
                found.extend(stretches.candidates(rows).copied());
                state.pivots += exhaust(basis, &mut found, rounding, self.most_pivots(), watch)?;
            }
            let pivots = state.pivots - before;
            if pivots == 0 && at_once {
                return Ok(Termination::Converged);
            }
            if pivots == 0 || stretches.keep_arcs() && pivots < self.p.len() / FEW {
                rounds_left = 0;
            }
            if state.passes >= self.options.maximum_passes || state.pivots >= self.most_pivots() {
                return Ok(Termination::IterationLimit);
            }
            self.exhaust_known(basis, stretches, state, pivots / WORTHWHILE, watch)?;
        }
    }

    /// Pivots among the known arcs of a group of sources, and so on round all groups, until a round makes no more than `few` pivots.
    fn exhaust_known(
        &self,
        basis: &mut Basis,
        stretches: &Stretches<'_>,
        state: &mut Progress,
        few: usize,
        watch: &mut Watch<'_>,
    ) -> Result<(), Stopped> {
        let mut found = Vec::new();
        loop {
            let rounding = tighten(basis);
            let before = state.pivots;
            for rows in groups(self.p.len()) {
                found.clear();
                stretches.known(rows, &basis.potential, rounding, &mut found);
                state.pivots += exhaust(basis, &mut found, rounding, self.most_pivots(), watch)?;
            }
            if state.pivots - before <= few || state.pivots >= self.most_pivots() {
                return Ok(());
            }
        }
    }

    /// Ordinary problems take a few dozen pivots for each atom; where rounding lets arcs come and go, this ends it.
    fn most_pivots(&self) -> usize {
        100_000 + 1000 * (self.p.len() + self.q.len())
    }
}

/// Frees the potentials of the rounding that pivots add up, and returns what is left of it: smaller reduced costs mean nothing.
fn tighten(basis: &mut Basis) -> f64 {
    basis.retighten();
    ROUNDING * basis.potential.iter().fold(0.0_f64, |scale, v| scale.max(v.abs()))
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
        basis.retighten_in_time();
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
