//! The Lipschitz cap on the slopes of the multilinear interpolant of a potential, as an augmented Lagrangian.
//!
//! At every node and each of the `2^d` sign quadrants `s` let `v = (D^{s_1}_1 phi, ..., D^{s_d}_d phi)` collect one-sided
//! difference quotients. The gradient of the interpolant over a cell is a convex combination of the quadrant slopes at
//! its corners, so `|v| <= L` everywhere is necessary and sufficient for an `L`-Lipschitz interpolant. The penalty
//!
//! ```text
//! (beta/2) sum w dist^2(v + m/beta, ball of radius L),   w = h^d / 2^d,   m <- beta (1 - P)(v + m/beta)
//! ```
//!
//! (Rockafellar, Math. Oper. Res. 1, 1976) has the multipliers `m >= 0` along `v`: the flux that carries `rho_T` to `eta`.

use rayon::prelude::*;

use super::beckmann::EdgeFlux;
use super::grid::TorusGrid;
use super::hopf_lax::LINES_PER_TASK;
use super::neighbours::{fill_nodes, for_each_node};

/// Multipliers and the last evaluation.
pub(crate) struct SlopeCap {
    grid: TorusGrid,
    lipschitz: f64,
    /// `beta`.
    pub penalty: f64,
    /// `m`, for every node and quadrant `d` components.
    pub multipliers: Vec<f64>,
    /// `v + m / beta` at the last potential.
    shifted: Vec<f64>,
    /// For every node, axis and side: the stresses of the quadrants on that side, summed.
    sums: Vec<f64>,
}

impl SlopeCap {
    pub(crate) fn new(grid: TorusGrid, lipschitz: f64, penalty: f64, multipliers: Option<Vec<f64>>) -> Self {
        let size = grid.node_count() * components(&grid);
        Self {
            grid,
            lipschitz,
            penalty,
            multipliers: multipliers.unwrap_or_else(|| vec![0.0; size]),
            shifted: vec![0.0; size],
            sums: vec![0.0; grid.node_count() * 2 * grid.dimension],
        }
    }

    /// The penalty at `phi`; its derivative is then given by [`SlopeCap::add_derivative`].
    pub(crate) fn evaluate(&mut self, phi: &[f64]) -> f64 {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        let record = components(&self.grid);
        let multipliers = &self.multipliers;
        fill_nodes(&self.grid, phi, &mut self.shifted, record, |node, v, out| {
            let m = &multipliers[node * record..][..record];
            for (index, (out, m)) in out.iter_mut().zip(m).enumerate() {
                let (quadrant, axis) = (index / d, index % d);
                *out = v[axis][quadrant >> axis & 1] + m / penalty;
            }
        });
        let block = record * self.grid.nodes_per_side;
        let squares: Vec<f64> = self
            .shifted
            .par_chunks(block)
            .map(|nodes| {
                let excess = |w: &[f64]| (norm(w) - lipschitz).max(0.0).powi(2);
                nodes.chunks(d).map(excess).sum()
            })
            .collect();
        self.sum_stresses(|w, stress| {
            let part = penalty * (1.0 - lipschitz / norm(w)).max(0.0);
            for (stress, w) in stress.iter_mut().zip(w) {
                *stress = part * w;
            }
        });
        0.5 * penalty * self.weight() * squares.iter().sum::<f64>()
    }

    /// `out <- out + scale * derivative` of the penalty at the last potential.
    pub(crate) fn add_derivative(&self, scale: f64, out: &mut [f64]) {
        self.add_divergence(scale, out);
    }

    /// `out <- out + (generalised) second derivative of the penalty times direction`.
    pub(crate) fn add_curvature(&mut self, direction: &[f64], out: &mut [f64]) {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        let (record, sides) = (components(&self.grid), 2 * d);
        let shifted = &self.shifted;
        fill_nodes(&self.grid, direction, &mut self.sums, sides, |node, g, out| {
            out.fill(0.0);
            for (quadrant, w) in shifted[node * record..][..record].chunks(d).enumerate() {
                let square: f64 = w.iter().map(|w| w * w).sum();
                if square > lipschitz * lipschitz {
                    let ratio = lipschitz / square.sqrt();
                    let side = |axis: usize| quadrant >> axis & 1;
                    let along: f64 = (0..d).map(|axis| w[axis] * g[axis][side(axis)]).sum();
                    for axis in 0..d {
                        out[2 * axis + side(axis)] += penalty
                            * ((1.0 - ratio) * g[axis][side(axis)] + ratio * w[axis] * along / square);
                    }
                }
            }
        });
        self.add_divergence(1.0, out);
    }

