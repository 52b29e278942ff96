//! The Lipschitz cap on the control slopes `v` of a potential ([`crate::torus::lattice::control_slopes`]) as an augmented Lagrangian:
//!
//! ```text
//! (beta/2) sum w dist^2(v + m/beta, ball of radius L),   w = h^d / 2^d,   m <- beta (1 - P)(v + m/beta)
//! ```
//!
//! (Rockafellar, Math. Oper. Res. 1, 1976). The multipliers `m` point along `v`; gathered on the edges they are the flux
//! that carries `rho_T` to `eta`.

use crate::torus::lattice::control_slopes::{components, control_slopes, gather_on_edges, row_norms};
use crate::torus::lattice::edge_flux::EdgeFlux;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::line_fields::{for_each_line, sum_over_lines};
use crate::torus::lattice::vector::update;

/// Multipliers and the last evaluation. Vector fields are those of [`crate::torus::lattice::line_fields`].
pub(crate) struct SlopeCap {
    grid: TorusGrid,
    lipschitz: f64,
    /// `beta`.
    pub penalty: f64,
    /// `m`, for every node and stagger `d` components.
    pub multipliers: Vec<f64>,
    /// `v + m / beta` at the last potential.
    shifted: Vec<f64>,
    /// `beta` times the derivative of `(1 - P)` at `shifted`, the upper triangle for every node and stagger.
    tensors: Vec<f64>,
    /// Scratch: stresses of the last operation.
    stresses: Vec<f64>,
    /// Scratch: difference quotients, and the stresses gathered on the edges.
    quotients: EdgeFlux,
    gathered: EdgeFlux,
}

impl SlopeCap {
    pub(crate) fn new(grid: TorusGrid, lipschitz: f64, penalty: f64, multipliers: Option<Vec<f64>>) -> Self {
        let zeros = || vec![0.0; grid.node_count() * components(&grid)];
        let multipliers = multipliers.unwrap_or_else(zeros);
        Self {
            grid,
            lipschitz,
            penalty,
            multipliers,
            shifted: zeros(),
            tensors: vec![0.0; grid.node_count() * (triangle(&grid) << grid.dimension)],
            stresses: zeros(),
            quotients: EdgeFlux::zero(grid),
            gathered: EdgeFlux::zero(grid),
        }
    }

    /// The penalty at `phi`.
    pub(crate) fn evaluate(&mut self, phi: &[f64]) -> f64 {
        let (lipschitz, penalty) = (self.lipschitz, self.penalty);
        self.quotients.set_quotients(phi);
        control_slopes(&self.grid, &self.quotients, &mut self.shifted);
        update(&mut self.shifted, &self.multipliers, |v, m| v + m / penalty);
        let (block, vector) = (self.block(), self.vector());
        let squares = sum_over_lines(&self.grid, |line, norms| {
            let mut sum = 0.0;
            for shifted in self.shifted[line * block..][..block].chunks(vector) {
                row_norms(shifted, norms);
                sum += norms.iter().map(|norm| (norm - lipschitz).max(0.0).powi(2)).sum::<f64>();
            }
            sum
        });
        0.5 * penalty * self.weight() * squares
    }

    /// `out <- out + scale * derivative` of the penalty at the last potential.
    pub(crate) fn add_derivative(&mut self, scale: f64, out: &mut [f64]) {
        self.fill_stresses();
        gather_on_edges(&self.grid, &self.stresses, self.weight(), &mut self.gathered);
        self.gathered.add_divergence(-scale, out);
    }

    /// Prepares [`Self::add_curvature`] at the last potential: where `|w| > L`, `w` the shifted slope,
    /// `beta ((1 - L/|w|) 1 + (L/|w|) w w^T / |w|^2)`.
    pub(crate) fn linearise(&mut self) {
        let (d, n, triangle) = (self.grid.dimension, self.grid.nodes_per_side, triangle(&self.grid));
        let (lipschitz, penalty) = (self.lipschitz, self.penalty);
        let (block, vector, shifted) = (self.block(), self.vector(), &self.shifted);
        for_each_line(&self.grid, &mut self.tensors, triangle << d, |line, tensors| {
            let mut norms = vec![0.0; n];
            let shifted = shifted[line * block..][..block].chunks(vector);
            for (tensor, w) in tensors.chunks_mut(triangle * n).zip(shifted) {
                row_norms(w, &mut norms);
                let mut entries = tensor.chunks_mut(n);
                for a in 0..d {
                    for (b, entry) in (a..d).zip(&mut entries) {
                        let unit = if a == b { penalty } else { 0.0 };
                        let (wa, wb) = (&w[a * n..][..n], &w[b * n..][..n]);
                        for (((entry, wa), wb), norm) in entry.iter_mut().zip(wa).zip(wb).zip(&norms) {
                            let ratio = lipschitz / norm;
                            let bent = unit + ratio * (penalty * wa * wb / (norm * norm) - unit);
                            *entry = if ratio < 1.0 { bent } else { 0.0 };
                        }
                    }
                }
            }
        });
    }

