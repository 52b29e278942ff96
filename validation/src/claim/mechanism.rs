//! What a claim declares: the quantities with their bounds, and the parts of the mechanism that a run can do without.

use serde::Serialize;

use super::{Basis, Bound};

/// A measured quantity and what it must obey, in every run of the mechanism that is intact.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantity {
    /// The name by which `measure` records it.
    pub name: &'static str,
    /// The formula, or what it is in words.
    pub what: &'static str,
    /// What every measurement of it must obey.
    pub bound: Bound,
    /// Why the bound is what it is.
    pub basis: Basis,
}

/// A part of the mechanism that a run can do without, and the quantities that must notice.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Removal {
    /// What is taken away.
    pub name: &'static str,
    /// How: what stands in its place.
    pub what: &'static str,
    /// Names of the quantities that must break their bound, each at least once.
    pub breaks: &'static [&'static str],
}

/// The mechanism under measurement, whole or with one part taken away.
#[derive(Debug, Clone, Copy)]
pub enum Mechanism<'a> {
    /// As the claim states it.
    Intact,
    /// Without the named part.
    Without(&'a Removal),
}

impl Mechanism<'_> {
    /// Whether this run must do without the part called `name`.
    pub fn lacks(self, name: &str) -> bool {
        matches!(self, Self::Without(removal) if removal.name == name)
    }

    /// Whether nothing was taken away: for work that only the intact run needs, such as pictures.
    pub fn is_intact(self) -> bool {
        matches!(self, Self::Intact)
    }
}
