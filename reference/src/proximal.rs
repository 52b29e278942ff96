//! The combined Wasserstein-1/Wasserstein-2 proximal, exactly (notation 2.1-2.3).
//!
//! ```text
//! J* = inf_rho { lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi) }
//! ```
//! Eliminating the middle point `y` from `lambda |x - y|^2/(2T) + L |y - z|` leaves the Huber cost, so that one
//! semi-relaxed transport problem gives everything: its arcs `(x, z)` carry mass from `x` in a straight line at constant speed
//! to `y = x + min(1, L T/(lambda r)) (z - x)`, `r = |x - z|`, and the rest of the way is priced by W1.

mod optimality_gap;

use ndarray::{Array2, ArrayView2};

pub use self::optimality_gap::{OptimalityGap, optimality_gap, optimality_gap_observed};
use crate::divergence::lipschitz::{RegularisedOptions, regularised_transport};
use crate::divergence::potential::{LipschitzPotential, distance};
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::{Bounds, Outcome, PointwiseCost, Progress};

/// A particle of the optimal flow: mass that travels from one source atom in a straight line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Path {
    /// The source atom `x`.
    pub source: usize,
    /// The data atom `z` that it is matched to; `None` for mass priced as singular, which stays at `x`.
    pub data: Option<usize>,
    /// Its mass.
    pub mass: f64,
}

/// `J*` with the optimal flow, the generated law `rho_T`, the intermediate measure and the discriminator.
#[derive(Debug, Clone)]
pub struct CombinedProximal {
    /// `lambda`, `T`, `L`.
    pub parameters: ProximalParameters,
    /// Certified lower bound of `J*`: a dual value.
    pub lower: f64,
    /// Certified upper bound of `J*`: the value of the flow below.
    pub upper: f64,
    /// The kinetic energy `K* = E int_0^T |v|^2/2 dt = W2^2(rho0, rho_T)/(2T)`; `lambda K*` is its share of `J*`.
    pub kinetic_energy: f64,
    /// `L W1(rho_T, eta*)`.
    pub transport: f64,
    /// `D_f(eta*|pi)`.
    pub divergence: f64,
    /// `eta*` on the data atoms, length m.
    pub intermediate: Vec<f64>,
    /// The part of `eta*` that stayed at the source atoms, length n; zero unless
    /// [`SingularMass::Priced`](crate::divergence::SingularMass::Priced).
    pub stayed: Vec<f64>,
    /// The k particles of the flow.
    pub paths: Vec<Path>,
    /// Where the particles start, `(k, d)`.
    pub starts: Array2<f64>,
    /// Where they end, `(k, d)`: with [`Self::masses`] the generated law `rho_T`.
    pub endpoints: Array2<f64>,
    /// Hopf-Lax at time 0, `U(x_i, 0) = min_y { phi*(y) + lambda |x_i - y|^2/(2T) } = min_j (c_ij + psi_j)`, at the source atoms, length n.
    pub initial_potential: Vec<f64>,
    /// The discriminator `phi* = U(., T)` on all of R^d.
    pub potential: LipschitzPotential,
    /// How the solver ended; the bounds hold whatever it says.
    pub outcome: Outcome,
    /// Wall-clock time, distances included.
    pub seconds: f64,
}

impl CombinedProximal {
    /// Both bounds of `J*`.
    pub fn bounds(&self) -> Bounds {
        Bounds { lower: self.lower, upper: self.upper }
    }

    /// `upper - lower`, non-negative up to rounding.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }

    /// The masses of the particles, length k, sum 1: the weights of `rho_T` on [`Self::endpoints`].
    pub fn masses(&self) -> Vec<f64> {
        self.paths.iter().map(|path| path.mass).collect()
    }

    /// The constant velocities `(y - x)/T`, `(k, d)`, of norm at most `L/lambda`.
    pub fn velocities(&self) -> Array2<f64> {
        (&self.endpoints - &self.starts) / self.parameters.horizon
    }

    /// Positions `(k, d)` at `time` in `[0, T]`; a time past `T` by rounding (1e-12 relative) counts as `T`.
    pub fn positions(&self, time: f64) -> Result<Array2<f64>, InvalidInput> {
        let horizon = self.parameters.horizon;
        if !(0.0..=horizon * (1.0 + 1e-12)).contains(&time) {
            return Err(InvalidInput::new("time", time, format!("[0, {horizon}]")));
        }
        let time = time.min(horizon);
        Ok(&self.starts * (1.0 - time / horizon) + &self.endpoints * (time / horizon))
    }
}

/// Solves the combined proximal from `x` `(n, d)` to `z` `(m, d)`; weights default to uniform.
///
/// Exact up to the certified gap. Errors as in
/// [`lipschitz_regularised_divergence`](crate::divergence::lipschitz_regularised_divergence).
pub fn combined_proximal(
    x: ArrayView2<f64>,
    p: Option<&[f64]>,
    z: ArrayView2<f64>,
    q: Option<&[f64]>,
    kind: DivergenceKind,
    parameters: ProximalParameters,
    options: &RegularisedOptions,
) -> Result<CombinedProximal, InvalidInput> {
    combined_proximal_observed(x, p, z, q, kind, parameters, options, &mut |_| ())
}

/// [`combined_proximal`] that reports the solver's [`Progress`].
#[allow(clippy::too_many_arguments)] // two weighted point sets, the functional, the method
pub fn combined_proximal_observed(
    x: ArrayView2<f64>,
    p: Option<&[f64]>,
    z: ArrayView2<f64>,
    q: Option<&[f64]>,
    kind: DivergenceKind,
    parameters: ProximalParameters,
    options: &RegularisedOptions,
    observe: &mut dyn FnMut(&Progress),
) -> Result<CombinedProximal, InvalidInput> {
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let parameters = ProximalParameters::new(lipschitz, lambda, horizon)?;
    let solution =
        regularised_transport(PointwiseCost::Huber(parameters), x, p, z, q, kind, options, observe)?;
    let potential = solution.terminal_potential(lipschitz, z)?;

    let arrived =
        solution.plan.iter().map(|&(i, j, mass)| Path { source: i as usize, data: Some(j as usize), mass });
    let stayed = solution.stayed.iter().enumerate().filter(|(_, mass)| **mass > 0.0);
    let stayed = stayed.map(|(i, &mass)| Path { source: i, data: None, mass });
    let paths: Vec<Path> = arrived.chain(stayed).collect();

    let mut starts = Array2::zeros((paths.len(), x.ncols()));
    let mut endpoints = starts.clone();
    let (mut kinetic_energy, mut transport) = (0.0, 0.0);
    for (k, path) in paths.iter().enumerate() {
        let source = x.row(path.source);
        let target = path.data.map_or(source, |j| z.row(j));
        let r = distance(source, target);
        let travelled = parameters.kink().min(r);
        starts.row_mut(k).assign(&source);
        if travelled < r {
            endpoints.row_mut(k).assign(&(&source + &((&target - &source) * (travelled / r))));
        } else {
            endpoints.row_mut(k).assign(&target);
        }
        kinetic_energy += path.mass * travelled * travelled / (2.0 * horizon);
        transport += path.mass * lipschitz * (r - travelled);
    }
    Ok(CombinedProximal {
        parameters,
        lower: solution.lower,
        upper: solution.upper,
        kinetic_energy,
        transport,
        divergence: solution.divergence,
        initial_potential: solution.source_potential,
        intermediate: solution.intermediate,
        stayed: solution.stayed,
        paths,
        starts,
        endpoints,
        potential,
        outcome: solution.outcome,
        seconds: solution.seconds,
    })
}
