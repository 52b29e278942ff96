//! The generator `f` of an f-divergence `D_f(P|Q) = E_Q[f(dP/dQ)] + f'(inf) P_s` (notation 1.1).
//!
//! | kind | `f(x)` | `f*(s)` | domain of `f*` | `f'(inf)` |
//! |---|---|---|---|---|
//! | KL | `x ln x` | `exp(s-1)` | R | inf |
//! | reverse KL | `-ln x` | `-1 - ln(-s)` | `s < 0` | 0 |
//! | alpha `a > 1` | `(x^a-1)/(a(a-1))` | `((a-1)s)_+^{a/(a-1)}/a + 1/(a(a-1))` | R | inf |
//! | alpha `0 < a < 1` | the same | `((a-1)s)^{a/(a-1)}/a + 1/(a(a-1))` | `s < 0` | 0 |
//! | chi^2 | `(x^2-1)/2` | `s_+^2/2 + 1/2` | R | inf |
//! | Jensen-Shannon | `x ln x - (1+x) ln((1+x)/2)` | `-ln(2 - e^s)` | `s < ln 2` | ln 2 |
//! | squared Hellinger | `(sqrt x - 1)^2` | `s/(1-s)` | `s < 1` | 1 |
//!
//! Within 1/64 of order 1 the alpha family carries the term `-(x - 1)/(a - 1)`, which no divergence sees and which makes
//! it continuous through `a = 1`; there `f'(inf) = 1/(1 - a)` for `a < 1`.
//!
//! Every finite end of the domain of `f*` equals `f'(inf)` and is open: `f*` tends to `+inf` there.

use super::family::{
    Alpha, ChiSquared, Family, JensenShannon, KullbackLeibler, ReverseKullbackLeibler, SquaredHellinger,
    is_centred,
};
use crate::specification::{DIVERGENCE_NAMES, DivergenceKind, InvalidInput};

/// A convex function `f: [0, inf) -> (-inf, inf]` with `f(1) = 0`, together with its conjugate
/// `f*(s) = sup_{x>=0} x s - f(x)`.
///
/// Values are accurate to a few units in the last place of the largest term of the formula; outside the domains
/// the functions answer by the conventions of convex analysis (`+inf`), so no call panics.
///
/// ```
/// use proxflow_reference::DivergenceKind;
/// use proxflow_reference::divergence::Generator;
/// let js = Generator::new(DivergenceKind::JensenShannon)?;
/// let (x, s) = (3.0, js.derivative(3.0));
/// // Fenchel-Young with equality, and the inverse of f'.
/// assert!((js.value(x) + js.conjugate(s) - x * s).abs() < 1e-14);
/// assert!((js.conjugate_derivative(s) - x).abs() < 1e-13);
/// assert!((js.second_derivative(x) * js.conjugate_second_derivative(s) - 1.0).abs() < 1e-13);
/// assert_eq!(js.recession_slope(), js.conjugate_domain_end());
/// assert_eq!(js.perspective(0.3, 0.0), 0.3 * js.recession_slope());
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub struct Generator {
    kind: DivergenceKind,
    family: Box<dyn Family + Send + Sync>,
}