    /// `out <- out + (generalised) second derivative of the penalty times direction`.
    pub(crate) fn add_curvature(&mut self, direction: &[f64], out: &mut [f64]) {
        let (d, n, triangle) = (self.grid.dimension, self.grid.nodes_per_side, triangle(&self.grid));
        let record = n * (triangle << d);
        self.quotients.set_quotients(direction);
        control_slopes(&self.grid, &self.quotients, &mut self.stresses);
        let (vector, tensors) = (self.vector(), &self.tensors);
        for_each_line(&self.grid, &mut self.stresses, components(&self.grid), |line, stresses| {
            let tensors = tensors[line * record..][..record].chunks(triangle * n);
            for (stress, tensor) in stresses.chunks_mut(vector).zip(tensors) {
                apply_tensor(d, tensor, stress);
            }
        });
        gather_on_edges(&self.grid, &self.stresses, self.weight(), &mut self.gathered);
        self.gathered.add_divergence(-1.0, out);
    }

    /// `out <- out + about the diagonal` of the second derivative of the penalty.
    pub(crate) fn add_stiffness(&self, out: &mut [f64]) {
        let n = self.grid.nodes_per_side;
        let unit = 2.0 * self.penalty * self.weight() / self.grid.spacing().powi(2);
        let (block, vector) = (self.block(), self.vector());
        for_each_line(&self.grid, out, 1, |line, out| {
            let mut norms = vec![0.0; n];
            for shifted in self.shifted[line * block..][..block].chunks(vector) {
                row_norms(shifted, &mut norms);
                let active = |norm: &f64| if *norm > self.lipschitz { unit } else { 0.0 };
                out.iter_mut().zip(&norms).for_each(|(out, norm)| *out += active(norm));
            }
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
        gather_on_edges(&self.grid, &self.stresses, self.weight(), &mut self.gathered);
        self.gathered.clone().reversed()
    }

    /// `stresses <- beta (1 - P) shifted`.
    fn fill_stresses(&mut self) {
        let (n, lipschitz, penalty) = (self.grid.nodes_per_side, self.lipschitz, self.penalty);
        let (block, vector, shifted) = (self.block(), self.vector(), &self.shifted);
        for_each_line(&self.grid, &mut self.stresses, components(&self.grid), |line, stresses| {
            let mut part = vec![0.0; n];
            let shifted = shifted[line * block..][..block].chunks(vector);
            for (stress, w) in stresses.chunks_mut(vector).zip(shifted) {
                row_norms(w, &mut part);
                part.iter_mut().for_each(|norm| *norm = penalty * (1.0 - lipschitz / *norm).max(0.0));
                for (stress, w) in stress.chunks_mut(n).zip(w.chunks(n)) {
                    for ((stress, w), part) in stress.iter_mut().zip(w).zip(&part) {
                        *stress = part * w;
                    }
                }
            }
        });
    }

    /// `w`.
    fn weight(&self) -> f64 {
        (0.5 * self.grid.spacing()).powi(self.grid.dimension as i32)
    }

    /// Numbers for each line, and for each stagger on it.
    fn block(&self) -> usize {
        self.grid.nodes_per_side * components(&self.grid)
    }

    fn vector(&self) -> usize {
        self.grid.nodes_per_side * self.grid.dimension
    }
}

/// Entries of the upper triangle of a `d x d` matrix.
fn triangle(grid: &TorusGrid) -> usize {
    grid.dimension * (grid.dimension + 1) / 2
}

/// `g <- S g` for the rows of vectors `g` and of symmetric matrices `S`.
fn apply_tensor(dimension: usize, tensor: &[f64], vectors: &mut [f64]) {
    let n = vectors.len() / dimension;
    let entry = |index: usize| &tensor[index * n..][..n];
    match dimension {
        1 => vectors.iter_mut().zip(tensor).for_each(|(g, s)| *g *= s),
        2 => {
            let (first, second) = vectors.split_at_mut(n);
            let entries = entry(0).iter().zip(entry(1)).zip(entry(2));
            for ((g0, g1), ((s00, s01), s11)) in first.iter_mut().zip(second).zip(entries) {
                (*g0, *g1) = (s00 * *g0 + s01 * *g1, s01 * *g0 + s11 * *g1);
            }
        }
        _ => {
            for j in 0..n {
                let g = [vectors[j], vectors[n + j], vectors[2 * n + j]];
                let s = |index: usize| tensor[index * n + j];
                vectors[j] = s(0) * g[0] + s(1) * g[1] + s(2) * g[2];
                vectors[n + j] = s(1) * g[0] + s(3) * g[1] + s(4) * g[2];
                vectors[2 * n + j] = s(2) * g[0] + s(4) * g[1] + s(5) * g[2];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::lattice::vector::dot;
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
            cap.linearise();
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
