//! The values that a measured quantity may take, and why.

use serde::Serialize;

use crate::number::brief;

/// Why a bound is what it is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Basis {
    /// Floating-point error: the count of operations times the unit roundoff of the working precision.
    Rounding(&'static str),
    /// Truncation of a scheme: `C h^p` with `C` measured or a stated order.
    Discretisation(&'static str),
    /// Sampling error: a stated number of standard errors.
    MonteCarlo(&'static str),
    /// A number from an independent program.
    Golden(&'static str),
    /// An exact inequality of the theory; rounding is the only slack.
    Exact(&'static str),
    /// A requirement stated in advance by this project, not derived.
    Requirement(&'static str),
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
    pub fn reason(&self) -> &'static str {
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
    /// `|measured - value| <= errors * standard error + tolerance`, the standard error recorded with the measurement.
    Mean {
        /// The expected value.
        value: f64,
        /// How many standard errors of the measurement are allowed.
        errors: f64,
        /// Allowed absolute deviation beyond them.
        tolerance: f64,
    },
}

impl Bound {
    /// Whether `measured` with its standard error obeys the bound; NaN never does, and a mean without a standard error never
    /// obeys a bound on means.
    pub fn admits(self, measured: f64, standard_error: Option<f64>) -> bool {
        match self {
            Self::AtMost(value) => measured <= value,
            Self::AtLeast(value) => measured >= value,
            Self::Near { value, tolerance } => (measured - value).abs() <= tolerance,
            Self::Mean { value, errors, tolerance } => {
                standard_error.is_some_and(|error| (measured - value).abs() <= errors * error + tolerance)
            }
        }
    }

    /// How much of what the bound allows is used: at most 1 inside, more outside, infinite for NaN. Only good for
    /// ranking; a bound of zero is used up at once.
    pub fn strain(self, measured: f64, standard_error: Option<f64>) -> f64 {
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
            Self::Mean { value, errors, tolerance } => standard_error
                .map_or(f64::INFINITY, |error| upper((measured - value).abs(), errors * error + tolerance)),
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
            Self::Mean { value, errors, tolerance } => {
                write!(
                    formatter,
                    "{} +- ({} standard errors + {})",
                    brief(*value),
                    brief(*errors),
                    brief(*tolerance)
                )
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
        let mean = Bound::Mean { value: 2.0, errors: 3.0, tolerance: 0.1 };
        let bounds = [
            Bound::AtMost(1.5),
            Bound::AtMost(0.0),
            Bound::AtMost(-2.0),
            Bound::AtLeast(1.5),
            Bound::AtLeast(-2.0),
            near,
            mean,
        ];
        for bound in bounds {
            for error in [None, Some(0.1)] {
                for measured in [-3.0, -2.0, -1.0, 0.0, 1.0, 1.5, 2.0, 2.35, 2.6, f64::NAN] {
                    let inside = bound.strain(measured, error) <= 1.0;
                    assert_eq!(inside, bound.admits(measured, error), "{bound} at {measured}");
                }
            }
        }
    }

    #[test]
    fn nan_obeys_no_bound_and_a_mean_needs_its_standard_error() {
        let mean = Bound::Mean { value: 1.0, errors: 3.0, tolerance: 0.0 };
        for bound in
            [Bound::AtMost(1.0), Bound::AtLeast(1.0), Bound::Near { value: 1.0, tolerance: 1.0 }, mean]
        {
            assert!(!bound.admits(f64::NAN, Some(1.0)));
        }
        assert!(mean.admits(1.2, Some(0.1)) && !mean.admits(1.4, Some(0.1)) && !mean.admits(1.0, None));
    }
}
