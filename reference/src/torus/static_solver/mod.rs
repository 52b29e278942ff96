//! The static solver: the node problem of [`TorusProblem`] as semi-relaxed transport (notation 1.4), solved exactly by the
//! forest active set of [`crate::transport`], every divergence, certificate to rounding. Dense cost: N^d up to a few thousand.

mod circulant_cost;

use std::time::Instant;

use ndarray::{Array2, ArrayD};

use crate::options::Options;
use crate::specification::InvalidInput;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::operators::hopf_lax::{hopf_lax, hopf_lax_map};
use crate::torus::operators::lipschitz::envelope_with_apexes;
use crate::torus::problem::TorusProblem;
use crate::torus::solution::{BoundedProblem, TorusSolution};
use crate::torus::static_solver::circulant_cost::CirculantCost;
use crate::transport::{DenseCost, GroundCost, semi_relaxed_transport};

/// Nodes at most, with or without mass: more are refused before anything is allocated.
pub const MOST_STATIC_NODES: usize = 1 << 20;

/// Largest cost matrix, in entries (two gibibytes).
const LARGEST_COST: usize = 1 << 28;

/// Where the middle point `y` of `c(x, y) + L |y - z|` may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MiddlePoint {
    /// On nodes: the problem of [`TorusProblem`], the one the large-grid solver bounds.
    Node,
    /// Anywhere: the Huber cost of notation 2.2. `rho_T` is then given by multilinear weights at the nodes around `y`.
    Continuum,
}

/// One row-to-column move of the optimal plan, with its middle point in coordinates relative to the source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// C-order index of the source node `x`.
    pub source: usize,
    /// C-order index of the target node `z`.
    pub target: usize,
    /// `y - x`, the displacement by time `T`, the shortest on the torus.
    pub displacement: [f64; 3],
    /// Mass.
    pub mass: f64,
}

/// A static solution with its plan.
#[derive(Debug, Clone)]
pub struct StaticSolution {
    /// Bounds and fields.
    pub solution: TorusSolution,
    /// The optimal plan, one entry for each arc of the forest that carries mass.
    pub plan: Vec<Move>,
}

/// Solves `problem` exactly.
///
/// # Errors
/// [`InvalidInput`] for more than 2^20 nodes, when the cost matrix would exceed 2^28 entries (only nodes with mass count), or from the transport
/// solver.
pub fn solve_static(
    problem: &TorusProblem,
    middle: MiddlePoint,
    options: &Options,
) -> Result<StaticSolution, InvalidInput> {
    let started = Instant::now();
    if problem.grid.node_count() > MOST_STATIC_NODES {
        let allowed = format!("at most {MOST_STATIC_NODES} nodes; --solver dual takes larger grids");
        return Err(InvalidInput::new("grid (static solver)", problem.grid.node_count(), allowed));
    }
    let (rows, p) = support(&problem.source);
    let (columns, q) = support(&problem.target);
    if rows.len().saturating_mul(columns.len()) > LARGEST_COST {
        return Err(InvalidInput::new(
            "grid (static solver)",
            format!("{} source by {} target nodes", rows.len(), columns.len()),
            "at most 2^28 pairs; --solver dual takes larger grids",
        ));
    }
    let grid = problem.grid;
    let table = match middle {
        MiddlePoint::Node => problem.node_cost(),
        MiddlePoint::Continuum => problem.huber_cost(),
    };
    let values = table.as_slice().expect("standard layout");
    let circle = grid.dimension == 1 && columns.len() == grid.node_count();
    let cost: Box<dyn GroundCost> = if circle {
        Box::new(CirculantCost::new(values, rows.clone())?)
    } else {
        Box::new(DenseCost::new(Array2::from_shape_fn((rows.len(), columns.len()), |(i, j)| {
            values[difference(&grid, columns[j], rows[i])]
        }))?)
    };
    let transport = semi_relaxed_transport(cost.as_ref(), &p, &q, problem.kind, options)?;

    let potential = extended_potential(problem, &columns, &transport.potential);
    let initial_potential = match middle {
        MiddlePoint::Node => {
            hopf_lax(&grid, &potential, problem.parameters.lambda, problem.parameters.horizon)?
        }
        MiddlePoint::Continuum => minimum_over_columns(&grid, &table, &columns, &transport.potential),
    };
    let middles = MiddleTable::new(problem, middle)?;
    let plan: Vec<Move> = transport
        .plan
        .iter()
        .map(|&(i, j, mass)| {
            let (source, target) = (rows[i as usize], columns[j as usize]);
            Move { source, target, displacement: middles.displacement(&grid, source, target), mass }
        })
        .collect();
    let (terminal_density, kinetic_cost, lipschitz_cost) = terminal_law(problem, &plan);
    let mut intermediate = ArrayD::zeros(grid.shape());
    scatter(&mut intermediate, columns.iter().copied().zip(transport.second_marginal.iter().copied()));
    let solution = TorusSolution {
        bounded: match middle {
            MiddlePoint::Node => BoundedProblem::Nodes,
            MiddlePoint::Continuum => BoundedProblem::FreeMiddle,
        },
        lower: transport.lower,
        upper: transport.upper,
        terminal_potential: potential,
        initial_potential,
        terminal_density,
        intermediate,
        kinetic_cost,
        lipschitz_cost,
        divergence: transport.divergence,
        termination: transport.termination,
        iterations: transport.iterations,
        seconds: started.elapsed().as_secs_f64(),
    }
    .gated();
    Ok(StaticSolution { solution, plan })
}

