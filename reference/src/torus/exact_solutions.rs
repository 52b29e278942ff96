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

use std::f64::consts::{PI, TAU};

use super::stencil::Stencil;
use crate::specification::ProximalParameters;

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
    fn weights(&self, stencil: &Stencil, t: f64) -> Vec<f64> {
        normalised(stencil.sample(|x| self.density(x, t)))
    }
}

/// An [`ExactSolution`] whose terminal potential is the variational derivative for a known target.
pub trait ExactGame: ExactSolution {
    /// `eta(x)`, the second marginal of the W1 part, in the units of [`ExactSolution::density`].
    fn intermediate(&self, x: &[f64]) -> f64;

    /// Node weights of `pi = eta e^{-phi} / Z`.
    fn target(&self, stencil: &Stencil) -> Vec<f64> {
        let horizon = self.parameters().horizon;
        normalised(stencil.sample(|x| self.intermediate(x) * (-self.potential(x, horizon)).exp()))
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

/// Cole-Hopf: `U = -2 s lambda ln w` and `rho = w w'`, with `w` solving the heat equation backwards and `w'` forwards.
///
/// `w = prod_axis (1 + a cos(2 pi x) e^{-4 pi^2 s (T-t)})`, `w' = prod_axis (1 + b cos(2 pi (x - c)) e^{-4 pi^2 s t})`.
#[derive(Debug, Clone)]
pub struct ColeHopfGame {
    /// `L` must exceed the slope `4 pi s lambda a / sqrt(1 - a^2) sqrt(d)` for the game to be exact.
    pub parameters: ProximalParameters,
    /// `s > 0`.
    pub viscosity: f64,
    /// `a` in (0, 1).
    pub terminal_amplitude: f64,
    /// `b` in (0, 1).
    pub source_amplitude: f64,
    /// `c`.
    pub shift: f64,
}

impl ColeHopfGame {
    /// A case with visible transport: `s = 0.05`, `T = 0.5`.
    pub fn example() -> Self {
        Self {
            parameters: ProximalParameters { lipschitz: 2.0, lambda: 1.0, horizon: 0.5 },
            viscosity: 0.05,
            terminal_amplitude: 0.8,
            source_amplitude: 0.7,
            shift: 0.35,
        }
    }

    fn decay(&self, time: f64) -> f64 {
        (-TAU * TAU * self.viscosity * time).exp()
    }

    fn backward(&self, x: &[f64], t: f64) -> f64 {
        let amplitude = self.terminal_amplitude * self.decay(self.parameters.horizon - t);
        x.iter().map(|x| 1.0 + amplitude * (TAU * x).cos()).product()
    }
}

impl ExactSolution for ColeHopfGame {
    fn parameters(&self) -> ProximalParameters {
        self.parameters
    }

    fn viscosity(&self) -> f64 {
        self.viscosity
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        -2.0 * self.viscosity * self.parameters.lambda * self.backward(x, t).ln()
    }

    fn density(&self, x: &[f64], t: f64) -> f64 {
        let amplitude = self.source_amplitude * self.decay(t);
        let forward: f64 = x.iter().map(|x| 1.0 + amplitude * (TAU * (x - self.shift)).cos()).product();
        self.backward(x, t) * forward
    }
}

impl ExactGame for ColeHopfGame {
    fn intermediate(&self, x: &[f64]) -> f64 {
        self.density(x, self.parameters.horizon)
    }
}

/// Straight characteristics before kinks form: `phi = a/(2 pi) sum_axis sin(2 pi x)`, `rho_0 = prod_axis (1 + b cos(2 pi (x - c)))`.
///
/// With `y` the foot of the characteristic, `x = y + ((T-t)/lambda) phi'(y)` on each axis,
/// `U = phi(y) + (T-t)/(2 lambda) |phi'(y)|^2`, and `rho` is carried by `x_0 = x + (t/lambda) phi'(y)`.
#[derive(Debug, Clone)]
pub struct StraightLineGame {
    /// `L > a sqrt(d)`; kinks stay away while `2 pi a T / lambda < 1`.
    pub parameters: ProximalParameters,
    /// `a`, the largest slope per axis.
    pub slope: f64,
    /// `b` in [0, 1).
    pub source_amplitude: f64,
    /// `c`.
    pub shift: f64,
}

impl StraightLineGame {
    /// A case with `2 pi a T / lambda = 0.63`.
    pub fn example() -> Self {
        Self {
            parameters: ProximalParameters { lipschitz: 1.0, lambda: 1.0, horizon: 0.25 },
            slope: 0.4,
            source_amplitude: 0.6,
            shift: 0.2,
        }
    }

    /// The foot `y` of the characteristic through `x` at `time_left`, by Newton's method on a monotone function.
    fn foot(&self, x: f64, time_left: f64) -> f64 {
        let scale = time_left / self.parameters.lambda * self.slope;
        let mut y = x;
        for _ in 0..50 {
            let change = (y + scale * (TAU * y).cos() - x) / (1.0 - scale * TAU * (TAU * y).sin());
            y -= change;
            if change.abs() < 1e-16 {
                break;
            }
        }
        y
    }
}

impl ExactSolution for StraightLineGame {
    fn parameters(&self) -> ProximalParameters {
        self.parameters
    }

    fn viscosity(&self) -> f64 {
        0.0
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        let time_left = self.parameters.horizon - t;
        x.iter()
            .map(|x| {
                let y = self.foot(*x, time_left);
                let slope = self.slope * (TAU * y).cos();
                self.slope / TAU * (TAU * y).sin()
                    + time_left / (2.0 * self.parameters.lambda) * slope * slope
            })
            .sum()
    }

    fn density(&self, x: &[f64], t: f64) -> f64 {
        let ProximalParameters { lambda, horizon, .. } = self.parameters;
        x.iter()
            .map(|x| {
                let y = self.foot(*x, horizon - t);
                let start = y + horizon / lambda * self.slope * (TAU * y).cos();
                let curvature = -TAU * self.slope * (TAU * y).sin();
                let stretch =
                    (1.0 + horizon / lambda * curvature) / (1.0 + (horizon - t) / lambda * curvature);
                (1.0 + self.source_amplitude * (TAU * (start - self.shift)).cos()) * stretch
            })
            .product()
    }
}

impl ExactGame for StraightLineGame {
    fn intermediate(&self, x: &[f64]) -> f64 {
        self.density(x, self.parameters.horizon)
    }
}

/// 1-D game in which `|phi'| = L` on two intervals and a known W1 flux moves mass inside them.
///
/// `phi' = L` on `[0, 1/4]`, `-L` on `[1/2, 3/4]`, cosine arcs between; `rho_0 = 1`; the flux
/// `J = -A sin^2(4 pi x)` on the first and `+A sin^2(4 pi x)` on the second interval gives `eta = rho_T - J'`.
#[derive(Debug, Clone)]
pub struct ActiveLipschitzGame {
    /// Kinks stay away while `4 pi L T / lambda < 1`.
    pub parameters: ProximalParameters,
    /// `A < (1 - 4 pi L T/lambda) / (4 pi)` keeps `eta` positive.
    pub flux: f64,
}

impl ActiveLipschitzGame {
    /// A case with `4 pi L T / lambda = 0.5`.
    pub fn example() -> Self {
        Self {
            parameters: ProximalParameters { lipschitz: 0.5, lambda: 1.0, horizon: 0.25 / PI },
            flux: 0.06,
        }
    }

    /// `phi'` and `phi''`.
    fn slope_and_curvature(&self, y: f64) -> (f64, f64) {
        let lipschitz = self.parameters.lipschitz;
        let y = y.rem_euclid(1.0);
        let sign = if y < 0.5 { 1.0 } else { -1.0 };
        let z = y % 0.5;
        if z < 0.25 {
            (sign * lipschitz, 0.0)
        } else {
            let angle = 2.0 * TAU * (z - 0.25);
            (sign * lipschitz * angle.cos(), -sign * lipschitz * 2.0 * TAU * angle.sin())
        }
    }

    fn terminal(&self, y: f64) -> f64 {
        let lipschitz = self.parameters.lipschitz;
        let y = y.rem_euclid(1.0);
        let z = y % 0.5;
        let rise = if z < 0.25 { z } else { 0.25 + (2.0 * TAU * (z - 0.25)).sin() / (2.0 * TAU) };
        lipschitz * if y < 0.5 { rise } else { 0.25 - rise }
    }

    fn foot(&self, x: f64, time_left: f64) -> f64 {
        let scale = time_left / self.parameters.lambda;
        let mut y = x;
        for _ in 0..100 {
            let (slope, curvature) = self.slope_and_curvature(y);
            let change = (y + scale * slope - x) / (1.0 + scale * curvature);
            y -= change;
            if change.abs() < 1e-16 {
                break;
            }
        }
        y
    }

    /// `J*`: kinetic energy, `KL(eta|pi)` and `L int |J|`, by the midpoint rule with `nodes` points.
    pub fn value(&self, nodes: usize) -> f64 {
        let ProximalParameters { lipschitz, lambda, horizon } = self.parameters;
        let h = 1.0 / nodes as f64;
        let points: Vec<f64> = (0..nodes).map(|i| (i as f64 + 0.5) * h).collect();
        let normaliser: f64 =
            points.iter().map(|x| self.intermediate(&[*x]) * (-self.terminal(*x)).exp()).sum::<f64>() * h;
        points
            .iter()
            .map(|x| {
                let (slope, curvature) = self.slope_and_curvature(*x);
                let mass = 1.0 + horizon / lambda * curvature;
                let kinetic = mass * horizon * slope * slope / (2.0 * lambda);
                // eta / pi = Z e^{phi}.
                let divergence = self.intermediate(&[*x]) * (normaliser.ln() + self.terminal(*x));
                h * (kinetic + divergence + lipschitz * self.flux_at(*x).abs())
            })
            .sum()
    }

    fn flux_at(&self, x: f64) -> f64 {
        let size = self.flux * (2.0 * TAU * x).sin().powi(2);
        match x.rem_euclid(1.0) {
            x if x < 0.25 => -size,
            x if (0.5..0.75).contains(&x) => size,
            _ => 0.0,
        }
    }
}

impl ExactSolution for ActiveLipschitzGame {
    fn parameters(&self) -> ProximalParameters {
        self.parameters
    }

    fn viscosity(&self) -> f64 {
        0.0
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        let time_left = self.parameters.horizon - t;
        let y = self.foot(x[0], time_left);
        let (slope, _) = self.slope_and_curvature(y);
        self.terminal(y) + time_left / (2.0 * self.parameters.lambda) * slope * slope
    }

    fn density(&self, x: &[f64], t: f64) -> f64 {
        let ProximalParameters { lambda, horizon, .. } = self.parameters;
        let (_, curvature) = self.slope_and_curvature(self.foot(x[0], horizon - t));
        (1.0 + horizon / lambda * curvature) / (1.0 + (horizon - t) / lambda * curvature)
    }
}

impl ExactGame for ActiveLipschitzGame {
    fn intermediate(&self, x: &[f64]) -> f64 {
        let derivative = match x[0].rem_euclid(1.0) {
            y if y < 0.25 => -1.0,
            y if (0.5..0.75).contains(&y) => 1.0,
            _ => 0.0,
        } * self.flux
            * 2.0
            * TAU
            * (4.0 * TAU * x[0]).sin();
        self.density(x, self.parameters.horizon) - derivative
    }
}

/// `phi = (k/2) dist(x, c)^2` on the torus: `U = (k'/2) dist(x, c)^2` with `k' = k / (1 + k (T-t)/lambda)`.
///
/// Exact at all times, the kink at the antipode included: the minimum over images commutes with Hopf-Lax. The flow
/// contracts towards `c` by `(1 + k (T-t)/lambda) / (1 + k T/lambda)` and leaves a vacuum at the antipode.
#[derive(Debug, Clone)]
pub struct ParabolicWell {
    /// `lambda` and `T` matter; `L` bounds the slope `k sqrt(d)/2`.
    pub parameters: ProximalParameters,
    /// `k > 0`.
    pub stiffness: f64,
    /// `c`, the same on every axis.
    pub centre: f64,
}

impl ExactSolution for ParabolicWell {
    fn parameters(&self) -> ProximalParameters {
        self.parameters
    }

    fn viscosity(&self) -> f64 {
        0.0
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        let ProximalParameters { lambda, horizon, .. } = self.parameters;
        let stiffness = self.stiffness / (1.0 + self.stiffness * (horizon - t) / lambda);
        0.5 * stiffness * x.iter().map(|x| wrapped(*x, self.centre).powi(2)).sum::<f64>()
    }

    /// From the uniform source.
    fn density(&self, x: &[f64], t: f64) -> f64 {
        let ProximalParameters { lambda, horizon, .. } = self.parameters;
        let contraction =
            (1.0 + self.stiffness * (horizon - t) / lambda) / (1.0 + self.stiffness * horizon / lambda);
        let inside = x.iter().all(|x| wrapped(*x, self.centre).abs() <= 0.5 * contraction);
        if inside { contraction.powi(-(x.len() as i32)) } else { 0.0 }
    }
}

/// 1-D tent `phi = p dist(x, c)`: `U` is the Huber function `min(lambda r^2/(2 (T-t)), p r - p^2 (T-t)/(2 lambda))` as 2.2.
///
/// Mass between `c + p T/lambda` and the antipode moves rigidly with velocity `-p/lambda`.
#[derive(Debug, Clone)]
pub struct Tent {
    /// `L >= p`.
    pub parameters: ProximalParameters,
    /// `p > 0`.
    pub slope: f64,
    /// `c`.
    pub centre: f64,
    /// Centre of the translated bump at `t = 0`.
    pub bump_centre: f64,
    /// Half width of the translated bump.
    pub bump_radius: f64,
}

impl ExactSolution for Tent {
    fn parameters(&self) -> ProximalParameters {
        self.parameters
    }

    fn viscosity(&self) -> f64 {
        0.0
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        let ProximalParameters { lambda, horizon, .. } = self.parameters;
        let (r, time_left) = (wrapped(x[0], self.centre).abs(), horizon - t);
        if r < self.slope * time_left / lambda {
            lambda * r * r / (2.0 * time_left)
        } else {
            self.slope * r - self.slope * self.slope * time_left / (2.0 * lambda)
        }
    }

    fn density(&self, x: &[f64], t: f64) -> f64 {
        let centre = self.bump_centre - self.slope * t / self.parameters.lambda;
        let r = wrapped(x[0], centre) / self.bump_radius;
        if r.abs() < 1.0 { (0.5 * PI * r).cos().powi(4) } else { 0.0 }
    }
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
