//! The network simplex method: a spanning tree of arcs with tight potentials, arcs of negative reduced cost enter, mass is
//! pushed round the cycle they close. Ties are broken so that the tree stays strongly feasible (Cunningham: arcs without
//! mass point to the root), which rules out cycling. It starts greedily from the potentials of the thinned problem and
//! prices a few sources at a time ([`super::stretches`]).

use super::basis::{Basis, greedy_tree};
use super::stretches::{Candidate, Stretches};
use crate::certificate::Termination;
use crate::observer::{Progress, Stopped, Watch};
use crate::options::Options;
use crate::transport::cost::GroundCost;
use crate::transport::start;

/// Every so many rounds, and in the last one, all sources are priced at the same potentials, free of the rounding that pivots add
/// up: that bounds the value from below.
const ROUNDS: usize = 4;

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
