//! Uniqueness made visible (Theorem 4.2): the same game from many random starts, with every solver.
//!
//! A [`UniquenessCase`] is solved from `starts` random starts; [`UniquenessRow`] holds the largest certified gap and the
//! largest pairwise distances ([`spread`]). The claim that can fail: every spread is at most ten times the gap
//! tolerance. [`controls`] removes one hypothesis at a time (3.6) and must spread at least a hundred times further.

pub mod controls;
pub mod spread;
pub mod starts;

use ndarray::{Array2, ArrayD};
use rayon::prelude::*;
use serde::Serialize;

use self::spread::{Sample, Spread};
use self::starts::{random_potential, random_relabelling};
use super::densities::NamedDensity;
use super::dual_solver::{DualOptions, solve_dual};
use super::grid::TorusGrid;
use super::lipschitz::lipschitz_envelope;
use super::problem::{Termination, TorusProblem};
use super::time_solver::{Start, TimeDependentOptions, TimeDependentProblem, TimeDependentSolution};
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::{DenseCost, SemiRelaxedOptions, semi_relaxed_transport};

/// Which solver is started at random.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "solver")]
pub enum Solver {
    /// [`super::time_solver`] from random admissible potentials.
    TimeDependent {
        /// Viscosity `s`.
        viscosity: f64,
    },
    /// Semi-relaxed transport on the nodes (1.4 with the node cost), whose pivots follow a random order of the nodes.
    Static,
    /// [`super::dual_solver`] on randomly translated copies of the game, translated back (its ascent has no other start).
    LargeGrid {
        /// Relative gap asked for.
        relative_gap: f64,
    },
}

/// One game, one grid, one solver.
#[derive(Debug, Clone, Copy)]
pub struct UniquenessCase {
    /// Grid.
    pub grid: TorusGrid,
    /// Source; positive everywhere, so that `U(., 0)` is determined everywhere.
    pub source: NamedDensity,
    /// Target, smooth or singular.
    pub target: NamedDensity,
    /// `L`, `lambda`, `T`.
    pub parameters: ProximalParameters,
    /// Which solver.
    pub solver: Solver,
    /// Number of random starts.
    pub starts: usize,
    /// Certified gap asked of each solve, relative to `1 + |value|` ([`Solver::LargeGrid`] has its own).
    pub tolerance: f64,
    /// Root of the random starts.
    pub seed: u64,
}

/// A line of the uniqueness table.
#[derive(Debug, Clone, Serialize)]
pub struct UniquenessRow {
    /// Dimension.
    pub dimension: usize,
    /// Nodes per side.
    pub nodes_per_side: usize,
    /// Name of the target.
    pub target: String,
    /// Solver.
    #[serde(flatten)]
    pub solver: Solver,
    /// Number of starts.
    pub starts: usize,
    /// Absolute gap tolerance, `tolerance (1 + |value|)`.
    pub gap_tolerance: f64,
    /// Largest certified gap among the starts.
    pub largest_gap: f64,
    /// Distance between the random starts themselves, `min_c sup |phi_a - phi_b - c|` (0 where only the order differs).
    pub start_spread: f64,
    /// Largest pairwise distances between the solutions.
    pub spread: Spread,
    /// Every solve reached its tolerance, and every spread is at most ten times the gap tolerance.
    pub holds: bool,
}

impl UniquenessCase {
    /// The game of the case.
    pub fn problem(&self) -> Result<TorusProblem, InvalidInput> {
        let (source, target) = (self.source.on(&self.grid), self.target.on(&self.grid));
        TorusProblem::new(self.grid, &source, &target, self.parameters, DivergenceKind::KullbackLeibler)
    }

