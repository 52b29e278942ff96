//! The table of notation 1.1 in 320 bits, formula by formula: shares no code with the families of `divergence`.

use astro_float_num::BigFloat;

use super::wide::{Wide, add, div, exact, mul, sqrt, sub};
use crate::specification::DivergenceKind;

/// Orders of alpha below this lose more bits between terms of size `1/a` than sums allow for.
pub(super) const SMALLEST_ORDER: f64 = 1e-30;

/// A generator; `centred` says that its alpha family carries the term `-(x - 1)/(a - 1)`.
pub(super) struct WideGenerator {
    pub(super) kind: DivergenceKind,
    pub(super) centred: bool,
    pub(super) wide: Wide,
}

fn is_negative(x: &BigFloat) -> bool {
    x.is_negative() && !x.is_zero()
}

impl WideGenerator {
    /// `f(x)` for `x >= 0`; `None` for `+inf`.
    pub(super) fn value(&mut self, x: &BigFloat) -> Option<BigFloat> {
        let one = exact(1.0);
        let log = if x.is_zero() { None } else { Some(self.wide.ln(x)) };
        Some(match self.kind {
            DivergenceKind::KullbackLeibler => log.map_or(exact(0.0), |log| mul(x, &log)),
            DivergenceKind::ReverseKullbackLeibler => mul(&exact(-1.0), &log?),
            DivergenceKind::Alpha(a) => {
                let (a, b) = (exact(a), sub(&exact(a), &one));
                let power = log.map_or(exact(0.0), |log| self.wide.exp(&mul(&a, &log)));
                let value = div(&sub(&power, &one), &mul(&a, &b));
                if self.centred { sub(&value, &div(&sub(x, &one), &b)) } else { value }
            }
            DivergenceKind::ChiSquared => div(&sub(&mul(x, x), &one), &exact(2.0)),
            DivergenceKind::JensenShannon => {
                let mixed = add(&one, x);
                let second = mul(&mixed, &self.wide.ln(&div(&mixed, &exact(2.0))));
                sub(&log.map_or(exact(0.0), |log| mul(x, &log)), &second)
            }
            DivergenceKind::SquaredHellinger => {
                let difference = sub(&sqrt(x), &one);
                mul(&difference, &difference)
            }
        })
    }

    /// `f*(s)`; `None` for `+inf`.
    pub(super) fn conjugate(&mut self, s: &BigFloat) -> Option<BigFloat> {
        let one = exact(1.0);
        let positive = |x: BigFloat| (!x.is_zero() && !x.is_negative()).then_some(x);
        let value = match self.kind {
            DivergenceKind::KullbackLeibler => self.wide.exp(&sub(s, &one)),
            DivergenceKind::ReverseKullbackLeibler => {
                let log = self.wide.ln(&positive(mul(&exact(-1.0), s))?);
                sub(&exact(-1.0), &log)
            }
            DivergenceKind::Alpha(a) => {
                let (a, b) = (exact(a), sub(&exact(a), &one));
                let rise = if self.centred { div(&one, &b) } else { exact(0.0) };
                let power = match positive(mul(&b, &add(s, &rise))) {
                    Some(base) => self.wide.power(&base, &div(&a, &b)),
                    None if is_negative(&b) => return None,
                    None => exact(0.0),
                };
                sub(&add(&div(&power, &a), &div(&one, &mul(&a, &b))), &rise)
            }
            DivergenceKind::ChiSquared => {
                let s = positive(s.clone()).unwrap_or(exact(0.0));
                div(&add(&mul(&s, &s), &one), &exact(2.0))
            }
            DivergenceKind::JensenShannon => {
                let rest = sub(&exact(2.0), &self.wide.exp(s));
                let log = self.wide.ln(&positive(rest)?);
                mul(&exact(-1.0), &log)
            }
            DivergenceKind::SquaredHellinger => div(s, &positive(sub(&one, s))?),
        };
        (!value.is_inf() && !value.is_nan()).then_some(value)
    }

    /// `f'(inf)`; `None` for `+inf`.
    pub(super) fn recession(&mut self) -> Option<BigFloat> {
        match self.kind {
            DivergenceKind::KullbackLeibler | DivergenceKind::ChiSquared => None,
            DivergenceKind::ReverseKullbackLeibler => Some(exact(0.0)),
            DivergenceKind::Alpha(a) if a > 1.0 => None,
            DivergenceKind::Alpha(a) if self.centred => Some(div(&exact(1.0), &sub(&exact(1.0), &exact(a)))),
            DivergenceKind::Alpha(_) => Some(exact(0.0)),
            DivergenceKind::JensenShannon => Some(self.wide.ln(&exact(2.0))),
            DivergenceKind::SquaredHellinger => Some(exact(1.0)),
        }
    }
}
