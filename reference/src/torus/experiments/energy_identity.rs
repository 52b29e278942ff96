//! Theorem 4.2 as an energy identity between *any* two solutions with the same source (3.4, \[34-38\]).
//!
//! `int (U_1 - U_2)(rho_1 - rho_2) |_T = -(1/(2 lambda)) int_0^T int (rho_1 + rho_2) |grad(U_1 - U_2)|^2 dx dt`.
//!
//! The scheme has its own identity, exact to rounding. With `q(x) = x_+^2/2`, its Bregman distance
//! `q(b|a) = q(b) - q(a) - a_+ (b - a) >= 0`, and `d_{ij} = U_i - U_j`,
//!
//! `<U_1^N - U_2^N, rho_1^N - rho_2^N> = -dt/(lambda h^2) sum_n sum_{i, j ~ i} [ (R rho_1^n)_i q(d_2|d_1) + (R rho_2^n)_i q(d_1|d_2) ]`,
//!
//! because the continuity scheme is the adjoint of the linearised Hamilton-Jacobi scheme; the right side tends to the
//! integral with order 1. Both hold for every viscosity (it cancels).
//!
//! Lemma 4.1 (1.7, \[32\]) says that the left side is >= 0 when both terminal potentials are the variational derivative of
//! one functional. For a common target that forces both sides to vanish: uniqueness.

use serde::Serialize;

use crate::specification::InvalidInput;
use crate::torus::time_solver::scheme::HamiltonJacobiScheme;
use crate::torus::time_solver::{TimeDependentOptions, TimeDependentProblem, TimeDependentSolution};

/// Both sides of 3.4 for a pair of solutions.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct EnergyIdentity {
    /// `<U_1 - U_2, rho_1 - rho_2>` at `T`.
    pub left: f64,
    /// The scheme's right side: equal to `left` to rounding.
    pub discrete_right: f64,
    /// `-(1/(2 lambda)) int int (rho_1 + rho_2)|grad(U_1 - U_2)|^2` with centred differences and the trapezoidal rule:
    /// equal to `left` up to order 1 in `h`.
    pub integral_right: f64,
}

impl EnergyIdentity {
    /// Evaluates both sides; the solutions must come from `scheme` and share the source (to `1e-12` per node).
    pub fn between(
        scheme: &HamiltonJacobiScheme,
        first: &TimeDependentSolution,
        second: &TimeDependentSolution,
    ) -> Result<Self, InvalidInput> {
        for (name, solution) in [("first", first), ("second", second)] {
            if solution.potentials.len() != scheme.steps() + 1
                || solution.potentials[0].len() != scheme.neighbours().node_count()
            {
                return Err(InvalidInput::new(name, "another grid", "a solution of this scheme"));
            }
        }
        let (source_1, source_2) = (&first.flow.weights[0], &second.flow.weights[0]);
        if source_1.iter().zip(source_2).any(|(a, b)| (a - b).abs() > 1e-12) {
            return Err(InvalidInput::new("second", "another source", "the same source as the first"));
        }
        let left = bracket(
            first.terminal_potential(),
            second.terminal_potential(),
            first.generated(),
            second.generated(),
        );
        let (mut discrete_right, mut integral_right) = (0.0, 0.0);
        for n in 0..scheme.steps() {
            let (next_1, next_2) = (&first.potentials[n + 1], &second.potentials[n + 1]);
            discrete_right -= dissipation(scheme, next_1, next_2, &first.flow.moving[n])
                + dissipation(scheme, next_2, next_1, &second.flow.moving[n]);
        }
        for n in 0..=scheme.steps() {
            let end = if n == 0 || n == scheme.steps() { 0.5 } else { 1.0 };
            let weights = first.flow.weights[n].iter().zip(&second.flow.weights[n]).map(|(a, b)| a + b);
            integral_right -= end * scheme.time_step() / (2.0 * scheme.lambda())
                * squared_gradient(scheme, &first.potentials[n], &second.potentials[n], weights);
        }
        Ok(Self { left, discrete_right, integral_right })
    }
}

