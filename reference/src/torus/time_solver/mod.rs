//! The coupled system (3.1) as one discrete convex problem, solved by an interior-point Newton method.
//!
//! Dual, concave in the terminal potential because the monotone scheme is a composition of concave non-decreasing maps:
//!
//! `max_phi { <rho_0, U^0[phi]> - Lambda_pi(phi) : |D phi| <= 1 }`     (for KL, `Lambda_pi(phi) = ln E_pi e^phi`)
//!
//! Primal, over walks of the discrete continuity equation from `rho_0` to `rho_T` and Beckmann fluxes `m` from `rho_T` to `eta`,
//! in units in which `|m_i|_2` is `L h` times the mass that node `i` sends on:
//!
//! `min { kinetic energy + D_f(rho_T - D^T m | pi) + sum_i |m_i|_2 }`.
//!
//! Any `phi` gives a lower bound, and its own flow with any flux that ends at `eta = grad Lambda_pi(phi)` an upper bound; their
//! difference certifies the result. The optimality conditions are the discrete mean-field game: Hamilton-Jacobi back
//! from `phi`, continuity forward from `rho_0`, and `phi` the variational derivative of `D_f^L(. | pi)` at `rho_T` (1.6).
//!
//! Newton's method follows the central path `tau_i c_i = mu` down to `mu = tolerance / (2 nodes)` (continuation), each
//! step safeguarded by a line search on the concave barrier function, so it converges from any strictly admissible start.
//!
//! Read in this order: `game` (the problem), `options`, `interior_point` (the loop), `central_path` (its parts), `solution`.

pub(in crate::torus) mod barrier;
mod central_path;
mod continuity;
mod curvature;
mod diffusion;
mod game;
mod interior_point;
mod options;
pub(in crate::torus) mod scheme;
mod solution;

