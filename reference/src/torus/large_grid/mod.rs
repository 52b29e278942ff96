//! The large-grid solver: ascent on the terminal potential from coarse grids to fine ones, stopped by the primal-dual gap.
//!
//! Newton steps ([`crate::torus::large_grid::ascent`]) maximise the smooth dual. Where the potential obeys the Lipschitz cap by itself, a
//! sub-cell plan bounds the node problem of [`TorusProblem`] from above and an exactly `L`-Lipschitz potential from below.
//! Where the cap acts, or the target has empty nodes, [`crate::torus::large_grid::cap::capped_ascent`] adds the cap and its flux, and the bounds
//! are those of the continuum game ([`crate::torus::large_grid::bounds::continuum_bounds`]); [`TorusSolution::bounded`] says which.

mod ascent;
mod bounds;
mod cap;
mod level;

use std::iter::successors;
use std::time::Instant;

use ndarray::ArrayD;

pub use self::ascent::AscentStep;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::torus::large_grid::ascent::Ascent;
use crate::torus::large_grid::bounds::continuum_bounds::ContinuumBounds;
use crate::torus::large_grid::cap::capped_ascent::{
    CappedPoint, cap_of, certify, climb_capped, climb_capped_coarse,
};
use crate::torus::large_grid::level::{DualPoint, Level, PrimalPoint};
use crate::torus::lattice::control_slopes::{prolong_stresses, violation};
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::transfer::{coarser, every_second, prolong_values, restrict_masses};
use crate::torus::problem::TorusProblem;
use crate::torus::solution::{BoundedProblem, Termination, TorusSolution};

/// What to do once the certified gap no longer shrinks because the grid is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtFloor {
    /// Stop: the bounds are all that is wanted.
    Stop,
    /// Go on with the ascent on this grid, until the smooth dual rests or for 40 multiplier steps more: the fields keep settling.
    Settle,
}

/// When an ascent may stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub relative_gap: f64,
    pub at_floor: AtFloor,
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

/// Nodes per side below which coarsening stops.
const COARSEST: usize = 32;

/// Newton steps on each coarser grid: its only purpose is a start within the discretisation error.
const COARSE_ITERATIONS: usize = 30;

/// Multiplier steps on each coarser grid.
const COARSE_ROUNDS: usize = 4;

/// Where the cap does not act, the bounds are those of the node problem, which the static solver shares, unless those of the
/// continuum meet the gap or are tighter by this factor.
const NODES_PREFERRED: f64 = 4.0;

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
    check(problem, options)?;
    let started = Instant::now();
    let mut levels = vec![Level::of(problem)];
    while options.coarse_to_fine
        && options.start.is_none()
        && levels[levels.len() - 1].grid.nodes_per_side >= 2 * COARSEST
    {
        match levels[levels.len() - 1].coarser() {
            Some(level) => levels.push(level),
            None => break,
        }
    }
    let node_count = levels[levels.len() - 1].grid.node_count();
    let mut phi = options.start.clone().unwrap_or_else(|| vec![0.0; node_count]);
    let mut multipliers = None;
    let finest = levels.remove(0);
    while let Some(level) = levels.pop() {
        let grid = level.grid;
        let mut ascent = Ascent::new(level, phi);
        climb_coarse(&mut ascent, multipliers.take(), observe);
        if ascent.level.has_empty_target_nodes() {
            ascent.drop_every_node();
        }
        multipliers = ascent.cap.map(|cap| prolong_stresses(&grid, &cap.multipliers));
        phi = prolong_values(&grid, &ascent.phi);
    }
    let mut ascent = Ascent::new(finest, phi);
    let reached = climb_finest(&mut ascent, multipliers, options, observe);
    Ok(solution(problem, &ascent, reached, started))
}

fn check(problem: &TorusProblem, options: &DualOptions) -> Result<(), InvalidInput> {
    if problem.kind != DivergenceKind::KullbackLeibler {
        return Err(InvalidInput::new("f", problem.kind, "kl (the static solver takes every divergence)"));
    }
    if options.relative_gap.is_nan() || options.relative_gap < 0.0 {
        return Err(InvalidInput::new("relative_gap", options.relative_gap, ">= 0"));
    }
    if let Some(start) = &options.start {
        let start = ArrayD::from_shape_vec(problem.grid.shape(), start.clone())
            .map_err(|error| InvalidInput::new("start", error, "one value for each node"))?;
        problem.grid.require_potential("start", &start)?;
    }
    Ok(())
}

/// The best points of one of the two problems.
enum Reached {
    Nodes { primal: PrimalPoint, dual: DualPoint, termination: Termination },
    Continuum(CappedPoint),
}

impl Reached {
    fn gap(&self) -> f64 {
        match self {
            Self::Nodes { primal, dual, .. } => primal.value() - dual.lower,
            Self::Continuum(point) => point.gap(),
        }
    }
}

/// Newton without the cap, and with it where the result breaks it: `ascent` then has the cap with its multipliers.
fn climb_coarse(ascent: &mut Ascent, multipliers: Option<Vec<f64>>, observe: &mut dyn FnMut(&AscentStep)) {
    if multipliers.is_none() {
        let (_, _, dual) = climb_free(ascent, COARSE_ITERATIONS, None, observe);
        if !cap_acts(ascent, &dual) {
            return;
        }
    }
    set_cap(ascent, multipliers);
    climb_capped_coarse(ascent, COARSE_ROUNDS, observe);
}

