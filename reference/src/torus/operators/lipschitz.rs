//! The Lipschitz regularisation on the nodes: `(phi # L)(x) = min_y { phi(y) + L |x - y| }`, the largest function
//! below `phi` that is `L`-Lipschitz for the geodesic Euclidean distance between nodes.
//!
//! In one dimension two sweeps are exact. In more the cone is not separable, and chamfer distances would change the
//! metric by per cent; the exact minimum is found by branch and bound over a quadtree of the nodes that no neighbour
//! undercuts (only those can be apexes: the triangle inequality hands every other node's cone to a lower one).

use ndarray::ArrayD;
use rayon::prelude::*;

use crate::specification::InvalidInput;
use crate::torus::lattice::grid::TorusGrid;

/// The `L`-Lipschitz envelope of `phi` at the nodes, exact to rounding. O(N) for `d = 1`; for `d = 2, 3` O(N^d) tree
/// searches, each about the logarithm of N where `phi` has slope well below `L` or few apexes.
///
/// # Errors
/// [`InvalidInput`] for a wrong shape, an entry that is not finite, or `lipschitz` not finite and positive.
pub fn lipschitz_envelope(
    grid: &TorusGrid,
    phi: &ArrayD<f64>,
    lipschitz: f64,
) -> Result<ArrayD<f64>, InvalidInput> {
    grid.require_potential("phi", phi)?;
    InvalidInput::require_positive("lipschitz", lipschitz)?;
    let values: Vec<f64> = phi.iter().copied().collect();
    let (envelope, _) = envelope_with_apexes(grid, &values, lipschitz * grid.spacing());
    Ok(ArrayD::from_shape_vec(grid.shape(), envelope).expect("one value for each node"))
}

/// The envelope of C-order `values` and, for every node, the C-order index of the apex that attains it; `slope` is
/// `L h`, the rise over one spacing.
pub(crate) fn envelope_with_apexes(grid: &TorusGrid, values: &[f64], slope: f64) -> (Vec<f64>, Vec<u32>) {
    if grid.dimension == 1 {
        sweep(values, slope)
    } else {
        ApexTree::new(grid, values, slope).envelope(values)
    }
}

/// Two sweeps each way around the circle: the second lap carries values across the seam.
fn sweep(values: &[f64], slope: f64) -> (Vec<f64>, Vec<u32>) {
    let n = values.len();
    let mut apexes: Vec<u32> = (0..n as u32).collect();
    // Distances to apexes are counted afresh at every step, so that rounding does not pile up along a ray.
    let value_from = |apex: u32, index: usize| {
        let gap = index.abs_diff(apex as usize);
        values[apex as usize] + slope * gap.min(n - gap) as f64
    };
    let mut envelope = values.to_vec();
    let mut relax = |index: usize, neighbour: usize| {
        let candidate = value_from(apexes[neighbour], index);
        if candidate < envelope[index] {
            envelope[index] = candidate;
            apexes[index] = apexes[neighbour];
        }
    };
    for step in 0..2 * n {
        relax((step + 1) % n, step % n);
    }
    for step in (0..2 * n).rev() {
        relax(step % n, (step + 1) % n);
    }
    (envelope, apexes)
}

/// Block minima over apex candidates, from single nodes (level 0) up to the whole torus.
struct ApexTree<'a> {
    grid: &'a TorusGrid,
    slope: f64,
    /// `(blocks per side, minima)`; a block of level `k` has side `2^k`, the last block of an axis may be shorter.
    levels: Vec<(usize, Vec<f64>)>,
}

impl<'a> ApexTree<'a> {
    fn new(grid: &'a TorusGrid, values: &[f64], slope: f64) -> Self {
        let mut levels = vec![(grid.nodes_per_side, apex_candidates(grid, values, slope))];
        while levels[levels.len() - 1].0 > 1 {
            let (side, finer) = &levels[levels.len() - 1];
            let blocks = side.div_ceil(2);
            let mut minima = vec![f64::INFINITY; blocks.pow(grid.dimension as u32)];
            for (flat, value) in finer.iter().enumerate() {
                let (mut rest, mut parent, mut stride) = (flat, 0, 1);
                for _ in 0..grid.dimension {
                    parent += (rest % side) / 2 * stride;
                    rest /= side;
                    stride *= blocks;
                }
                minima[parent] = value.min(minima[parent]);
            }
            levels.push((blocks, minima));
        }
        Self { grid, slope, levels }
    }

    fn envelope(&self, values: &[f64]) -> (Vec<f64>, Vec<u32>) {
        let n = self.grid.nodes_per_side;
        let mut envelope = vec![0.0; values.len()];
        let mut apexes = vec![0_u32; values.len()];
        envelope.par_chunks_mut(n).zip(apexes.par_chunks_mut(n)).enumerate().for_each(
            |(line, (out, found))| {
                let mut stack = Vec::new();
                for column in 0..n {
                    let flat = line * n + column;
                    let x = self.grid.multi_index(flat);
                    let mut best = (values[flat], flat as u32);
                    if column > 0 {
                        // The neighbour's apex is nearly always a good first bound.
                        let apex = found[column - 1];
                        let candidate =
                            values[apex as usize] + self.slope * self.node_distance(x, apex as usize);
                        if candidate < best.0 {
                            best = (candidate, apex);
                        }
                    }
                    best = self.search(x, best, &mut stack);
                    (out[column], found[column]) = best;
                }
            },
        );
        (envelope, apexes)
    }

