//! Pricing for balanced transport: the arcs that would lower the cost, `c_ij + psi_j < phi_i`, for a few sources at a time.
//!
//! Sources are priced in stretches, in turn, and what is found is pivoted in before the next stretch: potentials that have
//! moved since would have made most of it worthless. What was found once stays known ([`super::known`]). For every source and block of targets the least `c_ij + psi_j` met is
//! remembered; since then it cannot have fallen by more than the potentials of the block have. Blocks that hold no such arc
//! for certain are not read.

use std::ops::Range;

use rayon::prelude::*;

use super::known::{Candidate, Known};
use crate::observer::{Stopped, Watch};
use crate::transport::certificate::compensated_sum;
use crate::transport::cost::GroundCost;
use crate::transport::pricing::{Shortlist, minimum_of_sums};

/// Targets per block. The remembered minima take `8 n m / BLOCK` bytes.
const BLOCK: usize = 32;

/// Sources priced together where the cost is in memory. From 4 to 16 times of Gaussians, lattices and clusters at n = 1000 and
/// 2000 differ by few per cent; with 64 they are a sixth longer, with 256 two thirds.
const STRETCH: usize = 8;

/// Sources priced together where entries are computed, which several threads share.
const COMPUTED_STRETCH: usize = 64;

/// Arcs found for one source at a look. From 4 to 16 the times at n = 1000 to 4000 differ by few per cent; with 2 there are half as
/// many looks again.
const ARCS: usize = 8;

/// The same where nothing is kept.
const ARCS_IN_CACHE: usize = 2;

/// A cost of so many entries stays in cache: to read it again takes no longer than to look at known arcs, and it knows better
/// ones. Without this exception one in a hundred problems with at most 400 atoms a side takes more than twice POT's time, the worst
/// 2.9 times.
const IN_CACHE: usize = 1 << 18;

/// Entries that are worth waking other threads for.
const PARALLEL_ENTRIES: usize = 1 << 17;

/// What the last look at a source found.
#[derive(Clone)]
struct Source {
    /// The cheapest arcs of negative reduced cost, ascending.
    arcs: Vec<Candidate>,
    /// `min_j (c_ij + psi_j)`, or less by the rounding.
    least: f64,
    /// What this and earlier looks found.
    known: Known,
}

/// Whether arcs once found are worth keeping.
pub(super) fn keeps_arcs(cost: &dyn GroundCost) -> bool {
    cost.row(0).is_none() || cost.sources() * cost.targets() > IN_CACHE
}

/// All sources of a cost, in stretches.
pub(super) struct Stretches<'a> {
    cost: &'a dyn GroundCost,
    p: &'a [f64],
    q: &'a [f64],
    size: usize,
    /// Whether what was found stays known.
    keeps: bool,
    sources: Vec<Source>,
    /// `minima[i, b] - fallen[b]` bounds `min_{j in b} (c_ij + psi_j)` from below.
    minima: Vec<f64>,
    /// How far the potentials of each block can have fallen in all, an upper bound.
    fallen: Vec<f64>,
    /// The potentials of the last look, `+inf` for targets without mass.
    psi: Vec<f64>,
    dual: Option<(f64, Vec<f64>)>,
}

impl<'a> Stretches<'a> {
    /// Marginals `p` on the sources and `q` on the targets of `cost`; the arcs of the `shortlists`, one per source, are known.
    pub(super) fn new(
        cost: &'a dyn GroundCost,
        p: &'a [f64],
        q: &'a [f64],
        shortlists: Vec<Shortlist>,
    ) -> Self {
        let (n, blocks) = (p.len(), q.len().div_ceil(BLOCK));
        let least = if cost.row(0).is_some() { STRETCH } else { COMPUTED_STRETCH };
        let size = least.max(n.div_ceil(256)).min(n);
        let keeps = keeps_arcs(cost);
        let known = shortlists.into_iter().map(|list| if keeps { list.entries } else { Vec::new() });
        let source =
            |known| Source { arcs: Vec::new(), least: f64::INFINITY, known: Known::from_shortlist(known) };
        Self {
            cost,
            p,
            q,
            size,
            keeps,
            sources: known.map(source).collect(),
            minima: vec![f64::NEG_INFINITY; n * blocks],
            fallen: vec![0.0; blocks],
            psi: Vec::new(),
            dual: None,
        }
    }

    /// Whether what is found stays known.
    pub(super) fn keep_arcs(&self) -> bool {
        self.keeps
    }

    /// The stretches, in turn.
    pub(super) fn all(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (size, n) = (self.size, self.p.len());
        (0..n).step_by(size).map(move |start| start..(start + size).min(n))
    }

    /// The arcs found at the last look at the sources `rows`.
    pub(super) fn candidates(&self, rows: Range<usize>) -> impl Iterator<Item = &Candidate> {
        self.sources[rows].iter().flat_map(|source| &source.arcs)
    }

