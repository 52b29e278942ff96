//! The climb of one level without the Lipschitz cap, and the bounds of the node problem that it gives.

use super::{Ascent, AscentStep};
use crate::certificate::Termination;
use crate::torus::large_grid::level::{DualPoint, PrimalPoint};
use crate::torus::large_grid::options::{Aim, AtFloor, Effort};
use crate::torus::large_grid::tuning;

/// Best points found, for the node problem.
pub(in crate::torus::large_grid) struct FreePoint {
    pub primal: PrimalPoint,
    pub dual: DualPoint,
    pub termination: Termination,
}

impl FreePoint {
    pub(in crate::torus::large_grid) fn gap(&self) -> f64 {
        self.primal.value() - self.dual.lower
    }
}

/// Newton steps until the certified gap of the node problem is met (when asked for), the objective no longer changes by
/// what the grid can resolve, or the limit.
pub(in crate::torus::large_grid) fn climb_free(
    ascent: &mut Ascent,
    effort: &Effort,
    observe: &mut dyn FnMut(&AscentStep),
) -> FreePoint {
    let resolution = resolution(ascent, effort.aim);
    lift(ascent);
    ascent.drop_to_double_transform();
    ascent.evaluate();
    let mut best: Option<PrimalPoint> = None;
    let termination = loop {
        if let Some(Aim { relative_gap, .. }) = effort.aim {
            let primal = ascent.level.spread_primal(ascent.kinetic.cost, &ascent.smooth.marginal);
            // Mass where the target has none: no bound yet.
            let allowed = if primal.value().is_finite() { relative_gap * primal.value().abs() } else { 0.0 };
            let smooth_gap = primal.value() - ascent.value;
            if best.as_ref().is_none_or(|best| primal.value() < best.value()) {
                best = Some(primal);
            }
            // The smooth dual exceeds the node dual by O(h^2) at most: no exact bound before it says yes.
            if smooth_gap <= allowed {
                let dual = ascent.level.dual_point(&ascent.phi);
                let upper = best.as_ref().map_or(f64::INFINITY, PrimalPoint::value);
                if upper - dual.lower <= allowed {
                    break Termination::Converged;
                }
            }
        }
        if ascent.iterations == effort.free_steps {
            break Termination::IterationLimit;
        }
        if ascent.step(resolution, observe).is_none() {
            break Termination::Stalled;
        }
        if ascent.level.stray_mass(&ascent.smooth.marginal) > 0.0 {
            lift(ascent);
            ascent.evaluate();
        }
    };
    let primal =
        best.unwrap_or_else(|| ascent.level.spread_primal(ascent.kinetic.cost, &ascent.smooth.marginal));
    let dual = ascent.level.dual_point(&ascent.phi);
    FreePoint { primal, dual, termination }
}

/// Without the cap no mass lands where the target has none: there `phi` is put on cones steeper than the kinetic cost can be.
/// The result does not depend on `L`, nor on where the ascent started.
fn lift(ascent: &mut Ascent) {
    let level = &ascent.level;
    let steepest = level.kinetic * (level.grid.dimension as f64).sqrt() * level.grid.spacing();
    level.lift_empty_target_nodes(&mut ascent.phi, steepest);
}

/// Predicted increase below which steps stop: a small part of what the plan's spread over cells costs.
fn resolution(ascent: &Ascent, aim: Option<Aim>) -> f64 {
    let part = match aim {
        None => tuning::COARSE_FREE_RESOLUTION,
        Some(Aim { at_floor: AtFloor::Stop, .. }) => tuning::FREE_RESOLUTION,
        Some(Aim { at_floor: AtFloor::Settle, .. }) => tuning::SETTLED_FREE_RESOLUTION,
    };
    (part * ascent.level.spread_cost()).max(tuning::ROUNDING_UNITS * f64::EPSILON * ascent.value.abs())
}