/// Lemma 4.1 for two laws and a common target: the bracket, and the same number as a sum of two optimality gaps.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Monotonicity {
    /// `<phi_1 - phi_2, P_1 - P_2>`.
    pub bracket: f64,
    /// `F_1(phi_1) - F_1(phi_2) >= 0`, `F_i(phi) = <P_i, phi> - Lambda(phi)`.
    pub first_gap: f64,
    /// `F_2(phi_2) - F_2(phi_1) >= 0`.
    pub second_gap: f64,
    /// Sum of the certified gaps of `phi_1` and `phi_2`: the bracket is at least minus this.
    pub certified: f64,
}

impl Monotonicity {
    /// Solves `D_f^L(first | target)` and `D_f^L(second | target)` and evaluates 1.7.
    pub fn between(
        problem: &TimeDependentProblem,
        first: &[f64],
        second: &[f64],
        tolerance: f64,
    ) -> Result<Self, InvalidInput> {
        let options = TimeDependentOptions { tolerance, ..Default::default() };
        let (problem_1, problem_2) =
            (problem.divergence_of(first.to_vec())?, problem.divergence_of(second.to_vec())?);
        let (solution_1, solution_2) = (problem_1.solve(&options)?, problem_2.solve(&options)?);
        let (phi_1, phi_2) = (solution_1.terminal_potential(), solution_2.terminal_potential());
        Ok(Self {
            bracket: bracket(phi_1, phi_2, first, second),
            first_gap: problem_1.dual_value(phi_1) - problem_1.dual_value(phi_2),
            second_gap: problem_2.dual_value(phi_2) - problem_2.dual_value(phi_1),
            certified: solution_1.gap() + solution_2.gap(),
        })
    }
}

/// `<a_1 - a_2, b_1 - b_2>`.
fn bracket(a_1: &[f64], a_2: &[f64], b_1: &[f64], b_2: &[f64]) -> f64 {
    (0..a_1.len()).map(|i| (a_1[i] - a_2[i]) * (b_1[i] - b_2[i])).sum()
}

/// `dt/(lambda h^2) sum_i moving_i sum_{j ~ i} q(d_other | d_own)`.
fn dissipation(scheme: &HamiltonJacobiScheme, own: &[f64], other: &[f64], moving: &[f64]) -> f64 {
    let half_square = |x: f64| 0.5 * x.max(0.0).powi(2);
    let grid = scheme.neighbours();
    let mut sum = 0.0;
    for axis in 0..grid.dimension {
        for neighbours in [grid.forward(axis), grid.backward(axis)] {
            for (i, j) in neighbours.iter().enumerate() {
                let (a, b) = (own[i] - own[*j as usize], other[i] - other[*j as usize]);
                sum += moving[i] * (half_square(b) - half_square(a) - a.max(0.0) * (b - a));
            }
        }
    }
    scheme.rate() * sum
}

