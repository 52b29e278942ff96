//! The continuity equation `d rho/dt - s Lap rho - div(rho grad U / lambda) = 0`, `rho(., 0) = rho_0` (3.1, \[21\]).
//!
//! The scheme is the adjoint of the linearised Hamilton-Jacobi scheme, `rho^{n+1} = S'(U^{n+1})^T R rho^n`:
//! diffuse, then let mass `rho_i dt w_j / h` walk from `i` to each lower neighbour `j` (w of
//! [`crate::torus::time_solver::scheme`]). So `<dU^n, rho^n> = <dU^{n+1}, rho^{n+1}>` for every variation, mass is kept to
//! rounding, and weights stay non-negative exactly. `rho_T` is the gradient of `phi -> <rho_0, U^0[phi]>`, and
//!
//! `<rho_0, U^0> = <rho_T, phi> + sum_n dt lambda/2 sum_i (R rho^n)_i sum_j w_{ij}^2`   (discrete kinetic energy).

use crate::torus::time_solver::scheme::HamiltonJacobiScheme;

/// A density in time with its kinetic energy.
#[derive(Debug, Clone)]
pub struct DensityFlow {
    /// `rho^0, .., rho^N`: weights of the nodes, each of mass 1.
    pub weights: Vec<Vec<f64>>,
    /// `R rho^0, .., R rho^{N-1}`: the mass that moves in each step (equal to `rho^n` for s = 0).
    pub moving: Vec<Vec<f64>>,
    /// `lambda int int rho |v|^2/2`, summed over the walk's rates.
    pub kinetic_energy: f64,
}

impl HamiltonJacobiScheme {
    /// `weights <- S'(U^{n+1})^T weights`, the transport part of one step; returns its kinetic energy.
    pub(super) fn transport(&self, next: &[f64], weights: &[f64]) -> (Vec<f64>, f64) {
        let rate = self.rate();
        let mut moved = weights.to_vec();
        let mut energy = 0.0;
        for axis in 0..self.neighbours().dimension {
            for neighbours in [self.neighbours().forward(axis), self.neighbours().backward(axis)] {
                for (i, j) in neighbours.iter().enumerate() {
                    let j = *j as usize;
                    let descent = (next[i] - next[j]).max(0.0);
                    let mass = weights[i] * (rate * descent);
                    moved[i] -= mass;
                    moved[j] += mass;
                    energy += mass * descent;
                }
            }
        }
        // Leaving mass is at most the weight under the step restriction; only its rounding can dip below zero.
        for weight in &mut moved {
            *weight = weight.max(0.0);
        }
        (moved, 0.5 * energy)
    }

    /// `S'(U^{n+1})^T field` for a field of either sign.
    #[cfg(test)]
    pub(super) fn transport_signed(&self, next: &[f64], field: &[f64]) -> Vec<f64> {
        let rate = self.rate();
        let mut moved = field.to_vec();
        for axis in 0..self.neighbours().dimension {
            for neighbours in [self.neighbours().forward(axis), self.neighbours().backward(axis)] {
                for (i, j) in neighbours.iter().enumerate() {
                    let amount = field[i] * (rate * (next[i] - next[*j as usize]).max(0.0));
                    moved[i] -= amount;
                    moved[*j as usize] += amount;
                }
            }
        }
        moved
    }

    /// One step forward in time, `rho^{n+1} = S'(U^{n+1})^T R rho^n`: the adjoint of
    /// [`HamiltonJacobiScheme::linearised_step`].
    pub fn adjoint_step(&self, next: &[f64], weights: &[f64]) -> Vec<f64> {
        let mut moving = weights.to_vec();
        self.diffuse(&mut moving);
        self.transport(next, &moving).0
    }

    /// Carries `source` along the potentials `U^0, .., U^N`.
    pub fn flow(&self, potentials: &[Vec<f64>], source: &[f64]) -> DensityFlow {
        let mut flow =
            DensityFlow { weights: vec![source.to_vec()], moving: Vec::new(), kinetic_energy: 0.0 };
        for n in 0..self.steps() {
            let mut moving = flow.weights[n].clone();
            self.diffuse(&mut moving);
            let (weights, energy) = self.transport(&potentials[n + 1], &moving);
            flow.kinetic_energy += energy;
            flow.moving.push(moving);
            flow.weights.push(weights);
        }
        flow
    }

