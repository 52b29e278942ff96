//! The Wasserstein distances `W1` and `W2` between weighted points of `R^d`, with bounds.

use ndarray::ArrayView2;

use super::balanced::{BalancedTransport, balanced_transport};
use super::cost::{DENSE_COST_BYTES, PointCost, PointwiseCost};
use crate::specification::InvalidInput;

/// A distance between its bounds, with the plan and the potentials that prove them.
#[derive(Debug, Clone)]
pub struct WassersteinDistance {
    /// Certified lower bound of the distance.
    pub lower: f64,
    /// Upper bound of the distance: that of the plan.
    pub upper: f64,
    /// The transport problem behind it: cost `|x - z|` for `W1`, `|x - z|^2` for `W2`.
    pub transport: BalancedTransport,
}

/// `W1 = min_G <|x_i - z_j|, G>` between `sum_i p_i delta_{x_i}`, `x` of shape `(n, d)`, and `sum_j q_j delta_{z_j}`,
/// `z` of shape `(m, d)`. Weights sum to 1. Errors: shapes, non-finite coordinates, weights.
pub fn w1(
    x: ArrayView2<'_, f64>,
    p: &[f64],
    z: ArrayView2<'_, f64>,
    q: &[f64],
) -> Result<WassersteinDistance, InvalidInput> {
    let cost = PointCost::new(PointwiseCost::Distance, x, z)?.within_memory(DENSE_COST_BYTES);
    let transport = balanced_transport(cost.as_ref(), p, q)?;
    Ok(WassersteinDistance { lower: transport.lower, upper: transport.upper, transport })
}

/// `W2 = (min_G <|x_i - z_j|^2, G>)^{1/2}`, otherwise like [`w1`]. Rounding in the bounds of `W2^2` is about
/// `1e-15 max |x - z|^2`, hence `1e-8` of the diameter in `W2` where it vanishes.
pub fn w2(
    x: ArrayView2<'_, f64>,
    p: &[f64],
    z: ArrayView2<'_, f64>,
    q: &[f64],
) -> Result<WassersteinDistance, InvalidInput> {
    let cost = PointCost::new(PointwiseCost::SquaredDistance, x, z)?.within_memory(DENSE_COST_BYTES);
    let transport = balanced_transport(cost.as_ref(), p, q)?;
    let root = |squared: f64| squared.max(0.0).sqrt();
    Ok(WassersteinDistance { lower: root(transport.lower), upper: root(transport.upper), transport })
}
