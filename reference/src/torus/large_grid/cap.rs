//! The climb of one level under an active Lipschitz cap: augmented Lagrangian outside, Newton steps inside.
//!
//! ```text
//! repeat   phi <- argmax E(phi) - ln sum q e^phi - (beta/2) sum w dist^2(v + m/beta, ball L)     Newton, Ascent
//!          certify: bounds of the continuum game from phi (repaired) and the flux of the stresses  ContinuumBounds
//!          m <- beta (1 - P)(v + m/beta);                                                           SlopeCap
//! until the certified gap is small enough
//! ```

use crate::certificate::Termination;
use crate::torus::large_grid::ascent::slope_cap::SlopeCap;
use crate::torus::large_grid::ascent::{Ascent, AscentStep};
use crate::torus::large_grid::bounds::continuum_bounds::{ContinuumBounds, ContinuumDual};
use crate::torus::large_grid::level::{DualPoint, Level, PrimalPoint};
use crate::torus::large_grid::options::{Aim, AtFloor, Effort};
use crate::torus::large_grid::tuning;
use crate::torus::lattice::control_slopes::violation;
use crate::torus::lattice::edge_flux::EdgeFlux;

/// Best points found, for the continuum game of [`crate::torus::large_grid::bounds::continuum_bounds`].
pub(in crate::torus::large_grid) struct CappedPoint {
    pub primal: PrimalPoint,
    pub dual: ContinuumDual,
    pub termination: Termination,
}

impl CappedPoint {
    pub(in crate::torus::large_grid) fn gap(&self) -> f64 {
        self.primal.value() - self.dual.lower
    }

    /// Takes each side of `other` that is tighter.
    fn keep_better(&mut self, other: Self) {
        if other.primal.value() < self.primal.value() || self.primal.value().is_nan() {
            self.primal = other.primal;
        }
        if other.dual.lower > self.dual.lower || self.dual.lower.is_nan() {
            self.dual = other.dual;
        }
    }
}

/// Augmented-Lagrangian rounds from the potential and multipliers in `ascent`, whose cap must be set. Bounds where they are asked for.
pub(in crate::torus::large_grid) fn climb_capped(
    ascent: &mut Ascent,
    effort: &Effort,
    observe: &mut dyn FnMut(&AscentStep),
) -> Option<CappedPoint> {
    let mut certificate = effort.aim.map(|aim| Certificate::new(&ascent.level, aim));
    ascent.evaluate();
    for _ in 0..effort.rounds {
        let resolution = resolution(ascent, effort.aim);
        maximise(ascent, effort.inner_steps, resolution, observe);
        let done = certificate.as_mut().is_some_and(|certificate| certificate.update(ascent));
        step_multipliers(ascent);
        if done {
            break;
        }
    }
    certificate.and_then(|certificate| certificate.best)
}

/// The bounds of the rounds of one level.
struct Certificate {
    aim: Aim,
    bounds: ContinuumBounds,
    best: Option<CappedPoint>,
    idle_rounds: usize,
}

impl Certificate {
    fn new(level: &Level, aim: Aim) -> Self {
        Self { aim, bounds: ContinuumBounds::new(level), best: None, idle_rounds: 0 }
    }

    /// Bounds at the current point; whether the gap is met or the grid is the limit.
    fn update(&mut self, ascent: &mut Ascent) -> bool {
        let next = certify(ascent, &mut self.bounds, self.aim);
        let old_gap = self.best.as_ref().map(CappedPoint::gap);
        let point = match (self.best.take(), self.aim.at_floor) {
            (Some(mut best), AtFloor::Stop) => {
                best.keep_better(next);
                best
            }
            // Fields that are compared are those of the last round.
            (_, AtFloor::Settle) | (None, _) => next,
        };
        let shrank = old_gap.is_none_or(|old_gap| point.gap() < tuning::IDLE * old_gap);
        self.idle_rounds = if shrank { 0 } else { self.idle_rounds + 1 };
        let met = point.gap() <= self.aim.relative_gap * point.primal.value().abs();
        let at_floor = self.idle_rounds
            == match self.aim.at_floor {
                AtFloor::Stop => tuning::IDLE_ROUNDS,
                AtFloor::Settle => tuning::SETTLING_IDLE_ROUNDS,
            };
        let point = self.best.insert(point);
        if met {
            point.termination = Termination::Converged;
        } else if at_floor {
            point.termination = Termination::Stalled;
        }
        met || at_floor
    }
}

