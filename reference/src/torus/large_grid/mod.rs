//! The large-grid solver: ascent on the terminal potential from coarse grids to fine ones, stopped by the primal-dual gap.
//!
//! ```text
//! for every level, coarse to fine                                              solve_dual
//!     Newton on the smooth dual without the cap                                ascent
//!     where its potential breaks the cap: augmented Lagrangian from there      cap
//!     on the densities' own grid and finer ones: bounds, and stop on the gap   bounds
//!     prolong potential and multipliers
//! ```
//!
//! Where the potential obeys the Lipschitz cap by itself, a sub-cell plan bounds the node problem of [`TorusProblem`] from
//! above and an exactly `L`-Lipschitz potential from below. Where the cap acts, or the target has empty nodes, the bounds
//! are those of the continuum game ([`bounds::continuum_bounds`]); [`TorusSolution::bounded`] says which. Every constant is in
//! [`tuning`].

mod ascent;
mod bounds;
mod cap;
mod level;
mod options;
mod outcome;
mod tuning;

use std::time::Instant;

use self::ascent::Ascent;
pub use self::ascent::AscentStep;
use self::ascent::free::climb_free;
use self::bounds::continuum_bounds::ContinuumBounds;
use self::cap::{cap_acts, certify, climb_capped, put_on_cap};
use self::level::Level;
use self::options::Effort;
pub use self::options::{AtFloor, DualOptions};
use self::outcome::{Reached, solution};
use crate::certificate::Termination;
use crate::specification::InvalidInput;
use crate::torus::lattice::control_slopes::prolong_stresses;
use crate::torus::lattice::transfer::prolong_values;
use crate::torus::problem::TorusProblem;
use crate::torus::solution::TorusSolution;

/// Solves `problem` (KL only) on its grid.
///
/// # Errors
/// [`InvalidInput`] for a divergence other than KL or an option out of range.
pub fn solve_dual(problem: &TorusProblem, options: &DualOptions) -> Result<TorusSolution, InvalidInput> {
    solve_dual_observed(problem, options, &mut |_| ())
}

/// [`solve_dual`] that reports every Newton step.
///
/// # Errors
/// As [`solve_dual`].
pub fn solve_dual_observed(
    problem: &TorusProblem,
    options: &DualOptions,
    observe: &mut dyn FnMut(&AscentStep),
) -> Result<TorusSolution, InvalidInput> {
    options.check(problem)?;
    let clock = Instant::now();
    // From here to the problem's own grid, and then as far beyond it as the gap asks for and the options allow.
    let (mut level, mut finer) = coarsened(Level::of(problem), options);
    let mut refinements = options.refinements;
    let mut start = Start::first(&level, options);
    loop {
        let effort = if finer.is_empty() { Effort::certified(options) } else { Effort::COARSE };
        let climbed = climb(level, start, &effort, observe);
        let next = match &climbed.reached {
            None => finer.pop(),
            Some(reached) if refinements > 0 && climbed.grid_is_the_limit(reached) => {
                refinements -= 1;
                climbed.ascent.level.refined()
            }
            Some(_) => None,
        };
        match next {
            Some(next) => (level, start) = (next, climbed.prolonged()),
            None => {
                let Climbed { ascent, reached } = climbed;
                return Ok(solution(problem, &ascent, reached, options.relative_gap, clock));
            }
        }
    }
}

/// The coarsest level, and the finer ones up to `level`, the finest first.
fn coarsened(mut level: Level, options: &DualOptions) -> (Level, Vec<Level>) {
    let mut finer = Vec::new();
    while options.coarse_to_fine
        && options.start.is_none()
        && level.grid.nodes_per_side >= 2 * tuning::COARSEST_SIDE
        && let Some(coarser) = level.coarser()
    {
        finer.push(std::mem::replace(&mut level, coarser));
    }
    (level, finer)
}

/// What the climb of a level starts from.
struct Start {
    phi: Vec<f64>,
    /// Of the cap, where it acts on the level before.
    multipliers: Option<Vec<f64>>,
}

impl Start {
    fn first(coarsest: &Level, options: &DualOptions) -> Self {
        let zero = || vec![0.0; coarsest.grid.node_count()];
        Self { phi: options.start.clone().unwrap_or_else(zero), multipliers: None }
    }
}

/// A level that has been climbed, with its bounds where they were wanted.
struct Climbed {
    ascent: Ascent,
    reached: Option<Reached>,
}

impl Climbed {
    /// Whether a finer grid may meet the gap: it does where the cap acts and every bound is one of the continuum.
    fn grid_is_the_limit(&self, reached: &Reached) -> bool {
        self.ascent.cap.is_some() && reached.termination() != Termination::Converged
    }

    /// Potential and multipliers on the next finer grid.
    fn prolonged(mut self) -> Start {
        if self.reached.is_none() && self.ascent.level.has_empty_target_nodes() {
            self.ascent.drop_every_node();
        }
        let grid = self.ascent.level.grid;
        let multipliers = self.ascent.cap.map(|cap| prolong_stresses(&grid, &cap.multipliers));
        Start { phi: prolong_values(&grid, &self.ascent.phi), multipliers }
    }
}

/// Newton without the cap, and under it where it acts: where it did one level before, or the free potential breaks it here.
fn climb(level: Level, start: Start, effort: &Effort, observe: &mut dyn FnMut(&AscentStep)) -> Climbed {
    let mut ascent = Ascent::new(level, start.phi);
    if start.multipliers.is_none() {
        let free = climb_free(&mut ascent, effort, observe);
        let met = free.termination == Termination::Converged;
        if met || !cap_acts(&mut ascent, &free.dual) {
            let reached = effort.aim.map(|aim| {
                let nodes = Reached::Nodes(free);
                if met {
                    return nodes;
                }
                let mut bounds = ContinuumBounds::new(&ascent.level);
                let continuum = certify(&mut ascent, &mut bounds, aim);
                nodes.or_much_tighter(continuum, aim.relative_gap)
            });
            return Climbed { ascent, reached };
        }
    }
    put_on_cap(&mut ascent, start.multipliers);
    let reached = climb_capped(&mut ascent, effort, observe).map(Reached::Continuum);
    Climbed { ascent, reached }
}

#[cfg(test)]
mod tests;