    /// Solves from every start and compares all pairs.
    pub fn run(&self) -> Result<UniquenessRow, InvalidInput> {
        let problem = self.problem()?;
        let seeds: Vec<u64> =
            (0..self.starts as u64).map(|k| self.seed.wrapping_mul(1_000_003) + k).collect();
        let source: Vec<f64> = problem.source.iter().copied().collect();
        let (solved, start_spread): (Vec<(Sample, bool, f64)>, f64) = match self.solver {
            Solver::TimeDependent { viscosity } => {
                let game = TimeDependentProblem::from_torus(&problem, viscosity)?;
                let stencil = game.scheme().stencil();
                let starts: Vec<Vec<f64>> =
                    seeds.iter().map(|seed| random_potential(stencil, game.lipschitz(), *seed)).collect();
                let distance = largest_distance(&starts);
                let solved: Result<Vec<_>, InvalidInput> = starts
                    .into_par_iter()
                    .map(|start| self.time_dependent_sample(&game, Start::Potential(start)))
                    .collect();
                (solved?, distance)
            }
            Solver::Static => {
                let solved: Result<Vec<_>, InvalidInput> =
                    seeds.par_iter().map(|seed| self.static_sample(&problem, *seed)).collect();
                (solved?, 0.0)
            }
            // The large-grid solver is parallel itself.
            Solver::LargeGrid { relative_gap } => {
                let solved: Result<Vec<_>, InvalidInput> =
                    seeds.iter().map(|seed| self.large_grid_sample(&problem, relative_gap, *seed)).collect();
                (solved?, 0.0)
            }
        };
        let value = solved.iter().map(|(_, _, value)| value.abs()).fold(0.0, f64::max);
        let reached = solved.iter().all(|(_, reached, _)| *reached);
        let samples: Vec<Sample> = solved.into_iter().map(|(sample, _, _)| sample).collect();
        let spread = Spread::over_pairs(&source, &samples);
        let gap_tolerance = match self.solver {
            Solver::LargeGrid { relative_gap } => relative_gap * value,
            Solver::TimeDependent { .. } | Solver::Static => self.tolerance * (1.0 + value),
        };
        Ok(UniquenessRow {
            dimension: self.grid.dimension,
            nodes_per_side: self.grid.nodes_per_side,
            target: self.target.to_string(),
            solver: self.solver,
            starts: self.starts,
            gap_tolerance,
            largest_gap: samples.iter().map(|sample| sample.gap).fold(0.0, f64::max),
            start_spread,
            spread,
            holds: reached && spread.largest() <= SPREAD_FACTOR * gap_tolerance,
        })
    }

    fn time_dependent_sample(
        &self,
        game: &TimeDependentProblem,
        start: Start,
    ) -> Result<(Sample, bool, f64), InvalidInput> {
        let options = TimeDependentOptions { tolerance: self.tolerance, start, ..Default::default() };
        let solution = game.solve(&options)?;
        let reached = solution.termination == Termination::Gap;
        Ok((time_dependent_fields(game, &solution), reached, solution.upper))
    }

    /// The large-grid solver on the game translated by a random node.
    fn large_grid_sample(
        &self,
        problem: &TorusProblem,
        relative_gap: f64,
        seed: u64,
    ) -> Result<(Sample, bool, f64), InvalidInput> {
        let grid = problem.grid;
        let shift = grid.multi_index(random_relabelling(grid.node_count(), seed)[0]);
        let translated = |field: &ArrayD<f64>, sign: isize| {
            let values: Vec<f64> = field.iter().copied().collect();
            let moved = (0..grid.node_count()).map(|i| {
                let index = grid.multi_index(i);
                values[grid
                    .flat_index([0, 1, 2].map(|axis| index[axis] as isize + sign * shift[axis] as isize))]
            });
            ArrayD::from_shape_vec(grid.shape(), moved.collect()).expect("one value for each node")
        };
        let (source, target) = (translated(&problem.source, 1), translated(&problem.target, 1));
        let copy = TorusProblem::new(grid, &source, &target, problem.parameters, problem.kind)?;
        let solution = solve_dual(&copy, &DualOptions { relative_gap, ..Default::default() })?;
        let initial = translated(&solution.initial_potential, -1).iter().copied().collect();
        let reached = solution.relative_gap() <= relative_gap;
        Ok((straight_line_fields(problem, initial, solution.gap()), reached, solution.upper))
    }

    /// Semi-relaxed transport with nodes in a random order.
    fn static_sample(&self, problem: &TorusProblem, seed: u64) -> Result<(Sample, bool, f64), InvalidInput> {
        let nodes = problem.grid.node_count();
        let order = random_relabelling(nodes, seed);
        let cost = DenseCost::new(relabelled_cost(problem, &order))?;
        let relabel = |field: &ArrayD<f64>| {
            let values: Vec<f64> = field.iter().copied().collect();
            order.iter().map(|i| values[*i]).collect::<Vec<f64>>()
        };
        let (p, q) = (relabel(&problem.source), relabel(&problem.target));
        let options = SemiRelaxedOptions { tolerance: self.tolerance, ..Default::default() };
        let plan = semi_relaxed_transport(&cost, &p, &q, problem.kind, &options)?;
        let reached = plan.gap() <= self.tolerance * (1.0 + plan.upper.abs());
        let mut initial_potential = vec![0.0; nodes];
        for (a, value) in plan.source_potential.iter().enumerate() {
            initial_potential[order[a]] = *value;
        }
        Ok((straight_line_fields(problem, initial_potential, plan.gap()), reached, plan.upper))
    }
}