/// Predicted increase below which Newton steps stop: a part of what the plan's spread over cells costs.
fn resolution(ascent: &Ascent, aim: Option<Aim>) -> f64 {
    let part = match aim {
        Some(Aim { at_floor: AtFloor::Settle, .. }) => tuning::SETTLED_CAPPED_RESOLUTION,
        Some(Aim { at_floor: AtFloor::Stop, .. }) | None => tuning::CAPPED_RESOLUTION,
    };
    (part * ascent.level.spread_cost()).max(tuning::ROUNDING_UNITS * f64::EPSILON * ascent.value.abs())
}

/// Newton steps on the augmented Lagrangian until one predicts an increase of at most `resolution`.
fn maximise(ascent: &mut Ascent, steps: usize, resolution: f64, observe: &mut dyn FnMut(&AscentStep)) {
    for _ in 0..steps {
        match ascent.step(tuning::LAST_STEP * resolution, observe) {
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
pub(in crate::torus::large_grid) fn certify(
    ascent: &mut Ascent,
    bounds: &mut ContinuumBounds,
    aim: Aim,
) -> CappedPoint {
    let flux = match &mut ascent.cap {
        Some(cap) => cap.flux(),
        None => EdgeFlux::zero(ascent.level.grid),
    };
    let tolerance = tuning::scaled_part(aim.relative_gap);
    let dual = bounds.below(&ascent.level, &ascent.phi, tolerance);
    let rho = (ascent.smooth.rearranged_cost(), &ascent.smooth.marginal[..]);
    let primal = bounds.above(&ascent.level, rho, &ascent.tilted, &flux);
    CappedPoint { primal, dual, termination: Termination::IterationLimit }
}

/// Whether the potential of the free ascent breaks the cap where the target sees it, or some mass would rather land where the
/// target has none, on the cones of slope `L` above that potential.
pub(in crate::torus::large_grid) fn cap_acts(ascent: &mut Ascent, dual: &DualPoint) -> bool {
    if !ascent.level.has_empty_target_nodes() {
        return violation(&ascent.level.grid, &ascent.phi, ascent.level.lipschitz) > 0.0;
    }
    let lowered = |((phi, envelope), q): ((&f64, &f64), &f64)| *q > 0.0 && envelope < phi;
    if ascent.phi.iter().zip(&dual.phi).zip(&ascent.level.target).any(lowered) {
        return true;
    }
    let free = ascent.phi.clone();
    let slope = ascent.level.slope();
    ascent.level.lift_empty_target_nodes(&mut ascent.phi, slope);
    ascent.evaluate();
    let acts = ascent.level.stray_mass(&ascent.smooth.marginal) > 0.0;
    ascent.phi = free;
    ascent.evaluate();
    acts
}

/// Sets the cap, with multipliers from a coarser grid or none.
pub(in crate::torus::large_grid) fn put_on_cap(ascent: &mut Ascent, multipliers: Option<Vec<f64>>) {
    let level = &ascent.level;
    if multipliers.is_none() {
        let slope = level.slope() / (level.grid.dimension as f64).sqrt();
        level.lift_empty_target_nodes(&mut ascent.phi, slope);
    }
    let penalty = tuning::penalty(level.diffusion(), level.lipschitz);
    ascent.cap = Some(SlopeCap::new(level.grid, level.lipschitz, penalty, multipliers));
}
