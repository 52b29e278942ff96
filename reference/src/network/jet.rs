//! What the batched sweep finds.

use ndarray::{Array1, Array2};

/// Values and derivatives of a network at `n` points.
#[derive(Debug, Clone)]
pub struct Jet {
    /// `U(x_i, t)`, `n` entries.
    pub values: Array1<f64>,
    /// `grad_x U(x_i, t)`, shape `(n, d)`.
    pub gradients: Array2<f64>,
    /// `dU/dt (x_i, t)`, `n` entries; zero without time input.
    pub time_derivatives: Array1<f64>,
}