/// The static optimum of the nodes: potentials and certified bounds.
#[derive(Debug, Clone)]
pub struct StaticOptimum {
    /// `phi(y) = min_j (L |y - z_j| + psi_j)`.
    pub terminal_potential: Vec<f64>,
    /// `U(., 0)`, the Hopf-Lax transform of `phi`.
    pub initial_potential: Vec<f64>,
    /// Dual value.
    pub lower: f64,
    /// Primal value.
    pub upper: f64,
}

/// Solves semi-relaxed transport with the node cost on the grid of `problem` (dense: `nodes^2` numbers).
pub fn static_optimum(problem: &TorusProblem) -> Result<StaticOptimum, InvalidInput> {
    let order: Vec<usize> = (0..problem.grid.node_count()).collect();
    let cost = DenseCost::new(relabelled_cost(problem, &order))?;
    let (p, q): (Vec<f64>, Vec<f64>) =
        (problem.source.iter().copied().collect(), problem.target.iter().copied().collect());
    let plan = semi_relaxed_transport(&cost, &p, &q, problem.kind, &SemiRelaxedOptions::default())?;
    let psi = ArrayD::from_shape_vec(problem.grid.shape(), plan.potential).expect("one value for each node");
    let phi = lipschitz_envelope(&problem.grid, &psi, problem.parameters.lipschitz)?;
    Ok(StaticOptimum {
        terminal_potential: phi.iter().copied().collect(),
        initial_potential: plan.source_potential,
        lower: plan.lower,
        upper: plan.upper,
    })
}

/// `c'(x_a, x_b)` between nodes in the order given.
fn relabelled_cost(problem: &TorusProblem, order: &[usize]) -> Array2<f64> {
    let grid = &problem.grid;
    let table: Vec<f64> = problem.node_cost().iter().copied().collect();
    Array2::from_shape_fn((order.len(), order.len()), |(a, b)| {
        let (x, z) = (grid.multi_index(order[a]), grid.multi_index(order[b]));
        table[grid.flat_index([0, 1, 2].map(|axis| z[axis] as isize - x[axis] as isize))]
    })
}

/// `U(., 0)`, `rho_T` and the velocities at every step.
pub fn time_dependent_fields(game: &TimeDependentProblem, solution: &TimeDependentSolution) -> Sample {
    let scheme = game.scheme();
    let share = 1.0 / scheme.steps().max(1) as f64;
    let (mut velocity, mut velocity_mass) = (Vec::new(), Vec::new());
    for n in 0..scheme.steps() {
        for axis in 0..scheme.stencil().dimension() {
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
fn straight_line_fields(problem: &TorusProblem, initial_potential: Vec<f64>, gap: f64) -> Sample {
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

/// Largest pairwise distance modulo constants.
fn largest_distance(fields: &[Vec<f64>]) -> f64 {
    let mut largest = 0.0f64;
    for (k, a) in fields.iter().enumerate() {
        for b in &fields[..k] {
            largest = largest.max(super::convergence::sup_distance_modulo_constant(a, b));
        }
    }
    largest
}

/// The claim: spreads stay below this multiple of the gap tolerance.
pub const SPREAD_FACTOR: f64 = 10.0;
/// Each negative control must exceed the claim's allowance by this factor.
pub const CONTROL_FACTOR: f64 = 100.0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn case(dimension: usize, side: usize, target: NamedDensity, solver: Solver) -> UniquenessCase {
        UniquenessCase {
            grid: TorusGrid::new(dimension, side).unwrap(),
            source: NamedDensity::Bump,
            target,
            parameters: ProximalParameters::new(1.0, 1.0, 0.25).unwrap(),
            solver,
            starts: 32,
            tolerance: 1e-9,
            seed: 7,
        }
    }

    #[test]
    fn thirty_two_starts_find_one_solution() {
        let solvers = [
            Solver::TimeDependent { viscosity: 0.0 },
            Solver::TimeDependent { viscosity: 0.01 },
            Solver::Static,
        ];
        for solver in solvers {
            for target in [NamedDensity::TwoBumps, NamedDensity::Points] {
                for (dimension, side) in [(1, 48), (2, 8)] {
                    let row = case(dimension, side, target, solver).run().unwrap();
                    assert!(row.holds, "{row:?}");
                }
            }
        }
    }
}