impl Generator {
    /// The generator named by `kind`; an order of `Alpha` outside `a > 0, a != 1` is refused.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// for kind in DivergenceKind::ALL {
    ///     assert_eq!(Generator::new(kind)?.value(1.0), 0.0);
    /// }
    /// assert!(Generator::new(DivergenceKind::Alpha(1.0)).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(kind: DivergenceKind) -> Result<Self, InvalidInput> {
        let family: Box<dyn Family + Send + Sync> = match kind {
            DivergenceKind::KullbackLeibler => Box::new(KullbackLeibler),
            DivergenceKind::ReverseKullbackLeibler => Box::new(ReverseKullbackLeibler),
            DivergenceKind::Alpha(order) if order.is_finite() && order > 0.0 && order != 1.0 => {
                Box::new(Alpha::new(order))
            }
            DivergenceKind::Alpha(order) => {
                return Err(InvalidInput::new("f", format!("alpha:{order}"), DIVERGENCE_NAMES));
            }
            DivergenceKind::ChiSquared => Box::new(ChiSquared),
            DivergenceKind::JensenShannon => Box::new(JensenShannon),
            DivergenceKind::SquaredHellinger => Box::new(SquaredHellinger),
        };
        Ok(Self { kind, family })
    }

    /// Which divergence this is.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// assert_eq!(Generator::new(DivergenceKind::Alpha(0.5))?.kind(), DivergenceKind::Alpha(0.5));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn kind(&self) -> DivergenceKind {
        self.kind
    }

    /// `f(x)`; the limit (which may be `+inf`) at `x = 0`, `+inf` for `x < 0`.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let reverse = Generator::new(DivergenceKind::ReverseKullbackLeibler)?;
    /// assert!((reverse.value(0.5) - 2f64.ln()).abs() < 1e-15);
    /// assert_eq!((reverse.value(0.0), reverse.value(-1.0)), (f64::INFINITY, f64::INFINITY));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn value(&self, x: f64) -> f64 {
        if x < 0.0 { f64::INFINITY } else { self.family.value(x) }
    }

    /// `f'(x)` for `x >= 0`; at `x = 0` the limit from the right, which may be `-inf`.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let hellinger = Generator::new(DivergenceKind::SquaredHellinger)?; // f'(x) = 1 - 1/sqrt x
    /// assert_eq!((hellinger.derivative(4.0), hellinger.derivative(0.0)), (0.5, f64::NEG_INFINITY));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn derivative(&self, x: f64) -> f64 {
        self.family.derivative(x)
    }

    /// `f''(x)` for `x >= 0`; at `x = 0` the limit from the right, which may be `+inf`.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let alpha = Generator::new(DivergenceKind::Alpha(0.5))?; // f''(x) = x^{a - 2}
    /// assert!((alpha.second_derivative(4.0) - 0.125).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn second_derivative(&self, x: f64) -> f64 {
        self.family.second_derivative(x)
    }

    /// `f*(s)`; `+inf` for `s` at or beyond a finite [`Self::conjugate_domain_end`].
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let hellinger = Generator::new(DivergenceKind::SquaredHellinger)?; // f*(s) = s/(1 - s)
    /// assert!((hellinger.conjugate(0.5) - 1.0).abs() < 1e-15);
    /// assert_eq!(hellinger.conjugate(1.0), f64::INFINITY);
    /// // Fenchel-Young: x s <= f(x) + f*(s).
    /// assert!(3.0 * 0.5 <= hellinger.value(3.0) + hellinger.conjugate(0.5));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn conjugate(&self, s: f64) -> f64 {
        if self.beyond_domain(s) { f64::INFINITY } else { self.family.conjugate(s) }
    }

    /// `(f*)'(s) >= 0`, increasing: the `x` with `f'(x) = s`, 0 for `s <= f'(0)`, `+inf` at or beyond a finite
    /// [`Self::conjugate_domain_end`].
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// for kind in DivergenceKind::ALL {
    ///     let f = Generator::new(kind)?;
    ///     assert!((f.conjugate_derivative(f.derivative(3.0)) - 3.0).abs() < 1e-12);
    /// }
    /// assert_eq!(Generator::new(DivergenceKind::ChiSquared)?.conjugate_derivative(-1.0), 0.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn conjugate_derivative(&self, s: f64) -> f64 {
        if self.beyond_domain(s) { f64::INFINITY } else { self.family.conjugate_derivative(s) }
    }

    /// `(f*)''(s) = 1/f''((f*)'(s))`; at a kink of `(f*)'` (`s = f'(0)` finite) the value from the right, `+inf` at or
    /// beyond a finite [`Self::conjugate_domain_end`].
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// for kind in DivergenceKind::ALL {
    ///     let f = Generator::new(kind)?;
    ///     let product = f.conjugate_second_derivative(f.derivative(3.0)) * f.second_derivative(3.0);
    ///     assert!((product - 1.0).abs() < 1e-12);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn conjugate_second_derivative(&self, s: f64) -> f64 {
        if self.beyond_domain(s) { f64::INFINITY } else { self.family.conjugate_second_derivative(s) }
    }

    /// `sup dom f*`, equal to `f'(inf)`: `+inf`, or a finite and open end.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let js = Generator::new(DivergenceKind::JensenShannon)?;
    /// let end = js.conjugate_domain_end(); // ln 2
    /// assert!(js.conjugate(end - 1e-9).is_finite() && js.conjugate(end) == f64::INFINITY);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn conjugate_domain_end(&self) -> f64 {
        self.family.recession_slope()
    }

    /// `f'(inf) = lim_{x->inf} f(x)/x`, the price per unit mass outside the support of Q.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let hellinger = Generator::new(DivergenceKind::SquaredHellinger)?;
    /// assert_eq!(hellinger.recession_slope(), 1.0);
    /// assert!((hellinger.value(1e12) / 1e12 - 1.0).abs() < 1e-5); // (1 - 1e-6)^2
    /// assert_eq!(Generator::new(DivergenceKind::ChiSquared)?.recession_slope(), f64::INFINITY);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn recession_slope(&self) -> f64 {
        self.family.recession_slope()
    }

    /// The perspective `q f(m/q)` for masses `m, q >= 0`, closed at `q = 0` by the recession convention `m f'(inf)`
    /// (0 for `m = 0`). The divergence is the sum of these terms.
    ///
    /// ```
    /// # use proxflow_reference::DivergenceKind;
    /// # use proxflow_reference::divergence::Generator;
    /// let chi_squared = Generator::new(DivergenceKind::ChiSquared)?;
    /// let divergence = chi_squared.perspective(0.5, 0.25) + chi_squared.perspective(0.5, 0.75);
    /// assert!((divergence - 1.0 / 6.0).abs() < 1e-15); // (sum m^2/q - 1)/2
    /// assert_eq!((chi_squared.perspective(0.0, 0.0), chi_squared.perspective(0.1, 0.0)), (0.0, f64::INFINITY));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn perspective(&self, model_mass: f64, data_mass: f64) -> f64 {
        if data_mass > 0.0 {
            let value = data_mass * self.value(model_mass / data_mass);
            let overflows = !value.is_finite() && model_mass > 0.0;
            if overflows { self.family.far_perspective(model_mass, data_mass) } else { value }
        } else if model_mass > 0.0 {
            model_mass * self.recession_slope()
        } else {
            0.0
        }
    }

    /// Whether the generator carries the term `-(x - 1)/(a - 1)`.
    pub(crate) fn is_centred(&self) -> bool {
        matches!(self.kind, DivergenceKind::Alpha(order) if is_centred(order))
    }

    /// The potential at which a target without mass waits: `f'(0)`, or the slope next to it where shares underflow.
    pub(crate) fn idle_slope(&self) -> f64 {
        self.family.idle_slope()
    }

    fn beyond_domain(&self, s: f64) -> bool {
        let end = self.family.recession_slope();
        end.is_finite() && s >= end
    }
}

#[cfg(test)]
mod tests;
