//! The values that a measured quantity may take, and why.

use serde::Serialize;

use crate::number::brief;

/// Why a bound is what it is.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Basis {
    /// Floating-point error: the count of operations times the unit roundoff of the working precision.
    Rounding(String),
    /// Truncation of a scheme: `C h^p` with `C` measured or a stated order.
    Discretisation(String),
    /// Sampling error: a stated number of standard errors.
    MonteCarlo(String),
    /// A number from an independent program.
    Golden(String),
    /// An exact inequality of the theory; rounding is the only slack.
    Exact(String),
    /// A requirement stated in advance by this project, not derived.
    Requirement(String),
}

impl Basis {
    /// The kind in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rounding(_) => "rounding",
            Self::Discretisation(_) => "discretisation",
            Self::MonteCarlo(_) => "Monte Carlo",
            Self::Golden(_) => "golden",
            Self::Exact(_) => "exact",
            Self::Requirement(_) => "requirement",
        }
    }

    /// The reason behind it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Rounding(text)
            | Self::Discretisation(text)
            | Self::MonteCarlo(text)
            | Self::Golden(text)
            | Self::Exact(text)
            | Self::Requirement(text) => text,
        }
    }
}

/// The values that a measured quantity may take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `measured <= value`.
    AtMost(f64),
    /// `measured >= value`.
    AtLeast(f64),
    /// `|measured - value| <= tolerance`.
    Near {
        /// The expected value.
        value: f64,
        /// Allowed absolute deviation.
        tolerance: f64,
    },
}

impl Bound {
    /// Whether `measured` obeys the bound; NaN never does.
    pub fn admits(self, measured: f64) -> bool {
        match self {
            Self::AtMost(value) => measured <= value,
            Self::AtLeast(value) => measured >= value,
            Self::Near { value, tolerance } => (measured - value).abs() <= tolerance,
        }
    }

    /// How much of what the bound allows is used: at most 1 inside, more outside, infinite for NaN. Only good for
    /// ranking; a bound of zero is used up at once.
    pub fn strain(self, measured: f64) -> f64 {
        let upper = |measured: f64, value: f64| {
            if value > 0.0 {
                (measured / value).max(0.0)
            } else if value < 0.0 && measured < 0.0 {
                value / measured
            } else if measured <= value {
                0.0
            } else {
                f64::INFINITY
            }
        };
        if measured.is_nan() {
            return f64::INFINITY;
        }
        match self {
            Self::AtMost(value) => upper(measured, value),
            Self::AtLeast(value) => upper(-measured, -value),
            Self::Near { value, tolerance } => upper((measured - value).abs(), tolerance),
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(value) => write!(formatter, "<= {}", brief(*value)),
            Self::AtLeast(value) => write!(formatter, ">= {}", brief(*value)),
            Self::Near { value, tolerance } => {
                write!(formatter, "{} +- {}", brief(*value), brief(*tolerance))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strain_is_at_most_one_exactly_inside_the_bound() {
        let near = Bound::Near { value: 2.0, tolerance: 0.5 };
        let bounds = [
            Bound::AtMost(1.5),
            Bound::AtMost(0.0),
            Bound::AtMost(-2.0),
            Bound::AtLeast(1.5),
            Bound::AtLeast(-2.0),
            near,
        ];
        for bound in bounds {
            for measured in [-3.0, -2.0, -1.0, 0.0, 1.0, 1.5, 2.0, 2.4, 2.6, f64::NAN] {
                assert_eq!(bound.strain(measured) <= 1.0, bound.admits(measured), "{bound} at {measured}");
            }
        }
    }
}