    /// `out <- out + an upper bound of the diagonal` of the second derivative of the penalty.
    pub(crate) fn add_stiffness(&mut self, out: &mut [f64]) {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        self.sum_stresses(|w, stress| {
            stress.fill(if norm(w) > lipschitz { penalty / d as f64 } else { 0.0 });
        });
        let sides = 2 * d;
        let (sums, scale) = (&self.sums, self.weight() / self.grid.spacing().powi(2));
        fill_nodes(&self.grid, &[], out, 1, |node, _, out| {
            out[0] += scale * sums[node * sides..][..sides].iter().sum::<f64>() * 2.0;
        });
    }

    /// The multiplier step `m <- beta (1 - P)(v + m / beta)` at the last potential; returns the largest change.
    pub(crate) fn update_multipliers(&mut self) {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        let block = d * self.grid.nodes_per_side * LINES_PER_TASK;
        self.multipliers.par_chunks_mut(block).zip(self.shifted.par_chunks(block)).for_each(
            |(multipliers, shifted)| {
                for (m, w) in multipliers.chunks_mut(d).zip(shifted.chunks(d)) {
                    let part = penalty * (1.0 - lipschitz / norm(w)).max(0.0);
                    for (m, w) in m.iter_mut().zip(w) {
                        *m = part * w;
                    }
                }
            },
        );
    }

    /// The mass flux through every edge that the stresses at the last potential amount to: its divergence is
    /// `rho_T - eta` where the augmented objective is stationary.
    pub(crate) fn flux(&mut self) -> EdgeFlux {
        let (lipschitz, penalty) = (self.lipschitz, self.penalty);
        self.sum_stresses(|w, stress| {
            let part = penalty * (1.0 - lipschitz / norm(w)).max(0.0);
            for (stress, w) in stress.iter_mut().zip(w) {
                *stress = part * w;
            }
        });
        let d = self.grid.dimension;
        let (sums, scale) = (&self.sums, -self.weight() / self.grid.spacing());
        EdgeFlux::from_edges(self.grid, |axis, node, next| {
            scale * (sums[2 * (node * d + axis) + 1] + sums[2 * (next * d + axis)])
        })
    }

    fn weight(&self) -> f64 {
        self.grid.spacing().powi(self.grid.dimension as i32) / f64::from(1_u32 << self.grid.dimension)
    }

    /// Fills `sums` with `stress(shifted slope)` of every quadrant, added up by side.
    fn sum_stresses(&mut self, stress: impl Fn(&[f64], &mut [f64]) + Sync) {
        let d = self.grid.dimension;
        let (record, sides) = (components(&self.grid), 2 * d);
        let shifted = &self.shifted;
        fill_nodes(&self.grid, &[], &mut self.sums, sides, |node, _, out| {
            out.fill(0.0);
            let mut one = [0.0; 3];
            for (quadrant, w) in shifted[node * record..][..record].chunks(d).enumerate() {
                stress(w, &mut one[..d]);
                for (axis, one) in one[..d].iter().enumerate() {
                    out[2 * axis + (quadrant >> axis & 1)] += one;
                }
            }
        });
    }

    /// `out_j <- out_j + scale * d/d phi_j sum w <stress, v>` for the stresses in `sums`.
    fn add_divergence(&self, scale: f64, out: &mut [f64]) {
        let d = self.grid.dimension;
        let (sums, scale) = (&self.sums, scale * self.weight() / self.grid.spacing());
        for_each_node(&self.grid, out, |node, around, out| {
            let mut total = 0.0;
            for axis in 0..d {
                let [back, forward] = around[axis];
                total += sums[2 * (back * d + axis) + 1] + sums[2 * (node * d + axis)]
                    - sums[2 * (node * d + axis) + 1]
                    - sums[2 * (forward * d + axis)];
            }
            *out += scale * total;
        });
    }
}

/// `2^d` quadrants of `d` components.
pub(crate) fn components(grid: &TorusGrid) -> usize {
    grid.dimension << grid.dimension
}

