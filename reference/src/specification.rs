//! Plain specification types shared by every package: which divergence, which parameters. No numerics.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An argument outside its allowed range, named before any work is done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field}: {value} is not allowed (allowed: {allowed})")]
pub struct InvalidInput {
    /// The field or argument that is at fault.
    pub field: String,
    /// The offending value, as text.
    pub value: String,
    /// The range or set of allowed values.
    pub allowed: String,
}

impl InvalidInput {
    /// Names `field`, its `value` and what would have been `allowed`.
    pub fn new(field: impl fmt::Display, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        Self { field: field.to_string(), value: value.to_string(), allowed: allowed.to_string() }
    }

    /// `Ok(value)` when `value` is finite and strictly positive.
    pub fn require_positive(field: &str, value: f64) -> Result<f64, Self> {
        if value.is_finite() && value > 0.0 {
            Ok(value)
        } else {
            Err(Self::new(field, value, "finite and > 0"))
        }
    }
}

/// The f-divergence `D_f(P|Q) = E_Q[f(dP/dQ)]`, named as in the table of docs/notation.md (P model, Q data).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DivergenceKind {
    /// `f(x) = x ln x`.
    KullbackLeibler,
    /// `f(x) = -ln x`.
    ReverseKullbackLeibler,
    /// `f(x) = (x^a - 1) / (a (a - 1))` with `a > 0`, `a != 1`.
    Alpha(f64),
    /// `f(x) = (x^2 - 1) / 2`, which is `Alpha(2)`.
    ChiSquared,
    /// `f(x) = x ln x - (1 + x) ln((1 + x) / 2)`.
    JensenShannon,
    /// `f(x) = (sqrt(x) - 1)^2`.
    SquaredHellinger,
}

impl DivergenceKind {
    /// One of each family, the alpha family on both sides of its order 1: what tests and tables go through.
    pub const ALL: [Self; 9] = [
        Self::KullbackLeibler,
        Self::ReverseKullbackLeibler,
        Self::Alpha(0.3),
        Self::Alpha(0.5),
        Self::Alpha(1.5),
        Self::Alpha(3.0),
        Self::ChiSquared,
        Self::JensenShannon,
        Self::SquaredHellinger,
    ];
}

/// The names that [`DivergenceKind::from_str`] accepts.
pub const DIVERGENCE_NAMES: &str = "kl, reverse-kl, alpha:A (A > 0, A != 1), chi2, js, hellinger";

impl FromStr for DivergenceKind {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || InvalidInput::new("f", text, DIVERGENCE_NAMES);
        Ok(match text {
            "kl" => Self::KullbackLeibler,
            "reverse-kl" => Self::ReverseKullbackLeibler,
            "chi2" => Self::ChiSquared,
            "js" => Self::JensenShannon,
            "hellinger" => Self::SquaredHellinger,
            _ => {
                let order: f64 =
                    text.strip_prefix("alpha:").ok_or_else(invalid)?.parse().map_err(|_| invalid())?;
                if !(order.is_finite() && order > 0.0 && order != 1.0) {
                    return Err(invalid());
                }
                Self::Alpha(order)
            }
        })
    }
}

impl fmt::Display for DivergenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KullbackLeibler => formatter.write_str("kl"),
            Self::ReverseKullbackLeibler => formatter.write_str("reverse-kl"),
            Self::Alpha(order) => write!(formatter, "alpha:{order}"),
            Self::ChiSquared => formatter.write_str("chi2"),
            Self::JensenShannon => formatter.write_str("js"),
            Self::SquaredHellinger => formatter.write_str("hellinger"),
        }
    }
}

impl TryFrom<String> for DivergenceKind {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<DivergenceKind> for String {
    fn from(kind: DivergenceKind) -> Self {
        kind.to_string()
    }
}

/// The weights of the combined proximal `inf_rho { lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi) }` \[10\].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProximalParameters {
    /// Lipschitz constant `L > 0` of the discriminator.
    pub lipschitz: f64,
    /// Weight `lambda > 0` of the kinetic energy.
    pub lambda: f64,
    /// Time horizon `T > 0`.
    pub horizon: f64,
}

impl ProximalParameters {
    /// Checks that all three are finite and positive.
    pub fn new(lipschitz: f64, lambda: f64, horizon: f64) -> Result<Self, InvalidInput> {
        Ok(Self {
            lipschitz: InvalidInput::require_positive("lipschitz", lipschitz)?,
            lambda: InvalidInput::require_positive("lambda", lambda)?,
            horizon: InvalidInput::require_positive("horizon", horizon)?,
        })
    }

    /// The distance `L T / lambda` at which the Huber cost of 2.2 changes from quadratic to linear.
    pub fn kink(&self) -> f64 {
        self.lipschitz * self.horizon / self.lambda
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_divergence_name_round_trips() {
        for text in ["kl", "reverse-kl", "alpha:0.5", "alpha:3", "chi2", "js", "hellinger"] {
            let kind: DivergenceKind = text.parse().expect("listed name");
            assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn unknown_divergences_and_orders_name_the_allowed_set() {
        for text in ["KL", "alpha", "alpha:1", "alpha:-2", "alpha:nan", ""] {
            let error = text.parse::<DivergenceKind>().expect_err(text);
            assert!(error.to_string().contains("reverse-kl"), "{error}");
        }
    }
}