pub use continuity::DensityFlow;
pub use game::{MOST_NODES, TimeDependentProblem};
pub use options::{Start, TimeDependentOptions};
pub use scheme::{HamiltonJacobiScheme, HamiltonianSign};
pub use solution::TimeDependentSolution;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::certificate::Termination;
    use crate::specification::{DivergenceKind, ProximalParameters};
    use crate::torus::experiments::convergence::l1_distance;
    use crate::torus::lattice::grid::TorusGrid;

    fn bump(grid: &TorusGrid, centre: f64, width: f64) -> Vec<f64> {
        let raw = grid.sample(|x| {
            let r2: f64 = x
                .iter()
                .map(|x| ((std::f64::consts::PI * (x - centre)).sin() / std::f64::consts::PI).powi(2))
                .sum();
            (-r2 / (2.0 * width * width)).exp() + 1e-6
        });
        let mass: f64 = raw.iter().sum();
        raw.iter().map(|value| value / mass).collect()
    }

    fn problem(dimension: usize, side: usize, viscosity: f64, kind: DivergenceKind) -> TimeDependentProblem {
        let grid = TorusGrid::new(dimension, side).unwrap();
        let (source, target) = (bump(&grid, 0.3, 0.08), bump(&grid, 0.6, 0.1));
        let parameters = ProximalParameters::new(1.0, 1.0, 0.25).unwrap();
        TimeDependentProblem::new(grid, parameters, viscosity, kind, source, target).unwrap()
    }

    const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

    #[test]
    fn certified_gap_reaches_the_tolerance_with_and_without_viscosity() {
        for (dimension, side, viscosity) in
            [(1, 96, 0.0), (1, 64, 0.02), (2, 12, 0.0), (2, 10, 0.02), (3, 5, 0.0)]
        {
            let problem = problem(dimension, side, viscosity, KL);
            let options = TimeDependentOptions { tolerance: 1e-10, ..Default::default() };
            let solution = problem.solve(&options).unwrap();
            assert_eq!(solution.termination, Termination::Converged);
            // Rounding of sums over nodes can take the gap below zero by this much.
            assert!(solution.gap() > -1e-13 && solution.gap() <= 1e-10 * (1.0 + solution.upper.abs()));
            assert!(solution.mass_error() < 1e-12);
            assert!(solution.flow.weights.iter().flatten().all(|weight| *weight >= 0.0));
        }
    }

    #[test]
    fn every_divergence_is_solved_to_the_same_certificate() {
        for name in ["kl", "reverse-kl", "alpha:0.5", "alpha:1.5", "chi2", "js", "hellinger"] {
            let problem = problem(1, 40, 0.0, name.parse().unwrap());
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            assert_eq!(solution.termination, Termination::Converged, "{name}");
            assert!(solution.gap() <= 1e-9 * (1.0 + solution.upper), "{name}");
        }
    }

    #[test]
    fn any_admissible_potential_is_a_lower_bound() {
        let problem = problem(1, 40, 0.0, KL);
        let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
        for amplitude in [-0.15, -0.05, 0.05, 0.15] {
            let potential =
                problem.scheme.neighbours().sample(|x| amplitude * (std::f64::consts::TAU * x[0]).cos());
            assert!(problem.dual_value(&potential) < solution.upper);
        }
    }

    #[test]
    fn terminal_potential_is_optimal_for_the_divergence_of_the_generated_density() {
        // 2.3: recomputing D_f^L(rho_T | pi) alone returns the same value, and phi attains it.
        for kind in [KL, DivergenceKind::ChiSquared] {
            let problem = problem(1, 64, 0.0, kind);
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            let alone = problem.divergence_of(solution.generated().to_vec()).unwrap();
            let divergence = alone.solve(&TimeDependentOptions::default()).unwrap();
            let certified = 2.0 * (solution.gap() + divergence.gap());
            assert!((solution.upper - solution.kinetic_energy - divergence.upper).abs() < certified);
            assert!((alone.dual_value(solution.terminal_potential()) - divergence.upper).abs() < certified);
            assert!(solution.transport > 0.01, "W1 is meant to be active");
        }
    }

    #[test]
    fn solution_does_not_depend_on_the_start() {
        let problem = problem(1, 48, 0.0, KL);
        let reference = problem.solve(&TimeDependentOptions::default()).unwrap();
        for shift in [0.1, 0.5, 0.8] {
            let wave = |x: &[f64]| 0.15 * (std::f64::consts::TAU * (x[0] - shift)).sin();
            let start = Start::Potential(problem.scheme.neighbours().sample(wave));
            let other = problem.solve(&TimeDependentOptions { start, ..Default::default() }).unwrap();
            let distance = l1_distance(reference.generated(), other.generated());
            assert!(distance < 1e-8, "{distance}");
        }
    }

    #[test]
    fn singular_laws_and_extreme_parameters_are_solved() {
        let grid = || TorusGrid::new(1, 40).unwrap();
        let points = |places: &[usize]| {
            let mut weights = vec![0.0; 40];
            places.iter().for_each(|i| weights[*i] = 1.0 / places.len() as f64);
            weights
        };
        for (lipschitz, lambda, horizon) in
            [(1.0, 1.0, 0.2), (0.01, 1.0, 0.2), (10.0, 1.0, 0.05), (1.0, 50.0, 0.2), (1.0, 1.0, 1e-6)]
        {
            let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
            let problem =
                TimeDependentProblem::new(grid(), parameters, 0.0, KL, points(&[5]), points(&[12, 30]))
                    .unwrap();
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            assert_eq!(
                solution.termination,
                Termination::Converged,
                "{lipschitz} {lambda} {horizon} {:?}",
                solution.gaps
            );
            assert_eq!(solution.intermediate[6], 0.0);
        }
    }

    #[test]
    fn inadmissible_starts_and_unsupported_targets_are_refused() {
        let problem = problem(1, 16, 0.0, KL);
        let steep = problem.scheme.neighbours().sample(|x| x[0]);
        let options = TimeDependentOptions { start: Start::Potential(steep), ..Default::default() };
        assert_eq!(problem.solve(&options).unwrap_err().field, "start");
        let options = TimeDependentOptions { tolerance: 0.0, ..Default::default() };
        assert_eq!(problem.solve(&options).unwrap_err().field, "tolerance");
        let mut target = problem.target.clone();
        target[1] += target[0];
        target[0] = 0.0;
        let parameters = ProximalParameters::new(1.0, 1.0, 0.25).unwrap();
        let grid = TorusGrid::new(1, 16).unwrap();
        let refused = TimeDependentProblem::new(
            grid,
            parameters,
            0.0,
            DivergenceKind::JensenShannon,
            problem.source.clone(),
            target,
        );
        assert_eq!(refused.err().unwrap().field, "f");
    }
}