fn climb_finest(
    ascent: &mut Ascent,
    multipliers: Option<Vec<f64>>,
    options: &DualOptions,
    observe: &mut dyn FnMut(&AscentStep),
) -> Reached {
    let aim = Aim { relative_gap: options.relative_gap, at_floor: options.at_floor };
    if multipliers.is_none() {
        let (termination, primal, dual) = climb_free(ascent, options.iterations, Some(aim), observe);
        let acts = cap_acts(ascent, &dual);
        let nodes = Reached::Nodes { primal, dual, termination };
        if termination == Termination::Gap {
            return nodes;
        }
        if !acts {
            let mut point = certify(ascent, &mut ContinuumBounds::new(&ascent.level), aim);
            let met = point.gap() <= options.relative_gap * point.primal.value().abs();
            point.termination = if met { Termination::Gap } else { termination };
            return if met || NODES_PREFERRED * point.gap() < nodes.gap() {
                Reached::Continuum(point)
            } else {
                nodes
            };
        }
    }
    set_cap(ascent, multipliers);
    let mut point = climb_capped(ascent, aim, options.rounds, observe);
    for _ in 0..options.refinements {
        if point.termination == Termination::Gap {
            break;
        }
        let Some(level) = ascent.level.refined() else { break };
        let grid = ascent.level.grid;
        let multipliers = ascent.cap.take().map(|cap| prolong_stresses(&grid, &cap.multipliers));
        *ascent = Ascent::new(level, prolong_values(&grid, &ascent.phi));
        set_cap(ascent, multipliers);
        point = climb_capped(ascent, aim, options.rounds, observe);
    }
    Reached::Continuum(point)
}

/// Whether the potential of the free ascent breaks the cap where the target sees it, or some mass would rather land where the
/// target has none, on the cones of slope `L` above that potential.
fn cap_acts(ascent: &mut Ascent, dual: &DualPoint) -> bool {
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

fn set_cap(ascent: &mut Ascent, multipliers: Option<Vec<f64>>) {
    let slope = ascent.level.slope() / (ascent.level.grid.dimension as f64).sqrt();
    if multipliers.is_none() {
        ascent.level.lift_empty_target_nodes(&mut ascent.phi, slope);
    }
    ascent.cap = Some(cap_of(ascent, multipliers));
}

/// Newton steps until the certified gap of the node problem is met (when asked for), the objective no longer changes by
/// what the grid can resolve, or the limit.
fn climb_free(
    ascent: &mut Ascent,
    limit: usize,
    aim: Option<Aim>,
    observe: &mut dyn FnMut(&AscentStep),
) -> (Termination, PrimalPoint, DualPoint) {
    let resolution = resolution(ascent, aim);
    lift(ascent);
    ascent.drop_to_double_transform();
    ascent.evaluate();
    let mut best: Option<PrimalPoint> = None;
    let termination = loop {
        if let Some(Aim { relative_gap, .. }) = aim {
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
                    break Termination::Gap;
                }
            }
        }
        if ascent.iterations == limit {
            break Termination::Budget;
        }
        if ascent.step(resolution, observe).is_none() {
            break Termination::Floor;
        }
        if ascent.level.stray_mass(&ascent.smooth.marginal) > 0.0 {
            lift(ascent);
            ascent.evaluate();
        }
    };
    let primal =
        best.unwrap_or_else(|| ascent.level.spread_primal(ascent.kinetic.cost, &ascent.smooth.marginal));
    let dual = ascent.level.dual_point(&ascent.phi);
    (termination, primal, dual)
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
    // The divergence of the plan sees node-to-node oscillations long after the objective stops seeing them.
    let part = match aim {
        None => 1e-1,
        Some(Aim { at_floor: AtFloor::Stop, .. }) => 1e-7,
        Some(Aim { at_floor: AtFloor::Settle, .. }) => 1e-10,
    };
    (part * ascent.level.spread_cost()).max(16.0 * f64::EPSILON * ascent.value.abs())
}

fn solution(problem: &TorusProblem, ascent: &Ascent, reached: Reached, started: Instant) -> TorusSolution {
    let grids = || successors(Some(ascent.level.grid), coarser).take_while(|grid| *grid != problem.grid);
    let array = |values: Vec<f64>| {
        ArrayD::from_shape_vec(problem.grid.shape(), values).expect("one value for each node")
    };
    // Results on a finer grid come back as node values and as masses handed to the neighbours.
    let values = |fine: Vec<f64>| array(grids().fold(fine, |fine, grid| every_second(&grid, &fine)));
    let masses = |fine: Vec<f64>| {
        let restrict = |fine: Vec<f64>, grid: TorusGrid| match coarser(&grid) {
            Some(coarse) => restrict_masses(&coarse, &fine),
            None => fine,
        };
        array(grids().fold(fine, restrict))
    };
    let (bounded, primal, lower, phi, initial, termination) = match reached {
        Reached::Nodes { primal, dual, termination } => {
            (BoundedProblem::Nodes, primal, dual.lower, dual.phi, dual.initial, termination)
        }
        Reached::Continuum(CappedPoint { primal, dual, termination }) => {
            let phi = dual.potential(&ascent.level);
            let initial = dual.initial_potential(&ascent.level);
            (BoundedProblem::HatSpread, primal, dual.lower, phi, initial, termination)
        }
    };
    TorusSolution {
        bounded,
        lower,
        upper: primal.value(),
        kinetic_cost: primal.kinetic_cost,
        lipschitz_cost: primal.lipschitz_cost,
        divergence: primal.divergence,
        terminal_potential: values(phi),
        initial_potential: values(initial),
        terminal_density: masses(primal.terminal),
        intermediate: masses(primal.intermediate),
        termination,
        iterations: ascent.iterations,
        seconds: started.elapsed().as_secs_f64(),
    }
}

#[cfg(test)]
mod tests;
