//! The Lipschitz cap on the control slopes `v` of a potential ([`super::control_slopes`]) as an augmented Lagrangian:
//!
//! ```text
//! (beta/2) sum w dist^2(v + m/beta, ball of radius L),   w = h^d / 2^d,   m <- beta (1 - P)(v + m/beta)
//! ```
//!
//! (Rockafellar, Math. Oper. Res. 1, 1976). The multipliers `m` point along `v`; gathered on the edges they are the flux
//! that carries `rho_T` to `eta`.

use rayon::prelude::*;

use super::beckmann::EdgeFlux;
use super::control_slopes::{components, control_slopes, edge_field, norm};
use super::grid::TorusGrid;
use super::neighbours::for_each_node;
use super::vector::update;

/// Multipliers and the last evaluation.
pub(crate) struct SlopeCap {
    grid: TorusGrid,
    lipschitz: f64,
    /// `beta`.
    pub penalty: f64,
    /// `m`, for every node and stagger `d` components.
    pub multipliers: Vec<f64>,
    /// `v + m / beta` at the last potential.
    shifted: Vec<f64>,
    /// Scratch: stresses of the last operation.
    stresses: Vec<f64>,
}

impl SlopeCap {
    pub(crate) fn new(grid: TorusGrid, lipschitz: f64, penalty: f64, multipliers: Option<Vec<f64>>) -> Self {
        let zeros = || vec![0.0; grid.node_count() * components(&grid)];
        let multipliers = multipliers.unwrap_or_else(zeros);
        Self { grid, lipschitz, penalty, multipliers, shifted: zeros(), stresses: zeros() }
    }

    /// The penalty at `phi`.
    pub(crate) fn evaluate(&mut self, phi: &[f64]) -> f64 {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        control_slopes(&self.grid, phi, &mut self.shifted);
        update(&mut self.shifted, &self.multipliers, |v, m| v + m / penalty);
        let squares: Vec<f64> = self
            .shifted
            .par_chunks(self.block())
            .map(|slopes| slopes.chunks(d).map(|w| (norm(w) - lipschitz).max(0.0).powi(2)).sum())
            .collect();
        0.5 * penalty * self.weight() * squares.iter().sum::<f64>()
    }

    /// `out <- out + scale * derivative` of the penalty at the last potential.
    pub(crate) fn add_derivative(&mut self, scale: f64, out: &mut [f64]) {
        self.flux().add_divergence(scale, out);
    }

    /// `out <- out + (generalised) second derivative of the penalty times direction`.
    pub(crate) fn add_curvature(&mut self, direction: &[f64], out: &mut [f64]) {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        control_slopes(&self.grid, direction, &mut self.stresses);
        let block = self.block();
        self.stresses.par_chunks_mut(block).zip(self.shifted.par_chunks(block)).for_each(
            |(rises, shifted)| {
                for (g, w) in rises.chunks_mut(d).zip(shifted.chunks(d)) {
                    let square: f64 = w.iter().map(|w| w * w).sum();
                    if square <= lipschitz * lipschitz {
                        g.fill(0.0);
                        continue;
                    }
                    let ratio = lipschitz / square.sqrt();
                    let along = g.iter().zip(w).map(|(g, w)| g * w).sum::<f64>() / square;
                    for (g, w) in g.iter_mut().zip(w) {
                        *g = penalty * ((1.0 - ratio) * *g + ratio * along * w);
                    }
                }
            },
        );
        edge_field(&self.grid, &self.stresses, self.weight()).add_divergence(-1.0, out);
    }

    /// `out <- out + about the diagonal` of the second derivative of the penalty.
    pub(crate) fn add_stiffness(&self, out: &mut [f64]) {
        let (d, record) = (self.grid.dimension, components(&self.grid));
        let unit = 2.0 * self.penalty * self.weight() / self.grid.spacing().powi(2);
        for_each_node(&self.grid, out, |node, _, out| {
            let slopes = self.shifted[node * record..][..record].chunks(d);
            *out += unit * slopes.filter(|w| norm(w) > self.lipschitz).count() as f64;
        });
    }

    /// The multiplier step `m <- beta (1 - P)(v + m / beta)` at the last potential.
    pub(crate) fn update_multipliers(&mut self) {
        self.fill_stresses();
        std::mem::swap(&mut self.multipliers, &mut self.stresses);
    }

    /// The mass flux that the stresses at the last potential amount to, against the slope. Its divergence is the derivative
    /// of the penalty, and so `rho_T - eta` where the augmented objective is stationary.
    pub(crate) fn flux(&mut self) -> EdgeFlux {
        self.fill_stresses();
        edge_field(&self.grid, &self.stresses, self.weight()).reversed()
    }

    /// `stresses <- beta (1 - P) shifted`.
    fn fill_stresses(&mut self) {
        let (d, lipschitz, penalty) = (self.grid.dimension, self.lipschitz, self.penalty);
        let block = self.block();
        self.stresses.par_chunks_mut(block).zip(self.shifted.par_chunks(block)).for_each(|(out, shifted)| {
            for (stress, w) in out.chunks_mut(d).zip(shifted.chunks(d)) {
                let part = penalty * (1.0 - lipschitz / norm(w)).max(0.0);
                stress.iter_mut().zip(w).for_each(|(stress, w)| *stress = part * w);
            }
        });
    }

    /// `w`.
    fn weight(&self) -> f64 {
        (0.5 * self.grid.spacing()).powi(self.grid.dimension as i32)
    }

    /// Entries of one parallel task.
    fn block(&self) -> usize {
        1024 * components(&self.grid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
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
}
