//! Pricing: which arcs would lower the objective, `c_ij + psi_j < phi_i`.
//!
//! One parallel pass over the cost finds the `k` cheapest targets of every source at the current potentials. Pivots
//! are then priced on these shortlists alone (in cache), until they are exhausted and the next pass is due.

use rayon::prelude::*;

use super::cost::{GroundCost, row_of};

/// Columns compared at a time before looking closer.
const CHUNK: usize = 32;

/// The cheapest targets of one source by `c_ij + psi_j`, with their costs.
#[derive(Debug, Clone, Default)]
pub(super) struct Shortlist {
    pub(super) entries: Vec<(u32, f64)>,
    /// `min_j (c_ij + psi_j)` over all targets.
    pub(super) least: f64,
}

/// One pass over the cost: the `length` cheapest targets of every source with `p_i > 0` (others get none).
pub(super) fn shortlists(cost: &dyn GroundCost, p: &[f64], psi: &[f64], length: usize) -> Vec<Shortlist> {
    (0..cost.sources())
        .into_par_iter()
        .with_min_len(16)
        .map_init(
            || (vec![0.0; psi.len()], Vec::with_capacity(length + 1)),
            |(buffer, best), i| {
                if p[i] <= 0.0 {
                    return Shortlist { entries: Vec::new(), least: f64::INFINITY };
                }
                let row = row_of(cost, i, buffer);
                cheapest(row, psi, length, best);
                Shortlist {
                    entries: best.iter().map(|&(_, j)| (j, row[j as usize])).collect(),
                    least: best.first().map_or(f64::INFINITY, |&(value, _)| value),
                }
            },
        )
        .collect()
}

/// The `length` smallest `row[j] + psi[j]`, ascending, by chunks that are skipped when their minimum is too large.
fn cheapest(row: &[f64], psi: &[f64], length: usize, best: &mut Vec<(f64, u32)>) {
    best.clear();
    let mut bound = f64::INFINITY;
    for (chunk, (costs, potentials)) in row.chunks(CHUNK).zip(psi.chunks(CHUNK)).enumerate() {
        if chunk_minimum(costs, potentials) >= bound {
            continue;
        }
        for (lane, (c, psi)) in costs.iter().zip(potentials).enumerate() {
            let value = c + psi;
            if value < bound {
                let place = best.partition_point(|&(other, _)| other <= value);
                best.insert(place, (value, (chunk * CHUNK + lane) as u32));
                best.truncate(length);
                if best.len() == length {
                    bound = best[length - 1].0;
                }
            }
        }
    }
}

/// `min (c + psi)` over one chunk, in independent lanes so that it runs in vector registers.
fn chunk_minimum(costs: &[f64], potentials: &[f64]) -> f64 {
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

/// `argmin_i (c_ij - phi_i)` over sources with `p_i > 0`, for each of the given targets: `(i, c_ij)`.
pub(super) fn nearest_sources(cost: &dyn GroundCost, p: &[f64], phi: &[f64], targets: &[u32]) -> Vec<(u32, f64)> {
    targets
        .par_iter()
        .map(|&j| {
            let mut best = (f64::INFINITY, (0, 0.0));
            for i in (0..p.len()).filter(|&i| p[i] > 0.0) {
                let c = cost.entry(i, j as usize);
                if c - phi[i] < best.0 {
                    best = (c - phi[i], (i as u32, c));
                }
            }
            best.1
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::transport::DenseCost;

    #[test]
    fn shortlists_hold_the_cheapest_targets_in_order() {
        let (n, m) = (5, 203);
        let matrix = Array2::from_shape_fn((n, m), |(i, j)| ((i * 7919 + j * 104_729) % 1013) as f64);
        let psi: Vec<f64> = (0..m).map(|j| (j as f64 * 0.7).sin() * 100.0).collect();
        let p = [0.2, 0.0, 0.3, 0.4, 0.1];
        let cost = DenseCost::new(matrix.clone()).expect("finite");
        let lists = shortlists(&cost, &p, &psi, 7);
        assert!(lists[1].entries.is_empty());
        for i in [0, 2, 3, 4] {
            let mut all: Vec<f64> = (0..m).map(|j| matrix[[i, j]] + psi[j]).collect();
            all.sort_by(f64::total_cmp);
            let found: Vec<f64> = lists[i].entries.iter().map(|&(j, c)| c + psi[j as usize]).collect();
            assert_eq!(found, all[..7]);
            assert_eq!(lists[i].least, all[0]);
        }
    }
}
