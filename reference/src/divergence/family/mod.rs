//! The generators `f` of notation 1.1, one family per file.

mod alpha;
mod chi_squared;
mod jensen_shannon;
mod kullback_leibler;
mod reverse_kullback_leibler;
mod squared_hellinger;

pub(crate) use alpha::{Alpha, is_centred};
pub(crate) use chi_squared::ChiSquared;
pub(crate) use jensen_shannon::JensenShannon;
pub(crate) use kullback_leibler::KullbackLeibler;
pub(crate) use reverse_kullback_leibler::ReverseKullbackLeibler;
pub(crate) use squared_hellinger::SquaredHellinger;

/// A convex `f` on `[0, inf)` with `f(1) = 0`, its derivatives and its conjugate.
///
/// Implementations may assume `x >= 0`, and `s < recession_slope()` in the conjugate: [`super::Generator`]
/// answers for everything outside.
pub(crate) trait Family {
    /// `f(x)`, the limit at `x = 0`.
    fn value(&self, x: f64) -> f64;
    /// `f'(x)`, the limit at `x = 0`.
    fn derivative(&self, x: f64) -> f64;
    /// `f''(x)`, the limit at `x = 0`.
    fn second_derivative(&self, x: f64) -> f64;
    /// `f*(s) = sup_{x >= 0} x s - f(x)`.
    fn conjugate(&self, s: f64) -> f64;
    /// `(f*)'(s)`, the `x` that attains the supremum.
    fn conjugate_derivative(&self, s: f64) -> f64;
    /// `(f*)''(s)`; at a kink of `(f*)'` the value from the right.
    fn conjugate_second_derivative(&self, s: f64) -> f64;
    /// `f'(inf) = lim f(x)/x`.
    fn recession_slope(&self) -> f64;
    /// The slope at which the first bit of mass arrives: `f'(0)`, or where that is out of all proportion `f'` of a ratio next
    /// to the smallest number.
    fn idle_slope(&self) -> f64 {
        self.derivative(0.0)
    }
    /// `q f(m/q)` for `m, q > 0` where the ratio or its value overflows.
    fn far_perspective(&self, m: f64, _q: f64) -> f64 {
        m * self.recession_slope()
    }
}
