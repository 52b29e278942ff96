//! Where the large-grid solver starts, how much it may work, and when it stops.

use ndarray::ArrayD;

use super::tuning;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::torus::problem::TorusProblem;

/// What to do once the certified gap no longer shrinks because the grid is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtFloor {
    /// Stop: the bounds are all that is wanted.
    Stop,
    /// Go on with the ascent on this grid, until the smooth dual rests or for 40 multiplier steps more: the fields keep settling.
    Settle,
}

/// Where to start and when to stop.
#[derive(Debug, Clone)]
pub struct DualOptions {
    /// Stop when `upper - lower <= relative_gap * |upper|`.
    pub relative_gap: f64,
    /// Newton steps on the finest grid while the Lipschitz cap does not act.
    pub iterations: usize,
    /// Multiplier steps on the finest grid where the Lipschitz cap acts or the target has empty nodes.
    pub rounds: usize,
    /// Grids finer than the densities' own, each of twice the nodes per side, that are tried there when the gap is not met.
    pub refinements: usize,
    /// Above the gap asked for, at the floor of the grid.
    pub at_floor: AtFloor,
    /// Start from coarser grids, or from `phi = 0` on this one.
    pub coarse_to_fine: bool,
    /// Start from this potential: one value for each node in C order. No coarser grid is used then.
    pub start: Option<Vec<f64>>,
}

impl Default for DualOptions {
    /// Gap 1e-4, 100 Newton steps, 20 multiplier steps, no finer grid, stop at the floor, coarse to fine.
    fn default() -> Self {
        Self {
            relative_gap: 1e-4,
            iterations: 100,
            rounds: 20,
            refinements: 0,
            at_floor: AtFloor::Stop,
            coarse_to_fine: true,
            start: None,
        }
    }
}

impl DualOptions {
    pub(super) fn check(&self, problem: &TorusProblem) -> Result<(), InvalidInput> {
        if problem.kind != DivergenceKind::KullbackLeibler {
            return Err(InvalidInput::new(
                "f",
                problem.kind,
                "kl (the static solver takes every divergence)",
            ));
        }
        if self.relative_gap.is_nan() || self.relative_gap < 0.0 {
            return Err(InvalidInput::new("relative_gap", self.relative_gap, ">= 0"));
        }
        if let Some(start) = &self.start {
            let start = ArrayD::from_shape_vec(problem.grid.shape(), start.clone())
                .map_err(|error| InvalidInput::new("start", error, "one value for each node"))?;
            problem.grid.require_potential("start", &start)?;
        }
        Ok(())
    }
}

/// When the climb of a certified level may stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aim {
    pub relative_gap: f64,
    pub at_floor: AtFloor,
}

/// How much work one level is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// What to certify; a coarser level only hands its potential on, and is not certified.
    pub aim: Option<Aim>,
    /// Newton steps without the cap.
    pub free_steps: usize,
    /// Multiplier steps under it.
    pub rounds: usize,
    /// Newton steps between two of them.
    pub inner_steps: usize,
}

impl Effort {
    /// On a coarser grid.
    pub(super) const COARSE: Self = Self {
        aim: None,
        free_steps: tuning::COARSE_FREE_STEPS,
        rounds: tuning::COARSE_ROUNDS,
        inner_steps: tuning::COARSE_INNER_STEPS,
    };

    /// On the grid of the densities, and on finer ones.
    pub(super) fn certified(options: &DualOptions) -> Self {
        Self {
            aim: Some(Aim { relative_gap: options.relative_gap, at_floor: options.at_floor }),
            free_steps: options.iterations,
            rounds: options.rounds.max(1),
            inner_steps: tuning::INNER_STEPS,
        }
    }
}
