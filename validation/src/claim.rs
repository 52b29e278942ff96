//! What a claim is: a statement of the paper as a function of its mechanism.
//!
//! A claim declares quantities with their bounds and names the parts of its mechanism that a run can do without. Its one
//! function `measure` is run with the mechanism [`Mechanism::Intact`] and once [`Mechanism::Without`] each part, through the
//! same code; every run is compared with the same bounds. The claim holds when the intact run obeys all of them and every
//! removal breaks those that it must. Bounds, bases and removals are data, from which `docs/claims.md`, `validate --list` and
//! the report are written: what is stated is what is compared.

mod bound;
mod finding;
mod measured;
mod mechanism;
mod setting;

use proxflow_reference::InvalidInput;
use serde::Serialize;

pub use self::bound::{Basis, Bound};
pub use self::finding::{Comparison, Finding, RemovalRun, judge};
pub use self::measured::{Measured, Measurement};
pub use self::mechanism::{Mechanism, Quantity, Removal};
pub use self::setting::{Scale, Setting};
pub use crate::number::number;

/// What is known about a claim after its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// The intact run obeys every bound, every removal breaks those that it must.
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
    /// What is measured, and what it must obey.
    pub quantities: &'static [Quantity],
    /// What is taken away, and what must then break.
    pub removals: &'static [Removal],
    /// Measures the quantities of the mechanism as it is given.
    pub measure: fn(&Setting, Mechanism) -> Result<Measured, CheckError>,
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
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The numbers behind it.
    pub finding: Finding,
    /// Wall-clock seconds of the check, removals included.
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

    /// Runs the mechanism intact and without each of its parts.
    pub fn run(&self, setting: &Setting) -> Outcome {
        let start = std::time::Instant::now();
        let (verdict, finding) =
            judge(self.quantities, self.removals, |mechanism| (self.measure)(setting, mechanism));
        Outcome {
            id: self.id.into(),
            statement: self.statement.into(),
            source: self.source(),
            verdict,
            finding,
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_label_and_by_seed_and_repeat() {
        use rand::Rng;
        let draw = |seed, label: &str| Setting { seed, ..Setting::default() }.stream(label).random::<u64>();
        assert_eq!(draw(0, "data"), draw(0, "data"));
        assert_ne!(draw(0, "data"), draw(0, "noise"));
        assert_ne!(draw(0, "data"), draw(1, "data"));
    }
}
