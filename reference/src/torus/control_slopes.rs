//! Slopes that bound the gradient of a smooth potential between nodes.
//!
//! Node values `phi` are the coefficients of the quadratic B-spline `phi^ = sum_i phi_i B(x - x_i)`, the multilinear interpolant
//! averaged over a box of side `h`. Its gradient is a Bernstein combination (convex weights) of *control slopes*, one vector for
//! each point `x_i + h s/2`, `s` in `{0,1}^d`: component `a` averages the difference quotients of the edges along `a` nearest to
//! that point (two edges behind and ahead where `s_a = 0`, the edge itself where `s_a = 1`; both neighbouring lines along
//! every other axis with `s_b = 1`). So `|control slope| <= L` everywhere makes `phi^` `L`-Lipschitz, and each control slope is
//! the gradient of a smooth function at its point up to O(h^2). (One-sided quotients would bound the multilinear
//! interpolant, but are off by O(h) wherever the level sets are curved.)

use super::beckmann::EdgeFlux;
use super::grid::TorusGrid;
use super::neighbours::{Around, for_each_node, for_each_record};
use super::vector::maximum;

/// `2^d` control slopes of `d` components for each node.
pub(crate) fn components(grid: &TorusGrid) -> usize {
    grid.dimension << grid.dimension
}

/// Edges along `axis` (named by the node behind) whose mean is component `axis` of the control slope `stagger` of `node`; with
/// `transposed`, the nodes whose component contains edge `node`.
pub(crate) struct Edges {
    nodes: [usize; 8],
    count: usize,
}

impl Edges {
    #[inline(always)]
    pub(crate) fn of(around: &Around, node: usize, dimension: usize, stagger: usize, axis: usize) -> Self {
        Self::collect(around, node, dimension, stagger, axis, false)
    }

    #[inline(always)]
    fn collect(
        around: &Around,
        node: usize,
        dimension: usize,
        stagger: usize,
        axis: usize,
        transposed: bool,
    ) -> Self {
        let mut edges = Self { nodes: [node; 8], count: 1 };
        for (other, sides) in around[..dimension].iter().enumerate() {
            let staggered = stagger >> other & 1 == 1;
            if (other == axis) == staggered {
                continue;
            }
            let ahead = (other != axis) != transposed;
            // Shifts along different axes add up in C order.
            let shift = sides[usize::from(ahead)].wrapping_sub(node);
            for k in 0..edges.count {
                edges.nodes[edges.count + k] = edges.nodes[k].wrapping_add(shift);
            }
            edges.count *= 2;
        }
        edges
    }

    #[inline(always)]
    pub(crate) fn nodes(&self) -> &[usize] {
        &self.nodes[..self.count]
    }

    #[inline(always)]
    fn mean(&self, values: impl Fn(usize) -> f64) -> f64 {
        self.nodes().iter().map(|node| values(*node)).sum::<f64>() / self.count as f64
    }
}

/// Fills `slopes` ([`components`] entries for each node: stagger, then axis) with the control slopes of `phi`.
pub(crate) fn control_slopes(grid: &TorusGrid, phi: &[f64], slopes: &mut [f64]) {
    let (d, scale) = (grid.dimension, grid.nodes_per_side as f64);
    let quotients = EdgeFlux::from_edges(*grid, |_, node, next| scale * (phi[next] - phi[node]));
    for_each_record(grid, slopes, components(grid), |node, around, record| {
        for (index, slope) in record.iter_mut().enumerate() {
            let (stagger, axis) = (index / d, index % d);
            let edges = Edges::of(around, node, d, stagger, axis);
            *slope = edges.mean(|edge| quotients.at(axis, edge));
        }
    });
}

/// The edge field `f` with `sum_e f_e (phi_next - phi) = weight * sum <stress, control slope>` for every `phi`.
pub(crate) fn edge_field(grid: &TorusGrid, stresses: &[f64], weight: f64) -> EdgeFlux {
    let (d, record) = (grid.dimension, components(grid));
    let scale = weight * grid.nodes_per_side as f64;
    EdgeFlux::from_nodes(*grid, |axis, edge, around| {
        let part = |stagger: usize| {
            let nodes = Edges::collect(around, edge, d, stagger, axis, true);
            nodes.mean(|node| stresses[node * record + stagger * d + axis])
        };
        scale * (0..1_usize << d).map(part).sum::<f64>()
    })
}

/// `max |control slope| / L - 1`: by how much `phi` breaks the cap (negative: it does not).
pub(crate) fn violation(grid: &TorusGrid, phi: &[f64], lipschitz: f64) -> f64 {
    let mut slopes = vec![0.0; phi.len() * components(grid)];
    control_slopes(grid, phi, &mut slopes);
    let mut steepest = vec![0.0; phi.len()];
    steepest_of_each(grid, &slopes, &mut steepest);
    maximum(&steepest) / lipschitz - 1.0
}

/// The largest norm among each node's control slopes.
pub(crate) fn steepest_of_each(grid: &TorusGrid, slopes: &[f64], steepest: &mut [f64]) {
    let (d, record) = (grid.dimension, components(grid));
    for_each_node(grid, steepest, |node, _, out| {
        let own = &slopes[node * record..][..record];
        *out = own.chunks(d).map(norm).fold(0.0, f64::max);
    });
}

pub(crate) fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|v| v * v).sum::<f64>().sqrt()
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
                sampled = sampled.max(norm(&gradient));
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
}
