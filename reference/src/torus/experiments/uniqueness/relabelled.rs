//! The node cost under any order of the nodes.

use ndarray::Array2;

use crate::torus::problem::TorusProblem;

/// `c'(x_a, x_b)` between nodes in the order given.
pub(super) fn relabelled_cost(problem: &TorusProblem, order: &[usize]) -> Array2<f64> {
    let grid = &problem.grid;
    let table: Vec<f64> = problem.node_cost().iter().copied().collect();
    Array2::from_shape_fn((order.len(), order.len()), |(a, b)| {
        let (x, z) = (grid.multi_index(order[a]), grid.multi_index(order[b]));
        table[grid.flat_index([0, 1, 2].map(|axis| z[axis] as isize - x[axis] as isize))]
    })
}
