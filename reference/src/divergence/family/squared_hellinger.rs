//! `f(x) = (sqrt(x) - 1)^2`, `f*(s) = s/(1 - s)` on `s < 1`.

use super::Family;

pub(crate) struct SquaredHellinger;

impl Family for SquaredHellinger {
    fn value(&self, x: f64) -> f64 {
        let difference = x.sqrt() - 1.0;
        difference * difference
    }
    fn derivative(&self, x: f64) -> f64 {
        1.0 - 1.0 / x.sqrt()
    }
    fn second_derivative(&self, x: f64) -> f64 {
        0.5 / (x * x.sqrt())
    }
    fn conjugate(&self, s: f64) -> f64 {
        if s == f64::NEG_INFINITY { -1.0 } else { s / (1.0 - s) }
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        let remainder = 1.0 - s;
        1.0 / (remainder * remainder)
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        let remainder = 1.0 - s;
        2.0 / (remainder * remainder * remainder)
    }
    fn recession_slope(&self) -> f64 {
        1.0
    }
}
