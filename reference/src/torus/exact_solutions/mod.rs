//! Closed-form solutions of Hamilton-Jacobi, continuity and the coupled game (3.1) on the unit torus.
//!
//! | type | viscosity | exact for |
//! |---|---|---|
//! | [`ColeHopfGame`] | s > 0 | the coupled game, coupling active, W1 inactive, any dimension |
//! | [`StraightLineGame`] | 0 | the coupled game before kinks form, W1 inactive, any dimension |
//! | [`ActiveLipschitzGame`] | 0 | the coupled game with W1 carrying mass, 1-D |
//! | [`ParabolicWell`] | 0 | Hamilton-Jacobi with a kink at the antipode; its flow, which contracts and opens a vacuum |
//! | [`Tent`] | 0 | Hamilton-Jacobi with a rarefaction; a bump translated rigidly, 1-D |
//!
//! The games are manufactured backwards: choose `phi` and the densities, then the target `pi = eta e^{-phi} / Z` makes
//! `phi` the variational derivative of `D_KL^L(. | pi)` at `rho_T` (1.5, 1.6), so nothing in the coupling is switched off.

mod active_lipschitz;
mod cole_hopf;
mod kinks;
mod straight_lines;

pub use active_lipschitz::ActiveLipschitzGame;
pub use cole_hopf::ColeHopfGame;
pub use kinks::{ParabolicWell, Tent};
pub use straight_lines::StraightLineGame;

use crate::specification::ProximalParameters;
use crate::torus::lattice::grid::TorusGrid;

/// A solution of Hamilton-Jacobi and continuity, for points `x` in `[0, 1)^d`.
pub trait ExactSolution {
    /// `L`, `lambda`, `T`.
    fn parameters(&self) -> ProximalParameters;
    /// Viscosity `s`.
    fn viscosity(&self) -> f64;
    /// `U(x, t)`.
    fn potential(&self, x: &[f64], t: f64) -> f64;
    /// `rho(x, t)`, up to a factor that does not depend on `x` or `t`.
    fn density(&self, x: &[f64], t: f64) -> f64;

    /// Node weights of `rho(., t)`, normalised to mass 1 on the grid (the correction is of the quadrature's order).
    fn weights(&self, grid: &TorusGrid, t: f64) -> Vec<f64> {
        normalised(grid.sample(|x| self.density(x, t)))
    }
}

/// An [`ExactSolution`] whose terminal potential is the variational derivative for a known target.
pub trait ExactGame: ExactSolution {
    /// `eta(x)`, the second marginal of the W1 part, in the units of [`ExactSolution::density`].
    fn intermediate(&self, x: &[f64]) -> f64;

    /// Node weights of `pi = eta e^{-phi} / Z`.
    fn target(&self, grid: &TorusGrid) -> Vec<f64> {
        let horizon = self.parameters().horizon;
        normalised(grid.sample(|x| self.intermediate(x) * (-self.potential(x, horizon)).exp()))
    }
}

/// Divides by the sum.
pub fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let mass: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= mass);
    weights
}

/// `x - centre` wrapped to `[-1/2, 1/2)`.
fn wrapped(x: f64, centre: f64) -> f64 {
    (x - centre + 0.5).rem_euclid(1.0) - 0.5
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Residuals of both equations by central differences of step `e`: truncation `e^2` times fourth derivatives.
    fn residuals(solution: &dyn ExactSolution, x: &[f64], t: f64) -> (f64, f64) {
        let (e, lambda, s) = (1e-4, solution.parameters().lambda, solution.viscosity());
        let at = |axis: usize, shift: f64| {
            let mut y = x.to_vec();
            y[axis] += shift;
            y
        };
        let u = |y: &[f64], t: f64| solution.potential(y, t);
        let rho = |y: &[f64], t: f64| solution.density(y, t);
        let mut hamilton_jacobi = -(u(x, t + e) - u(x, t - e)) / (2.0 * e);
        let mut continuity = (rho(x, t + e) - rho(x, t - e)) / (2.0 * e);
        for axis in 0..x.len() {
            let (ahead, behind) = (at(axis, e), at(axis, -e));
            let gradient = (u(&ahead, t) - u(&behind, t)) / (2.0 * e);
            let laplacian = (u(&ahead, t) - 2.0 * u(x, t) + u(&behind, t)) / (e * e);
            hamilton_jacobi += gradient * gradient / (2.0 * lambda) - s * laplacian;
            let density_gradient = (rho(&ahead, t) - rho(&behind, t)) / (2.0 * e);
            let density_laplacian = (rho(&ahead, t) - 2.0 * rho(x, t) + rho(&behind, t)) / (e * e);
            continuity -=
                s * density_laplacian + (density_gradient * gradient + rho(x, t) * laplacian) / lambda;
        }
        (hamilton_jacobi.abs(), continuity.abs())
    }

    #[test]
    fn both_equations_hold_for_every_closed_form_where_it_is_smooth() {
        let parameters = ProximalParameters { lipschitz: 2.0, lambda: 0.8, horizon: 0.3 };
        let tent = Tent { parameters, slope: 0.5, centre: 0.1, bump_centre: 0.4, bump_radius: 0.1 };
        let well = ParabolicWell { parameters, stiffness: 1.2, centre: 0.3 };
        let cases: Vec<(Box<dyn ExactSolution>, Vec<Vec<f64>>)> = vec![
            (
                Box::new(ColeHopfGame::example()),
                vec![vec![0.13], vec![0.77], vec![0.2, 0.9], vec![0.6, 0.45]],
            ),
            (Box::new(StraightLineGame::example()), vec![vec![0.13], vec![0.81], vec![0.3, 0.7]]),
            (Box::new(ActiveLipschitzGame::example()), vec![vec![0.12], vec![0.4], vec![0.62], vec![0.9]]),
            (Box::new(well), vec![vec![0.2], vec![0.31], vec![0.35, 0.2]]),
            (Box::new(tent), vec![vec![0.36], vec![0.4]]),
        ];
        for (index, (solution, points)) in cases.iter().enumerate() {
            for x in points {
                let t = 0.4 * solution.parameters().horizon;
                let (hamilton_jacobi, continuity) = residuals(solution.as_ref(), x, t);
                // e^2 = 1e-8 times derivatives of order (2 pi)^4, and rounding eps / e^2 = 2e-8.
                assert!(
                    hamilton_jacobi < 3e-5 && continuity < 3e-4,
                    "{index} {x:?} {hamilton_jacobi} {continuity}"
                );
            }
        }
    }

    #[test]
    fn slopes_stay_below_the_lipschitz_constant() {
        let slope = |solution: &dyn ExactSolution| {
            let (t, e) = (solution.parameters().horizon, 1e-6);
            (0..1000)
                .map(|i| {
                    let x = i as f64 / 1000.0;
                    (solution.potential(&[x + e], t) - solution.potential(&[x], t)).abs() / e
                })
                .fold(0.0, f64::max)
        };
        assert!(slope(&ColeHopfGame::example()) * 2f64.sqrt() < 2.0);
        assert!(slope(&StraightLineGame::example()) * 2f64.sqrt() < 1.0);
        assert!((slope(&ActiveLipschitzGame::example()) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn intermediate_density_of_the_active_game_is_positive_with_mass_one() {
        let game = ActiveLipschitzGame::example();
        let values: Vec<f64> = (0..4096).map(|i| game.intermediate(&[i as f64 / 4096.0])).collect();
        assert!(values.iter().all(|value| *value > 0.0));
        assert!((values.iter().sum::<f64>() / 4096.0 - 1.0).abs() < 1e-6);
    }
}
