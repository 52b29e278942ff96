//! What balanced transport returns.

use crate::certificate::Certified;
use crate::gradient;
use crate::specification::InvalidInput;
use crate::transport::certificate::SparsePlan;
use crate::transport::semi_relaxed::checked_weights;

/// The optimisers of balanced transport.
#[derive(Debug, Clone)]
pub struct BalancedPlan {
    /// `(i, j, G_ij)` with `G_ij > 0`; rows sum to `p` and columns to `q` up to rounding.
    pub plan: SparsePlan,
    /// `phi_i = min_j (c_ij + psi_j)` on the sources, length n: `phi_i - psi_j <= c_ij`, with equality on the plan.
    pub source_potential: Vec<f64>,
    /// `psi_j` on the targets, length m; where `q_j = 0` the smallest admissible value `max_i (phi_i - c_ij)`.
    pub target_potential: Vec<f64>,
    /// Passes over the whole cost.
    pub passes: usize,
    /// Arcs pivoted in.
    pub iterations: usize,
}

impl BalancedPlan {
    /// The derivatives of the value in the weights `p` and `q` (see [`crate::gradient`]); in the cost it is the plan.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::Options;
    /// # use proxflow_reference::transport::{DenseCost, balanced_transport};
    /// let cost = DenseCost::new(array![[0.0, 1.0], [1.0, 0.0]])?;
    /// let (p, q) = ([0.7, 0.3], [0.5, 0.5]);
    /// // Near these weights the value is p_0 - q_0.
    /// let (in_p, in_q) = balanced_transport(&cost, &p, &q, &Options::new())?.weight_gradients(&p, &q)?;
    /// for (found, exact) in in_p.iter().chain(&in_q).zip([0.3, -0.7, -0.5, 0.5]) {
    ///     assert!((found - exact).abs() < 1e-14);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn weight_gradients(&self, p: &[f64], q: &[f64]) -> Result<(Vec<f64>, Vec<f64>), InvalidInput> {
        let p = checked_weights("source weights", p, self.source_potential.len())?;
        let q = checked_weights("target weights", q, self.target_potential.len())?;
        let in_q = self.target_potential.iter().map(|psi| -psi);
        Ok((gradient::centred(self.source_potential.iter().copied(), &p), gradient::centred(in_q, &q)))
    }
}

/// Solution and certificate of balanced transport: lower bound `sum_i p_i phi_i - sum_j q_j psi_j`, upper bound `<c, G>`.
pub type BalancedTransport = Certified<BalancedPlan>;
