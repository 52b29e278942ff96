//! `f(x) = (x^a - 1)/(a (a - 1))` for `a > 0`, `a != 1`.
//!
//! With `b = a - 1`: `f'(x) = x^b / b`, `(f*)'(s) = (b s)^{1/b}` where `b s > 0`, `f*(s) = ((b s)^{a/b} + 1/b)/a`.
//! For `a > 1` the conjugate lives on R and is constant for `s <= 0`; for `a < 1` on `s < 0`.
//!
//! Towards `a = 0` (reverse KL) these lose their digits between terms of size `1/a`, so next to it they are written with
//! `expm1`: `f*(s) = expm1((a/b) ln(b s))/a + 1/b`. Towards `a = 1` (KL) the slope `1/b` that all of `f'` has in common
//! swallows the rest. No divergence sees a multiple of `x - 1`, so within [`NEAR`] of order 1 the generator is
//! `f(x) - (x - 1)/b` instead, which is continuous through both orders:
//!
//! ```text
//! f(x) = (x expm1(b ln x)/b - (x - 1))/a,   f'(x) = expm1(b ln x)/b,   (f*)'(s) = (1 + b s)_+^{1/b},
//! f*(s) = expm1((a/b) ln(1 + b s))/a
//! ```

use super::Family;

/// Distance from the orders 0 and 1 within which the forms change.
const NEAR: f64 = 1.0 / 64.0;

/// A density ratio whose slope counts as that of no mass next to order 1: below it shares underflow.
const NO_MASS: f64 = 1e-290;

/// Whether the generator of this order carries the term `-(x - 1)/b`.
pub(crate) fn is_centred(order: f64) -> bool {
    (order - 1.0).abs() < NEAR
}

pub(crate) struct Alpha {
    order: f64,
    /// `a - 1`: exact from `a = 1/2` on.
    excess: f64,
}

impl Alpha {
    pub(crate) fn new(order: f64) -> Self {
        Self { order, excess: order - 1.0 }
    }

    fn is_centred(&self) -> bool {
        is_centred(self.order)
    }

    /// `ln(1 + b s)/b`, the logarithm of `(f*)'(s)` of the centred generator; `-inf` and `+inf` at and past its pole.
    fn log_ratio(&self, s: f64) -> f64 {
        if s == f64::NEG_INFINITY {
            return s;
        }
        let u = self.excess * s;
        if u <= -1.0 {
            return if self.excess > 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        s * log1p_ratio(u)
    }
}

/// `expm1(u)/u`.
fn expm1_ratio(u: f64) -> f64 {
    if u == 0.0 { 1.0 } else { u.exp_m1() / u }
}

/// `log1p(u)/u`.
fn log1p_ratio(u: f64) -> f64 {
    if u == 0.0 { 1.0 } else { u.ln_1p() / u }
}

impl Family for Alpha {
    fn value(&self, x: f64) -> f64 {
        let (a, b) = (self.order, self.excess);
        if self.is_centred() {
            if x == 0.0 {
                return 1.0 / a;
            }
            let log = x.ln();
            return (x * log * expm1_ratio(b * log) - (x - 1.0)) / a;
        }
        if a < NEAR && x > 0.0 {
            return x.ln() * expm1_ratio(a * x.ln()) / b;
        }
        // expm1 keeps the relative accuracy of f near its zero at x = 1.
        (a * x.ln()).exp_m1() / (a * b)
    }
    fn derivative(&self, x: f64) -> f64 {
        let b = self.excess;
        if self.is_centred() {
            if x == 0.0 {
                return if b > 0.0 { -1.0 / b } else { f64::NEG_INFINITY };
            }
            return x.ln() * expm1_ratio(b * x.ln());
        }
        x.powf(b) / b
    }
    fn second_derivative(&self, x: f64) -> f64 {
        x.powf(self.order - 2.0)
    }
    fn conjugate(&self, s: f64) -> f64 {
        let (a, b) = (self.order, self.excess);
        if self.is_centred() {
            return (a * self.log_ratio(s)).exp_m1() / a;
        }
        if a < NEAR {
            let log = (b * s).ln() / b;
            if log == f64::NEG_INFINITY {
                return 1.0 / (a * b);
            }
            return log * expm1_ratio(a * log) + 1.0 / b;
        }
        // For a > 1 a negative s is attained at x = 0, where f* = -f(0).
        ((b * s).max(0.0).powf(a / b) + 1.0 / b) / a
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        let b = self.excess;
        if self.is_centred() { self.log_ratio(s).exp() } else { (b * s).max(0.0).powf(1.0 / b) }
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        let b = self.excess;
        if self.is_centred() {
            return ((1.0 - b) * self.log_ratio(s)).exp();
        }
        if b > 0.0 && s < 0.0 { 0.0 } else { (b * s).powf(1.0 / b - 1.0) }
    }
    fn recession_slope(&self) -> f64 {
        match self.excess {
            b if b > 0.0 => f64::INFINITY,
            b if self.is_centred() => -1.0 / b,
            _ => 0.0,
        }
    }
    fn idle_slope(&self) -> f64 {
        if self.is_centred() { self.derivative(NO_MASS) } else { self.derivative(0.0) }
    }
    fn far_perspective(&self, m: f64, q: f64) -> f64 {
        let (a, b) = (self.order, self.excess);
        let log = m.ln() - q.ln();
        if self.is_centred() {
            return (m * log * expm1_ratio(b * log) - (m - q)) / a;
        }
        if a < NEAR {
            return q * log * expm1_ratio(a * log) / b;
        }
        ((a * m.ln() - b * q.ln()).exp() - q) / (a * b)
    }
}
