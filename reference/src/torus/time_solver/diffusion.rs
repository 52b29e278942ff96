//! `R = prod_axis (I - c D_axis)^{-1}`, one implicit Euler step of the heat equation, `c = s dt / h^2`.
//!
//! On a periodic line the inverse is the convolution with `g_k = A (r^k + r^{n-k}) / (1 - r^n)`, where `r` in (0,1)
//! solves `c r^2 - (1 + 2c) r + c = 0`: two recursive sweeps with non-negative terms only. So positivity is exact in
//! floating point, mass holds to rounding, and `R` is symmetric.

use crate::torus::lattice::grid::TorusGrid;

/// The resolvent of the periodic Laplacian, axis by axis.
#[derive(Debug, Clone)]
pub struct ImplicitDiffusion {
    ratio: f64,
    scale: f64,
    closure: f64,
}

impl ImplicitDiffusion {
    /// The step with `c = viscosity * time_step / spacing^2 >= 0` on lines of `grid`.
    pub fn new(grid: &TorusGrid, viscosity: f64, time_step: f64) -> Self {
        let c = viscosity * time_step / grid.spacing().powi(2);
        let ratio = 2.0 * c / (1.0 + 2.0 * c + (1.0 + 4.0 * c).sqrt());
        Self {
            ratio,
            scale: (1.0 - ratio) / (1.0 + ratio),
            closure: 1.0 / (1.0 - ratio.powi(grid.nodes_per_side as i32)),
        }
    }

    /// `field <- R field`; the same call is the adjoint.
    pub fn apply(&self, grid: &TorusGrid, field: &mut [f64]) {
        self.apply_rows(grid, field, 1);
    }

    /// `R` on `width` fields at once, stored node by node (`field[i * width + k]` is node `i` of field `k`).
    pub fn apply_rows(&self, grid: &TorusGrid, fields: &mut [f64], width: usize) {
        let (n, r) = (grid.nodes_per_side, self.ratio);
        for axis in 0..grid.dimension {
            // Fields as (outer, n, lanes): one recursion over n serves all lanes at once.
            let lanes = grid.stride(axis) * width;
            let mut forward = vec![0.0; n * lanes];
            let mut anticausal = vec![0.0; lanes];
            for block in fields.chunks_mut(n * lanes) {
                // causal_k = sum_{j >= 0} r^j line_{k-j}, started with the whole periodic tail.
                let mut causal = vec![0.0; lanes];
                anticausal.fill(0.0);
                for k in 0..n {
                    let (ahead, behind) =
                        (&block[k * lanes..][..lanes], &block[(n - 1 - k) * lanes..][..lanes]);
                    for lane in 0..lanes {
                        causal[lane] = r * causal[lane] + ahead[lane];
                        anticausal[lane] = r * (anticausal[lane] + behind[lane]);
                    }
                }
                causal.iter_mut().chain(&mut anticausal).for_each(|value| *value *= self.closure);
                for k in 0..n {
                    let line = &block[k * lanes..][..lanes];
                    for lane in 0..lanes {
                        causal[lane] = line[lane] + r * causal[lane];
                    }
                    forward[k * lanes..][..lanes].copy_from_slice(&causal);
                }
                // anticausal_k = sum_{j >= 1} r^j line_{k+j}.
                for k in (0..n).rev() {
                    let line = &mut block[k * lanes..][..lanes];
                    let ahead = &forward[k * lanes..][..lanes];
                    for lane in 0..lanes {
                        let value = line[lane];
                        line[lane] = self.scale * (ahead[lane] + anticausal[lane]);
                        anticausal[lane] = r * (anticausal[lane] + value);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::lattice::neighbour_table::NeighbourTable;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(nodes: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..nodes).map(|_| random.random_range(0.0..1.0)).collect()
    }

    #[test]
    fn resolvent_inverts_the_implicit_step_along_each_axis() {
        let (viscosity, time_step) = (0.3, 0.02);
        let grid = NeighbourTable::new(TorusGrid::new(1, 16).unwrap()).unwrap();
        let c = viscosity * time_step / grid.spacing().powi(2);
        let right = random(16, 1);
        let mut field = right.clone();
        ImplicitDiffusion::new(&grid, viscosity, time_step).apply(&grid, &mut field);
        for i in 0..16 {
            let (next, last) = (grid.forward(0)[i] as usize, grid.backward(0)[i] as usize);
            let back = (1.0 + 2.0 * c) * field[i] - c * (field[next] + field[last]);
            // Rounding: a few eps times the diagonal 1 + 2c.
            assert!((back - right[i]).abs() < 20.0 * f64::EPSILON * (1.0 + 2.0 * c));
        }
    }

    #[test]
    fn resolvent_is_symmetric_keeps_mass_and_never_goes_negative() {
        for (dimension, side) in [(1, 33), (2, 9)] {
            let grid = TorusGrid::new(dimension, side).unwrap();
            let diffusion = ImplicitDiffusion::new(&grid, 0.05, 0.003);
            let (a, b) = (random(grid.node_count(), 2), random(grid.node_count(), 3));
            let (mut ra, mut rb) = (a.clone(), b.clone());
            diffusion.apply(&grid, &mut ra);
            diffusion.apply(&grid, &mut rb);
            let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
            assert!((dot(&ra, &b) - dot(&a, &rb)).abs() < 1e-13 * dot(&a, &b));
            assert!((ra.iter().sum::<f64>() / a.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            let mut point = vec![0.0; grid.node_count()];
            point[3] = 1.0;
            diffusion.apply(&grid, &mut point);
            assert!(point.iter().all(|value| *value >= 0.0));
        }
    }
}
