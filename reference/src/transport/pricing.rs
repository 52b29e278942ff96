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
            || Buffers { row: vec![0.0; psi.len()], minima: Vec::new(), best: Vec::with_capacity(length + 1) },
            |Buffers { row: buffer, minima, best }, i| {
                if p[i] <= 0.0 {
                    return Shortlist { entries: Vec::new(), least: f64::INFINITY };
                }
                let row = row_of(cost, i, buffer);
                cheapest(row, psi, length, minima, best);
                Shortlist {
                    entries: best.iter().map(|&(_, j)| (j, row[j as usize])).collect(),
                    least: best.first().map_or(f64::INFINITY, |&(value, _)| value),
                }
            },
        )
        .collect()
}

/// Work space of one thread.
struct Buffers {
    row: Vec<f64>,
    minima: Vec<(f64, u32)>,
    best: Vec<(f64, u32)>,
}

/// The `length` smallest `row[j] + psi[j]`, ascending, into `best`: chunks in the order of their minima, until a minimum
/// is beyond the worst value kept. The `length`-th chunk minimum bounds the values that can matter.
fn cheapest(row: &[f64], psi: &[f64], length: usize, minima: &mut Vec<(f64, u32)>, best: &mut Vec<(f64, u32)>) {
    best.clear();
    minima.clear();
    let chunks = row.chunks(CHUNK).zip(psi.chunks(CHUNK)).enumerate();
    minima.extend(chunks.map(|(chunk, (costs, potentials))| (chunk_minimum(costs, potentials), chunk as u32)));
    if minima.len() > length {
        minima.select_nth_unstable_by(length - 1, |a, b| a.0.total_cmp(&b.0));
        minima.truncate(length);
    }
    minima.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut bound = f64::INFINITY;
    for &(minimum, chunk) in minima.iter() {
        if minimum >= bound {
            break;
        }
        let start = chunk as usize * CHUNK;
        let end = (start + CHUNK).min(row.len());
        for j in start..end {
            let value = row[j] + psi[j];
            if value < bound {
                let place = best.partition_point(|&(other, _)| other <= value);
                best.insert(place, (value, j as u32));
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

/// `argmin_i (c_ij - phi_i)` over sources with `p_i > 0`, for every target: `(i, c_ij)`; one pass by rows.
pub(super) fn nearest_sources(cost: &dyn GroundCost, p: &[f64], phi: &[f64]) -> Vec<(u32, f64)> {
    let m = cost.targets();
    let nothing = || (vec![f64::INFINITY; m], vec![0_u32; m]);
    let (_, nearest) = (0..cost.sources())
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
        .reduce(nothing, |(mut least, mut nearest), (other_least, other)| {
            for j in 0..m {
                // Ties go to the lower index, so that the order of reduction does not matter.
                if (other_least[j], other[j]) < (least[j], nearest[j]) {
                    (least[j], nearest[j]) = (other_least[j], other[j]);
                }
            }
            (least, nearest)
        });
    nearest.into_iter().enumerate().map(|(j, i)| (i, cost.entry(i as usize, j))).collect()
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
