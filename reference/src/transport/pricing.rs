//! Pricing: which arcs would lower the objective, `c_ij + psi_j < phi_i`.
//!
//! A pass finds the cheapest targets of every source at the current potentials; pivots are then priced on these
//! shortlists alone (in cache), until they are exhausted and the next pass is due. For every source and block of targets
//! a pass remembers the least `c_ij + psi_j`; since then it cannot have fallen by more than the potentials of the block
//! have. So later passes skip, with certainty, the blocks that hold nothing cheap, and read a fraction of the cost.

use rayon::prelude::*;

use super::certificate::compensated_sum;
use super::cost::{GroundCost, row_of};
use crate::observer::{Stopped, Watch};

/// Targets per block. The remembered minima take `8 n m / BLOCK` bytes.
const BLOCK: usize = 32;

/// The cheapest targets of one source by `c_ij + psi_j`, ascending, with their costs.
#[derive(Debug, Clone, Default)]
pub(super) struct Shortlist {
    pub(super) entries: Vec<(u32, f64)>,
    /// `min_j (c_ij + psi_j)` over all targets; `+inf` for a source without mass.
    pub(super) least: f64,
}

/// Passes over one cost, with the memory of earlier ones.
pub(super) struct Pricer<'a> {
    cost: &'a dyn GroundCost,
    p: &'a [f64],
    length: usize,
    lists: Vec<Shortlist>,
    /// `minima[i, b] - fallen[b]` bounds `min_{j in b} (c_ij + psi_j)` from below.
    minima: Vec<f64>,
    /// How far the potentials of each block can have fallen in all, an upper bound.
    fallen: Vec<f64>,
    psi: Vec<f64>,
    dual: Option<(f64, Vec<f64>)>,
}

impl<'a> Pricer<'a> {
    /// Shortlists of `length` targets for the sources with `p_i > 0`.
    pub(super) fn new(cost: &'a dyn GroundCost, p: &'a [f64], length: usize) -> Self {
        let blocks = cost.targets().div_ceil(BLOCK);
        Self {
            cost,
            p,
            length,
            lists: vec![Shortlist { entries: Vec::new(), least: f64::INFINITY }; cost.sources()],
            minima: vec![f64::NEG_INFINITY; cost.sources() * blocks],
            fallen: vec![0.0; blocks],
            psi: Vec::new(),
            dual: None,
        }
    }

    /// The shortlists at `psi` (finite, or `+inf` for a target that is out of reach).
    pub(super) fn pass(&mut self, psi: &[f64], watch: &mut Watch<'_>) -> Result<&[Shortlist], Stopped> {
        if !self.psi.is_empty() {
            for (fallen, (before, now)) in
                self.fallen.iter_mut().zip(self.psi.chunks(BLOCK).zip(psi.chunks(BLOCK)))
            {
                // inf - inf is NaN, which max ignores: a target that stays out of reach bounds nothing.
                *fallen += before.iter().zip(now).map(|(a, b)| a - b).fold(f64::NEG_INFINITY, f64::max);
            }
        }
        self.psi = psi.to_vec();
        let Self { cost, p, length, lists, minima, fallen, .. } = self;
        let blocks = fallen.len();
        watch.in_pieces(lists.len(), |rows| {
            let first = rows.start;
            let minima = &mut minima[rows.start * blocks..rows.end * blocks];
            let rows = lists[rows].par_iter_mut().zip(minima.par_chunks_mut(blocks));
            rows.enumerate().with_min_len(16).for_each_init(Work::default, |work, (k, (list, minima))| {
                if p[first + k] > 0.0 {
                    let pass = Pass { cost: *cost, psi, length: *length, fallen };
                    pass.price(first + k, minima, list, work);
                }
            });
        })?;
        let least = p.iter().zip(lists.iter()).filter(|(p, _)| **p > 0.0).map(|(p, list)| p * list.least);
        self.dual = Some((compensated_sum(least), psi.to_vec()));
        Ok(&self.lists)
    }

    /// The shortlists of the last pass.
    pub(super) fn into_lists(self) -> Vec<Shortlist> {
        self.lists
    }

    /// `sum_i p_i min_j (c_ij + psi_j)` of the last complete pass, and its `psi`.
    pub(super) fn last_dual(&self) -> Option<&(f64, Vec<f64>)> {
        self.dual.as_ref()
    }
}

