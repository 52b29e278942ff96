//! What a climb reached, and the solution reported for it on the grid of the problem.

use std::iter::successors;
use std::time::Instant;

use ndarray::ArrayD;

use super::ascent::Ascent;
use super::ascent::free::FreePoint;
use super::cap::CappedPoint;
use super::level::PrimalPoint;
use super::tuning;
use crate::certificate::Termination;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::transfer::{coarser, every_second, restrict_masses};
use crate::torus::lattice::vector::kullback_leibler;
use crate::torus::problem::TorusProblem;
use crate::torus::solution::{BoundedProblem, TorusSolution};

/// The best points of one of the two problems.
pub(super) enum Reached {
    /// The node problem.
    Nodes(FreePoint),
    /// The continuum problem between hat-spread densities.
    Continuum(CappedPoint),
}

impl Reached {
    fn gap(&self) -> f64 {
        match self {
            Self::Nodes(point) => point.gap(),
            Self::Continuum(point) => point.gap(),
        }
    }

    pub(super) fn termination(&self) -> Termination {
        match self {
            Self::Nodes(point) => point.termination,
            Self::Continuum(point) => point.termination,
        }
    }

    /// `continuum` in place of these node bounds, which the static solver shares, where it meets the gap or is much tighter.
    pub(super) fn or_much_tighter(self, mut continuum: CappedPoint, relative_gap: f64) -> Self {
        let met = continuum.gap() <= relative_gap * continuum.primal.value().abs();
        continuum.termination = if met { Termination::Converged } else { self.termination() };
        if met || tuning::NODES_PREFERRED * continuum.gap() < self.gap() {
            Self::Continuum(continuum)
        } else {
            self
        }
    }
}

/// The bounds and fields of the last level. Results on a finer grid come back as node values and as masses handed to the
/// neighbours.
pub(super) fn solution(
    problem: &TorusProblem,
    ascent: &Ascent,
    reached: Option<Reached>,
    relative_gap: f64,
    clock: Instant,
) -> TorusSolution {
    let grids = || successors(Some(ascent.level.grid), coarser).take_while(|grid| *grid != problem.grid);
    let array = |values: Vec<f64>| {
        ArrayD::from_shape_vec(problem.grid.shape(), values).expect("one value for each node")
    };
    let values = |fine: Vec<f64>| array(grids().fold(fine, |fine, grid| every_second(&grid, &fine)));
    let masses = |fine: Vec<f64>| {
        let restrict = |fine: Vec<f64>, grid: TorusGrid| match coarser(&grid) {
            Some(coarse) => restrict_masses(&coarse, &fine),
            None => fine,
        };
        array(grids().fold(fine, restrict))
    };
    let (bounded, primal, lower, phi, initial, termination) =
        match reached.expect("the last level is the finest, which is certified") {
            Reached::Nodes(FreePoint { primal, dual, termination }) => {
                (BoundedProblem::Nodes, primal, dual.lower, dual.phi, dual.initial, termination)
            }
            Reached::Continuum(CappedPoint { primal, dual, termination }) => {
                let phi = dual.potential(&ascent.level);
                let initial = dual.initial_potential(&ascent.level);
                (BoundedProblem::HatSpread, primal, dual.lower, phi, initial, termination)
            }
        };
    let primal = cheaper(primal, staying(&ascent.level.source, &ascent.level.target));
    let mut solution = TorusSolution {
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
        seconds: clock.elapsed().as_secs_f64(),
    }
    .gated();
    if solution.termination != Termination::Failed && solution.gap() <= relative_gap * solution.upper.abs() {
        solution.termination = Termination::Converged;
    }
    solution
}

/// The plan that moves nothing: `rho_T = eta = rho_0`, paid by the divergence alone. Exact between equal densities, where every
/// plan of the ascent pays for its spread over cells.
fn staying(source: &[f64], target: &[f64]) -> PrimalPoint {
    PrimalPoint {
        kinetic_cost: 0.0,
        lipschitz_cost: 0.0,
        divergence: kullback_leibler(source, target),
        terminal: source.to_vec(),
        intermediate: source.to_vec(),
    }
}

fn cheaper(found: PrimalPoint, other: PrimalPoint) -> PrimalPoint {
    if other.value() < found.value() { other } else { found }
}
