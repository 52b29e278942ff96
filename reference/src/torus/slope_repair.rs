//! Makes a potential obey the cap of [`super::slope_cap`] exactly: violating quadrants are projected one after the other
//! (a subgradient projection moves the few node values involved), what is left is scaled away.

use super::grid::TorusGrid;
use super::neighbours::{around, fill_nodes};
use super::slope_cap::violation;

/// Rounds of projections before scaling.
const ROUNDS: usize = 40;

/// A potential near `phi` whose multilinear interpolant is `L`-Lipschitz.
pub(crate) fn feasible(grid: &TorusGrid, phi: &[f64], lipschitz: f64) -> Vec<f64> {
    let mut phi = phi.to_vec();
    let mut steep = vec![false; phi.len()];
    for _ in 0..ROUNDS {
        fill_nodes(grid, &phi, &mut steep, 1, |_, v, out| {
            let largest = |side: &[f64; 2]| side[0].abs().max(side[1].abs()).powi(2);
            out[0] = v[..grid.dimension].iter().map(largest).sum::<f64>().sqrt() > lipschitz;
        });
        if !steep.contains(&true) {
            break;
        }
        for node in (0..phi.len()).filter(|node| steep[*node]) {
            project_node(grid, &mut phi, node, lipschitz);
        }
    }
    let excess = violation(grid, &phi, lipschitz);
    if excess > 0.0 {
        // One rounding unit more, so that the scaled slopes do not exceed L by rounding.
        let scale = (1.0 - 4.0 * f64::EPSILON) / (1.0 + excess);
        phi.iter_mut().for_each(|phi| *phi *= scale);
    }
    phi
}

/// Projects every quadrant of `node` that is too steep on the half space that its slope's direction supports.
fn project_node(grid: &TorusGrid, phi: &mut [f64], node: usize, lipschitz: f64) {
    let (d, inverse) = (grid.dimension, grid.nodes_per_side as f64);
    let around = around(grid, node);
    for quadrant in 0..1_usize << d {
        let mut slope = [0.0; 3];
        for axis in 0..d {
            let forward = quadrant >> axis & 1 == 1;
            let sign = if forward { 1.0 } else { -1.0 };
            slope[axis] = sign * inverse * (phi[around[axis][usize::from(forward)]] - phi[node]);
        }
        let norm = slope.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= lipschitz {
            continue;
        }
        // d norm / d phi: +- slope/norm/h at the neighbours, minus their sum at the node.
        let sign = |axis: usize| if quadrant >> axis & 1 == 1 { 1.0 } else { -1.0 };
        let derivative = |axis: usize| sign(axis) * slope[axis] / norm * inverse;
        let at_node: f64 = (0..d).map(derivative).sum();
        let square = at_node * at_node + inverse * inverse;
        let step = (norm - lipschitz) / square;
        for axis in 0..d {
            phi[around[axis][quadrant >> axis & 1]] -= step * derivative(axis);
        }
        phi[node] += step * at_node;
    }
}
