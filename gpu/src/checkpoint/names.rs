//! The names of a file's tensors.

use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;

/// Description of the networks, from which names and shapes of all tensors follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Architectures {
    pub(super) potential: Architecture,
    pub(super) discriminator: Architecture,
}

impl Architectures {
    /// Each network by its name in the file.
    pub(super) fn named(&self) -> [(&'static str, &Architecture); 2] {
        [(NETWORKS[0], &self.potential), (NETWORKS[1], &self.discriminator)]
    }
}

/// The networks by their names in a file.
pub(super) const NETWORKS: [&str; 2] = ["potential", "discriminator"];

/// What a file may hold for every parameter of a network.
#[derive(Debug, Clone, Copy)]
pub(super) enum Section {
    /// The parameter itself.
    Weights,
    /// First moment of Adam.
    FirstMoment,
    /// Second moment of Adam.
    SecondMoment,
}

/// Every section.
pub(super) const SECTIONS: [Section; 3] = [Section::Weights, Section::FirstMoment, Section::SecondMoment];

impl Section {
    /// What stands before the parameter's own name.
    pub(super) fn prefix(self, network: &str) -> String {
        match self {
            Self::Weights => format!("{network}."),
            Self::FirstMoment => format!("optimizer.{network}.first_moment."),
            Self::SecondMoment => format!("optimizer.{network}.second_moment."),
        }
    }
}

/// The tensors of an ascent of heights beside the networks.
pub(super) const ASCENT: [&str; 3] = ["ascent.heights", "ascent.average", "ascent.masses"];