/// Indices and masses of the nodes that carry mass.
fn support(masses: &ArrayD<f64>) -> (Vec<usize>, Vec<f64>) {
    masses.iter().copied().enumerate().filter(|(_, mass)| *mass > 0.0).unzip()
}

/// C-order index of the displacement `a - b`.
fn difference(grid: &TorusGrid, a: usize, b: usize) -> usize {
    let (a, b) = (grid.multi_index(a), grid.multi_index(b));
    grid.flat_index([0, 1, 2].map(|axis| a[axis] as isize - b[axis] as isize))
}

/// `phi(y) = min_j psi_j + L |y - z_j|` at every node: the McShane extension of notation 1.4.
fn extended_potential(problem: &TorusProblem, columns: &[usize], psi: &[f64]) -> ArrayD<f64> {
    let mut values = vec![f64::INFINITY; problem.grid.node_count()];
    for (column, value) in columns.iter().zip(psi) {
        values[*column] = *value;
    }
    let slope = problem.parameters.lipschitz * problem.grid.spacing();
    let (envelope, _) = envelope_with_apexes(&problem.grid, &values, slope);
    ArrayD::from_shape_vec(problem.grid.shape(), envelope).expect("one value for each node")
}

fn minimum_over_columns(
    grid: &TorusGrid,
    table: &ArrayD<f64>,
    columns: &[usize],
    psi: &[f64],
) -> ArrayD<f64> {
    let table = table.as_slice().expect("standard layout");
    let values = (0..grid.node_count())
        .map(|x| {
            columns
                .iter()
                .zip(psi)
                .fold(f64::INFINITY, |best, (z, psi)| best.min(psi + table[difference(grid, *z, x)]))
        })
        .collect();
    ArrayD::from_shape_vec(grid.shape(), values).expect("one value for each node")
}

/// The middle point for every displacement `z - x`.
enum MiddleTable {
    /// Index of `y - z` for the displacement `x - z`.
    Node(Vec<usize>),
    /// The kink `L T / lambda`: `y` lies on the segment from `x` to `z`, at most that far.
    Continuum(f64),
}

impl MiddleTable {
    fn new(problem: &TorusProblem, middle: MiddlePoint) -> Result<Self, InvalidInput> {
        let parameters = problem.parameters;
        match middle {
            MiddlePoint::Continuum => Ok(Self::Continuum(parameters.kink())),
            MiddlePoint::Node => {
                let cone = problem.grid.distance_from_origin() * parameters.lipschitz;
                let (_, nodes) = hopf_lax_map(&problem.grid, &cone, parameters.lambda, parameters.horizon)?;
                Ok(Self::Node(nodes.into_iter().collect()))
            }
        }
    }

