//! Curvature of the value `phi -> <rho_0, U^0[phi]>`, a concave function of the terminal potential.
//!
//! With `B_n = S'(U^{n+1})` and the moving mass `R rho^n`, minus its second derivative is `sum_n A_n^T Q_n A_n`, where
//! `A_n = R B_{n+1} .. R B_{N-1}` carries a variation of `phi` back to `U^{n+1}` and
//! `Q_n = dt/(lambda h^2) sum_{i, j ~ i} (R rho^n)_i 1[U_i > U_j] (e_i - e_j)(e_i - e_j)^T`.
//! The scheme is only `C^{1,1}` (kinks of `(.)_+^2`); at ties the element with the indicator 0 is taken.

use ndarray::Array2;
use rayon::prelude::*;

use crate::torus::time_solver::scheme::HamiltonJacobiScheme;

/// `-d^2 <rho_0, U^0> / d phi^2` as a dense symmetric matrix, by `M_{n+1} = B_n^T R M_n R B_n + Q_n`.
///
/// `potentials` holds `U^0, .., U^N`, `moving` the masses `R rho^n`. `O(N nodes^2)` work, `2 nodes^2` numbers of memory.
pub fn dense_curvature(
    scheme: &HamiltonJacobiScheme,
    potentials: &[Vec<f64>],
    moving: &[Vec<f64>],
) -> Array2<f64> {
    let nodes = scheme.neighbours().node_count();
    let (mut matrix, mut work) = (vec![0.0; nodes * nodes], vec![0.0; nodes * nodes]);
    for n in 0..scheme.steps() {
        let next = &potentials[n + 1];
        if n > 0 {
            for _ in 0..2 {
                transpose(&matrix, &mut work, nodes);
                scheme.diffuse_rows(&mut work, nodes);
                carry_rows(scheme, next, &work, &mut matrix);
            }
        }
        add_edges(scheme, next, &moving[n], &mut matrix);
    }
    Array2::from_shape_vec((nodes, nodes), matrix).expect("nodes x nodes values were allocated")
}

/// `curvature * direction` without the matrix, the independent twin: one linearised sweep back, one adjoint sweep forward.
#[cfg(test)]
fn curvature_times(
    scheme: &HamiltonJacobiScheme,
    potentials: &[Vec<f64>],
    moving: &[Vec<f64>],
    direction: &[f64],
) -> Vec<f64> {
    let mut variations = vec![direction.to_vec()];
    for n in (1..scheme.steps()).rev() {
        let last = &variations[variations.len() - 1];
        variations.push(scheme.linearised_step(&potentials[n + 1], last));
    }
    let mut result = vec![0.0; direction.len()];
    for n in 0..scheme.steps() {
        let variation = &variations[scheme.steps() - 1 - n];
        let next = &potentials[n + 1];
        if n > 0 {
            scheme.diffuse(&mut result);
            result = scheme.transport_signed(next, &result);
        }
        for_each_descent(scheme, next, |i, j| {
            let flow = scheme.rate() * moving[n][i] * (variation[i] - variation[j]);
            result[i] += flow;
            result[j] -= flow;
        });
    }
    result
}

/// `Y = B^T X` for the walk matrix `B` of the step to `next`: each row of `Y` gathers rows of `X`.
fn carry_rows(scheme: &HamiltonJacobiScheme, next: &[f64], from: &[f64], into: &mut [f64]) {
    let (nodes, rate) = (next.len(), scheme.rate());
    let neighbours = scheme.neighbours();
    into.par_chunks_mut(nodes).enumerate().for_each(|(j, row)| {
        let mut stay = 1.0;
        row.fill(0.0);
        for axis in 0..neighbours.dimension {
            for neighbour in [neighbours.forward(axis)[j] as usize, neighbours.backward(axis)[j] as usize] {
                stay -= rate * (next[j] - next[neighbour]).max(0.0);
                let arriving = rate * (next[neighbour] - next[j]).max(0.0);
                if arriving > 0.0 {
                    add_scaled(row, arriving, &from[neighbour * nodes..(neighbour + 1) * nodes]);
                }
            }
        }
        add_scaled(row, stay, &from[j * nodes..(j + 1) * nodes]);
    });
}

