//! The Lipschitz-regularised f-divergence `D_f^L`, exactly, with a certificate (notation 1.2-1.5).
//!
//! ```text
//! D_f^L(P|Q) = min_eta { D_f(eta|Q) + L W1(P, eta) } = max_{phi in Lip_L} { E_P phi - Lambda_Q(phi) }
//! ```
//! Between discrete measures this is semi-relaxed transport with the cost `L |x - z|` (1.4). Where `f'(inf)` is finite the
//! infimum has two readings, and [`SingularMass`](crate::SingularMass) names them.

use ndarray::ArrayView2;

use super::exact::{f_divergence_of_atoms, probability_weights};
use super::generator::Generator;
use super::potential::LipschitzPotential;
use super::regularised::regularised_transport;
use crate::certificate::Certified;
use crate::gradient::{self, Gradients};
use crate::measure::Measure;
use crate::options::Options;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::transport::PointwiseCost;
use crate::transport::certificate::SparsePlan;

/// An f-divergence, to be evaluated as it is or regularised.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{Divergence, Measure};
/// let model = Measure::uniform(array![[0.0], [1.0]])?;
/// let data = Measure::new(array![[0.0], [1.5]], vec![0.25, 0.75])?;
/// // The model has mass outside the data, so the divergence itself is infinite.
/// assert_eq!(Divergence::kl().between(&model, &data)?, f64::INFINITY);
/// let regularised = Divergence::kl().lipschitz(1.0).between(&model, &data)?;
/// assert!(regularised.is_converged() && regularised.gap() < 1e-12);
/// // It is at most L W1, here 1/4 + 1/4 (notation 1.3).
/// assert!(regularised.upper < 0.5);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Divergence {
    kind: DivergenceKind,
}

impl Divergence {
    /// The divergence of the given kind; an order of `Alpha` out of range is refused where it is evaluated.
    pub fn of(kind: DivergenceKind) -> Self {
        Self { kind }
    }

    /// Kullback-Leibler, `f(x) = x ln x`.
    pub fn kl() -> Self {
        Self::of(DivergenceKind::KullbackLeibler)
    }

    /// Reverse Kullback-Leibler, `f(x) = -ln x`.
    pub fn reverse_kl() -> Self {
        Self::of(DivergenceKind::ReverseKullbackLeibler)
    }

    /// The alpha divergence `f(x) = (x^a - 1)/(a (a - 1))`, `a > 0`, `a != 1`.
    pub fn alpha(order: f64) -> Self {
        Self::of(DivergenceKind::Alpha(order))
    }

    /// Half of Pearson's chi-squared, `f(x) = (x^2 - 1)/2`.
    pub fn chi_squared() -> Self {
        Self::of(DivergenceKind::ChiSquared)
    }

    /// Jensen-Shannon, `f(x) = x ln x - (1 + x) ln((1 + x)/2)`.
    pub fn jensen_shannon() -> Self {
        Self::of(DivergenceKind::JensenShannon)
    }

    /// Squared Hellinger, `f(x) = (sqrt x - 1)^2`.
    pub fn squared_hellinger() -> Self {
        Self::of(DivergenceKind::SquaredHellinger)
    }

    /// Which divergence this is.
    pub fn kind(&self) -> DivergenceKind {
        self.kind
    }

    /// `D_f(model|data)` (notation 1.1), `+inf` where the model has mass outside the data and `f'(inf) = inf`. Atoms with equal
    /// coordinates are one point. Errors: different dimensions, an order of `Alpha` out of range.
    pub fn between(&self, model: &Measure, data: &Measure) -> Result<f64, InvalidInput> {
        let (p, q) = (Some(model.weights()), Some(data.weights()));
        f_divergence_of_atoms(self.kind, model.points(), p, data.points(), q)
    }

    /// `D_f^L`: the supremum over discriminators of Lipschitz constant `lipschitz > 0` alone.
    pub fn lipschitz<'a>(self, lipschitz: f64) -> LipschitzDivergence<'a> {
        LipschitzDivergence { kind: self.kind, lipschitz, options: Options::new() }
    }
}

/// The functional `D_f^L` and how to solve for it.
#[derive(Debug, Clone, Copy)]
pub struct LipschitzDivergence<'a> {
    kind: DivergenceKind,
    lipschitz: f64,
    options: Options<'a>,
}

impl<'a> LipschitzDivergence<'a> {
    /// Accuracy, threads, observer, singular mass.
    pub fn options(self, options: Options<'a>) -> Self {
        Self { options, ..self }
    }