    /// Depth-first branch and bound from the whole torus down.
    fn search(&self, x: [usize; 3], mut best: (f64, u32), stack: &mut Vec<(u32, u32)>) -> (f64, u32) {
        let dimension = self.grid.dimension;
        stack.clear();
        stack.push((self.levels.len() as u32 - 1, 0));
        while let Some((level, block)) = stack.pop() {
            let (side, minima) = &self.levels[level as usize];
            let minimum = minima[block as usize];
            if minimum >= best.0 {
                continue;
            }
            let bound = minimum + self.slope * self.block_distance(x, level, block as usize, *side);
            if bound >= best.0 {
                continue;
            }
            if level == 0 {
                best = (bound, block);
                continue;
            }
            let finer = self.levels[level as usize - 1].0;
            let mut corner = [0; 3];
            let mut rest = block as usize;
            for axis in (0..dimension).rev() {
                corner[axis] = rest % side * 2;
                rest /= side;
            }
            for child in 0..1_usize << dimension {
                let mut flat = 0;
                let mut inside = true;
                for axis in 0..dimension {
                    let index = corner[axis] + (child >> axis & 1);
                    inside &= index < finer;
                    flat = flat * finer + index;
                }
                if inside {
                    stack.push((level - 1, flat as u32));
                }
            }
        }
        best
    }

    fn node_distance(&self, x: [usize; 3], node: usize) -> f64 {
        self.block_distance(x, 0, node, self.grid.nodes_per_side)
    }

    /// Geodesic distance, in spacings, from node `x` to the nearest node of a block.
    fn block_distance(&self, x: [usize; 3], level: u32, block: usize, side: usize) -> f64 {
        let n = self.grid.nodes_per_side;
        let mut rest = block;
        let mut squared = 0;
        for axis in (0..self.grid.dimension).rev() {
            let low = (rest % side) << level;
            rest /= side;
            let high = (low + (1 << level) - 1).min(n - 1);
            if x[axis] < low || x[axis] > high {
                let around = |end: usize| {
                    let gap = x[axis].abs_diff(end);
                    gap.min(n - gap)
                };
                squared += around(low).min(around(high)).pow(2);
            }
        }
        (squared as f64).sqrt()
    }
}

/// `values` where no node of the surrounding 3^d block undercuts it by its cone, `+inf` elsewhere.
fn apex_candidates(grid: &TorusGrid, values: &[f64], slope: f64) -> Vec<f64> {
    let mut offsets = Vec::new();
    for code in 0..3_isize.pow(grid.dimension as u32) {
        let mut offset = [0_isize; 3];
        let mut rest = code;
        for axis in 0..grid.dimension {
            offset[axis] = rest % 3 - 1;
            rest /= 3;
        }
        let squared: isize = offset.iter().map(|o| o * o).sum();
        if squared > 0 {
            offsets.push((offset, slope * (squared as f64).sqrt()));
        }
    }
    (0..values.len())
        .into_par_iter()
        .map(|flat| {
            let index = grid.multi_index(flat);
            let undercut = offsets.iter().any(|(offset, rise)| {
                let neighbour = grid.flat_index([0, 1, 2].map(|axis| index[axis] as isize + offset[axis]));
                values[neighbour] + rise <= values[flat]
            });
            if undercut { f64::INFINITY } else { values[flat] }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn naive(grid: &TorusGrid, phi: &ArrayD<f64>, lipschitz: f64) -> ArrayD<f64> {
        grid.tabulate(|x| {
            phi.iter().enumerate().fold(f64::INFINITY, |best, (flat, value)| {
                best.min(value + lipschitz * grid.squared_distance(x, grid.position(flat)).sqrt())
            })
        })
    }

    #[test]
    fn envelope_equals_the_naive_minimum() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (dimension, n) in [(1, 2), (1, 37), (2, 3), (2, 16), (2, 21), (3, 7)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            for lipschitz in [1e-3, 0.3, 2.0, 10.0, 1e4] {
                let smooth = grid.tabulate(|x| (6.3 * x[0]).sin() + (6.3 * x[1]).cos());
                let rough = grid.tabulate(|_| 0.0).mapv(|_: f64| rng.random_range(-1.0..1.0));
                for phi in [smooth, rough] {
                    let fast = lipschitz_envelope(&grid, &phi, lipschitz).unwrap();
                    let slow = naive(&grid, &phi, lipschitz);
                    for (a, b) in fast.iter().zip(&slow) {
                        assert!((a - b).abs() <= 4.0 * f64::EPSILON * (1.0 + lipschitz), "{a} {b}"); // rounding
                    }
                }
            }
        }
    }

    #[test]
    fn envelope_is_lipschitz_below_phi_and_idempotent() {
        let grid = TorusGrid::new(2, 20).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let phi = grid.tabulate(|_| 0.0).mapv(|_: f64| rng.random_range(-1.0..1.0));
        let lipschitz = 3.0;
        let envelope = lipschitz_envelope(&grid, &phi, lipschitz).unwrap();
        let values = envelope.as_slice().unwrap();
        assert!(envelope.iter().zip(&phi).all(|(a, b)| a <= b));
        for a in 0..grid.node_count() {
            for b in 0..grid.node_count() {
                let distance = grid.squared_distance(grid.position(a), grid.position(b)).sqrt();
                assert!(values[a] - values[b] <= lipschitz * distance + 1e-14); // rounding
            }
        }
        let again = lipschitz_envelope(&grid, &envelope, lipschitz).unwrap();
        assert!((&again - &envelope).iter().all(|difference| difference.abs() <= 1e-14)); // rounding
    }
}
