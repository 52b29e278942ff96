//! Makes a potential obey the cap exactly: control slopes that are too steep are projected one after the other (a
//! subgradient projection moves the few node values involved), what is left is scaled away.

use super::control_slopes::{Edges, components, control_slopes, steepest_of_each, violation};
use super::grid::TorusGrid;
use super::neighbours::around;

/// Rounds of projections before scaling.
const ROUNDS: usize = 40;

/// A potential near `phi` whose control slopes are at most `L`.
pub(crate) fn feasible(grid: &TorusGrid, phi: &[f64], lipschitz: f64) -> Vec<f64> {
    let mut phi = phi.to_vec();
    let mut slopes = vec![0.0; phi.len() * components(grid)];
    let mut steepest = vec![0.0; phi.len()];
    for _ in 0..ROUNDS {
        control_slopes(grid, &phi, &mut slopes);
        steepest_of_each(grid, &slopes, &mut steepest);
        let mut projected = false;
        for node in (0..phi.len()).filter(|node| steepest[*node] > lipschitz) {
            project_node(grid, &mut phi, node, lipschitz);
            projected = true;
        }
        if !projected {
            return phi;
        }
    }
    let excess = violation(grid, &phi, lipschitz);
    if excess > 0.0 {
        // A few rounding units more, so that the scaled slopes do not exceed L by rounding.
        let scale = (1.0 - 16.0 * f64::EPSILON) / (1.0 + excess);
        phi.iter_mut().for_each(|phi| *phi *= scale);
    }
    phi
}

/// Projects every control slope of `node` that is too steep on the half space that its direction supports.
fn project_node(grid: &TorusGrid, phi: &mut [f64], node: usize, lipschitz: f64) {
    let (d, scale) = (grid.dimension, grid.nodes_per_side as f64);
    let around_node = around(grid, node);
    for stagger in 0..1_usize << d {
        // Derivative of each component in the node values: (node, component, weight).
        let mut weights: Vec<(usize, usize, f64)> = Vec::with_capacity(16);
        let mut slope = [0.0; 3];
        for (axis, slope) in slope[..d].iter_mut().enumerate() {
            let edges = Edges::of(&around_node, node, d, stagger, axis);
            let part = scale / edges.nodes().len() as f64;
            for edge in edges.nodes() {
                let next = around(grid, *edge)[axis][1];
                *slope += part * (phi[next] - phi[*edge]);
                weights.extend([(next, axis, part), (*edge, axis, -part)]);
            }
        }
        let norm = slope.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm <= lipschitz {
            continue;
        }
        let mut derivative: Vec<(usize, f64)> = Vec::with_capacity(9);
        for (index, axis, weight) in weights {
            let term = weight * slope[axis] / norm;
            match derivative.iter_mut().find(|(other, _)| *other == index) {
                Some((_, sum)) => *sum += term,
                None => derivative.push((index, term)),
            }
        }
        let square: f64 = derivative.iter().map(|(_, term)| term * term).sum();
        if square > 0.0 {
            let step = (norm - lipschitz) / square;
            derivative.iter().for_each(|(index, term)| phi[*index] -= step * term);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn repair_makes_any_potential_feasible_and_leaves_feasible_ones_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(15);
        for (dimension, n) in [(1, 16), (2, 9), (3, 5)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            for size in [1e-3, 1.0, 1e6] {
                let rough: Vec<f64> = (0..grid.node_count()).map(|_| rng.random_range(-size..size)).collect();
                let phi = feasible(&grid, &rough, 0.7);
                assert!(violation(&grid, &phi, 0.7) <= 0.0);
                assert_eq!(feasible(&grid, &phi, 0.7), phi);
            }
        }
    }
}
