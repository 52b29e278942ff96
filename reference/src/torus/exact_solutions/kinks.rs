//! Hamilton-Jacobi with kinks: a well (kink at the antipode) and a tent (rarefaction).

use std::f64::consts::PI;

use super::{ExactSolution, wrapped};
use crate::specification::ProximalParameters;

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
