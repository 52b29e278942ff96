//! The values that a measured quantity may take, and why.

use serde::Serialize;

use crate::number::number;

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
}

impl std::fmt::Display for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(value) => write!(formatter, "<= {}", number(*value)),
            Self::AtLeast(value) => write!(formatter, ">= {}", number(*value)),
            Self::Near { value, tolerance } => {
                write!(formatter, "{} +- {}", number(*value), number(*tolerance))
            }
        }
    }
}
