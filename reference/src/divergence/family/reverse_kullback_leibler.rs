//! `f(x) = -ln x`, `f*(s) = -1 - ln(-s)` on `s < 0`.

use super::Family;

pub(crate) struct ReverseKullbackLeibler;

impl Family for ReverseKullbackLeibler {
    fn value(&self, x: f64) -> f64 {
        -x.ln()
    }
    fn derivative(&self, x: f64) -> f64 {
        -1.0 / x
    }
    fn second_derivative(&self, x: f64) -> f64 {
        1.0 / (x * x)
    }
    fn conjugate(&self, s: f64) -> f64 {
        -1.0 - (-s).ln()
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        -1.0 / s
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        1.0 / (s * s)
    }
    fn far_perspective(&self, m: f64, q: f64) -> f64 {
        q * (q.ln() - m.ln())
    }
    fn recession_slope(&self) -> f64 {
        0.0
    }
}
