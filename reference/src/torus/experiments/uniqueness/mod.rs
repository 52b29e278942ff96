//! Uniqueness made visible (Theorem 4.2): the same game from many random starts, with every solver.
//!
//! A [`UniquenessCase`] is solved from `starts` random starts; [`UniquenessRow`] holds the largest certified gap and the
//! largest pairwise distances ([`spread`]). The claim that can fail: every spread is at most ten times the gap
//! tolerance. [`controls`](super::controls) removes one hypothesis at a time (3.6) and must spread at least a hundred times further.

mod fields;
mod relabelled;
pub mod spread;
pub mod starts;

pub use fields::time_dependent_fields;

use ndarray::ArrayD;
use rayon::prelude::*;
use serde::Serialize;

use self::fields::straight_line_fields;
use self::relabelled::relabelled_cost;
use self::spread::{Sample, Spread};
use self::starts::{random_potential, random_relabelling};
use crate::certificate::Termination;
use crate::options::Options;
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::torus::densities::NamedDensity;
use crate::torus::experiments::convergence::sup_distance_modulo_constant;
use crate::torus::large_grid::{AtFloor, DualOptions, solve_dual};
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::neighbour_table::NeighbourTable;
use crate::torus::problem::TorusProblem;
use crate::torus::time_solver::{Start, TimeDependentOptions, TimeDependentProblem};
use crate::transport::{DenseCost, semi_relaxed_transport};

/// Which solver is started at random.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "solver")]
pub enum Solver {
    /// [`crate::torus::time_solver`] from random admissible potentials.
    TimeDependent {
        /// Viscosity `s`.
        viscosity: f64,
    },
    /// Semi-relaxed transport on the nodes (1.4 with the node cost), whose pivots follow a random order of the nodes.
    Static,
    /// [`crate::torus::solve_dual`] from random admissible potentials, run to the floor of its own objective. The gap that it
    /// certifies there is of second order in `h`, so its gap tolerance is that gap, the largest over the starts.
    LargeGrid,
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

/// What a case shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every solve reached its tolerance, and every spread is at most ten times the gap tolerance.
    Holds,
    /// A solve missed its tolerance, or a spread exceeds ten times the gap tolerance.
    Fails,
    /// The large-grid ascent did not come to rest (its budget ran out, as it may where W1 is active or target nodes are
    /// empty), or ten times its gap exceeds the value itself. Its bounds are valid, but they single out no solution.
    Uncertified,
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
    /// Absolute gap tolerance: `tolerance (1 + |value|)`, or for [`Solver::LargeGrid`] the gap it certifies.
    pub gap_tolerance: f64,
    /// Largest certified gap among the starts.
    pub largest_gap: f64,
    /// Distance between the random starts themselves, `min_c sup |phi_a - phi_b - c|` (0 where only the order differs).
    pub start_spread: f64,
    /// Largest pairwise distances between the solutions.
    pub spread: Spread,
    /// Whether the claim holds.
    pub verdict: Verdict,
}

/// One solve of a case.
struct Solve {
    sample: Sample,
    reached: bool,
    value: f64,
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
        let neighbours = NeighbourTable::new(self.grid)?;
        let potentials: Vec<Vec<f64>> = match self.solver {
            Solver::Static => Vec::new(),
            Solver::TimeDependent { .. } | Solver::LargeGrid => {
                let lipschitz = self.parameters.lipschitz;
                seeds.iter().map(|seed| random_potential(&neighbours, lipschitz, *seed)).collect()
            }
        };
        let start_spread = largest_distance(&potentials);
        let solved: Vec<Solve> = match self.solver {
            Solver::TimeDependent { viscosity } => {
                let game = TimeDependentProblem::from_torus(&problem, viscosity)?;
                potentials
                    .into_par_iter()
                    .map(|start| self.time_dependent_solve(&game, start))
                    .collect::<Result<_, _>>()?
            }
            Solver::Static => {
                seeds.par_iter().map(|seed| self.static_solve(&problem, *seed)).collect::<Result<_, _>>()?
            }
            Solver::LargeGrid => potentials
                .into_par_iter()
                .map(|start| large_grid_solve(&problem, start))
                .collect::<Result<_, _>>()?,
        };
        Ok(self.row(&problem, start_spread, solved))
    }

    /// Compares all pairs of solves.
    fn row(&self, problem: &TorusProblem, start_spread: f64, solved: Vec<Solve>) -> UniquenessRow {
        let source: Vec<f64> = problem.source.iter().copied().collect();
        let value = solved.iter().map(|solve| solve.value.abs()).fold(0.0, f64::max);
        let reached = solved.iter().all(|solve| solve.reached);
        let samples: Vec<Sample> = solved.into_iter().map(|solve| solve.sample).collect();
        let spread = Spread::over_pairs(&source, &samples);
        let largest_gap = samples.iter().map(|sample| sample.gap).fold(0.0, f64::max);
        let gap_tolerance = match self.solver {
            Solver::LargeGrid => largest_gap,
            Solver::TimeDependent { .. } | Solver::Static => self.tolerance * (1.0 + value),
        };
        let allowance = SPREAD_FACTOR * gap_tolerance;
        let verdict = if self.solver == Solver::LargeGrid && (!reached || allowance > value) {
            Verdict::Uncertified
        } else if reached && spread.largest() <= allowance {
            Verdict::Holds
        } else {
            Verdict::Fails
        };
        UniquenessRow {
            dimension: self.grid.dimension,
            nodes_per_side: self.grid.nodes_per_side,
            target: self.target.to_string(),
            solver: self.solver,
            starts: self.starts,
            gap_tolerance,
            largest_gap,
            start_spread,
            spread,
            verdict,
        }
    }

    fn time_dependent_solve(
        &self,
        game: &TimeDependentProblem,
        start: Vec<f64>,
    ) -> Result<Solve, InvalidInput> {
        let start = Start::Potential(start);
        let options = TimeDependentOptions { tolerance: self.tolerance, start, ..Default::default() };
        let solution = game.solve(&options)?;
        Ok(Solve {
            sample: time_dependent_fields(game, &solution),
            reached: solution.termination == Termination::Converged,
            value: solution.upper,
        })
    }

    /// Semi-relaxed transport with nodes in a random order.
    fn static_solve(&self, problem: &TorusProblem, seed: u64) -> Result<Solve, InvalidInput> {
        let nodes = problem.grid.node_count();
        let order = random_relabelling(nodes, seed);
        let cost = DenseCost::new(relabelled_cost(problem, &order))?;
        let relabel = |field: &ArrayD<f64>| {
            let values: Vec<f64> = field.iter().copied().collect();
            order.iter().map(|i| values[*i]).collect::<Vec<f64>>()
        };
        let (p, q) = (relabel(&problem.source), relabel(&problem.target));
        let options = Options { tolerance: self.tolerance, ..Default::default() };
        let plan = semi_relaxed_transport(&cost, &p, &q, problem.kind, &options)?;
        let mut initial_potential = vec![0.0; nodes];
        for (a, value) in plan.source_potential.iter().enumerate() {
            initial_potential[order[a]] = *value;
        }
        Ok(Solve {
            sample: straight_line_fields(problem, initial_potential, plan.gap()),
            reached: plan.gap() <= self.tolerance * (1.0 + plan.upper.abs()),
            value: plan.upper,
        })
    }
}

