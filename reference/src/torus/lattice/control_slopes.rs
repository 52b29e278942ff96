//! Slopes that bound the gradient of a smooth potential between nodes.
//!
//! Node values `phi` are the coefficients of the quadratic B-spline `phi^ = sum_i phi_i B(x - x_i)`, the multilinear interpolant
//! averaged over a box of side `h`. Its gradient is a Bernstein combination (convex weights) of *control slopes*, one vector for
//! each point `x_i + h s/2`, `s` in `{0,1}^d`: component `a` averages the difference quotients of the edges along `a` nearest to
//! that point (two edges behind and ahead where `s_a = 0`, the edge itself where `s_a = 1`; both neighbouring lines along
//! every other axis with `s_b = 1`). So `|control slope| <= L` everywhere makes `phi^` `L`-Lipschitz, and each control slope is
//! the gradient of a smooth function at its point up to O(h^2). (One-sided quotients would bound the multilinear
//! interpolant, but are off by O(h) wherever the level sets are curved.)

use crate::torus::lattice::edge_flux::EdgeFlux;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::line_fields::{Mean, Side, for_each_line};
use crate::torus::lattice::vector::maximum;

/// `2^d` control slopes of `d` components for each node, the components of a stagger one after the other.
pub(crate) fn components(grid: &TorusGrid) -> usize {
    grid.dimension << grid.dimension
}

/// Component `axis` of the control slope `stagger` as a mean of difference quotients along that axis.
pub(crate) fn edges(dimension: usize, stagger: usize, axis: usize) -> Mean {
    let mut sides = [None; 3];
    for (other, side) in sides[..dimension].iter_mut().enumerate() {
        let staggered = stagger >> other & 1 == 1;
        *side = match other == axis {
            true if !staggered => Some(Side::Behind),
            false if staggered => Some(Side::Ahead),
            _ => None,
        };
    }
    Mean { sides }
}

/// Fills `slopes` ([`components`] numbers for each node, line by line) with the control slopes of the potential whose
/// difference quotients are given.
pub(crate) fn control_slopes(grid: &TorusGrid, quotients: &EdgeFlux, slopes: &mut [f64]) {
    let (d, n) = (grid.dimension, grid.nodes_per_side);
    for_each_line(grid, slopes, components(grid), |line, block| {
        block.fill(0.0);
        for (component, out) in block.chunks_mut(n).enumerate() {
            let (stagger, axis) = (component / d, component % d);
            edges(d, stagger, axis).add(grid, line, |line| quotients.line(axis, line), 1.0, out);
        }
    });
}

/// Fills `flux` with the edge field `f` for which `sum_e f_e (phi_next - phi) = weight * sum <stress, control slope>` for
/// every `phi`.
pub(crate) fn gather_on_edges(grid: &TorusGrid, stresses: &[f64], weight: f64, flux: &mut EdgeFlux) {
    let (d, n) = (grid.dimension, grid.nodes_per_side);
    let record = components(grid);
    let scale = weight * n as f64;
    for axis in 0..d {
        for_each_line(grid, flux.component_mut(axis), 1, |line, out| {
            out.fill(0.0);
            for stagger in 0..1_usize << d {
                let component = stagger * d + axis;
                let row = |line: usize| &stresses[(line * record + component) * n..][..n];
                edges(d, stagger, axis).transposed().add(grid, line, row, scale, out);
            }
        });
    }
}

/// A field at the points of the control slopes on the grid of twice the nodes per side: the points of the coarse one are the
/// fine nodes, in between it is linear (keeps bounds).
pub(crate) fn prolong_stresses(coarse: &TorusGrid, stresses: &[f64]) -> Vec<f64> {
    let (d, n) = (coarse.dimension, coarse.nodes_per_side);
    let fine = TorusGrid { nodes_per_side: 2 * n, ..*coarse };
    let record = components(coarse);
    let at = |point: [usize; 3], axis: usize| {
        let point = point.map(|i| i % (2 * n));
        let line = point[..d - 1].iter().fold(0, |line, i| line * n + i / 2);
        let stagger = (0..d).map(|axis| (point[axis] % 2) << axis).sum::<usize>();
        stresses[(line * record + stagger * d + axis) * n + point[d - 1] / 2]
    };
    let mut out = vec![0.0; fine.node_count() * record];
    for_each_line(&fine, &mut out, record, |line, block| {
        let first = fine.multi_index(line * 2 * n);
        for (component, row) in block.chunks_mut(2 * n).enumerate() {
            let (stagger, axis) = (component / d, component % d);
            // The fine point lies between the fine nodes whose offsets are subsets of its stagger.
            let offsets: Vec<usize> = (0..1_usize << d).filter(|offset| offset & !stagger == 0).collect();
            for (column, out) in row.iter_mut().enumerate() {
                let value = |offset: &usize| {
                    let mut point = first;
                    point[d - 1] = column;
                    (0..d).for_each(|axis| point[axis] += offset >> axis & 1);
                    at(point, axis)
                };
                *out = offsets.iter().map(value).sum::<f64>() / offsets.len() as f64;
            }
        }
    });
    out
}

/// `max |control slope| / L - 1`: by how much `phi` breaks the cap (negative: it does not).
pub(crate) fn violation(grid: &TorusGrid, phi: &[f64], lipschitz: f64) -> f64 {
    maximum(&steepest_at_each(grid, phi)) / lipschitz - 1.0
}

