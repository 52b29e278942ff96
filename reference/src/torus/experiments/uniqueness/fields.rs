//! What is compared between solutions: `U(., 0)`, `rho_T` and velocities, from each solver's output.

use super::spread::Sample;
use crate::specification::ProximalParameters;
use crate::torus::problem::TorusProblem;
use crate::torus::time_solver::{TimeDependentProblem, TimeDependentSolution};

/// `U(., 0)`, `rho_T` and the velocities at every step.
pub fn time_dependent_fields(game: &TimeDependentProblem, solution: &TimeDependentSolution) -> Sample {
    let scheme = game.scheme();
    let share = 1.0 / scheme.steps().max(1) as f64;
    let (mut velocity, mut velocity_mass) = (Vec::new(), Vec::new());
    for n in 0..scheme.steps() {
        for axis in 0..scheme.neighbours().dimension {
            velocity.extend(scheme.velocity(&solution.potentials[n + 1], axis));
            velocity_mass.extend(solution.flow.moving[n].iter().map(|mass| share * mass));
        }
    }
    Sample {
        initial_potential: solution.potentials[0].clone(),
        generated: solution.generated().to_vec(),
        velocity,
        velocity_mass,
        gap: solution.gap(),
    }
}

/// Everything that `U(., 0)` determines (3.3): `v = -grad_h U/lambda`, constant along straight lines, and
/// `rho_T = (id + T v)_# rho_0`, shared linearly between the nodes around each landing point.
///
/// The plan itself is not used: on a lattice many node-to-node plans tie (equal costs along different pairings), so the
/// discrete optimum determines the potentials and `eta`, not the pairing.
pub(super) fn straight_line_fields(problem: &TorusProblem, initial_potential: Vec<f64>, gap: f64) -> Sample {
    let grid = &problem.grid;
    let ProximalParameters { lambda, horizon, .. } = problem.parameters;
    let (nodes, axes, h) = (grid.node_count(), grid.dimension, grid.spacing());
    let source: Vec<f64> = problem.source.iter().copied().collect();
    let mut generated = vec![0.0; nodes];
    let mut velocity = vec![0.0; axes * nodes];
    for i in 0..nodes {
        let index = grid.multi_index(i).map(|k| k as isize);
        let mut end = [0.0; 3];
        for axis in 0..axes {
            let shifted = |by: isize| {
                let mut neighbour = index;
                neighbour[axis] += by;
                initial_potential[grid.flat_index(neighbour)]
            };
            velocity[axis * nodes + i] = -(shifted(1) - shifted(-1)) / (2.0 * h * lambda);
            end[axis] = index[axis] as f64 + horizon * velocity[axis * nodes + i] / h;
        }
        for corner in 0..1usize << axes {
            let mut share = source[i];
            let mut place = [0isize; 3];
            for axis in 0..axes {
                let (floor, upper) = (end[axis].floor(), corner >> axis & 1 == 1);
                share *= if upper { end[axis] - floor } else { 1.0 - (end[axis] - floor) };
                place[axis] = floor as isize + isize::from(upper);
            }
            generated[grid.flat_index(place)] += share;
        }
    }
    let velocity_mass = (0..axes).flat_map(|_| source.iter().copied()).collect();
    Sample { initial_potential, generated, velocity, velocity_mass, gap }
}