    /// `D_f^L(model|data)` with both optimisers, exact up to the certified gap, by default at most 1e-11 relative to `1 + |value|`.
    /// Atoms of weight zero change nothing.
    ///
    /// Errors: different dimensions, `lipschitz` not finite and positive, an order of `Alpha` or options out of range, points so
    /// far apart that costs overflow.
    pub fn between(
        &self,
        model: &Measure,
        data: &Measure,
    ) -> Result<LipschitzRegularisedDivergence, InvalidInput> {
        InvalidInput::require_positive("lipschitz", self.lipschitz)?;
        let cost = PointwiseCost::Lipschitz { lipschitz: self.lipschitz };
        let solved = regularised_transport(cost, model, data, self.kind, &self.options)?;
        let kind = self.kind;
        Ok(solved.map(|solved| LipschitzOptimum {
            kind,
            transport: solved.transport,
            divergence: solved.divergence,
            potential: solved.terminal_potential(self.lipschitz, data.points()),
            intermediate: solved.intermediate,
            stayed: solved.stayed,
            plan: solved.plan,
            model_potential: solved.source_potential,
        }))
    }
}

/// The optimisers of `D_f^L(P|Q)`.
#[derive(Debug, Clone)]
pub struct LipschitzOptimum {
    /// Which divergence this is the optimum of.
    pub kind: DivergenceKind,
    /// `L W1(P, eta*)`, as paid by the plan.
    pub transport: f64,
    /// `D_f(eta*|Q)`.
    pub divergence: f64,
    /// `eta*` on the data atoms, length m; with [`Self::stayed`] it sums to 1.
    pub intermediate: Vec<f64>,
    /// The part of `eta*` that stayed at the model atoms, length n; zero unless
    /// [`SingularMass::Priced`](crate::SingularMass::Priced).
    pub stayed: Vec<f64>,
    /// `(i, j, G_ij)` with `G_ij > 0`, model atom to data atom.
    pub plan: SparsePlan,
    /// `phi*` on all of R^d: of all optimal potentials the largest, in the gauge `nu = 0`.
    pub potential: LipschitzPotential,
    /// `phi*` at the model atoms, length n.
    pub model_potential: Vec<f64>,
}

/// `D_f^L(P|Q)` between its bounds, with both optimisers.
pub type LipschitzRegularisedDivergence = Certified<LipschitzOptimum>;

impl LipschitzOptimum {
    /// The derivatives of the value in positions and weights of both measures, which must be those that were solved for (see
    /// [`crate::gradient`]).
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::{Divergence, Measure};
    /// let model = Measure::uniform(array![[3.0]])?;
    /// let data = Measure::uniform(array![[1.0]])?;
    /// let gradients = Divergence::kl().lipschitz(0.5).between(&model, &data)?.gradients(&model, &data)?;
    /// assert_eq!((gradients.model[[0, 0]], gradients.data[[0, 0]]), (0.5, -0.5));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn gradients(&self, model: &Measure, data: &Measure) -> Result<Gradients, InvalidInput> {
        gradient::require_sizes(model, data, (self.model_potential.len(), self.intermediate.len()))?;
        let cost = PointwiseCost::Lipschitz { lipschitz: self.potential.lipschitz() };
        let plan = self.plan.iter().map(|&(i, j, mass)| (i as usize, j as usize, mass));
        let (in_model, in_data) = gradient::in_positions(cost, plan, model.points(), data.points());
        let phi = &self.model_potential;
        let heights = gradient::heights_everywhere(cost, self.potential.offsets(), phi, model, data);
        let generator = Generator::new(self.kind)?;
        Ok(Gradients {
            model: in_model,
            data: in_data,
            model_weights: gradient::centred(phi.iter().copied(), model.weights()),
            data_weights: gradient::in_priced_weights(&generator, &heights, data.weights()),
        })
    }

    /// `phi*` at the data atoms, length m: McShane's extension evaluated there, `O(m^2 d)`. Where `eta*` has mass it equals the
    /// dual variable `psi_j` up to the gap.
    pub fn data_potential(&self) -> Vec<f64> {
        self.potential.values_at_atoms()
    }

    /// `E_{P'} phi*` for a law of `points` `(k, d)` with `weights` (default uniform): the left side of 1.6 is the difference
    /// of two of these.
    pub fn expected_potential(
        &self,
        points: ArrayView2<f64>,
        weights: Option<&[f64]>,
    ) -> Result<f64, InvalidInput> {
        let weights = probability_weights("weights", weights, points.nrows())?;
        Ok(self.potential.values(points)?.iter().zip(&weights).map(|(phi, weight)| phi * weight).sum())
    }
}