/// Multiplier steps within which the certified gap must reach the floor of the grid.
const SETTLING_ROUNDS: usize = 100;

/// Newton steps within which the smooth dual must come to rest.
const SETTLING_STEPS: usize = 200;

/// The large-grid solver from `start`, beyond the floor of its certified gap.
fn large_grid_solve(problem: &TorusProblem, start: Vec<f64>) -> Result<Solve, InvalidInput> {
    let at_floor = AtFloor::Settle;
    let options = DualOptions {
        relative_gap: 0.0,
        rounds: SETTLING_ROUNDS,
        iterations: SETTLING_STEPS,
        at_floor,
        start: Some(start),
        ..Default::default()
    };
    let solution = solve_dual(problem, &options)?;
    let initial = solution.initial_potential.iter().copied().collect();
    Ok(Solve {
        sample: straight_line_fields(problem, initial, solution.gap()),
        reached: solution.termination != Termination::IterationLimit,
        value: solution.upper,
    })
}

/// Largest pairwise distance modulo constants.
fn largest_distance(fields: &[Vec<f64>]) -> f64 {
    let pairs = fields.iter().enumerate().flat_map(|(k, a)| fields[..k].iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| sup_distance_modulo_constant(a, b)).fold(0.0, f64::max)
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
                    assert_eq!(row.verdict, Verdict::Holds, "{row:?}");
                }
            }
        }
    }

    #[test]
    fn the_large_grid_solver_finds_one_solution_from_thirty_two_potentials() {
        for (dimension, side) in [(1, 128), (2, 32)] {
            let row = case(dimension, side, NamedDensity::Mixture, Solver::LargeGrid).run().unwrap();
            println!("{row:?}");
            assert_eq!(row.verdict, Verdict::Holds, "{row:?}");
            // Starts 0.1 apart end closer than the certificate itself in U and v (measured a thirtieth of it or less); rho(T)
            // lies on the lattice, where the landing points' differences count by the spacing.
            let closest = row.spread.potential.max(row.spread.velocity);
            assert!(row.start_spread > 0.05 && closest < row.gap_tolerance, "{row:?}");
        }
    }

    #[test]
    fn solutions_of_two_games_do_not_pass_as_one() {
        // The negative control of the comparison itself: half of the samples come from another target.
        let one = case(1, 48, NamedDensity::TwoBumps, Solver::Static);
        let other = case(1, 48, NamedDensity::Mixture, Solver::Static);
        let (problem, foreign) = (one.problem().unwrap(), other.problem().unwrap());
        let solves = |foreign: &TorusProblem| {
            vec![one.static_solve(&problem, 1).unwrap(), one.static_solve(foreign, 2).unwrap()]
        };
        assert_eq!(one.row(&problem, 0.0, solves(&problem)).verdict, Verdict::Holds);
        let mixed = one.row(&problem, 0.0, solves(&foreign));
        assert_eq!(mixed.verdict, Verdict::Fails);
        assert!(mixed.spread.largest() > CONTROL_FACTOR * SPREAD_FACTOR * mixed.gap_tolerance, "{mixed:?}");
        // A certificate as large as the value decides nothing, and says so.
        let mut loose = solves(&problem);
        loose.iter_mut().for_each(|solve| solve.sample.gap = solve.value);
        let large_grid = UniquenessCase { solver: Solver::LargeGrid, ..one };
        assert_eq!(large_grid.row(&problem, 0.0, loose).verdict, Verdict::Uncertified);
        let mut tired = solves(&problem);
        tired[0].reached = false;
        assert_eq!(large_grid.row(&problem, 0.0, tired).verdict, Verdict::Uncertified);
    }
}
