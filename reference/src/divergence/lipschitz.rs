//! The Lipschitz-regularised f-divergence `D_f^L`, exactly, with a certificate (notation 1.2-1.5).
//!
//! ```text
//! D_f^L(P|Q) = min_eta { D_f(eta|Q) + L W1(P, eta) } = max_{phi in Lip_L} { E_P phi - Lambda_Q(phi) }
//! ```
//! Between discrete measures this is semi-relaxed transport with the cost `L |x - z|` (1.4). Where `f'(inf)` is finite the
//! infimum has two readings, and [`SingularMass`] names them.

use std::time::Instant;

use ndarray::{ArrayView2, Axis};

use super::cumulant::generalised_cumulant;
use super::exact::{check_dimensions, check_points, probability_weights};
use super::generator::Generator;
use super::potential::LipschitzPotential;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::transport::certificate::{SparsePlan, lower_transform};
use crate::transport::cost::DENSE_COST_BYTES;
use crate::transport::{
    Bounds, GroundCost, Outcome, PointCost, PointwiseCost, Progress, SemiRelaxedOptions,
    semi_relaxed_transport_observed,
};

/// What becomes of mass of the intermediate measure outside the data, for generators with finite `f'(inf)`.
///
/// For KL, chi^2 and `Alpha(a > 1)` the two agree: such mass costs `+inf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SingularMass {
    /// `eta << Q`: the problem 1.4 as it stands, dual to `sup_phi E_P phi - Lambda_Q(phi)` with `Lambda_Q` reading `phi` on the
    /// data alone, which is what a discriminator is trained on.
    #[default]
    Forbidden,
    /// `eta` may leave mass where the model put it, at the price `f'(inf)` per unit (the recession convention of 1.1), dual to the
    /// same supremum under `phi <= nu + f'(inf)` everywhere. Then `D_f^L <= D_f` holds for singular P as well.
    Priced,
}

/// How to solve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegularisedOptions {
    /// Accuracy and limits of the transport solver.
    pub transport: SemiRelaxedOptions,
    /// Whether mass may stay outside the data.
    pub singular: SingularMass,
    /// Largest cost matrix kept in memory, in bytes; beyond, entries are computed on the fly.
    pub dense_cost_bytes: usize,
}

impl Default for RegularisedOptions {
    fn default() -> Self {
        Self {
            transport: SemiRelaxedOptions::default(),
            singular: SingularMass::default(),
            dense_cost_bytes: DENSE_COST_BYTES,
        }
    }
}

/// `D_f^L(P|Q)` with both optimisers.
#[derive(Debug, Clone)]
pub struct LipschitzRegularisedDivergence {
    /// Certified lower bound: a dual value.
    pub lower: f64,
    /// Certified upper bound: `transport + divergence` of [`Self::plan`].
    pub upper: f64,
    /// `L W1(P, eta*)`, as paid by the plan.
    pub transport: f64,
    /// `D_f(eta*|Q)`.
    pub divergence: f64,
    /// `eta*` on the data atoms, length m; with [`Self::stayed`] it sums to 1.
    pub intermediate: Vec<f64>,
    /// The part of `eta*` that stayed at the model atoms, length n; zero unless [`SingularMass::Priced`].
    pub stayed: Vec<f64>,
    /// `(i, j, G_ij)` with `G_ij > 0`, model atom to data atom.
    pub plan: SparsePlan,
    /// `phi*` on all of R^d: of all optimal potentials the largest, in the gauge `nu = 0`.
    pub potential: LipschitzPotential,
    /// `phi*` at the model atoms, length n.
    pub model_potential: Vec<f64>,
    /// How the solver ended; the bounds hold whatever it says.
    pub outcome: Outcome,
    /// Wall-clock time, distances included.
    pub seconds: f64,
}

impl LipschitzRegularisedDivergence {
    /// Both bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds { lower: self.lower, upper: self.upper }
    }

    /// `upper - lower`, non-negative up to rounding.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
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

/// `D_f^L(P|Q)` for `P = sum p_i delta_{x_i}`, `Q = sum q_j delta_{z_j}`: `x` `(n, d)`, `z` `(m, d)`, weights default to uniform.
///
/// Exact up to the certified gap, by default at most 1e-11 relative to `1 + |value|`. Atoms of weight zero change nothing.
/// Refused: empty or non-finite points,
/// different dimensions, weights that are not a probability vector (see [`probability_weights`]), `lipschitz <= 0`.
pub fn lipschitz_regularised_divergence(
    x: ArrayView2<f64>,
    p: Option<&[f64]>,
    z: ArrayView2<f64>,
    q: Option<&[f64]>,
    kind: DivergenceKind,
    lipschitz: f64,
    options: &RegularisedOptions,
) -> Result<LipschitzRegularisedDivergence, InvalidInput> {
    lipschitz_regularised_divergence_observed(x, p, z, q, kind, lipschitz, options, &mut |_| ())
}

/// [`lipschitz_regularised_divergence`] that reports the solver's [`Progress`].
#[allow(clippy::too_many_arguments)] // two weighted point sets, the functional, the method
pub fn lipschitz_regularised_divergence_observed(
    x: ArrayView2<f64>,
    p: Option<&[f64]>,
    z: ArrayView2<f64>,
    q: Option<&[f64]>,
    kind: DivergenceKind,
    lipschitz: f64,
    options: &RegularisedOptions,
    observe: &mut dyn FnMut(&Progress),
) -> Result<LipschitzRegularisedDivergence, InvalidInput> {
    InvalidInput::require_positive("lipschitz", lipschitz)?;
    let cost = PointwiseCost::Lipschitz { lipschitz };
    let solution = regularised_transport(cost, x, p, z, q, kind, options, observe)?;
    let potential = solution.terminal_potential(lipschitz, z)?;
    Ok(LipschitzRegularisedDivergence {
        lower: solution.lower,
        upper: solution.upper,
        transport: solution.transport,
        divergence: solution.divergence,
        model_potential: solution.source_potential,
        potential,
        intermediate: solution.intermediate,
        stayed: solution.stayed,
        plan: solution.plan,
        outcome: solution.outcome,
        seconds: solution.seconds,
    })
}

