//! `f(x) = x ln x - (1 + x) ln((1 + x)/2)`, `f*(s) = -ln(2 - e^s)` on `s < ln 2`.
//!
//! This is twice the Jensen-Shannon divergence with weights 1/2: between mutually singular laws it is `2 ln 2`.

use std::f64::consts::LN_2;

use super::Family;

pub(crate) struct JensenShannon;

/// `ln(2x/(1 + x))`, without cancellation near `x = 1` and without overflow.
fn log_mixture_ratio(x: f64) -> f64 {
    if x < 0.5 {
        (2.0 * x / (1.0 + x)).ln()
    } else if x <= 2.0 {
        ((x - 1.0) / (x + 1.0)).ln_1p()
    } else {
        LN_2 - (1.0 / x).ln_1p()
    }
}

/// `2 - e^s`, accurate next to its zero `s = ln 2`.
fn remainder(s: f64) -> f64 {
    -2.0 * (s - LN_2).exp_m1()
}

impl Family for JensenShannon {
    fn value(&self, x: f64) -> f64 {
        let log_mixture = ((x - 1.0) / 2.0).ln_1p();
        if x == 0.0 { -log_mixture } else { x * log_mixture_ratio(x) - log_mixture }
    }
    fn derivative(&self, x: f64) -> f64 {
        log_mixture_ratio(x)
    }
    fn second_derivative(&self, x: f64) -> f64 {
        1.0 / (x * (1.0 + x))
    }
    fn conjugate(&self, s: f64) -> f64 {
        if s < 0.3 { -(-s.exp_m1()).ln_1p() } else { -remainder(s).ln() }
    }
    fn conjugate_derivative(&self, s: f64) -> f64 {
        s.exp() / remainder(s)
    }
    fn conjugate_second_derivative(&self, s: f64) -> f64 {
        let x = self.conjugate_derivative(s);
        x * (1.0 + x)
    }
    fn recession_slope(&self) -> f64 {
        LN_2
    }
}
