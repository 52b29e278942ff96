//! The ascent under an active Lipschitz cap: augmented Lagrangian outside, Newton steps inside.
//!
//! ```text
//! repeat   phi <- argmax E(phi) - ln sum q e^phi - (beta/2) sum w dist^2(v + m/beta, ball L)     Newton, Ascent
//!          certify: bounds of the continuum game from phi (repaired) and the flux of the stresses  ContinuumBounds
//!          m <- beta (1 - P)(v + m/beta);                                                           SlopeCap
//! until the certified gap is small enough
//! ```

use super::ascent::{Ascent, AscentStep};
use super::beckmann::EdgeFlux;
use super::continuum_bounds::{ContinuumBounds, ContinuumDual};
use super::dual_solver::{Aim, AtFloor};
use super::level::PrimalPoint;
use super::problem::Termination;
use super::slope_cap::SlopeCap;

/// Best points found, for the continuum game of [`super::continuum_bounds`].
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

/// Newton steps between multiplier steps, fewer where one predicts less than a part of the gap (or of the bound).
const INNER_STEPS: usize = 10;

/// That part.
const fn inner_resolution(at_floor: AtFloor) -> f64 {
    match at_floor {
        AtFloor::Stop => 1e-3,
        AtFloor::Settle => 1e-6,
    }
}

/// Augmented-Lagrangian rounds from the potential and multipliers in `ascent`, whose cap must be set.
pub(crate) fn climb_capped(
    ascent: &mut Ascent,
    aim: Aim,
    rounds: usize,
    observe: &mut dyn FnMut(&AscentStep),
) -> CappedPoint {
    let mut bounds = ContinuumBounds::new(&ascent.level);
    ascent.evaluate();
    let mut point = certify(ascent, &mut bounds);
    let mut idle_rounds = 0;
    for round in 0..rounds {
        if round > 0 {
            step_multipliers(ascent);
        }
        let resolution = (inner_resolution(aim.at_floor) * point.gap().abs().min(point.dual.lower.abs()))
            .max(16.0 * f64::EPSILON * ascent.value.abs());
        for _ in 0..INNER_STEPS {
            let Some(increase) = ascent.step(1e-2 * resolution, observe) else { break };
            if increase <= resolution {
                break;
            }
        }
        let next = certify(ascent, &mut bounds);
        let old_gap = point.gap();
        match aim.at_floor {
            AtFloor::Stop => point.keep_better(next),
            // Fields that are compared are those of the last round.
            AtFloor::Settle => point = next,
        }
        if point.gap() <= aim.relative_gap * point.primal.value().abs() {
            point.termination = Termination::Gap;
            break;
        }
        idle_rounds = if point.gap() < IDLE * old_gap { 0 } else { idle_rounds + 1 };
        if idle_rounds == idle_rounds_allowed(aim.at_floor) {
            point.termination = Termination::Floor;
            break;
        }
    }
    step_multipliers(ascent);
    point
}

fn step_multipliers(ascent: &mut Ascent) {
    if let Some(cap) = &mut ascent.cap {
        cap.update_multipliers();
    }
    ascent.evaluate();
}

/// Bounds at the current potential and stresses; without a cap, no flux but the correction.
pub(crate) fn certify(ascent: &mut Ascent, bounds: &mut ContinuumBounds) -> CappedPoint {
    let flux = match &mut ascent.cap {
        Some(cap) => cap.flux(),
        None => EdgeFlux::zero(ascent.level.grid),
    };
    let dual = bounds.below(&ascent.level, &ascent.phi);
    let rho = (ascent.kinetic.cost, &ascent.smooth.marginal[..]);
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