    /// The known arcs of the sources `rows` that have negative reduced cost at `potential`, appended to `found`.
    pub(super) fn known(
        &self,
        rows: Range<usize>,
        potential: &[f64],
        rounding: f64,
        found: &mut Vec<Candidate>,
    ) {
        let (phi, psi) = potential.split_at(self.p.len());
        for i in rows {
            self.sources[i].known.negative(i as u32, phi[i], psi, rounding, found);
        }
    }

    /// `sum_i p_i min_j (c_ij + psi_j)` of the last look at all sources at once, a lower bound, and its `psi`.
    pub(super) fn into_last_dual(self) -> Option<(f64, Vec<f64>)> {
        self.dual
    }

    /// Prices all sources; returns `sum_i p_i max(0, phi_i - min_j (c_ij + psi_j))`.
    pub(super) fn price_all(
        &mut self,
        potential: &[f64],
        rounding: f64,
        watch: &mut Watch<'_>,
    ) -> Result<f64, Stopped> {
        self.price(0..self.p.len(), potential, rounding, watch)?;
        let charged = || (0..self.p.len()).filter(|&i| self.p[i] > 0.0);
        let dual = compensated_sum(charged().map(|i| self.p[i] * self.sources[i].least));
        self.dual = Some((dual, self.psi.clone()));
        Ok(charged().map(|i| self.p[i] * (potential[i] - self.sources[i].least).max(0.0)).sum())
    }

    /// Prices the sources `rows` at `potential`, `phi` and then `psi`; reduced costs above `-rounding` count as zero.
    pub(super) fn price(
        &mut self,
        rows: Range<usize>,
        potential: &[f64],
        rounding: f64,
        watch: &mut Watch<'_>,
    ) -> Result<(), Stopped> {
        self.follow(&potential[self.p.len()..]);
        let Self { cost, p, keeps, sources, minima, fallen, psi, .. } = self;
        let blocks = fallen.len();
        let pass = Pass { cost: *cost, psi, fallen, rounding, keeps: *keeps };
        let one = |i: usize, minima: &mut [f64], source: &mut Source| {
            if p[i] > 0.0 {
                pass.price(i, potential[i], minima, source);
            }
        };
        let offset = rows.start;
        watch.in_pieces(rows.len(), |piece| {
            let piece = piece.start + offset..piece.end + offset;
            let first = piece.start;
            let minima = &mut minima[first * blocks..piece.end * blocks];
            let sources = &mut sources[piece];
            let entries = sources.len() * psi.len() * if cost.row(0).is_some() { 1 } else { 16 };
            if entries < PARALLEL_ENTRIES {
                let rows = sources.iter_mut().zip(minima.chunks_mut(blocks));
                rows.enumerate().for_each(|(k, (source, minima))| one(first + k, minima, source));
            } else {
                let rows = sources.par_iter_mut().zip(minima.par_chunks_mut(blocks)).enumerate();
                rows.with_min_len(16).for_each(|(k, (source, minima))| one(first + k, minima, source));
            }
        })
    }

    /// Takes the potentials of the targets, and how far they have fallen.
    fn follow(&mut self, psi: &[f64]) {
        let first = self.psi.is_empty();
        self.psi.resize(psi.len(), 0.0);
        let blocks = self.psi.chunks_mut(BLOCK).zip(psi.chunks(BLOCK).zip(self.q.chunks(BLOCK)));
        for (fallen, (before, (now, q))) in self.fallen.iter_mut().zip(blocks) {
            let mut falls = [f64::NEG_INFINITY; BLOCK];
            for (fall, (before, (now, q))) in falls.iter_mut().zip(before.iter_mut().zip(now.iter().zip(q))) {
                let now = if *q > 0.0 { *now } else { f64::INFINITY };
                *fall = *before - now;
                *before = now;
            }
            // inf - inf is NaN, which max ignores: a target that stays out of reach bounds nothing.
            if !first {
                *fallen += maximum(&falls);
            }
        }
    }
}

