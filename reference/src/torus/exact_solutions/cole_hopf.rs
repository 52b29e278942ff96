//! The coupled game with viscosity, by the Cole-Hopf transform.

use std::f64::consts::TAU;

use super::{ExactGame, ExactSolution};
use crate::specification::ProximalParameters;

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
