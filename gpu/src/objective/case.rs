//! Which terms the objectives have.

use serde::{Deserialize, Serialize};

/// Which of the two proximals an experiment uses \[46-49\].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Neither: no kinetic term, no penalty \[46\].
    None,
    /// Kinetic term only \[47\].
    W2,
    /// Gradient penalty only \[48\].
    W1,
    /// Both \[49\].
    W1W2,
}

impl Case {
    /// All four, in the order of \[46-49\].
    pub const ALL: [Self; 4] = [Self::None, Self::W2, Self::W1, Self::W1W2];

    /// Whether \[42\] has its kinetic term.
    pub fn has_kinetic_energy(self) -> bool {
        matches!(self, Self::W2 | Self::W1W2)
    }

    /// Whether \[40\] has its gradient penalty.
    pub fn has_penalty(self) -> bool {
        matches!(self, Self::W1 | Self::W1W2)
    }

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::W2 => "w2",
            Self::W1 => "w1",
            Self::W1W2 => "w1w2",
        }
    }
}

/// One-sided gradient penalty `w mean (|grad phi|^2 - L^2)_+`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalty {
    /// Weight `w`.
    pub weight: f64,
    /// Lipschitz constant `L`.
    pub lipschitz: f64,
}