/// Adds `Q_n` to the dense matrix.
fn add_edges(scheme: &HamiltonJacobiScheme, next: &[f64], moving: &[f64], matrix: &mut [f64]) {
    let nodes = next.len();
    for_each_descent(scheme, next, |i, j| {
        let weight = scheme.rate() * moving[i];
        matrix[i * nodes + i] += weight;
        matrix[j * nodes + j] += weight;
        matrix[i * nodes + j] -= weight;
        matrix[j * nodes + i] -= weight;
    });
}

/// Calls `visit(i, j)` for every node `i` and neighbour `j` with `U_i > U_j`.
fn for_each_descent(scheme: &HamiltonJacobiScheme, next: &[f64], mut visit: impl FnMut(usize, usize)) {
    let neighbours = scheme.neighbours();
    for axis in 0..neighbours.dimension {
        for neighbours in [neighbours.forward(axis), neighbours.backward(axis)] {
            for (i, j) in neighbours.iter().enumerate() {
                if next[i] > next[*j as usize] {
                    visit(i, *j as usize);
                }
            }
        }
    }
}

fn add_scaled(row: &mut [f64], factor: f64, other: &[f64]) {
    for (value, other) in row.iter_mut().zip(other) {
        *value += factor * other;
    }
}

/// `into = from^T`, in tiles that fit the first-level cache.
fn transpose(from: &[f64], into: &mut [f64], nodes: usize) {
    const TILE: usize = 32;
    into.par_chunks_mut(nodes * TILE).enumerate().for_each(|(block, rows)| {
        let first = block * TILE;
        for start in (0..nodes).step_by(TILE) {
            for (r, row) in rows.chunks_mut(nodes).enumerate() {
                for k in start..(start + TILE).min(nodes) {
                    row[k] = from[k * nodes + first + r];
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::lattice::grid::TorusGrid;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn dense_and_matrix_free_curvature_agree_and_are_the_second_derivative() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for (dimension, side, viscosity) in [(1, 37, 0.0), (1, 30, 0.02), (2, 8, 0.0), (2, 7, 0.01)] {
            let neighbours = TorusGrid::new(dimension, side).unwrap();
            let scheme = HamiltonJacobiScheme::new(neighbours, 0.8, 0.3, viscosity, 1.0).unwrap();
            let (nodes, half) = (scheme.neighbours().node_count(), 0.5 * scheme.neighbours().spacing());
            let mut field = || (0..nodes).map(|_| random.random_range(-half..half)).collect::<Vec<f64>>();
            let (terminal, direction) = (field(), field());
            let source = vec![1.0 / nodes as f64; nodes];
            let gradient = |phi: &[f64]| {
                let potentials = scheme.solve(phi);
                let flow = scheme.flow(&potentials, &source);
                (flow.weights[scheme.steps()].clone(), potentials, flow.moving)
            };
            let (_, potentials, moving) = gradient(&terminal);
            let dense = dense_curvature(&scheme, &potentials, &moving);
            let product = dense.dot(&ndarray::Array1::from(direction.clone()));
            let free = curvature_times(&scheme, &potentials, &moving, &direction);
            let size = free.iter().map(|value| value.abs()).fold(0.0, f64::max);
            let epsilon = 1e-7;
            let shifted = |sign: f64| {
                let phi: Vec<f64> =
                    terminal.iter().zip(&direction).map(|(p, d)| p + sign * epsilon * d).collect();
                gradient(&phi).0
            };
            let (ahead, behind) = (shifted(1.0), shifted(-1.0));
            for i in 0..nodes {
                assert!((product[i] - free[i]).abs() < 1e-13 * size.max(1.0));
                // Central difference of the gradient: rounding 1e-17/1e-7 against size ~ 1e-3; no kink is crossed.
                let difference = -(ahead[i] - behind[i]) / (2.0 * epsilon);
                assert!((difference - free[i]).abs() < 1e-6 * size, "{difference} {}", free[i]);
            }
            for i in 0..nodes {
                assert!((0..nodes).all(|j| (dense[[i, j]] - dense[[j, i]]).abs() < 1e-14));
            }
        }
    }
}
