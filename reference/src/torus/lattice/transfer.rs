//! Transfer between a grid of `N` nodes per side and one of `N/2`: the coarse nodes are every second fine node.

use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::{rotate_axes, transform_lines};

/// The grid of half the nodes per side, when `N` is even.
pub(crate) fn coarser(grid: &TorusGrid) -> Option<TorusGrid> {
    if grid.nodes_per_side.is_multiple_of(2) {
        TorusGrid::new(grid.dimension, grid.nodes_per_side / 2).ok()
    } else {
        None
    }
}

/// Node values at every second node of `fine`.
pub(crate) fn every_second(fine: &TorusGrid, values: &[f64]) -> Vec<f64> {
    let even = |flat: &usize| fine.multi_index(*flat).iter().all(|index| index.is_multiple_of(2));
    (0..values.len()).filter(even).map(|flat| values[flat]).collect()
}

/// Node masses on the coarser grid: every fine node gives itself, or half to each neighbour, along each axis.
/// Keeps the mass, the sign, and the mean position.
pub(crate) fn restrict_masses(coarse: &TorusGrid, fine: &[f64]) -> Vec<f64> {
    let half = coarse.nodes_per_side;
    let n = 2 * half;
    let mut values = fine.to_vec();
    for _ in 0..coarse.dimension {
        let rows = values.len() / n;
        let mut next = vec![0.0; rows * half];
        for row in 0..rows {
            let line = &values[row * n..(row + 1) * n];
            for j in 0..half {
                let left = line[(2 * j + n - 1) % n];
                next[j * rows + row] = line[2 * j] + 0.5 * (left + line[2 * j + 1]);
            }
        }
        values = next;
    }
    values
}

/// Node values on the finer grid by four-point interpolation `(-1, 9, 9, -1)/16` along each axis: exact for cubics, so
/// second differences (densities, for a potential) are kept to second order.
pub(crate) fn prolong_values(coarse: &TorusGrid, values: &[f64]) -> Vec<f64> {
    let half = coarse.nodes_per_side;
    let n = 2 * half;
    let mut current = values.to_vec();
    for _ in 0..coarse.dimension {
        let rows = current.len() / half;
        let mut next = vec![0.0; rows * n];
        for row in 0..rows {
            let line = &current[row * half..(row + 1) * half];
            for j in 0..half {
                let at = |offset: usize| line[(j + offset + half - 1) % half];
                next[2 * j * rows + row] = line[j];
                next[(2 * j + 1) * rows + row] = (9.0 * (at(1) + at(2)) - at(0) - at(3)) / 16.0;
            }
        }
        current = next;
    }
    current
}

/// Node values on the finer grid, linear in between (keeps signs and bounds).
pub(crate) fn prolong_linearly(coarse: &TorusGrid, values: &[f64]) -> Vec<f64> {
    let half = coarse.nodes_per_side;
    let mut current = values.to_vec();
    // Axis by axis from the last: `inner` numbers follow each node of the axis.
    let mut inner = 1;
    for _ in 0..coarse.dimension {
        let block = half * inner;
        let mut next = Vec::with_capacity(2 * current.len());
        for line in current.chunks(block) {
            for j in 0..half {
                let (here, ahead) = (&line[j * inner..], &line[(j + 1) % half * inner..]);
                next.extend_from_slice(&here[..inner]);
                next.extend(here[..inner].iter().zip(ahead).map(|(a, b)| 0.5 * (a + b)));
            }
        }
        current = next;
        inner *= 2 * half;
    }
    current
}

/// The binomial step `(1, 2, 1)/4`, from its middle.
pub(crate) const BINOMIAL: [f64; 2] = [0.5, 0.25];

/// `values` averaged along every axis with weights `kernel[0]` at the node and `kernel[k]` at distance `k` on both sides.
pub(crate) fn averaged(grid: &TorusGrid, values: &[f64], kernel: &[f64]) -> Vec<f64> {
    let n = grid.nodes_per_side;
    let mut current = values.to_vec();
    let mut scratch = vec![0.0; values.len()];
    for _ in 0..grid.dimension {
        transform_lines(
            grid,
            &current,
            &mut scratch,
            || (),
            |(), line, out| {
                for (j, out) in out.iter_mut().enumerate() {
                    *out = kernel[0] * line[j];
                    for (distance, weight) in kernel.iter().enumerate().skip(1) {
                        *out += weight * (line[(j + distance) % n] + line[(j + distance * (n - 1)) % n]);
                    }
                }
            },
        );
        rotate_axes(&scratch, n, &mut current);
    }
    current
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn restriction_keeps_mass_and_prolongation_has_fourth_order() {
        let error = |n: usize| {
            let fine = TorusGrid::new(2, n).unwrap();
            let coarse = coarser(&fine).unwrap();
            let f = |x: [f64; 3]| (2.0 * PI * x[0]).sin() * (2.0 * PI * x[1]).cos();
            let masses: Vec<f64> = fine.tabulate(|x| 1.5 + f(x)).into_iter().collect();
            let restricted = restrict_masses(&coarse, &masses);
            assert!((restricted.iter().sum::<f64>() / masses.iter().sum::<f64>() - 1.0).abs() < 1e-14); // rounding
            let values: Vec<f64> = coarse.tabulate(f).into_iter().collect();
            let expected = fine.tabulate(f);
            prolong_values(&coarse, &values)
                .iter()
                .zip(&expected)
                .fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs()))
        };
        let errors = [16, 32, 64, 128].map(error);
        for pair in errors.windows(2) {
            assert!(((pair[0] / pair[1]).log2() - 4.0).abs() < 0.3, "{errors:?}"); // asymptotic within 0.3 at N = 16
        }
    }
}
