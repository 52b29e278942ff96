//! The coupled game where the Lipschitz cap acts and W1 carries mass.

use std::f64::consts::{PI, TAU};

use super::{ExactGame, ExactSolution};
use crate::specification::ProximalParameters;

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
