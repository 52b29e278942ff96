//! Learning rates over a run: a factor on both Adam learning rates, by outer step.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};

/// The factor `s(k)` on the learning rates at outer step `k = 0, 1, ...`; it depends on `k` alone, so a resumed run
/// continues it. Written `constant`, `linear:N` or `cosine:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// `s = 1`, as published.
    #[default]
    Constant,
    /// `s(k) = 1 - k / N`, zero from `N` on.
    Linear {
        /// `N >= 1`.
        steps: u64,
    },
    /// `s(k) = (1 + cos(pi k / N)) / 2`, zero from `N` on.
    Cosine {
        /// `N >= 1`.
        steps: u64,
    },
}

impl Schedule {
    /// `s(k)`.
    pub fn factor(self, step: u64) -> f64 {
        let progress = |steps: u64| step.min(steps) as f64 / steps as f64;
        match self {
            Self::Constant => 1.0,
            Self::Linear { steps } => 1.0 - progress(steps),
            Self::Cosine { steps } => 0.5 + 0.5 * (PI * progress(steps)).cos(),
        }
    }
}

impl FromStr for Schedule {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || InvalidInput::new("learning-rate-schedule", text, SCHEDULES);
        if text == "constant" {
            return Ok(Self::Constant);
        }
        let (name, steps) = text.split_once(':').ok_or_else(invalid)?;
        let steps = steps.parse().ok().filter(|&steps: &u64| steps > 0).ok_or_else(invalid)?;
        match name {
            "linear" => Ok(Self::Linear { steps }),
            "cosine" => Ok(Self::Cosine { steps }),
            _ => Err(invalid()),
        }
    }
}

const SCHEDULES: &str = "constant, linear:N, cosine:N with N >= 1 outer steps";

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => formatter.write_str("constant"),
            Self::Linear { steps } => write!(formatter, "linear:{steps}"),
            Self::Cosine { steps } => write!(formatter, "cosine:{steps}"),
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_at_one_halve_in_the_middle_and_end_at_zero() {
        for schedule in [Schedule::Linear { steps: 10 }, Schedule::Cosine { steps: 10 }] {
            // Rounding of one cosine.
            for (step, expected) in [(0, 1.0), (5, 0.5), (10, 0.0), (11, 0.0)] {
                assert!((schedule.factor(step) - expected).abs() < 1e-15, "{schedule} at {step}");
            }
        }
        assert_eq!(Schedule::Constant.factor(7), 1.0);
    }

    #[test]
    fn the_written_form_reads_back_and_a_wrong_one_names_the_allowed_ones() {
        for text in ["constant", "linear:20", "cosine:5000"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in ["", "linear", "linear:0", "cosine:-1", "step:3"] {
            let error = text.parse::<Schedule>().unwrap_err().to_string();
            assert!(error.contains("learning-rate-schedule") && error.contains("cosine:N"), "{error}");
        }
    }
}
