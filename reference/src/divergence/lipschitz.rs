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
    ///
    /// ```
    /// # use proxflow_reference::{Divergence, DivergenceKind};
    /// assert_eq!(Divergence::of(DivergenceKind::ChiSquared), Divergence::chi_squared());
    /// ```
    pub fn of(kind: DivergenceKind) -> Self {
        Self { kind }
    }

    /// Kullback-Leibler, `f(x) = x ln x`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// // 1/2 ln 2 + 1/2 ln 2/3
    /// assert!((Divergence::kl().between(&p, &q)? - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn kl() -> Self {
        Self::of(DivergenceKind::KullbackLeibler)
    }

    /// Reverse Kullback-Leibler, `f(x) = -ln x`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// let exchanged = Divergence::kl().between(&q, &p)?;
    /// assert!((Divergence::reverse_kl().between(&p, &q)? - exchanged).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn reverse_kl() -> Self {
        Self::of(DivergenceKind::ReverseKullbackLeibler)
    }

    /// The alpha divergence `f(x) = (x^a - 1)/(a (a - 1))`, `a > 0`, `a != 1`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// let chi_squared = Divergence::chi_squared().between(&p, &q)?;
    /// assert!((Divergence::alpha(2.0).between(&p, &q)? - chi_squared).abs() < 1e-15);
    /// assert!(Divergence::alpha(1.0).between(&p, &q).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn alpha(order: f64) -> Self {
        Self::of(DivergenceKind::Alpha(order))
    }

    /// Half of Pearson's chi-squared, `f(x) = (x^2 - 1)/2`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// // sum (p - q)^2/(2 q)
    /// assert!((Divergence::chi_squared().between(&p, &q)? - 1.0 / 6.0).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn chi_squared() -> Self {
        Self::of(DivergenceKind::ChiSquared)
    }

    /// Jensen-Shannon, `f(x) = x ln x - (1 + x) ln((1 + x)/2)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// let js = Divergence::jensen_shannon();
    /// assert!((js.between(&p, &q)? - js.between(&q, &p)?).abs() < 1e-15);
    /// let elsewhere = Measure::uniform(array![[9.0]])?;
    /// assert!((js.between(&p, &elsewhere)? - 2.0 * 2f64.ln()).abs() < 1e-14);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn jensen_shannon() -> Self {
        Self::of(DivergenceKind::JensenShannon)
    }

    /// Squared Hellinger, `f(x) = (sqrt x - 1)^2`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let p = Measure::uniform(array![[0.0], [1.0]])?;
    /// # let q = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.75])?;
    /// let affinity = (0.5f64 * 0.25).sqrt() + (0.5f64 * 0.75).sqrt();
    /// assert!((Divergence::squared_hellinger().between(&p, &q)? - (2.0 - 2.0 * affinity)).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn squared_hellinger() -> Self {
        Self::of(DivergenceKind::SquaredHellinger)
    }

    /// Which divergence this is.
    ///
    /// ```
    /// # use proxflow_reference::{Divergence, DivergenceKind};
    /// assert_eq!(Divergence::jensen_shannon().kind(), DivergenceKind::JensenShannon);
    /// ```
    pub fn kind(&self) -> DivergenceKind {
        self.kind
    }

    /// `D_f(model|data)` (notation 1.1), `+inf` where the model has mass outside the data and `f'(inf) = inf`. Atoms with equal
    /// coordinates are one point. Errors: different dimensions, an order of `Alpha` out of range.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// let p = Measure::new(array![[0.0], [1.0], [0.0]], vec![0.25, 0.5, 0.25])?;
    /// let q = Measure::uniform(array![[1.0], [0.0]])?;
    /// assert_eq!(Divergence::kl().between(&p, &q)?, 0.0); // one law, written twice
    /// assert_eq!(Divergence::kl().between(&q, &Measure::uniform(array![[1.0]])?)?, f64::INFINITY);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn between(&self, model: &Measure, data: &Measure) -> Result<f64, InvalidInput> {
        let (p, q) = (Some(model.weights()), Some(data.weights()));
        f_divergence_of_atoms(self.kind, model.points(), p, data.points(), q)
    }

    /// `D_f^L`: the supremum over discriminators of Lipschitz constant `lipschitz > 0` alone.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// let (p, q) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[3.0]])?);
    /// // Between two points L r.
    /// let value = Divergence::kl().lipschitz(0.5).between(&p, &q)?;
    /// assert!((value.lower - 1.5).abs() < 1e-12 && (value.upper - 1.5).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
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
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure, Options, SingularMass};
    /// let (p, q) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[10.0]])?);
    /// let functional = Divergence::squared_hellinger().lipschitz(1.0);
    /// assert!((functional.between(&p, &q)?.upper - 10.0).abs() < 1e-12); // L r
    /// // Mass may also stay and be priced: min_u (sqrt u - 1)^2 + (1 - u) + L r u = 2 - 1/(L r).
    /// let priced = functional.options(Options::new().singular(SingularMass::Priced)).between(&p, &q)?;
    /// assert!((priced.upper - 1.9).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn options(self, options: Options<'a>) -> Self {
        Self { options, ..self }
    }

    /// `D_f^L(model|data)` with both optimisers, exact up to the certified gap, by default at most 1e-11 relative to `1 + |value|`.
    /// Atoms of weight zero change nothing.
    ///
    /// Errors: different dimensions, `lipschitz` not finite and positive, an order of `Alpha` or options out of range, points so
    /// far apart that costs overflow.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let (model, data) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[0.0], [1.0]])?);
    /// let found = Divergence::kl().lipschitz(1.0).between(&model, &data)?;
    /// // From one point, KL gives -ln E_Q e^{-L r}.
    /// let exact = -(0.5 + 0.5 * (-1f64).exp()).ln();
    /// assert!((found.lower - exact).abs() < 1e-12 && (found.upper - exact).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
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
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let (model, data) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[0.0], [1.0]])?);
    /// let found = Divergence::kl().lipschitz(2.0).between(&model, &data)?;
    /// // Of slope L along every move.
    /// let slope = found.model_potential[0] - found.data_potential()[1];
    /// assert!((slope - 2.0).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn data_potential(&self) -> Vec<f64> {
        self.potential.values_at_atoms()
    }

    /// `E_{P'} phi*` for a law of `points` `(k, d)` with `weights` (default uniform): the left side of 1.6 is the difference
    /// of two of these.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{Divergence, Measure};
    /// # let (model, data) = (Measure::uniform(array![[0.0]])?, Measure::uniform(array![[0.0], [1.0]])?);
    /// use proxflow_reference::divergence::{Cumulant, Generator};
    /// let found = Divergence::kl().lipschitz(1.0).between(&model, &data)?;
    /// // The dual value: E_P phi - Lambda_Q(phi).
    /// let cumulant = Cumulant::new(&Generator::new(found.kind)?, &found.data_potential(), data.weights())?;
    /// let dual = found.expected_potential(model.points(), None)? - cumulant.value;
    /// assert!((dual - found.lower).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn expected_potential(
        &self,
        points: ArrayView2<f64>,
        weights: Option<&[f64]>,
    ) -> Result<f64, InvalidInput> {
        let weights = probability_weights("weights", weights, points.nrows())?;
        Ok(self.potential.values(points)?.iter().zip(&weights).map(|(phi, weight)| phi * weight).sum())
    }
}