/// Work space of one thread.
#[derive(Default)]
struct Work {
    costs: Vec<f64>,
    selection: Vec<f64>,
    best: Vec<(f64, u32, f64)>,
}

/// What all rows of a pass share.
struct Pass<'a> {
    cost: &'a dyn GroundCost,
    psi: &'a [f64],
    length: usize,
    fallen: &'a [f64],
}

impl Pass<'_> {
    /// Prices row `i`.
    fn price(&self, i: usize, minima: &mut [f64], list: &mut Shortlist, work: &mut Work) {
        let Self { cost, psi, length, fallen } = *self;
        let m = psi.len();
        let Work { costs, selection, best } = work;
        best.clear();
        // Values beyond this cannot be among the cheapest: so many are known to be cheaper already.
        let mut bound = f64::INFINITY;
        let first = list.entries.is_empty();
        if !first {
            if list.entries.len() == length {
                bound =
                    list.entries.iter().map(|&(j, c)| c + psi[j as usize]).fold(f64::NEG_INFINITY, f64::max);
            }
        } else {
            // First pass: every block is read, and the `length`-th least minimum is the bound.
            costs.resize(m, 0.0);
            let row = row_of(cost, i, costs);
            for (block, minimum) in minima.iter_mut().enumerate() {
                let range = block * BLOCK..((block + 1) * BLOCK).min(m);
                *minimum = minimum_of_sums(&row[range.clone()], &psi[range]) + fallen[block];
            }
            if minima.len() > length {
                selection.clear();
                selection.extend(minima.iter().zip(fallen).map(|(minimum, fallen)| minimum - fallen));
                bound = *selection.select_nth_unstable_by(length - 1, f64::total_cmp).1;
            }
        }
        // The recorded drops round by a few eps of the potentials each; a relative margin covers them.
        for block in 0..minima.len() {
            let remembered = minima[block] - fallen[block];
            if remembered - 1e-12 * (minima[block].abs() + fallen[block].abs()) > bound {
                continue;
            }
            let range = block * BLOCK..((block + 1) * BLOCK).min(m);
            let mut buffer = [0.0; BLOCK];
            let potentials = &psi[range.clone()];
            let block_costs: &[f64] = match cost.row(i) {
                Some(row) => &row[range.clone()],
                None => {
                    let buffer = &mut buffer[..range.len()];
                    cost.fill_range(i, range.start, buffer);
                    buffer
                }
            };
            let minimum = minimum_of_sums(block_costs, potentials);
            minima[block] = minimum + fallen[block];
            // A full list gains nothing from ties with its last entry.
            if minimum > bound || (minimum == bound && best.len() == length) {
                continue;
            }
            for (lane, (&c, psi)) in block_costs.iter().zip(potentials).enumerate() {
                let value = c + psi;
                if value <= bound && value < f64::INFINITY {
                    let place = best.partition_point(|&(other, _, _)| other <= value);
                    if place < length {
                        best.truncate(length - 1);
                        best.insert(place, (value, (range.start + lane) as u32, c));
                        if best.len() == length {
                            bound = best[length - 1].0;
                        }
                    }
                }
            }
        }
        list.least = best.first().map_or(f64::INFINITY, |&(value, _, _)| value);
        list.entries.clear();
        list.entries.extend(best.iter().map(|&(_, j, c)| (j, c)));
    }
}

/// `min_k (c_k + psi_k)` over one block, in independent lanes so that it runs in vector registers.
#[inline(always)]
pub(super) fn minimum_of_sums(costs: &[f64], potentials: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut least = [f64::INFINITY; LANES];
    let (blocks, rest) = costs.as_chunks::<LANES>();
    let (potential_blocks, potential_rest) = potentials.as_chunks::<LANES>();
    for (c, psi) in blocks.iter().zip(potential_blocks) {
        for lane in 0..LANES {
            let value = c[lane] + psi[lane];
            least[lane] = if value < least[lane] { value } else { least[lane] };
        }
    }
    let tail = rest.iter().zip(potential_rest).map(|(c, psi)| c + psi);
    least.into_iter().chain(tail).fold(f64::INFINITY, f64::min)
}

