//! What a claim is: a statement of the paper, what is measured for it, a bound with its basis, and a negative control.

mod bound;
mod finding;
mod setting;

use proxflow_reference::InvalidInput;
use serde::Serialize;

pub use self::bound::{Basis, Bound};
pub use self::finding::{Finding, Measurement, NegativeControl};
pub use self::setting::{Scale, Setting};
pub use crate::number::number;

/// What is known about a claim after its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// Every measurement obeys its bound, every control is detected.
    Holds,
    /// Something does not, named here.
    Fails(String),
    /// The check needs something that is not here.
    NotApplicable(String),
}

/// Why a check ended without a finding.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// A computation refused its input; a defect of the check or of the implementation.
    #[error("{0}")]
    Input(#[from] InvalidInput),
    /// A computation failed.
    #[error("{0}")]
    Run(String),
    /// Data, weights or a device that the check needs is absent.
    #[error("not applicable: {0}")]
    NotApplicable(String),
}

/// One claim of the paper, or a consequence that the paper does not state.
#[derive(Clone, Copy)]
pub struct Claim {
    /// Identifier, the name of its file and of its test.
    pub id: &'static str,
    /// The statement.
    pub statement: &'static str,
    /// Equation numbers of the paper covered, as inclusive ranges.
    pub equations: &'static [(u32, u32)],
    /// Items of docs/notation.md covered.
    pub notation: &'static [&'static str],
    /// What is measured.
    pub measured: &'static str,
    /// The bound and its basis.
    pub bound: &'static str,
    /// The negative control.
    pub control: &'static str,
    /// The check.
    pub check: fn(&Setting) -> Result<Finding, CheckError>,
}

/// A claim with what its check found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Identifier of the claim.
    pub id: String,
    /// The statement.
    pub statement: String,
    /// Where it comes from.
    pub source: String,
    /// How it is decided: what is measured, the bound, the negative control; empty for statements about a model.
    pub method: Vec<(&'static str, &'static str)>,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The numbers behind it.
    pub finding: Finding,
    /// Wall-clock seconds of the check.
    pub seconds: f64,
}

impl Claim {
    /// Equation numbers and notation items as text, `[6]-[8], notation 1.3`.
    pub fn source(&self) -> String {
        let range = |(first, last): &(u32, u32)| {
            if first == last { format!("[{first}]") } else { format!("[{first}]-[{last}]") }
        };
        let mut parts: Vec<String> = self.equations.iter().map(range).collect();
        if !self.notation.is_empty() {
            parts.push(format!("notation {}", self.notation.join(", ")));
        }
        parts.join(", ")
    }

    /// Runs the check.
    pub fn run(&self, setting: &Setting) -> Outcome {
        let start = std::time::Instant::now();
        let (verdict, finding) = match (self.check)(setting) {
            Ok(finding) => (finding.verdict(), finding),
            Err(CheckError::NotApplicable(reason)) => (Verdict::NotApplicable(reason), Finding::new()),
            Err(error) => (Verdict::Fails(error.to_string()), Finding::new()),
        };
        Outcome {
            id: self.id.into(),
            statement: self.statement.into(),
            source: self.source(),
            method: vec![("measured", self.measured), ("bound", self.bound), ("control", self.control)],
            verdict,
            finding,
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounding() -> Basis {
        Basis::Rounding("test".into())
    }

    #[test]
    fn verdict_needs_a_measurement_and_a_detected_control() {
        let mut finding = Finding::new();
        assert!(matches!(finding.verdict(), Verdict::Fails(_)));
        finding.measure("gap", 1e-12, Bound::AtMost(1e-10), rounding());
        assert!(matches!(finding.verdict(), Verdict::Fails(_)), "no control yet");
        finding.control("broken", 1.0, Bound::AtMost(1e-10), rounding());
        assert_eq!(finding.verdict(), Verdict::Holds);
        finding.control("not broken enough", 1e-11, Bound::AtMost(1e-10), rounding());
        assert!(matches!(finding.verdict(), Verdict::Fails(_)), "an undetected control fails the claim");
    }

    #[test]
    fn nan_obeys_no_bound() {
        for bound in [Bound::AtMost(1.0), Bound::AtLeast(1.0), Bound::Near { value: 1.0, tolerance: 1.0 }] {
            assert!(!bound.admits(f64::NAN));
        }
    }

    #[test]
    fn streams_differ_by_label_and_by_seed_and_repeat() {
        use rand::Rng;
        let draw = |seed, label: &str| Setting { seed, ..Setting::default() }.stream(label).random::<u64>();
        assert_eq!(draw(0, "data"), draw(0, "data"));
        assert_ne!(draw(0, "data"), draw(0, "noise"));
        assert_ne!(draw(0, "data"), draw(1, "data"));
    }
}
