//! The Hopf-Lax formula on the periodic grid, notation 3.2: `U(x) = min_y { phi(y) + lambda |x - y|^2 / (2 t) }`
//! over the nodes `y`, geodesic distance. The squared distance is a sum over axes, so the minimum is taken one axis
//! after the other, each line in O(N) by [`ParabolaEnvelope`]: O(d N^d) in all, exact to rounding.

use ndarray::{ArrayD, ArrayViewD};

use crate::specification::InvalidInput;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::{rotate_axes, transform_lines};
use crate::torus::operators::envelope::ParabolaEnvelope;

/// `U` at the nodes, for `lambda > 0` and `time > 0`; `time = 0` returns `phi` (its limit). A semigroup in `time`
/// where `y` ranges over the continuum; on nodes the two-step value is never below the one-step value, and equal
/// where the intermediate point of the straight line is a node.
///
/// # Errors
/// [`InvalidInput`] when the shape differs from the grid's, an entry is not finite, or a parameter is out of range.
pub fn hopf_lax(
    grid: &TorusGrid,
    phi: &ArrayD<f64>,
    lambda: f64,
    time: f64,
) -> Result<ArrayD<f64>, InvalidInput> {
    let Some(curvature) = line_curvature(grid, phi, lambda, time)? else { return Ok(phi.clone()) };
    let mut values: Vec<f64> = phi.iter().copied().collect();
    let mut scratch = vec![0.0; values.len()];
    hopf_lax_in_place(grid, curvature, &mut values, &mut scratch);
    Ok(ArrayD::from_shape_vec(grid.shape(), values).expect("one value for each node"))
}

/// `U` with the C-order index of a minimising node `y(x)` for every node `x`.
///
/// # Errors
/// As [`hopf_lax`].
pub fn hopf_lax_map(
    grid: &TorusGrid,
    phi: &ArrayD<f64>,
    lambda: f64,
    time: f64,
) -> Result<(ArrayD<f64>, ArrayD<usize>), InvalidInput> {
    let identity = || (0..grid.node_count()).collect::<Vec<usize>>();
    let reshape =
        |nodes: Vec<usize>| ArrayD::from_shape_vec(grid.shape(), nodes).expect("one index for each node");
    let Some(curvature) = line_curvature(grid, phi, lambda, time)? else {
        return Ok((phi.clone(), reshape(identity())));
    };
    let n = grid.nodes_per_side;
    let mut values: Vec<f64> = phi.iter().copied().collect();
    let mut nodes = identity();
    let mut envelope = ParabolaEnvelope::new();
    let (mut line_values, mut line_nodes) = (vec![0.0; n], vec![0_u32; n]);
    for _ in 0..grid.dimension {
        for (line, origin) in values.chunks_mut(n).zip(nodes.chunks_mut(n)) {
            envelope.build(line, curvature);
            envelope.evaluate(&mut line_values);
            envelope.minimisers(&mut line_nodes);
            let moved: Vec<usize> = line_nodes.iter().map(|j| origin[*j as usize]).collect();
            line.copy_from_slice(&line_values);
            origin.copy_from_slice(&moved);
        }
        values = rotated(&values, n);
        nodes = rotated(&nodes, n);
    }
    Ok((ArrayD::from_shape_vec(grid.shape(), values).expect("one value for each node"), reshape(nodes)))
}

/// `U` at one arbitrary point of the torus by direct minimisation over all nodes, O(N^d): the plain form of
/// [`hopf_lax`], for characteristics that start off the nodes.
pub fn hopf_lax_at(grid: &TorusGrid, phi: ArrayViewD<f64>, lambda: f64, time: f64, x: [f64; 3]) -> f64 {
    let weight = lambda / (2.0 * time);
    phi.iter().enumerate().fold(f64::INFINITY, |best, (flat, value)| {
        best.min(value + weight * grid.squared_distance(x, grid.position(flat)))
    })
}

