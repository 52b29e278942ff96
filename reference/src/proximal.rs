//! The combined Wasserstein-1/Wasserstein-2 proximal, exactly (notation 2.1-2.3).
//!
//! ```text
//! J* = inf_rho { lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi) }
//! ```
//! Eliminating the middle point `y` from `lambda |x - y|^2/(2T) + L |y - z|` leaves the Huber cost, so that one
//! semi-relaxed transport problem gives everything: its arcs `(x, z)` carry mass from `x` in a straight line at constant speed
//! to `y = x + min(1, L T/(lambda r)) (z - x)`, `r = |x - z|`, and the rest of the way is priced by W1.

mod critical;
mod optimality_gap;

use ndarray::Array2;

pub use self::critical::{CriticalLipschitz, CriticalOptimum, critical_lipschitz};
pub use self::optimality_gap::{ComparedFlow, OptimalityGap, optimality_gap};
use crate::certificate::Certified;
use crate::divergence::Generator;
use crate::divergence::LipschitzPotential;
use crate::divergence::regularised_transport;
use crate::gradient::{self, Gradients};
use crate::measure::Measure;
use crate::options::Options;
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::PointwiseCost;
use crate::transport::potential::{TransportPotential, distance};

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

/// The optimal flow, the generated law `rho_T`, the intermediate measure and the discriminator.
#[derive(Debug, Clone)]
pub struct OptimalFlow {
    /// `lambda`, `T`, `L`.
    pub parameters: ProximalParameters,
    /// Which divergence prices the intermediate measure.
    pub kind: DivergenceKind,
    /// The kinetic energy `K* = E int_0^T |v|^2/2 dt = W2^2(rho0, rho_T)/(2T)`; `lambda K*` is its share of `J*`.
    pub kinetic_energy: f64,
    /// `L W1(rho_T, eta*)`.
    pub transport: f64,
    /// `D_f(eta*|pi)`.
    pub divergence: f64,
    /// `eta*` on the data atoms, length m.
    pub intermediate: Vec<f64>,
    /// The part of `eta*` that stayed at the source atoms, length n; zero unless
    /// [`SingularMass::Priced`](crate::SingularMass::Priced).
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
}

/// `J*` between its bounds, with the optimal flow: the upper bound is the value of that flow, the lower one a dual value.
pub type CombinedProximal = Certified<OptimalFlow>;

