//! What semi-relaxed transport returns, and its derivatives.

use super::checked_weights;
use crate::divergence::{Generator, generalised_cumulant};
use crate::gradient;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::transport::certificate::SparsePlan;

/// The optimisers of semi-relaxed transport.
#[derive(Debug, Clone)]
pub struct SemiRelaxedPlan {
    /// `(i, j, G_ij)` with `G_ij > 0`; rows sum to `p`.
    pub plan: SparsePlan,
    /// `psi_j` on the targets, length m, in the gauge `psi_j = f'(eta_j / q_j)` (so `nu = 0` in `Lambda_q`); where
    /// `eta_j = 0` the smallest admissible value `max_i (phi_i - c_ij)`.
    pub potential: Vec<f64>,
    /// `phi_i = min_j (c_ij + psi_j)` on the sources, length n.
    pub source_potential: Vec<f64>,
    /// `eta = G^T 1`, the intermediate measure, length m, sum 1.
    pub second_marginal: Vec<f64>,
    /// `<c, G>`.
    pub transport: f64,
    /// `D_f(eta | q)`.
    pub divergence: f64,
    /// Passes over the whole cost.
    pub passes: usize,
    /// Arcs pivoted in.
    pub iterations: usize,
}

impl SemiRelaxedPlan {
    /// The derivatives of the value in the weights `p` and `q` (see [`crate::gradient`]); in the cost it is the plan.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::{DivergenceKind, Options};
    /// # use proxflow_reference::transport::{DenseCost, semi_relaxed_transport};
    /// let (cost, kind) = (DenseCost::new(array![[0.0, 1.0]])?, DivergenceKind::KullbackLeibler);
    /// let (p, q) = ([1.0], [0.5, 0.5]);
    /// let solved = semi_relaxed_transport(&cost, &p, &q, kind, &Options::new())?;
    /// // The value is -ln sum_j q_j e^{-c_j} =: -ln Z, in q_j centred 1 - e^{-c_j}/Z.
    /// let z = 0.5 + 0.5 * (-1f64).exp();
    /// let (in_p, in_q) = solved.weight_gradients(&p, &q, kind)?;
    /// assert!(in_p[0].abs() < 1e-15);
    /// assert!((in_q[0] - (1.0 - 1.0 / z)).abs() < 1e-12 && (in_q[1] - (1.0 - (-1f64).exp() / z)).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn weight_gradients(
        &self,
        p: &[f64],
        q: &[f64],
        kind: DivergenceKind,
    ) -> Result<(Vec<f64>, Vec<f64>), InvalidInput> {
        let generator = Generator::new(kind)?;
        let p = checked_weights("source weights", p, self.source_potential.len())?;
        let q = checked_weights("target weights", q, self.potential.len())?;
        let shift = generalised_cumulant(&generator, &self.potential, &q).shift;
        let heights: Vec<f64> = self.potential.iter().map(|psi| psi - shift).collect();
        let in_p = gradient::centred(self.source_potential.iter().copied(), &p);
        Ok((in_p, gradient::in_priced_weights(&generator, &heights, &q)))
    }
}