/// The largest of a block, NaN ignored, in independent lanes so that it runs in vector registers.
fn maximum(values: &[f64; BLOCK]) -> f64 {
    let mut largest = [f64::NEG_INFINITY; 8];
    for lanes in values.as_chunks::<8>().0 {
        for (largest, value) in largest.iter_mut().zip(lanes) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
    largest.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// What all rows of a look share.
struct Pass<'a> {
    cost: &'a dyn GroundCost,
    psi: &'a [f64],
    fallen: &'a [f64],
    rounding: f64,
    keeps: bool,
}

impl Pass<'_> {
    /// Finds the cheapest of the arcs of source `i` with `c_ij + psi_j < phi_i - rounding`.
    #[allow(unsafe_code, reason = "vector instructions, after asking the processor for them")]
    fn price(&self, i: usize, phi: f64, minima: &mut [f64], source: &mut Source) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was detected on the running processor in the line above.
            return unsafe { self.price_avx2(i, phi, minima, source) };
        }
        self.kernel(i, phi, minima, source);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn price_avx2(&self, i: usize, phi: f64, minima: &mut [f64], source: &mut Source) {
        self.kernel(i, phi, minima, source);
    }

    /// Sums and minima alone: the same numbers with any instructions.
    #[inline(always)]
    fn kernel(&self, i: usize, phi: f64, minima: &mut [f64], source: &mut Source) {
        let Self { cost, psi, fallen, rounding, keeps } = *self;
        let length = if keeps { ARCS } else { ARCS_IN_CACHE };
        let Source { arcs, least, known } = source;
        arcs.clear();
        let mut bound = phi - rounding;
        let row = cost.row(i);
        let mut buffer = [0.0; BLOCK];
        for (block, (minimum, &fallen)) in minima.iter_mut().zip(fallen).enumerate() {
            // The recorded drops round by a few eps of the potentials each; a relative margin covers them.
            if *minimum - fallen - 1e-12 * (minimum.abs() + fallen.abs()) >= bound {
                continue;
            }
            let range = block * BLOCK..((block + 1) * BLOCK).min(psi.len());
            let potentials = &psi[range.clone()];
            let costs: &[f64] = match row {
                Some(row) => &row[range.clone()],
                None => {
                    let buffer = &mut buffer[..range.len()];
                    cost.fill_range(i, range.start, buffer);
                    buffer
                }
            };
            let smallest = minimum_of_sums(costs, potentials);
            *minimum = smallest + fallen;
            if smallest >= bound {
                continue;
            }
            for (lane, (&c, psi)) in costs.iter().zip(potentials).enumerate() {
                let reduced = c + psi - phi;
                if c + psi < bound {
                    let target = (range.start + lane) as u32;
                    let place = arcs.partition_point(|other| other.reduced <= reduced);
                    arcs.truncate(length - usize::from(place < length));
                    arcs.insert(place, Candidate { reduced, cost: c, source: i as u32, target });
                    arcs.truncate(length);
                    if arcs.len() == length {
                        bound = bound.min(phi + arcs[length - 1].reduced);
                    }
                }
            }
        }
        *least = arcs.first().map_or(phi - rounding, |arc| arc.cost + psi[arc.target as usize]);
        if keeps {
            arcs.iter().for_each(|arc| known.add(arc.target, arc.cost));
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::transport::DenseCost;
    use crate::transport::pricing::tests::Lazy;

    #[test]
    fn every_look_finds_the_cheapest_arcs_of_negative_reduced_cost() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (n, m) = (20, 203);
        let matrix = Array2::from_shape_fn((n, m), |(i, j)| {
            (i as f64 * 10.0 - j as f64).abs() + random.random::<f64>()
        });
        let cost = DenseCost::new(matrix.clone()).expect("finite");
        let lazy = Lazy(&cost);
        let (mut p, mut q) = (vec![1.0; n], vec![1.0; m]);
        (p[1], q[7]) = (0.0, 0.0);
        let unknown = || vec![Shortlist::default(); n];
        let mut stretches =
            [Stretches::new(&cost, &p, &q, unknown()), Stretches::new(&lazy, &p, &q, unknown())];
        assert_eq!((stretches[0].size, stretches[1].size), (8, 20));
        let mut potential: Vec<f64> = (0..n + m).map(|_| random.random_range(0.0..5.0)).collect();
        let (mut negative, mut skipped) = (0, 0);
        for look in 0..40 {
            for stretches in &mut stretches {
                let length = if stretches.keeps { ARCS } else { ARCS_IN_CACHE };
                for rows in stretches.all() {
                    let before = stretches.minima.clone();
                    stretches
                        .price(rows.clone(), &potential, 1e-9, &mut Watch::new(None))
                        .expect("not stopped");
                    skipped += before.iter().zip(&stretches.minima).filter(|(a, b)| a == b).count();
                    for i in rows {
                        let mut all: Vec<f64> = (0..m)
                            .filter(|&j| j != 7)
                            .map(|j| matrix[[i, j]] + potential[n + j] - potential[i])
                            .filter(|reduced| *reduced < -1e-9 && i != 1)
                            .collect();
                        all.sort_by(f64::total_cmp);
                        all.truncate(length);
                        let found: Vec<f64> = stretches.candidates(i..i + 1).map(|arc| arc.reduced).collect();
                        assert_eq!(found.len(), all.len(), "look {look}, source {i}");
                        for (found, expected) in found.iter().zip(&all) {
                            // Sums in another order, of numbers below 1000.
                            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
                        }
                        negative += all.len();
                    }
                }
            }
            let drift = random.random_range(-1.0..1.0);
            let size = 10f64.powi(random.random_range(-3..2));
            potential.iter_mut().for_each(|value| *value += drift + size * random.random_range(-1.0..1.0));
        }
        assert!(negative > 1000 && skipped > 1000, "{negative} arcs, {skipped} blocks not read");
    }
}
