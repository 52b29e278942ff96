//! What a network is asked for at a batch of points.

use tch::Tensor;

/// Value and slopes of a network at a batch of points.
pub struct Slope {
    /// `U(x, t)`, `(B)`.
    pub value: Tensor,
    /// `grad_x U(x, t)`, `(B, d)`.
    pub gradient: Tensor,
    /// `dU/dt (x, t)`, `(B)`; zero for a network without time.
    pub time_derivative: Tensor,
}