/// `argmin_i (c_ij - phi_i)` over sources with `p_i > 0`, for every target: `(i, c_ij)`; one pass by rows.
pub(super) fn nearest_sources(
    cost: &dyn GroundCost,
    p: &[f64],
    phi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Vec<(u32, f64)>, Stopped> {
    let m = cost.targets();
    let nothing = || (vec![f64::INFINITY; m], vec![0_u32; m]);
    let nearer = |(mut least, mut nearest): (Vec<f64>, Vec<u32>),
                  (other_least, other): (Vec<f64>, Vec<u32>)| {
        for j in 0..m {
            // Ties go to the lower index, so that the order of reduction does not matter.
            if (other_least[j], other[j]) < (least[j], nearest[j]) {
                (least[j], nearest[j]) = (other_least[j], other[j]);
            }
        }
        (least, nearest)
    };
    let mut best = nothing();
    watch.in_pieces(cost.sources(), |rows| {
        let found = rows
            .into_par_iter()
            .with_min_len(64)
            .filter(|&i| p[i] > 0.0)
            .fold(
                || (nothing(), vec![0.0; m]),
                |((mut least, mut nearest), mut buffer), i| {
                    let row = row_of(cost, i, &mut buffer);
                    for j in 0..m {
                        if row[j] - phi[i] < least[j] {
                            (least[j], nearest[j]) = (row[j] - phi[i], i as u32);
                        }
                    }
                    ((least, nearest), buffer)
                },
            )
            .map(|(state, _)| state)
            .reduce(nothing, nearer);
        best = nearer(std::mem::take(&mut best), found);
    })?;
    Ok(best.1.into_iter().enumerate().map(|(j, i)| (i, cost.entry(i as usize, j))).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::transport::DenseCost;

    /// Hides the rows of a cost, so that entries are computed on the fly.
    pub(in crate::transport) struct Lazy<'a>(pub(in crate::transport) &'a DenseCost);

    impl GroundCost for Lazy<'_> {
        fn sources(&self) -> usize {
            self.0.sources()
        }
        fn targets(&self) -> usize {
            self.0.targets()
        }
        fn entry(&self, i: usize, j: usize) -> f64 {
            self.0.entry(i, j)
        }
    }

    #[test]
    fn shortlists_hold_the_cheapest_targets_after_any_change_of_the_potentials() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (n, m, length) = (9, 203, 7);
        let matrix = Array2::from_shape_fn((n, m), |(i, j)| {
            (i as f64 * 20.0 - j as f64).abs() + random.random::<f64>()
        });
        let cost = DenseCost::new(matrix.clone()).expect("finite");
        let mut p = vec![0.125; n];
        p[1] = 0.0;
        let lazy = Lazy(&cost);
        let mut pricers = [Pricer::new(&cost, &p, length), Pricer::new(&lazy, &p, length)];
        let mut psi: Vec<f64> = (0..m).map(|_| random.random_range(0.0..5.0)).collect();
        for pass in 0..20 {
            for pricer in &mut pricers {
                let lists = pricer.pass(&psi, &mut Watch::new(None)).expect("not stopped");
                assert!(lists[1].entries.is_empty());
                for i in (0..n).filter(|&i| i != 1) {
                    let mut all: Vec<f64> = (0..m).map(|j| matrix[[i, j]] + psi[j]).collect();
                    all.sort_by(f64::total_cmp);
                    let found: Vec<f64> =
                        lists[i].entries.iter().map(|&(j, c)| c + psi[j as usize]).collect();
                    assert_eq!(found, all[..length], "pass {pass}");
                    assert_eq!(lists[i].least, all[0]);
                }
            }
            let drift = random.random_range(-1.0..1.0);
            let size = 10f64.powi(random.random_range(-3..2));
            psi.iter_mut().for_each(|psi| *psi += drift + size * random.random_range(-1.0..1.0));
        }
    }

    #[test]
    fn nearest_sources_minimise_over_columns() {
        let matrix = Array2::from_shape_fn((150, 40), |(i, j)| ((i * 7919 + j * 104_729) % 1013) as f64);
        let phi: Vec<f64> = (0..150).map(|i| (i as f64).sin() * 300.0).collect();
        let p: Vec<f64> = (0..150).map(|i| f64::from(i % 3 != 0)).collect();
        let cost = DenseCost::new(matrix.clone()).expect("finite");
        let found = nearest_sources(&cost, &p, &phi, &mut Watch::new(None)).expect("not stopped");
        for (j, (i, c)) in found.into_iter().enumerate() {
            let naive = (0..150)
                .filter(|i| i % 3 != 0)
                .map(|i| matrix[[i, j]] - phi[i])
                .fold(f64::INFINITY, f64::min);
            assert_eq!(c - phi[i as usize], naive);
        }
    }
}
