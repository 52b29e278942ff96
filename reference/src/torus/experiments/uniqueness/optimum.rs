//! The static optimum of the nodes, and the node cost under any order of the nodes.

use ndarray::{Array2, ArrayD};

use crate::specification::InvalidInput;
use crate::torus::operators::lipschitz::lipschitz_envelope;
use crate::torus::problem::TorusProblem;
use crate::transport::{DenseCost, SemiRelaxedOptions, semi_relaxed_transport};

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
    let psi = ArrayD::from_shape_vec(problem.grid.shape(), plan.potential.clone())
        .expect("one value for each node");
    let phi = lipschitz_envelope(&problem.grid, &psi, problem.parameters.lipschitz)?;
    Ok(StaticOptimum {
        terminal_potential: phi.iter().copied().collect(),
        initial_potential: plan.source_potential.clone(),
        lower: plan.lower,
        upper: plan.upper,
    })
}

/// `c'(x_a, x_b)` between nodes in the order given.
pub(super) fn relabelled_cost(problem: &TorusProblem, order: &[usize]) -> Array2<f64> {
    let grid = &problem.grid;
    let table: Vec<f64> = problem.node_cost().iter().copied().collect();
    Array2::from_shape_fn((order.len(), order.len()), |(a, b)| {
        let (x, z) = (grid.multi_index(order[a]), grid.multi_index(order[b]));
        table[grid.flat_index([0, 1, 2].map(|axis| z[axis] as isize - x[axis] as isize))]
    })
}
