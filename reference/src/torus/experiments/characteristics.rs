//! Trajectories recovered from potentials, and how straight they are (3.3, section 5 of the notation).
//!
//! From nodal terminal values, `U(x, t) = min_y { phi(y) + lambda |x - y|^2 / (2 (T - t)) }` over the nodes `y` holds at every
//! point `x` of the torus, so its velocity `-grad U / lambda = (y(x, t) - x) / (T - t)` is exact in space: the paths of
//! [`hopf_lax_paths`] are straight to rounding. [`scheme_paths`] follows the nodal velocities of the time-dependent
//! scheme, interpolated linearly: straight up to the order of the scheme.

use serde::Serialize;

use crate::specification::InvalidInput;
use crate::torus::lattice::grid::{TorusGrid, geodesic_difference};
use crate::torus::time_solver::scheme::HamiltonJacobiScheme;

/// Paths unwrapped to `R^d`: `positions[path][k]` at `times[k]`.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Increasing times from 0 to `T`.
    pub times: Vec<f64>,
    /// One list of points per path; axes beyond `d` are 0.
    pub positions: Vec<Vec<[f64; 3]>>,
}

/// How straight paths are; means over paths that move.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PathIndicators {
    /// Number of moving paths.
    pub paths: usize,
    /// Mean of (length / end-to-end distance) - 1, which is >= 0 up to rounding.
    pub excess_length: f64,
    /// `mean |v_{k+1} - v_k| / mean |v_k|`.
    pub acceleration: f64,
    /// Largest distance of a path from its chord, over the chord's length: curvature.
    pub bend: f64,
}

/// Follows the Hopf-Lax velocity of nodal `terminal` values from `starts` in `steps` Euler steps.
pub fn hopf_lax_paths(
    grid: &TorusGrid,
    terminal: &[f64],
    lambda: f64,
    horizon: f64,
    starts: &[[f64; 3]],
    steps: usize,
) -> Result<Paths, InvalidInput> {
    InvalidInput::require_positive("lambda", lambda)?;
    InvalidInput::require_positive("horizon", horizon)?;
    if terminal.len() != grid.node_count() || steps == 0 {
        let value = format!("{} values, {steps} steps", terminal.len());
        return Err(InvalidInput::new("terminal", value, format!("{} values, >= 1 step", grid.node_count())));
    }
    let times: Vec<f64> = (0..=steps).map(|k| horizon * k as f64 / steps as f64).collect();
    let positions = starts
        .iter()
        .map(|start| {
            let mut path = vec![*start];
            for k in 0..steps {
                let (x, left) = (path[k], horizon - times[k]);
                let target = minimising_displacement(grid, terminal, lambda, left, x);
                let fraction = (times[k + 1] - times[k]) / left;
                path.push([0, 1, 2].map(|axis| x[axis] + fraction * target[axis]));
            }
            path
        })
        .collect();
    Ok(Paths { times, positions })
}

/// `y(x, t) - x` for the minimising node of Hopf-Lax.
fn minimising_displacement(
    grid: &TorusGrid,
    terminal: &[f64],
    lambda: f64,
    left: f64,
    x: [f64; 3],
) -> [f64; 3] {
    let (mut best, mut displacement) = (f64::INFINITY, [0.0; 3]);
    for (flat, value) in terminal.iter().enumerate() {
        let y = grid.position(flat);
        let mut move_to = [0.0; 3];
        for axis in 0..grid.dimension {
            move_to[axis] = geodesic_difference(y[axis] - x[axis]);
        }
        let cost = value + lambda / (2.0 * left) * move_to.iter().map(|d| d * d).sum::<f64>();
        if cost < best {
            (best, displacement) = (cost, move_to);
        }
    }
    displacement
}

/// Follows the velocities of the scheme through `U^0, .., U^N` from `starts`, one Euler step per time step.
pub fn scheme_paths(scheme: &HamiltonJacobiScheme, potentials: &[Vec<f64>], starts: &[[f64; 3]]) -> Paths {
    let grid = scheme.neighbours();
    let times = (0..=scheme.steps()).map(|n| n as f64 * scheme.time_step()).collect();
    let mut positions: Vec<Vec<[f64; 3]>> = starts.iter().map(|start| vec![*start]).collect();
    for n in 0..scheme.steps() {
        let velocity: Vec<Vec<f64>> =
            (0..grid.dimension).map(|axis| scheme.velocity(&potentials[n + 1], axis)).collect();
        for path in &mut positions {
            let x = path[n];
            let mut next = x;
            for axis in 0..grid.dimension {
                next[axis] += scheme.time_step() * interpolate(scheme, &velocity[axis], x);
            }
            path.push(next);
        }
    }
    Paths { times, positions }
}

/// Multilinear interpolation of nodal values at a point of the torus.
fn interpolate(scheme: &HamiltonJacobiScheme, values: &[f64], x: [f64; 3]) -> f64 {
    let grid = scheme.neighbours();
    let n = grid.nodes_per_side as isize;
    let mut sum = 0.0;
    for corner in 0..1usize << grid.dimension {
        let (mut weight, mut flat) = (1.0, 0);
        for axis in 0..grid.dimension {
            let place = x[axis] * n as f64;
            let upper = corner >> axis & 1 == 1;
            weight *= if upper { place - place.floor() } else { 1.0 - (place - place.floor()) };
            flat += (place.floor() as isize + isize::from(upper)).rem_euclid(n) as usize * grid.stride(axis);
        }
        sum += weight * values[flat];
    }
    sum
}