/// The largest norm among each node's control slopes.
pub(crate) fn steepest_at_each(grid: &TorusGrid, phi: &[f64]) -> Vec<f64> {
    let (d, n) = (grid.dimension, grid.nodes_per_side);
    let quotients = EdgeFlux::quotients(*grid, phi);
    let mut steepest = vec![0.0; phi.len()];
    for_each_line(grid, &mut steepest, 1, |line, out| {
        let (mut squares, mut row) = (vec![0.0; n], vec![0.0; n]);
        for stagger in 0..1_usize << d {
            squares.fill(0.0);
            for axis in 0..d {
                row.fill(0.0);
                edges(d, stagger, axis).add(grid, line, |line| quotients.line(axis, line), 1.0, &mut row);
                squares.iter_mut().zip(&row).for_each(|(square, v)| *square += v * v);
            }
            out.iter_mut().zip(&squares).for_each(|(out, square)| *out = out.max(square.sqrt()));
        }
    });
    steepest
}

/// Fills `norms` with the length of each vector whose components are the rows of `vectors`.
pub(crate) fn row_norms(vectors: &[f64], norms: &mut [f64]) {
    norms.fill(0.0);
    for row in vectors.chunks(norms.len()) {
        norms.iter_mut().zip(row).for_each(|(norm, v)| *norm += v * v);
    }
    norms.iter_mut().for_each(|norm| *norm = norm.sqrt());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// The quadratic B-spline and its derivative at distance `t`, in spacings.
    fn spline(t: f64) -> (f64, f64) {
        match t.abs() {
            r if r < 0.5 => (0.75 - r * r, -2.0 * t),
            r if r < 1.5 => (0.5 * (1.5 - r) * (1.5 - r), -(1.5 - r) * t.signum()),
            _ => (0.0, 0.0),
        }
    }

    #[test]
    fn control_slopes_bound_the_gradient_of_the_spline() {
        let mut rng = ChaCha8Rng::seed_from_u64(14);
        let grid = TorusGrid::new(2, 6).unwrap();
        for _ in 0..20 {
            let phi: Vec<f64> = (0..36).map(|_| rng.random_range(-1.0..1.0)).collect();
            let bound = 1.0 + violation(&grid, &phi, 1.0);
            let mut sampled = 0.0_f64;
            for (x, y) in (0..48).flat_map(|x| (0..48).map(move |y| (f64::from(x) / 8.0, f64::from(y) / 8.0)))
            {
                let mut gradient = [0.0; 2];
                for (i, j) in (-2..=2).flat_map(|i| (-2..=2).map(move |j| (i, j))) {
                    let (column, row) = (x.floor() as isize + i, y.floor() as isize + j);
                    let ((a, da), (b, db)) = (spline(x - column as f64), spline(y - row as f64));
                    let value = phi[grid.flat_index([column, row, 0])];
                    gradient[0] += 6.0 * value * da * b;
                    gradient[1] += 6.0 * value * a * db;
                }
                sampled = sampled.max(gradient[0].hypot(gradient[1]));
            }
            assert!(sampled <= bound + 1e-12, "{sampled} {bound}"); // rounding
            assert!(sampled >= 0.5 * bound, "{sampled} {bound}"); // the control polygon is not far from the field
        }
    }

    #[test]
    fn control_slopes_of_a_smooth_function_have_second_order() {
        let error = |n: usize| {
            let grid = TorusGrid::new(2, n).unwrap();
            let tau = 2.0 * std::f64::consts::PI;
            // |gradient|^2 = tau^2 (cos^2 + cos^2), largest tau sqrt 2 at a node
            let phi: Vec<f64> =
                grid.tabulate(|x| (tau * x[0]).sin() + (tau * x[1]).sin()).into_iter().collect();
            violation(&grid, &phi, tau * 2.0_f64.sqrt()).abs()
        };
        let errors = [8, 16, 32, 64].map(error);
        let order = (errors[0] / errors[3]).log2() / 3.0;
        assert!((order - 2.0).abs() < 0.2, "{errors:?}"); // asymptotic within 0.2
    }

    #[test]
    fn prolonged_stresses_of_a_smooth_field_have_second_order() {
        let tau = 2.0 * std::f64::consts::PI;
        let field = |x: [f64; 2], axis: usize| (tau * x[axis]).sin() + (tau * (x[0] - 2.0 * x[1])).cos();
        // The field at the points of the control slopes of a grid.
        let sampled = |grid: &TorusGrid| -> Vec<f64> {
            let (n, h) = (grid.nodes_per_side, grid.spacing());
            let mut values = vec![0.0; grid.node_count() * components(grid)];
            for (k, value) in values.iter_mut().enumerate() {
                let (row, component) = (k / n / components(grid), k / n % components(grid));
                let half = |bit: usize| 0.5 * ((component / 2) >> bit & 1) as f64;
                *value = field([h * (row as f64 + half(0)), h * ((k % n) as f64 + half(1))], component % 2);
            }
            values
        };
        let error = |n: usize| {
            let (coarse, fine) = (TorusGrid::new(2, n).unwrap(), TorusGrid::new(2, 2 * n).unwrap());
            let prolonged = prolong_stresses(&coarse, &sampled(&coarse));
            let pairs = prolonged.iter().zip(sampled(&fine));
            pairs.fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs()))
        };
        let errors = [8, 16, 32, 64].map(error);
        let order = (errors[0] / errors[3]).log2() / 3.0;
        assert!((order - 2.0).abs() < 0.2, "{errors:?}"); // asymptotic within 0.2
    }
}
