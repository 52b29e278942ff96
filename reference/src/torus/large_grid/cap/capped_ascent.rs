//! The ascent under an active Lipschitz cap: augmented Lagrangian outside, Newton steps inside.
//!
//! ```text
//! repeat   phi <- argmax E(phi) - ln sum q e^phi - (beta/2) sum w dist^2(v + m/beta, ball L)     Newton, Ascent
//!          certify: bounds of the continuum game from phi (repaired) and the flux of the stresses  ContinuumBounds
//!          m <- beta (1 - P)(v + m/beta);                                                           SlopeCap
//! until the certified gap is small enough
//! ```

use crate::torus::large_grid::ascent::{Ascent, AscentStep};
use crate::torus::large_grid::bounds::continuum_bounds::{ContinuumBounds, ContinuumDual};
use crate::torus::large_grid::cap::slope_cap::SlopeCap;
use crate::torus::large_grid::level::PrimalPoint;
use crate::torus::large_grid::{Aim, AtFloor};
use crate::torus::lattice::edge_flux::EdgeFlux;
use crate::torus::solution::Termination;

/// Best points found, for the continuum game of [`crate::torus::large_grid::bounds::continuum_bounds`].
pub(crate) struct CappedPoint {
    pub primal: PrimalPoint,
    pub dual: ContinuumDual,
    pub termination: Termination,
}

impl CappedPoint {
    pub(crate) fn gap(&self) -> f64 {
        self.primal.value() - self.dual.lower
    }

    /// Takes each side of `other` that is tighter.
    pub(crate) fn keep_better(&mut self, other: Self) {
        if other.primal.value() < self.primal.value() || self.primal.value().is_nan() {
            self.primal = other.primal;
        }
        if other.dual.lower > self.dual.lower || self.dual.lower.is_nan() {
            self.dual = other.dual;
        }
    }
}

/// A round counts as idle when it leaves more than this part of the gap; after so many in a row the grid is the limit.
const IDLE: f64 = 0.98;

const fn idle_rounds_allowed(at_floor: AtFloor) -> usize {
    match at_floor {
        AtFloor::Stop => 2,
        AtFloor::Settle => 40,
    }
}

/// Newton steps between multiplier steps on the finest grid and on coarser ones, fewer where one predicts less than [`resolution`].
const INNER_STEPS: usize = 10;
const COARSE_INNER_STEPS: usize = 4;

/// That part of what the plan's spread over cells costs.
fn resolution(ascent: &Ascent, at_floor: AtFloor) -> f64 {
    let part = match at_floor {
        AtFloor::Stop => 1e-2,
        AtFloor::Settle => 1e-6,
    };
    (part * ascent.level.spread_cost()).max(16.0 * f64::EPSILON * ascent.value.abs())
}

/// The part of the gap asked for that scaling a potential under the cap may take.
const SCALED: f64 = 0.25;

/// Augmented-Lagrangian rounds from the potential and multipliers in `ascent`, whose cap must be set.
pub(crate) fn climb_capped(
    ascent: &mut Ascent,
    aim: Aim,
    rounds: usize,
    observe: &mut dyn FnMut(&AscentStep),
) -> CappedPoint {
    let mut bounds = ContinuumBounds::new(&ascent.level);
    ascent.evaluate();
    maximise(ascent, INNER_STEPS, resolution(ascent, aim.at_floor), observe);
    let mut point = certify(ascent, &mut bounds, aim);
    let mut idle_rounds = 0;
    for round in 1.. {
        if point.gap() <= aim.relative_gap * point.primal.value().abs() {
            point.termination = Termination::Gap;
            break;
        }
        if idle_rounds == idle_rounds_allowed(aim.at_floor) {
            point.termination = Termination::Floor;
            break;
        }
        if round >= rounds {
            break;
        }
        step_multipliers(ascent);
        let old_gap = point.gap();
        maximise(ascent, INNER_STEPS, resolution(ascent, aim.at_floor), observe);
        let next = certify(ascent, &mut bounds, aim);
        match aim.at_floor {
            AtFloor::Stop => point.keep_better(next),
            // Fields that are compared are those of the last round.
            AtFloor::Settle => point = next,
        }
        idle_rounds = if point.gap() < IDLE * old_gap { 0 } else { idle_rounds + 1 };
    }
    step_multipliers(ascent);
    point
}

/// The same on a coarser grid, whose bounds are not wanted.
pub(crate) fn climb_capped_coarse(ascent: &mut Ascent, rounds: usize, observe: &mut dyn FnMut(&AscentStep)) {
    ascent.evaluate();
    for _ in 0..rounds {
        maximise(ascent, COARSE_INNER_STEPS, resolution(ascent, AtFloor::Stop), observe);
        step_multipliers(ascent);
    }
}

/// Newton steps on the augmented Lagrangian until one predicts an increase of at most `resolution`.
fn maximise(ascent: &mut Ascent, steps: usize, resolution: f64, observe: &mut dyn FnMut(&AscentStep)) {
    for _ in 0..steps {
        match ascent.step(1e-2 * resolution, observe) {
            Some(increase) if increase > resolution => {}
            _ => break,
        }
    }
}

fn step_multipliers(ascent: &mut Ascent) {
    if let Some(cap) = &mut ascent.cap {
        cap.update_multipliers();
    }
    ascent.evaluate();
}

/// Bounds at the current potential and stresses; without a cap, no flux but the correction.
pub(crate) fn certify(ascent: &mut Ascent, bounds: &mut ContinuumBounds, aim: Aim) -> CappedPoint {
    let flux = match &mut ascent.cap {
        Some(cap) => cap.flux(),
        None => EdgeFlux::zero(ascent.level.grid),
    };
    let tolerance = (SCALED * aim.relative_gap).clamp(1e-6, 1e-3);
    let dual = bounds.below(&ascent.level, &ascent.phi, tolerance);
    let rho = (ascent.smooth.rearranged_cost(), &ascent.smooth.marginal[..]);
    let primal = bounds.above(&ascent.level, rho, &ascent.tilted, &flux);
    CappedPoint { primal, dual, termination: Termination::Budget }
}

/// The cap for `level`, with multipliers from a coarser grid or none.
pub(crate) fn cap_of(ascent: &Ascent, multipliers: Option<Vec<f64>>) -> SlopeCap {
    let level = &ascent.level;
    // Stiff enough against the kinetic part, and so that a flux of order 1 breaks the cap by order L.
    let penalty = (10.0 * level.diffusion()).max(1.0 / level.lipschitz);
    SlopeCap::new(level.grid, level.lipschitz, penalty, multipliers)
}