impl Paths {
    /// Straightness, acceleration and bend over the paths whose chord exceeds `shortest`.
    pub fn indicators(&self, shortest: f64) -> PathIndicators {
        let difference = |a: &[f64; 3], b: &[f64; 3]| [0, 1, 2].map(|axis| b[axis] - a[axis]);
        let norm = |v: [f64; 3]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
        let (mut paths, mut excess, mut change, mut speed, mut bend) = (0, 0.0, 0.0, 0.0, 0.0f64);
        for path in &self.positions {
            let chord = difference(&path[0], &path[path.len() - 1]);
            let span = norm(chord);
            if span <= shortest {
                continue;
            }
            paths += 1;
            let steps: Vec<[f64; 3]> = path.windows(2).map(|pair| difference(&pair[0], &pair[1])).collect();
            let velocities: Vec<[f64; 3]> = steps
                .iter()
                .zip(self.times.windows(2))
                .map(|(step, times)| step.map(|value| value / (times[1] - times[0])))
                .collect();
            excess += steps.iter().map(|step| norm(*step)).sum::<f64>() / span - 1.0;
            change += velocities.windows(2).map(|pair| norm(difference(&pair[0], &pair[1]))).sum::<f64>()
                / (velocities.len().max(2) - 1) as f64;
            speed += velocities.iter().map(|v| norm(*v)).sum::<f64>() / velocities.len() as f64;
            for point in path {
                let offset = difference(&path[0], point);
                let along: f64 = (0..3).map(|axis| offset[axis] * chord[axis]).sum::<f64>() / (span * span);
                bend = bend.max(norm([0, 1, 2].map(|axis| offset[axis] - along * chord[axis])) / span);
            }
        }
        let count = paths.max(1) as f64;
        let acceleration = if speed > 0.0 { change / speed } else { 0.0 };
        PathIndicators { paths, excess_length: excess / count, acceleration, bend }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::exact_solutions::{ExactSolution, StraightLineGame};
    use crate::torus::lattice::grid::TorusGrid;

    #[test]
    fn hopf_lax_paths_are_straight_to_rounding_in_one_and_two_dimensions() {
        for (dimension, side) in [(1, 64), (2, 24)] {
            let grid = TorusGrid::new(dimension, side).unwrap();
            let terminal =
                grid.tabulate(|x| 0.1 * (6.0 * x[0] + 2.0 * x[1]).sin() + 0.2 * (x[0] - 0.5).abs());
            let terminal: Vec<f64> = terminal.iter().copied().collect();
            let starts: Vec<[f64; 3]> = (0..grid.node_count()).map(|i| grid.position(i)).collect();
            let indicators =
                hopf_lax_paths(&grid, &terminal, 1.0, 0.3, &starts, 20).unwrap().indicators(1e-9);
            // Rounding of 20 Euler steps, relative to chords of at least one spacing.
            assert!(indicators.paths > side / 2, "{indicators:?}");
            assert!(indicators.excess_length.abs() < 1e-12, "{indicators:?}");
            assert!(indicators.acceleration < 1e-12 && indicators.bend < 1e-12, "{indicators:?}");
        }
    }

    #[test]
    fn scheme_paths_straighten_with_the_order_of_the_scheme() {
        let game = StraightLineGame::example();
        let grids = [32, 64, 128, 256];
        let excess: Vec<f64> = grids
            .iter()
            .map(|side| {
                let parameters = game.parameters();
                let grid = TorusGrid::new(2, *side).unwrap();
                let scheme = HamiltonJacobiScheme::new(
                    grid,
                    parameters.lambda,
                    parameters.horizon,
                    0.0,
                    parameters.lipschitz,
                )
                .unwrap();
                let terminal = scheme.neighbours().sample(|x| game.potential(x, parameters.horizon));
                let potentials = scheme.solve(&terminal);
                let starts: Vec<[f64; 3]> = (0..100)
                    .map(|k| [(k % 10) as f64 / 10.0 + 0.03, (k / 10) as f64 / 10.0 + 0.07, 0.0])
                    .collect();
                scheme_paths(&scheme, &potentials, &starts).indicators(0.02).bend
            })
            .collect();
        let table =
            crate::torus::experiments::convergence::ConvergenceTable::new("bend", 1.0, &grids, excess);
        assert!(table.reaches(0.2), "{table:?}");
    }

    #[test]
    fn a_curved_path_is_seen() {
        let times: Vec<f64> = (0..=10).map(|k| k as f64 / 10.0).collect();
        let arc = times.iter().map(|t| [0.2 * t.cos(), 0.2 * t.sin(), 0.0]).collect();
        let indicators = Paths { times, positions: vec![arc] }.indicators(0.0);
        assert!(indicators.excess_length > 0.01 && indicators.acceleration > 0.05 && indicators.bend > 0.05);
    }
}
