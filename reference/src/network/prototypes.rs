//! Hopf-Lax potentials `U(x, t) = min_j (psi_j + c_{T-t}(|x - y_j|))` with the Huber cost, written twice: the definition for any
//! scalar, as a minimum over the middle point's closed form, and value with slopes of a batch, from the chosen prototype alone.
//!
//! `c_tau(r) = lambda r^2 / (2 tau)` for `r <= L tau / lambda`, else `L r - L^2 tau / (2 lambda)`. Without time input the terminal value
//! `min_j (psi_j + L |x - y_j|)`.

use ndarray::{Array1, Array2, ArrayView2};
use num_traits::Float;
use serde::{Deserialize, Serialize};

use super::jet::Jet;

/// Constants of the cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HuberCost {
    /// Kinetic weight `lambda > 0`.
    pub lambda: f64,
    /// Horizon `T > 0`.
    pub horizon: f64,
    /// Lipschitz constant `L > 0`.
    pub lipschitz: f64,
}

/// The definition, for any scalar; `t` is `None` without time input.
pub(super) fn value<S: Float>(cost: HuberCost, prototypes: &[S], heights: &[S], x: &[S], t: Option<S>) -> S {
    let constant = |value: f64| S::from(value).expect("a finite constant");
    let (lambda, slope) = (constant(cost.lambda), constant(cost.lipschitz));
    let remaining = t.map_or(S::zero(), |t| constant(cost.horizon) - t);
    let two = constant(2.0);
    prototypes
        .chunks_exact(x.len())
        .zip(heights)
        .map(|(y, height)| {
            let square = x.iter().zip(y).fold(S::zero(), |sum, (a, b)| sum + (*a - *b) * (*a - *b));
            let distance = square.sqrt();
            *height
                + if distance * lambda < slope * remaining {
                    lambda * square / (two * remaining)
                } else {
                    slope * distance - slope * slope * remaining / (two * lambda)
                }
        })
        .fold(S::infinity(), |least, value| if value < least { value } else { least })
}

/// Values and slopes at `points (n, d)`: `grad = min(lambda r / tau, L)` along `x - y_j`, `dU/dt = |grad|^2 / (2 lambda)`.
pub(super) fn jet(
    cost: HuberCost,
    prototypes: ArrayView2<f64>,
    heights: &[f64],
    points: ArrayView2<f64>,
    t: Option<f64>,
) -> Jet {
    let remaining = t.map_or(0.0, |t| cost.horizon - t);
    let reach = cost.lipschitz * remaining / cost.lambda;
    let mut values = Array1::zeros(points.nrows());
    let mut time_derivatives = Array1::zeros(points.nrows());
    let mut gradients = Array2::zeros(points.dim());
    for (i, x) in points.rows().into_iter().enumerate() {
        let mut best = (f64::INFINITY, 0, 0.0);
        for (j, y) in prototypes.rows().into_iter().enumerate() {
            let r = x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            let travelled = r.min(reach);
            let kinetic =
                if remaining > 0.0 { 0.5 * cost.lambda * travelled.powi(2) / remaining } else { 0.0 };
            let value = heights[j] + kinetic + cost.lipschitz * (r - travelled);
            if value < best.0 {
                best = (value, j, r);
            }
        }
        let (value, j, r) = best;
        let steepness = if r < reach { cost.lambda * r / remaining } else { cost.lipschitz };
        values[i] = value;
        if r > 0.0 {
            gradients.row_mut(i).assign(&((&x - &prototypes.row(j)) * (steepness / r)));
            if t.is_some() {
                time_derivatives[i] = steepness.powi(2) / (2.0 * cost.lambda);
            }
        }
    }
    Jet { values, gradients, time_derivatives }
}