/// `sum_i weight_i |grad_h (U_1 - U_2)_i|^2` with centred differences.
fn squared_gradient(
    scheme: &HamiltonJacobiScheme,
    first: &[f64],
    second: &[f64],
    weights: impl Iterator<Item = f64>,
) -> f64 {
    let grid = scheme.neighbours();
    let scale = 0.5 / grid.spacing();
    weights
        .enumerate()
        .map(|(i, weight)| {
            let square: f64 = (0..grid.dimension)
                .map(|axis| {
                    let (j, k) = (grid.forward(axis)[i] as usize, grid.backward(axis)[i] as usize);
                    (scale * ((first[j] - second[j]) - (first[k] - second[k]))).powi(2)
                })
                .sum();
            weight * square
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::specification::{DivergenceKind, ProximalParameters};
    use crate::torus::exact_solutions::normalised;
    use crate::torus::lattice::grid::TorusGrid;
    use std::f64::consts::TAU;

    fn density(grid: &TorusGrid, amplitude: f64, shift: f64) -> Vec<f64> {
        normalised(grid.sample(|x| x.iter().map(|x| 1.0 + amplitude * (TAU * (x - shift)).cos()).product()))
    }

    fn pair(
        dimension: usize,
        side: usize,
        viscosity: f64,
    ) -> (TimeDependentProblem, [TimeDependentSolution; 2]) {
        let parameters = ProximalParameters::new(1.0, 1.0, 0.25).unwrap();
        let make = |amplitude: f64, shift: f64| {
            let grid = TorusGrid::new(dimension, side).unwrap();
            let (source, target) = (density(&grid, 0.5, 0.1), density(&grid, amplitude, shift));
            TimeDependentProblem::new(
                grid,
                parameters,
                viscosity,
                DivergenceKind::KullbackLeibler,
                source,
                target,
            )
            .unwrap()
        };
        let (first, second) = (make(0.9, 0.4), make(0.7, 0.8));
        let options = TimeDependentOptions::default();
        let solutions = [first.solve(&options).unwrap(), second.solve(&options).unwrap()];
        (first, solutions)
    }

    #[test]
    fn identity_of_the_scheme_holds_to_rounding_between_different_targets() {
        for (dimension, side, viscosity) in [(1, 48, 0.0), (1, 48, 0.02), (2, 10, 0.0), (2, 10, 0.02)] {
            let (problem, [first, second]) = pair(dimension, side, viscosity);
            let identity = EnergyIdentity::between(problem.scheme(), &first, &second).unwrap();
            assert!(identity.left < -0.01, "{identity:?}");
            assert!((identity.left - identity.discrete_right).abs() < 1e-14, "{identity:?}");
        }
    }

    #[test]
    fn integral_side_converges_with_the_order_of_the_scheme() {
        for viscosity in [0.0, 0.02] {
            let grids = [32, 64, 128, 256];
            let errors: Vec<f64> = grids
                .iter()
                .map(|side| {
                    let (problem, [first, second]) = pair(1, *side, viscosity);
                    let identity = EnergyIdentity::between(problem.scheme(), &first, &second).unwrap();
                    (identity.integral_right / identity.left - 1.0).abs()
                })
                .collect();
            let table =
                crate::torus::experiments::convergence::ConvergenceTable::new("3.4", 1.0, &grids, errors);
            println!("{table:?}");
            assert!(table.reaches(0.15) && table.errors[3] < 0.02, "{table:?}");
        }
    }

    #[test]
    fn monotonicity_gap_equals_the_sum_of_optimality_gaps_on_the_same_pairs() {
        for (dimension, side) in [(1, 48), (2, 10)] {
            let (problem, [first, second]) = pair(dimension, side, 0.0);
            let lemma =
                Monotonicity::between(&problem, first.generated(), second.generated(), 1e-10).unwrap();
            println!("{lemma:?}");
            assert!((lemma.bracket - lemma.first_gap - lemma.second_gap).abs() < 1e-14, "{lemma:?}");
            assert!(lemma.bracket > 0.01 && lemma.first_gap > 0.0 && lemma.second_gap > 0.0);
        }
    }

    #[test]
    fn potentials_that_are_not_optimal_turn_the_pairing_negative() {
        let (problem, [first, second]) = pair(1, 48, 0.0);
        let phi_of = |law: &[f64]| {
            let alone = problem.divergence_of(law.to_vec()).unwrap();
            alone.solve(&TimeDependentOptions::default()).unwrap().terminal_potential().to_vec()
        };
        let (phi_1, phi_2) = (phi_of(first.generated()), phi_of(second.generated()));
        // Each law with the optimal potential of the other: the bracket is minus a sum of optimality gaps.
        assert!(bracket(&phi_2, &phi_1, first.generated(), second.generated()) < -0.01);
    }

    #[test]
    fn a_density_that_does_not_follow_its_potential_breaks_the_identity() {
        let (problem, [first, mut second]) = pair(1, 48, 0.0);
        second.flow.weights.reverse();
        second.flow.weights[0].clone_from(&first.flow.weights[0]);
        let identity = EnergyIdentity::between(problem.scheme(), &first, &second).unwrap();
        assert!((identity.left - identity.discrete_right).abs() > 1e-3, "{identity:?}");
    }
}
