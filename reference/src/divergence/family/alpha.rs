//! `f(x) = (x^a - 1)/(a (a - 1))` for `a > 0`, `a != 1`.
//!
//! With `b = a - 1`: `f'(x) = x^b / b`, `(f*)'(s) = (b s)^{1/b}` where `b s > 0`, `f*(s) = ((b s)^{a/b} + 1/b)/a`.
//! For `a > 1` the conjugate lives on R and is constant for `s <= 0`; for `a < 1` on `s < 0`.

use super::Family;

pub(crate) struct Alpha {
    order: f64,
}

impl Alpha {
    pub(crate) fn new(order: f64) -> Self {
        Self { order }
    }
}

impl Family for Alpha {
    fn value(&self, x: f64) -> f64 {
        let a = self.order;
        // expm1 keeps the relative accuracy of f near its zero at x = 1.
        (a * x.ln()).exp_m1() / (a * (a - 1.0))
    }
    fn derivative(&self, x: f64) -> f64 {
        let b = self.order - 1.0;
        x.powf(b) / b
    }
    fn second_derivative(&self, x: f64) -> f64 {
        x.powf(self.order - 2.0)
    }
    fn conjugate(&self, s: f64) -> f64 {
        let (a, b) = (self.order, self.order - 1.0);
        // For a > 1 a negative s is attained at x = 0, where f* = -f(0).
        ((b * s).max(0.0).powf(a / b) + 1.0 / b) / a
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        let b = self.order - 1.0;
        (b * s).max(0.0).powf(1.0 / b)
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        let b = self.order - 1.0;
        if b > 0.0 && s < 0.0 { 0.0 } else { (b * s).powf(1.0 / b - 1.0) }
    }
    fn recession_slope(&self) -> f64 {
        if self.order > 1.0 { f64::INFINITY } else { 0.0 }
    }
}
