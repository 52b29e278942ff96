//! `f(x) = x ln x`, `f*(s) = exp(s - 1)`.

use super::Family;

pub(crate) struct KullbackLeibler;

impl Family for KullbackLeibler {
    fn value(&self, x: f64) -> f64 {
        if x == 0.0 { 0.0 } else { x * x.ln() }
    }
    fn derivative(&self, x: f64) -> f64 {
        x.ln() + 1.0
    }
    fn second_derivative(&self, x: f64) -> f64 {
        1.0 / x
    }
    fn conjugate(&self, s: f64) -> f64 {
        (s - 1.0).exp()
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        (s - 1.0).exp()
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        (s - 1.0).exp()
    }
    fn far_perspective(&self, m: f64, q: f64) -> f64 {
        m * (m.ln() - q.ln())
    }
    fn recession_slope(&self) -> f64 {
        f64::INFINITY
    }
}