    fn displacement(&self, grid: &TorusGrid, x: usize, z: usize) -> [f64; 3] {
        match self {
            Self::Node(nodes) => {
                // y - x = (y - z) - (x - z), both on the grid.
                let from_target = difference(grid, x, z);
                shortest(grid, difference(grid, nodes[from_target], from_target))
            }
            Self::Continuum(kink) => {
                let whole = shortest(grid, difference(grid, z, x));
                let length = whole.iter().map(|d| d * d).sum::<f64>().sqrt();
                whole.map(|d| if length > *kink { d * kink / length } else { d })
            }
        }
    }
}

/// The shortest vector of a displacement index; of two equally short ones, the positive.
fn shortest(grid: &TorusGrid, displacement: usize) -> [f64; 3] {
    let n = grid.nodes_per_side;
    grid.multi_index(displacement).map(|index| {
        let signed = if 2 * index > n { index as f64 - n as f64 } else { index as f64 };
        signed * grid.spacing()
    })
}

/// `rho_T` by multilinear weights (a single node when `y` is one), and the two transport costs.
fn terminal_law(problem: &TorusProblem, plan: &[Move]) -> (ArrayD<f64>, f64, f64) {
    let grid = problem.grid;
    let (mut kinetic, mut lipschitz) = (0.0, 0.0);
    let mut density = ArrayD::zeros(grid.shape());
    let weight = problem.parameters.lambda / (2.0 * problem.parameters.horizon);
    for arc in plan {
        let x = grid.position(arc.source);
        let y = [0, 1, 2].map(|axis| x[axis] + arc.displacement[axis]);
        kinetic += arc.mass * weight * arc.displacement.iter().map(|d| d * d).sum::<f64>();
        lipschitz += arc.mass
            * problem.parameters.lipschitz
            * grid.squared_distance(y, grid.position(arc.target)).sqrt();
        scatter(&mut density, multilinear(&grid, y, arc.mass).into_iter());
    }
    (density, kinetic, lipschitz)
}

/// Nodes around `y` with multilinear weights times `mass`.
fn multilinear(grid: &TorusGrid, y: [f64; 3], mass: f64) -> Vec<(usize, f64)> {
    let scaled = y.map(|value| value * grid.nodes_per_side as f64);
    // A node that rounding moved by an ulp stays one node.
    let base = scaled.map(|value| (value + 1e-9).floor());
    let mut corners = Vec::new();
    for corner in 0..1_usize << grid.dimension {
        let mut weight = mass;
        let mut index = [0_isize; 3];
        for axis in 0..grid.dimension {
            let upper = corner >> axis & 1;
            let part = (scaled[axis] - base[axis]).clamp(0.0, 1.0);
            let part = if part < 1e-9 { 0.0 } else { part };
            weight *= if upper == 1 { part } else { 1.0 - part };
            index[axis] = base[axis] as isize + upper as isize;
        }
        if weight > 0.0 {
            corners.push((grid.flat_index(index), weight));
        }
    }
    corners
}