    /// Largest `|rho^{n+1} - S'(U^{n+1})^T R rho^n| / (dt h^d)` over nodes and steps: the discrete residual, per volume.
    pub fn continuity_residual(&self, potentials: &[Vec<f64>], weights: &[Vec<f64>]) -> f64 {
        let mut largest = 0.0f64;
        for n in 0..self.steps() {
            let stepped = self.adjoint_step(&potentials[n + 1], &weights[n]);
            for (value, expected) in weights[n + 1].iter().zip(&stepped) {
                largest = largest.max((value - expected).abs());
            }
        }
        let volume = self.neighbours().spacing().powi(self.neighbours().dimension as i32);
        if self.steps() == 0 { 0.0 } else { largest / (self.time_step() * volume) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::lattice::grid::TorusGrid;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    struct Case {
        scheme: HamiltonJacobiScheme,
        terminal: Vec<f64>,
        source: Vec<f64>,
        direction: Vec<f64>,
    }

    fn cases() -> Vec<Case> {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        [(1, 40, 0.0), (1, 40, 0.01), (2, 9, 0.0), (2, 9, 0.02)]
            .into_iter()
            .map(|(dimension, side, viscosity)| {
                let grid = TorusGrid::new(dimension, side).unwrap();
                let scheme = HamiltonJacobiScheme::new(grid, 0.7, 0.4, viscosity, 1.5).unwrap();
                let (nodes, half) = (scheme.neighbours().node_count(), 0.75 * scheme.neighbours().spacing());
                let mut field = || (0..nodes).map(|_| random.random_range(-half..half)).collect::<Vec<_>>();
                let (terminal, direction) = (field(), field());
                let raw: Vec<f64> = field().iter().map(|value| value.max(0.0)).collect();
                let mass: f64 = raw.iter().sum();
                let source = raw.iter().map(|value| value / mass).collect();
                Case { scheme, terminal, source, direction }
            })
            .collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn continuity_step_is_the_exact_adjoint_of_the_linearised_step() {
        for case in cases() {
            let linear = case.scheme.linearised_step(&case.terminal, &case.direction);
            let adjoint = case.scheme.adjoint_step(&case.terminal, &case.source);
            let size: f64 = case.direction.iter().map(|value| value.abs()).fold(0.0, f64::max);
            // Rounding of two sums of at most 100 terms.
            assert!((dot(&linear, &case.source) - dot(&case.direction, &adjoint)).abs() < 1e-14 * size);
        }
    }

    #[test]
    fn mass_is_kept_to_rounding_and_weights_never_go_negative() {
        for case in cases() {
            let flow = case.scheme.flow(&case.scheme.solve(&case.terminal), &case.source);
            for weights in &flow.weights {
                assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-13);
                assert!(weights.iter().all(|weight| *weight >= 0.0));
            }
        }
    }

    #[test]
    fn value_at_time_zero_is_terminal_cost_plus_kinetic_energy() {
        for case in cases() {
            let potentials = case.scheme.solve(&case.terminal);
            let flow = case.scheme.flow(&potentials, &case.source);
            let last = &flow.weights[case.scheme.steps()];
            let difference =
                dot(&case.source, &potentials[0]) - dot(last, &case.terminal) - flow.kinetic_energy;
            assert!(difference.abs() < 1e-14, "{difference}");
        }
    }

    #[test]
    fn generated_density_is_the_gradient_of_the_value() {
        for case in cases() {
            let value = |sign: f64| {
                let moved: Vec<f64> =
                    case.terminal.iter().zip(&case.direction).map(|(u, d)| u + sign * 1e-5 * d).collect();
                dot(&case.source, &case.scheme.solve(&moved)[0])
            };
            let difference = (value(1.0) - value(-1.0)) / 2e-5;
            let flow = case.scheme.flow(&case.scheme.solve(&case.terminal), &case.source);
            let gradient = dot(&flow.weights[case.scheme.steps()], &case.direction);
            // Central difference over a C^{1,1} function: 1e-5 times the jump of curvature, plus rounding 1e-11.
            assert!(
                (difference - gradient).abs() < 1e-6 * gradient.abs().max(1e-3),
                "{difference} {gradient}"
            );
        }
    }

    #[test]
    fn a_transport_without_the_adjoint_structure_has_a_residual() {
        let case = &cases()[0];
        let potentials = case.scheme.solve(&case.terminal);
        let flow = case.scheme.flow(&potentials, &case.source);
        assert!(case.scheme.continuity_residual(&potentials, &flow.weights) < 1e-12);
        let opposite: Vec<Vec<f64>> =
            potentials.iter().map(|field| field.iter().map(|value| -value).collect()).collect();
        assert!(case.scheme.continuity_residual(&opposite, &flow.weights) > 1.0);
    }
}