/// The exact transform of C-order `values`, with `curvature = lambda h^2 / (2 t)`; `scratch` has the same length.
pub(crate) fn hopf_lax_in_place(grid: &TorusGrid, curvature: f64, values: &mut [f64], scratch: &mut [f64]) {
    for _ in 0..grid.dimension {
        transform_lines(grid, values, scratch, ParabolaEnvelope::new, |envelope, line, out| {
            envelope.build(line, curvature);
            envelope.evaluate(out);
        });
        rotate_axes(scratch, grid.nodes_per_side, values);
    }
}

fn rotated<T: Copy>(input: &[T], n: usize) -> Vec<T> {
    let rows = input.len() / n;
    (0..input.len()).map(|flat| input[(flat % rows) * n + flat / rows]).collect()
}

/// Checks the arguments; `None` for `time = 0`.
fn line_curvature(
    grid: &TorusGrid,
    phi: &ArrayD<f64>,
    lambda: f64,
    time: f64,
) -> Result<Option<f64>, InvalidInput> {
    grid.require_potential("phi", phi)?;
    InvalidInput::require_positive("lambda", lambda)?;
    if time == 0.0 {
        return Ok(None);
    }
    InvalidInput::require_positive("time", time)?;
    let curvature = lambda * grid.spacing() * grid.spacing() / (2.0 * time);
    if curvature.is_normal() {
        Ok(Some(curvature))
    } else {
        Err(InvalidInput::new("lambda / time", lambda / time, "within the range of floating point"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random_potential(grid: &TorusGrid, seed: u64) -> ArrayD<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values = (0..grid.node_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
        ArrayD::from_shape_vec(grid.shape(), values).unwrap()
    }

    #[test]
    fn separable_passes_equal_the_direct_minimum() {
        for (dimension, n) in [(1, 33), (2, 12), (2, 17), (3, 6)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            for (lambda, time) in [(1.0, 1.0), (0.05, 5.0), (30.0, 0.5), (1e6, 1e-3), (1e-6, 1e3)] {
                let phi = random_potential(&grid, 3);
                let fast = hopf_lax(&grid, &phi, lambda, time).unwrap();
                let (values, nodes) = hopf_lax_map(&grid, &phi, lambda, time).unwrap();
                for flat in 0..grid.node_count() {
                    let x = grid.position(flat);
                    let exact = hopf_lax_at(&grid, phi.view(), lambda, time, x);
                    let rounding = 16.0 * f64::EPSILON * (1.0 + lambda / time);
                    assert!((fast.as_slice().unwrap()[flat] - exact).abs() <= rounding);
                    assert!((values.as_slice().unwrap()[flat] - exact).abs() <= rounding);
                    let y = nodes.as_slice().unwrap()[flat];
                    let reached = phi.as_slice().unwrap()[y]
                        + lambda / (2.0 * time) * grid.squared_distance(x, grid.position(y));
                    assert!((reached - exact).abs() <= rounding);
                }
            }
        }
    }

    #[test]
    fn a_cone_becomes_the_huber_function_exactly_at_nodes() {
        // phi = L |x| on the circle, L t / lambda = 3 h: U(x) = Huber(|x|), minimisers are nodes (notation 2.2)
        let grid = TorusGrid::new(1, 32).unwrap();
        let (lipschitz, lambda) = (2.0, 4.0);
        let time = 3.0 * grid.spacing() * lambda / lipschitz;
        let phi = grid.distance_from_origin().mapv(|r| lipschitz * r);
        let value = hopf_lax(&grid, &phi, lambda, time).unwrap();
        for (r, u) in grid.distance_from_origin().iter().zip(&value) {
            let kink = lipschitz * time / lambda;
            let huber = if *r <= kink {
                lambda * r * r / (2.0 * time)
            } else {
                lipschitz * r - lipschitz * lipschitz * time / (2.0 * lambda)
            };
            assert!((u - huber).abs() <= 8.0 * f64::EPSILON, "{r}: {u} {huber}"); // rounding
        }
    }

    #[test]
    fn a_quadratic_potential_keeps_its_closed_form_at_nodes() {
        // Near the minimum phi = k y^2 / 2 gives U = k lambda x^2 / (2 (lambda + k t)) with y = x lambda/(lambda + k t);
        // k t = lambda puts y on a node for every even x.
        let grid = TorusGrid::new(1, 64).unwrap();
        let (lambda, time) = (2.0, 0.5);
        let k = lambda / time;
        let phi = grid.tabulate(|x| 0.5 * k * grid.squared_distance(x, [0.0; 3]));
        let value = hopf_lax(&grid, &phi, lambda, time).unwrap();
        for flat in (0..64).step_by(2) {
            let r2 = grid.squared_distance(grid.position(flat), [0.0; 3]);
            assert!((value[flat] - 0.25 * k * r2).abs() <= 8.0 * f64::EPSILON); // rounding
        }
        // Negative control: a horizon longer by 1% misses the closed form by far more.
        let late = hopf_lax(&grid, &phi, lambda, 1.01 * time).unwrap();
        assert!((&late - &value).fold(0.0_f64, |a, b| a.max(b.abs())) > 1e-4);
    }

    #[test]
    fn two_half_steps_bound_one_step_from_above_and_meet_it_on_even_displacements() {
        let grid = TorusGrid::new(2, 24).unwrap();
        let phi = random_potential(&grid, 5);
        let (one, nodes) = hopf_lax_map(&grid, &phi, 1.0, 0.2).unwrap();
        let half = hopf_lax(&grid, &phi, 1.0, 0.1).unwrap();
        let two = hopf_lax(&grid, &half, 1.0, 0.1).unwrap();
        for flat in 0..grid.node_count() {
            let (a, b) = (one.as_slice().unwrap()[flat], two.as_slice().unwrap()[flat]);
            assert!(b >= a - 1e-14); // rounding
            let (x, y) = (grid.multi_index(flat), grid.multi_index(nodes.as_slice().unwrap()[flat]));
            if (0..2).all(|axis| (x[axis] + y[axis]) % 2 == 0) {
                assert!((a - b).abs() <= 1e-14); // rounding
            }
        }
    }

    #[test]
    fn the_semigroup_defect_falls_with_second_order() {
        let defect = |n: usize| {
            let grid = TorusGrid::new(1, n).unwrap();
            let phi = grid.tabulate(|x| (2.0 * std::f64::consts::PI * x[0]).cos() * 0.1);
            let one = hopf_lax(&grid, &phi, 1.0, 0.1).unwrap();
            let half = hopf_lax(&grid, &phi, 1.0, 0.05).unwrap();
            let two = hopf_lax(&grid, &half, 1.0, 0.05).unwrap();
            (&two - &one).fold(0.0_f64, |a, b| a.max(b.abs()))
        };
        let defects: Vec<f64> = [32, 64, 128, 256, 512].map(defect).to_vec();
        for pair in defects.windows(2) {
            let order = (pair[0] / pair[1]).log2();
            assert!((order - 2.0).abs() < 0.5, "{defects:?}"); // worst alignment of nodes varies from grid to grid
        }
    }

    #[test]
    fn bad_arguments_are_refused_and_zero_time_is_the_identity() {
        let grid = TorusGrid::new(1, 8).unwrap();
        let phi = random_potential(&grid, 6);
        assert_eq!(hopf_lax(&grid, &phi, 1.0, 0.0).unwrap(), phi);
        assert!(hopf_lax(&grid, &phi, 0.0, 1.0).is_err());
        assert!(hopf_lax(&grid, &phi, 1.0, -1.0).is_err());
        assert!(hopf_lax(&grid, &phi, 1e300, 1e-300).is_err());
        let other = TorusGrid::new(1, 9).unwrap();
        assert!(hopf_lax(&other, &phi, 1.0, 1.0).is_err());
    }
}
