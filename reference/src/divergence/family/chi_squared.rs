//! `f(x) = (x^2 - 1)/2`, `f*(s) = (s_+^2 + 1)/2`: the alpha family at order 2, without powers.

use super::Family;

pub(crate) struct ChiSquared;

impl Family for ChiSquared {
    fn value(&self, x: f64) -> f64 {
        0.5 * (x - 1.0) * (x + 1.0)
    }
    fn derivative(&self, x: f64) -> f64 {
        x
    }
    fn second_derivative(&self, _x: f64) -> f64 {
        1.0
    }
    fn conjugate(&self, s: f64) -> f64 {
        let positive = s.max(0.0);
        0.5 * positive * positive + 0.5
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        s.max(0.0)
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        if s < 0.0 { 0.0 } else { 1.0 }
    }
    fn far_perspective(&self, m: f64, q: f64) -> f64 {
        0.5 * (m * (m / q) - q)
    }
    fn recession_slope(&self) -> f64 {
        f64::INFINITY
    }
}