impl OptimalFlow {
    /// `U(., 0)` on all of R^d, `min_j (c(|y - z_j|) + psi_j)` with the Huber cost, for the `data` that was solved for.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::proximal::combined_proximal;
    /// # use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
    /// # let kind = DivergenceKind::KullbackLeibler;
    /// let source = Measure::uniform(array![[0.0], [1.0]])?;
    /// let data = Measure::uniform(array![[0.5], [4.0]])?;
    /// let parameters = ProximalParameters::new(1.0, 0.5, 2.0)?;
    /// let solved = combined_proximal(&source, &data, kind, parameters, &Options::new())?;
    /// let values = solved.initial_potential_everywhere(&data).values(source.points())?;
    /// for (value, at_source) in values.iter().zip(&solved.initial_potential) {
    ///     assert!((value - at_source).abs() < 1e-12);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn initial_potential_everywhere(&self, data: &Measure) -> TransportPotential {
        let (offsets, cap) = (self.potential.offsets().to_vec(), self.potential.cap());
        let cost = PointwiseCost::Huber(self.parameters);
        TransportPotential::from_parts(cost, data.points().to_owned(), offsets, cap)
    }

    /// The derivatives of `J*` in positions and weights of both measures, which must be those that were solved for (see
    /// [`crate::gradient`]).
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
    /// use proxflow_reference::proximal::combined_proximal;
    /// let (source, data) = (Measure::uniform(array![[3.0]])?, Measure::uniform(array![[1.0]])?);
    /// let parameters = ProximalParameters::new(10.0, 0.5, 2.0)?;
    /// let kind = DivergenceKind::KullbackLeibler;
    /// let solved = combined_proximal(&source, &data, kind, parameters, &Options::new())?;
    /// // lambda (x - z) / T
    /// assert_eq!(solved.gradients(&source, &data)?.model[[0, 0]], 0.5);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn gradients(&self, source: &Measure, data: &Measure) -> Result<Gradients, InvalidInput> {
        gradient::require_sizes(source, data, (self.initial_potential.len(), self.intermediate.len()))?;
        let cost = PointwiseCost::Huber(self.parameters);
        let plan = self.paths.iter().filter_map(|path| path.data.map(|j| (path.source, j, path.mass)));
        let (model, in_data) = gradient::in_positions(cost, plan, source.points(), data.points());
        let phi = &self.initial_potential;
        let heights = gradient::heights_everywhere(cost, self.potential.offsets(), phi, source, data);
        let generator = Generator::new(self.kind)?;
        Ok(Gradients {
            model,
            data: in_data,
            model_weights: gradient::centred(phi.iter().copied(), source.weights()),
            data_weights: gradient::in_priced_weights(&generator, &heights, data.weights()),
        })
    }

    /// The masses of the particles, length k, sum 1: the weights of `rho_T` on [`Self::endpoints`].
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::proximal::combined_proximal;
    /// # use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
    /// # let kind = DivergenceKind::KullbackLeibler;
    /// let source = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// let data = Measure::uniform(array![[0.5], [4.0]])?;
    /// let parameters = ProximalParameters::new(1.0, 0.5, 2.0)?;
    /// let solved = combined_proximal(&source, &data, kind, parameters, &Options::new())?;
    /// // The particles of a source atom share its weight.
    /// let particles = solved.paths.iter().zip(solved.masses()).filter(|(path, _)| path.source == 0);
    /// assert!((particles.map(|(_, mass)| mass).sum::<f64>() - 0.25).abs() < 1e-14);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn masses(&self) -> Vec<f64> {
        self.paths.iter().map(|path| path.mass).collect()
    }

    /// The constant velocities `(y - x)/T`, `(k, d)`, of norm at most `L/lambda`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::proximal::combined_proximal;
    /// # use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
    /// # let kind = DivergenceKind::KullbackLeibler;
    /// let (source, data) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[100.0]])?);
    /// let parameters = ProximalParameters::new(1.0, 0.5, 2.0)?; // L, lambda, T
    /// let solved = combined_proximal(&source, &data, kind, parameters, &Options::new())?;
    /// assert!((solved.velocities()[[0, 0]] - 2.0).abs() < 1e-14); // far data: L/lambda
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn velocities(&self) -> Array2<f64> {
        (&self.endpoints - &self.starts) / self.parameters.horizon
    }

    /// Positions `(k, d)` at `time` in `[0, T]`; a time past `T` by rounding (1e-12 relative) counts as `T`.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::proximal::combined_proximal;
    /// use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
    /// let (source, data) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[2.0]])?);
    /// let parameters = ProximalParameters::new(9.0, 1.0, 4.0)?;
    /// let solved = combined_proximal(&source, &data, DivergenceKind::ChiSquared, parameters, &Options::new())?;
    /// assert_eq!((solved.positions(1.0)?[[0, 0]], solved.velocities()[[0, 0]], solved.masses()[0]), (0.5, 0.5, 1.0));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn positions(&self, time: f64) -> Result<Array2<f64>, InvalidInput> {
        let horizon = self.parameters.horizon;
        if !(0.0..=horizon * (1.0 + 1e-12)).contains(&time) {
            return Err(InvalidInput::new("time", time, format!("[0, {horizon}]")));
        }
        let time = time.min(horizon);
        Ok(&self.starts * (1.0 - time / horizon) + &self.endpoints * (time / horizon))
    }
}

/// Solves the combined proximal from `source` (n atoms) to `data` (m atoms).
///
/// Exact up to the certified gap. Errors as in [`LipschitzDivergence::between`](crate::divergence::LipschitzDivergence::between).
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
/// use proxflow_reference::proximal::combined_proximal;
/// let source = Measure::uniform(array![[0.0], [1.0]])?;
/// let data = Measure::uniform(array![[0.5], [4.0]])?;
/// let parameters = ProximalParameters::new(1.0, 0.5, 2.0)?; // L, lambda, T
/// let solved = combined_proximal(&source, &data, DivergenceKind::KullbackLeibler, parameters, &Options::new())?;
/// let terms = 0.5 * solved.kinetic_energy + solved.transport + solved.divergence;
/// assert!(solved.is_converged() && (terms - solved.upper).abs() < 1e-14);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn combined_proximal(
    source: &Measure,
    data: &Measure,
    kind: DivergenceKind,
    parameters: ProximalParameters,
    options: &Options<'_>,
) -> Result<CombinedProximal, InvalidInput> {
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let parameters = ProximalParameters::new(lipschitz, lambda, horizon)?;
    let solved = regularised_transport(PointwiseCost::Huber(parameters), source, data, kind, options)?;
    let failed = !solved.bounds().is_finite();
    let (x, z) = (source.points(), data.points());
    Ok(solved.map(|solution| {
        let arrived = solution.plan.iter().map(|&(i, j, mass)| Path {
            source: i as usize,
            data: Some(j as usize),
            mass,
        });
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
        let unless_failed = |value: f64| if failed { f64::NAN } else { value };
        OptimalFlow {
            parameters,
            kind,
            kinetic_energy: unless_failed(kinetic_energy),
            transport: unless_failed(transport),
            divergence: solution.divergence,
            potential: solution.terminal_potential(lipschitz, z),
            initial_potential: solution.source_potential,
            intermediate: solution.intermediate,
            stayed: solution.stayed,
            paths,
            starts,
            endpoints,
        }
    }))
}