/// Semi-relaxed transport between weighted points with the singular mass treated as asked: what `D_f^L` and the combined
/// proximal share.
pub(crate) struct RegularisedTransport {
    pub lower: f64,
    pub upper: f64,
    pub transport: f64,
    pub divergence: f64,
    pub intermediate: Vec<f64>,
    pub stayed: Vec<f64>,
    pub plan: SparsePlan,
    /// `min_j (c_ij + psi_j)`, or the cap, with the heights below: length n.
    pub source_potential: Vec<f64>,
    /// `psi_j - nu`: the largest optimal heights, `+inf` for data atoms of weight zero.
    heights: Vec<f64>,
    cap: f64,
    pub outcome: Outcome,
    pub seconds: f64,
}

impl RegularisedTransport {
    /// `phi(y) = min_j (L |y - z_j| + psi_j)`, the terminal discriminator for the Lipschitz and for the Huber cost.
    pub(crate) fn terminal_potential(
        &self,
        lipschitz: f64,
        z: ArrayView2<f64>,
    ) -> Result<LipschitzPotential, InvalidInput> {
        LipschitzPotential::new(lipschitz, z, self.heights.clone(), self.cap)
    }
}

#[allow(clippy::too_many_arguments)] // as above
pub(crate) fn regularised_transport(
    cost: PointwiseCost,
    x: ArrayView2<f64>,
    p: Option<&[f64]>,
    z: ArrayView2<f64>,
    q: Option<&[f64]>,
    kind: DivergenceKind,
    options: &RegularisedOptions,
    observe: &mut dyn FnMut(&Progress),
) -> Result<RegularisedTransport, InvalidInput> {
    let clock = Instant::now();
    let generator = Generator::new(kind)?;
    check_points("model", x)?;
    check_points("data", z)?;
    check_dimensions(x, z)?;
    let p = probability_weights("model weights", p, x.nrows())?;
    let all = probability_weights("data weights", q, z.nrows())?;
    // Atoms without weight are no part of the measure Q.
    let support: Vec<usize> = (0..all.len()).filter(|&j| all[j] > 0.0).collect();
    let mut q: Vec<f64> = support.iter().map(|&j| all[j]).collect();
    let points = z.select(Axis(0), &support);

    let stays = options.singular == SingularMass::Priced && generator.recession_slope().is_finite();
    let mut cost = PointCost::new(cost, x, points.view())?.within_memory(options.dense_cost_bytes);
    if stays {
        // One more target of weight zero at no distance from anywhere: singular mass has one price wherever it sits.
        cost = Box::new(WithStaying { inner: cost });
        q.push(0.0);
    }
    let solved = semi_relaxed_transport_observed(cost.as_ref(), &p, &q, kind, &options.transport, observe)?;

    let cap = if stays { generator.recession_slope() } else { f64::INFINITY };
    let shift = generalised_cumulant(&generator, &solved.potential, &q).shift;
    let mut heights = vec![f64::INFINITY; z.nrows()];
    let mut intermediate = vec![0.0; z.nrows()];
    for (k, &j) in support.iter().enumerate() {
        intermediate[j] = solved.second_marginal[k];
        heights[j] = solved.potential[k] - shift;
        if intermediate[j] == 0.0 {
            // An idle atom bounds phi only by the price f'(0) of its first bit of mass.
            heights[j] = heights[j].max(generator.derivative(0.0));
        }
    }
    let mut offsets: Vec<f64> = support.iter().map(|&j| heights[j]).collect();
    offsets.extend(stays.then_some(cap));
    let source_potential = lower_transform(cost.as_ref(), &offsets);
    let mut stayed = vec![0.0; p.len()];
    let mut plan = SparsePlan::new();
    for (i, k, mass) in solved.plan {
        match support.get(k as usize) {
            Some(&j) => plan.push((i, j as u32, mass)),
            None => stayed[i as usize] += mass,
        }
    }
    Ok(RegularisedTransport {
        lower: solved.lower,
        upper: solved.upper,
        transport: solved.transport,
        divergence: solved.divergence,
        intermediate,
        stayed,
        plan,
        heights,
        cap,
        source_potential,
        outcome: solved.outcome,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

/// A cost with one more target that every source reaches for nothing.
struct WithStaying {
    inner: Box<dyn GroundCost>,
}

impl GroundCost for WithStaying {
    fn sources(&self) -> usize {
        self.inner.sources()
    }
    fn targets(&self) -> usize {
        self.inner.targets() + 1
    }
    fn entry(&self, i: usize, j: usize) -> f64 {
        if j < self.inner.targets() { self.inner.entry(i, j) } else { 0.0 }
    }
    fn fill_row(&self, i: usize, out: &mut [f64]) {
        let (last, rest) = out.split_last_mut().expect("a target beyond those of the data");
        match self.inner.row(i) {
            Some(row) => rest.copy_from_slice(row),
            None => self.inner.fill_row(i, rest),
        }
        *last = 0.0;
    }
}
