//! The coupled game without viscosity, before kinks form.

use std::f64::consts::TAU;

use super::{ExactGame, ExactSolution};
use crate::specification::ProximalParameters;

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