/// `max |v| / L - 1` over all nodes and quadrants: by how much `phi` breaks the cap (negative: it does not).
pub(crate) fn violation(grid: &TorusGrid, phi: &[f64], lipschitz: f64) -> f64 {
    let mut steepest = vec![0.0; phi.len()];
    fill_nodes(grid, phi, &mut steepest, 1, |_, v, out| {
        let largest = |side: [f64; 2]| side[0].abs().max(side[1].abs()).powi(2);
        out[0] = v[..grid.dimension].iter().map(|side| largest(*side)).sum::<f64>().sqrt();
    });
    super::vector::maximum(&steepest) / lipschitz - 1.0
}

fn norm(w: &[f64]) -> f64 {
    w.iter().map(|w| w * w).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::slope_repair::feasible;
    use crate::torus::vector::dot;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(count: usize, size: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
        (0..count).map(|_| rng.random_range(-size..size)).collect()
    }

    #[test]
    fn derivative_and_curvature_are_those_of_the_penalty_and_the_flux_has_the_derivative_as_divergence() {
        let mut rng = ChaCha8Rng::seed_from_u64(13);
        for (dimension, n) in [(1, 12), (2, 7), (3, 4)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let count = grid.node_count();
            let multipliers = random(count * components(&grid), 0.3, &mut rng);
            let mut cap = SlopeCap::new(grid, 0.8, 3.0, Some(multipliers));
            let (phi, direction) = (random(count, 0.3, &mut rng), random(count, 0.3, &mut rng));
            let moved = |s: f64| -> Vec<f64> { phi.iter().zip(&direction).map(|(a, b)| a + s * b).collect() };
            let step = 1e-5;
            let (up, down) = (cap.evaluate(&moved(step)), cap.evaluate(&moved(-step)));
            let mut derivative_at = |s: f64| {
                cap.evaluate(&moved(s));
                let mut out = vec![0.0; count];
                cap.add_derivative(1.0, &mut out);
                out
            };
            let (plus, minus, derivative) = (derivative_at(step), derivative_at(-step), derivative_at(0.0));
            let exact = dot(&derivative, &direction);
            // second order in the step except where a quadrant reaches the cap within it; third derivatives ~ n^3
            assert!(((up - down) / (2.0 * step) - exact).abs() < 1e-6 * (1.0 + exact.abs()));
            let mut curvature = vec![0.0; count];
            cap.add_curvature(&direction, &mut curvature);
            for ((plus, minus), exact) in plus.iter().zip(&minus).zip(&curvature) {
                assert!(((plus - minus) / (2.0 * step) - exact).abs() < 1e-3); // a quadrant may reach the cap
            }
            cap.evaluate(&phi);
            let mut divergence = vec![0.0; count];
            cap.flux().divergence(&mut divergence);
            for (a, b) in divergence.iter().zip(&derivative) {
                assert!((a - b).abs() < 1e-13); // rounding
            }
        }
    }

    #[test]
    fn quadrant_slopes_bound_the_gradient_of_the_interpolant_and_are_attained() {
        let mut rng = ChaCha8Rng::seed_from_u64(14);
        let grid = TorusGrid::new(2, 6).unwrap();
        let phi = random(36, 1.0, &mut rng);
        let steepest = 1.0 + violation(&grid, &phi, 1.0);
        let mut sampled = 0.0_f64;
        for cell in 0..36 {
            let index = grid.multi_index(cell).map(|i| i as isize);
            let at = |i: isize, j: isize| phi[grid.flat_index([index[0] + i, index[1] + j, 0])];
            for (s, t) in (0..=8).flat_map(|s| (0..=8).map(move |t| (f64::from(s) / 8.0, f64::from(t) / 8.0)))
            {
                let x = (1.0 - t) * (at(1, 0) - at(0, 0)) + t * (at(1, 1) - at(0, 1));
                let y = (1.0 - s) * (at(0, 1) - at(0, 0)) + s * (at(1, 1) - at(1, 0));
                sampled = sampled.max(6.0 * x.hypot(y));
            }
        }
        assert!((sampled - steepest).abs() < 1e-12, "{sampled} {steepest}"); // rounding: corners are sampled
    }

    #[test]
    fn repair_makes_any_potential_feasible_and_leaves_feasible_ones_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(15);
        for (dimension, n) in [(1, 16), (2, 9), (3, 5)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            for size in [1e-3, 1.0, 1e6] {
                let phi = feasible(&grid, &random(grid.node_count(), size, &mut rng), 0.7);
                assert!(violation(&grid, &phi, 0.7) <= 1e-15); // rounding
                assert_eq!(feasible(&grid, &phi, 0.7), phi);
            }
        }
    }
}