fn scatter(density: &mut ArrayD<f64>, entries: impl Iterator<Item = (usize, f64)>) {
    let values = density.as_slice_mut().expect("standard layout");
    for (node, mass) in entries {
        values[node] += mass;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::specification::{DivergenceKind, ProximalParameters};
    use crate::torus::NamedDensity;

    fn problem(dimension: usize, n: usize, target: NamedDensity, lipschitz: f64) -> TorusProblem {
        let grid = TorusGrid::new(dimension, n).unwrap();
        let parameters = ProximalParameters::new(lipschitz, 1.0, 0.5).unwrap();
        let source = NamedDensity::Bump.on(&grid);
        TorusProblem::new(grid, &source, &target.on(&grid), parameters, DivergenceKind::KullbackLeibler)
            .unwrap()
    }

    #[test]
    fn the_parts_of_the_cost_add_up_to_the_certified_value() {
        for (dimension, n, target, lipschitz) in [
            (1, 64, NamedDensity::TwoBumps, 10.0),
            (1, 64, NamedDensity::Circle, 0.2),
            (2, 12, NamedDensity::Circle, 0.2),
            (2, 12, NamedDensity::Point, 5.0),
        ] {
            for middle in [MiddlePoint::Node, MiddlePoint::Continuum] {
                let problem = problem(dimension, n, target, lipschitz);
                let solved = solve_static(&problem, middle, &Options::default()).unwrap().solution;
                assert!(solved.gap().abs() <= 1e-11 * (1.0 + solved.upper)); // the solver's promise
                let sum = solved.kinetic_cost + solved.lipschitz_cost + solved.divergence;
                assert!((sum - solved.upper).abs() < 1e-12, "{middle:?} {target}: {sum} {}", solved.upper); // rounding
                assert!(solved.mass_error() < 1e-12); // rounding
            }
        }
    }

    #[test]
    fn node_and_huber_optima_differ_by_at_most_the_excess() {
        let problem = problem(2, 16, NamedDensity::TwoBumps, 0.2);
        let value = |middle| solve_static(&problem, middle, &Options::default()).unwrap().solution.upper;
        let (node, huber) = (value(MiddlePoint::Node), value(MiddlePoint::Continuum));
        assert!(node >= huber - 1e-12); // rounding
        assert!(node - huber <= problem.huber_excess() + 1e-12); // rounding
        assert!(node > huber + 1e-9); // the bound is not empty here
    }

    #[test]
    fn velocity_is_constant_along_every_path_to_rounding() {
        // From the middle of a path, Hopf-Lax over the remaining time must return the rest of the same straight line.
        let problem = problem(2, 16, NamedDensity::TwoBumps, 0.3);
        let grid = problem.grid;
        let (lambda, horizon) = (problem.parameters.lambda, problem.parameters.horizon);
        let solved = solve_static(&problem, MiddlePoint::Node, &Options::default()).unwrap();
        let phi = &solved.solution.terminal_potential;
        let half = hopf_lax(&grid, phi, lambda, horizon / 2.0).unwrap();
        let mut checked = 0;
        for arc in &solved.plan {
            let x = grid.multi_index(arc.source).map(|i| i as isize);
            let steps = arc.displacement.map(|d| (d * 16.0).round() as isize);
            let end = grid.flat_index([0, 1, 2].map(|axis| x[axis] + steps[axis]));
            let length2: f64 = arc.displacement.iter().map(|d| d * d).sum();
            let value = phi.as_slice().unwrap()[end] + lambda / (2.0 * horizon) * length2;
            assert!(
                (value - solved.solution.initial_potential.as_slice().unwrap()[arc.source]).abs() < 1e-12
            ); // rounding
            if steps.iter().all(|s| s % 2 == 0) {
                let middle = grid.flat_index([0, 1, 2].map(|axis| x[axis] + steps[axis] / 2));
                let rest = phi.as_slice().unwrap()[end] + lambda / horizon * length2 / 4.0;
                assert!((half.as_slice().unwrap()[middle] - rest).abs() < 1e-12); // rounding
                checked += 1;
            }
        }
        assert!(checked > 50);
    }

    #[test]
    fn degenerate_inputs_solve() {
        let grid = TorusGrid::new(1, 32).unwrap();
        let (point, gaussian) = (NamedDensity::Point.on(&grid), NamedDensity::Gaussian.on(&grid));
        for (lipschitz, lambda, horizon) in
            [(1e-6, 1.0, 1.0), (1e6, 1.0, 1.0), (1.0, 1e-6, 1.0), (1.0, 1e6, 1.0), (1.0, 1.0, 1e-6)]
        {
            let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
            for (source, target) in [(&point, &gaussian), (&gaussian, &point), (&point, &point)] {
                let problem =
                    TorusProblem::new(grid, source, target, parameters, DivergenceKind::KullbackLeibler)
                        .unwrap();
                let solved = solve_static(&problem, MiddlePoint::Node, &Options::default()).unwrap().solution;
                assert!(solved.gap() <= 1e-9 * (1.0 + solved.upper), "{lipschitz} {lambda} {horizon}");
            }
        }
    }
}
