//! Arithmetic of 320 bits, the exact weights of a measure, and sums that know their error.

use astro_float_num::{BigFloat, Consts, RoundingMode};

const PRECISION: usize = 320;
const NEAREST: RoundingMode = RoundingMode::ToEven;

/// Numbers of 320 bits with the functions that the generators need. Every operation is within `2^-300` of its value.
pub(super) struct Wide {
    constants: Consts,
}

impl Wide {
    /// `None` if the tables of constants cannot be allocated.
    pub(super) fn new() -> Option<Self> {
        Consts::new().ok().map(|constants| Self { constants })
    }

    pub(super) fn exp(&mut self, x: &BigFloat) -> BigFloat {
        x.exp(PRECISION, NEAREST, &mut self.constants)
    }

    pub(super) fn ln(&mut self, x: &BigFloat) -> BigFloat {
        x.ln(PRECISION, NEAREST, &mut self.constants)
    }

    /// `x^y` for `x > 0`.
    pub(super) fn power(&mut self, x: &BigFloat, y: &BigFloat) -> BigFloat {
        let log = self.ln(x);
        self.exp(&mul(y, &log))
    }
}

/// A double, exactly.
pub(super) fn exact(x: f64) -> BigFloat {
    BigFloat::from_f64(x, PRECISION)
}

pub(super) fn add(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.add(b, PRECISION, NEAREST)
}

pub(super) fn sub(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.sub(b, PRECISION, NEAREST)
}

pub(super) fn mul(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.mul(b, PRECISION, NEAREST)
}

pub(super) fn div(a: &BigFloat, b: &BigFloat) -> BigFloat {
    a.div(b, PRECISION, NEAREST)
}

pub(super) fn sqrt(a: &BigFloat) -> BigFloat {
    a.sqrt(PRECISION, NEAREST)
}

/// `weights / sum weights`.
pub(super) fn shares(weights: &[f64]) -> Vec<BigFloat> {
    let total = weights.iter().fold(exact(0.0), |total, w| add(&total, &exact(*w)));
    weights.iter().map(|w| div(&exact(*w), &total)).collect()
}

/// A sum with the sum of the sizes of its terms, which bounds what rounding has done to it.
pub(super) struct Sum {
    total: BigFloat,
    size: BigFloat,
}

impl Sum {
    pub(super) fn new() -> Self {
        Self { total: exact(0.0), size: exact(0.0) }
    }

    pub(super) fn add(&mut self, term: &BigFloat) {
        self.total = add(&self.total, term);
        self.size = add(&self.size, &term.abs());
    }

    pub(super) fn subtract(&mut self, term: &BigFloat) {
        self.total = sub(&self.total, term);
        self.size = add(&self.size, &term.abs());
    }

    /// `2^-150` of the size and `2^-200`: terms are formulas of a few operations, in which at most 110 of the 300 bits cancel.
    fn slack(&self) -> BigFloat {
        add(&mul(&self.size, &exact((-150f64).exp2())), &exact((-200f64).exp2()))
    }

    /// A double below the sum.
    pub(super) fn below(&self) -> f64 {
        nearest(&sub(&self.total, &self.slack())).next_down().next_down()
    }

    /// A double above the sum.
    pub(super) fn above(&self) -> f64 {
        nearest(&add(&self.total, &self.slack())).next_up().next_up()
    }
}

/// A double within a unit in the last place, through the decimal form; NaN for what is no number.
fn nearest(x: &BigFloat) -> f64 {
    x.to_string().parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sums_enclose_and_functions_invert() {
        let mut wide = Wide::new().unwrap();
        let mut sum = Sum::new();
        [1.0, 1e100, 1.0, -1e100, -2.0].iter().for_each(|term| sum.add(&exact(*term)));
        assert!(sum.below() <= 0.0 && 0.0 <= sum.above() && sum.above() < 1e56);
        for x in [1e-300, 0.7, 1.0 + f64::EPSILON, 3e200] {
            let back = wide.ln(&exact(x));
            let mut difference = Sum::new();
            difference.add(&wide.exp(&back));
            difference.subtract(&exact(x));
            assert!(difference.below() <= 0.0 && 0.0 <= difference.above(), "{x}");
            assert!(difference.above() <= 1e-40 * x + 1e-55, "{x} {}", difference.above());
            assert_eq!(nearest(&exact(x)), x);
            assert_eq!(nearest(&exact(-x)), -x);
        }
        assert_eq!(nearest(&exact(0.0)), 0.0);
    }
}
