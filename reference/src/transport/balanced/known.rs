//! Arcs that a source has been priced with before: cheap once, and worth a look before the whole cost is read again.

use std::ops::Range;

/// An arc of negative reduced cost `c_ij + psi_j - phi_i`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) reduced: f64,
    pub(super) cost: f64,
    pub(super) source: u32,
    pub(super) target: u32,
}

/// Arcs kept for one source.
const MOST: usize = 128;

/// The known arcs of one source, `(j, c_ij)`; beyond [`MOST`] the oldest makes room.
#[derive(Clone, Default)]
pub(super) struct Known {
    arcs: Vec<(u32, f64)>,
    oldest: usize,
}

impl Known {
    /// The targets of a shortlist, each once.
    pub(super) fn from_shortlist(arcs: Vec<(u32, f64)>) -> Self {
        Self { arcs, oldest: 0 }
    }

    /// Adds arc `(target, cost)` unless it is known.
    pub(super) fn add(&mut self, target: u32, cost: f64) {
        if self.arcs.iter().any(|arc| arc.0 == target) {
            return;
        }
        if self.arcs.len() < MOST {
            self.arcs.push((target, cost));
        } else {
            self.arcs[self.oldest] = (target, cost);
            self.oldest = (self.oldest + 1) % self.arcs.len();
        }
    }

    /// Appends to `found` what has negative reduced cost for `source` at `phi`, its potential, and the targets' `psi`.
    pub(super) fn negative(
        &self,
        source: u32,
        phi: f64,
        psi: &[f64],
        rounding: f64,
        found: &mut Vec<Candidate>,
    ) {
        let arcs = self.arcs.iter().map(|&(target, cost)| Candidate {
            reduced: cost + psi[target as usize] - phi,
            cost,
            source,
            target,
        });
        found.extend(arcs.filter(|arc| arc.reduced < -rounding));
    }
}

/// Sources whose known arcs are looked at together. The more, the better the choice of arcs and the fewer the pivots: from 1 to
/// 256, a third fewer on deep trees; beyond, sorting costs as much as it saves.
const GROUP: usize = 256;

/// The sources `0..n` in groups.
pub(super) fn groups(n: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(GROUP).map(move |start| start..(start + GROUP).min(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcs_are_kept_once_and_the_oldest_makes_room() {
        let mut known = Known::from_shortlist(vec![(7, 1.0)]);
        for target in (0..200).chain(0..200) {
            known.add(target, f64::from(target));
        }
        assert_eq!(known.arcs.len(), MOST);
        let mut targets: Vec<u32> = known.arcs.iter().map(|arc| arc.0).collect();
        targets.sort_unstable();
        targets.dedup();
        assert_eq!(targets.len(), MOST);
        // psi = -j leaves c_ij + psi_j = 0 for all but arc 7, whose first cost is kept while the arc is.
        let psi: Vec<f64> = (0..200).map(|j| -f64::from(j)).collect();
        let mut found = Vec::new();
        known.negative(3, 0.5, &psi, 0.4, &mut found);
        assert_eq!(found.len(), MOST);
        assert!(found.iter().all(|arc| arc.source == 3 && arc.reduced <= -0.5));
        known.negative(3, 0.5, &psi, 0.6, &mut Vec::new());
        found.clear();
        known.negative(3, 0.5, &psi, 10.0, &mut found);
        assert!(found.is_empty());
    }
}
