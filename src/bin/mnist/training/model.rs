//! Which flow is trained.

use clap::ValueEnum;
use proxflow_gpu::objective::Case;
use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};

/// What the potential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The published convolutional networks
    Published,
    /// A smooth dense potential against the published critic
    Smooth,
    /// Hopf-Lax potential on learned prototypes: straight, step-size invariant, Hamilton-Jacobi exact by construction
    HopfLax,
    /// Hopf-Lax potential on every training digit: the optimum of the problem itself. Every sample is (or heads for) a training digit
    Exact,
}

/// A whole set-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The published one, untouched: L = 1, w = 0.1, 5000 iterations
    Paper,
    /// 500 prototypes, L = 0.45 of the critical constant, 2000 steps of ascent: every statement of the theorem holds
    Theorem,
}

/// `--lipschitz`: a number, or a multiple of the critical constant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LipschitzChoice {
    /// `L` itself.
    Value(f64),
    /// `FACTOR` times the critical constant of a subsample.
    Critical(f64),
}

impl std::str::FromStr for LipschitzChoice {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let allowed = "a number > 0, critical, or critical:FACTOR with FACTOR > 0";
        let positive = |text: &str| -> Result<f64, InvalidInput> {
            let number = text.parse().map_err(|_| InvalidInput::new("lipschitz", text, allowed))?;
            if f64::is_finite(number) && number > 0.0 {
                Ok(number)
            } else {
                Err(InvalidInput::new("lipschitz", text, allowed))
            }
        };
        match text.strip_prefix("critical") {
            None => Ok(Self::Value(positive(text)?)),
            Some("") => Ok(Self::Critical(1.0)),
            Some(rest) => match rest.strip_prefix(':') {
                Some(factor) => Ok(Self::Critical(positive(factor)?)),
                None => Err(InvalidInput::new("lipschitz", text, allowed)),
            },
        }
    }
}

impl Preset {
    /// The model of a preset.
    pub fn model(self) -> Model {
        match self {
            Self::Paper => Model::Published,
            Self::Theorem => Model::HopfLax,
        }
    }
}

impl Model {
    /// Whether it is trained by concave ascent of its heights rather than by Algorithm 1.
    pub fn is_hopf_lax(self) -> bool {
        matches!(self, Self::HopfLax | Self::Exact)
    }

    /// Its name as an option value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Smooth => "smooth",
            Self::HopfLax => "hopf-lax",
            Self::Exact => "exact",
        }
    }

    /// What a run's folder is called after.
    pub fn run_name(self, case: Case) -> &'static str {
        if self == Self::Published { case.name() } else { self.name() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lipschitz_choices_read_and_wrong_ones_are_refused() {
        let read = |text: &str| text.parse::<LipschitzChoice>();
        assert_eq!(read("0.15").unwrap(), LipschitzChoice::Value(0.15));
        assert_eq!(read("critical").unwrap(), LipschitzChoice::Critical(1.0));
        assert_eq!(read("critical:0.45").unwrap(), LipschitzChoice::Critical(0.45));
        for text in ["", "0", "-1", "nan", "inf", "critical:", "critical:0", "critical1", "Critical"] {
            assert!(read(text).unwrap_err().to_string().contains("lipschitz"), "{text}");
        }
    }
}
