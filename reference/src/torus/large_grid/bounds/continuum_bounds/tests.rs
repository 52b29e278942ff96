//! The continuum bounds against refined quadrature, the static solver and their own losses.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::specification::{DivergenceKind, ProximalParameters};
use crate::torus::{
    MiddlePoint, NamedDensity, TorusGrid, TorusProblem, TorusSolution, solve_dual, solve_static,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn problem(dimension: usize, n: usize, (lipschitz, lambda): (f64, f64)) -> TorusProblem {
    let grid = TorusGrid::new(dimension, n).unwrap();
    let parameters = ProximalParameters::new(lipschitz, lambda, 1.0).unwrap();
    let (source, target) = (NamedDensity::Bump.on(&grid), NamedDensity::Mixture.on(&grid));
    TorusProblem::new(grid, &source, &target, parameters, DivergenceKind::KullbackLeibler).unwrap()
}

fn static_solution(problem: &TorusProblem) -> TorusSolution {
    solve_static(problem, MiddlePoint::Node, &Default::default()).unwrap().solution
}

/// The B-spline of degree 1 or 2 with coefficients `values` at a point of the torus.
fn splined(grid: &TorusGrid, degree: usize, values: &[f64], x: [f64; 3]) -> f64 {
    let n = grid.nodes_per_side as f64;
    let basis = |t: f64| match (degree, t.abs()) {
        (1, r) => (1.0 - r).max(0.0),
        (_, r) if r < 0.5 => 0.75 - r * r,
        (_, r) => 0.5 * (1.5 - r).max(0.0).powi(2),
    };
    (0..5_usize.pow(grid.dimension as u32))
        .map(|code| {
            let (mut weight, mut index) = (1.0, [0_isize; 3]);
            for axis in 0..grid.dimension {
                let offset = (code / 5_usize.pow(axis as u32) % 5) as isize - 2;
                index[axis] = (x[axis] * n).floor() as isize + offset;
                weight *= basis(x[axis] * n - index[axis] as f64);
            }
            weight * values[grid.flat_index(index)]
        })
        .sum()
}

#[test]
fn the_lower_bound_is_below_refined_quadrature_by_at_most_the_stated_losses() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for (dimension, n, refinement) in [(1, 12, 32), (2, 6, 10)] {
        for parameters in [(0.3, 1.0), (2.0, 1.0), (1.0, 30.0)] {
            let level = Level::of(&problem(dimension, n, parameters));
            let bounds = ContinuumBounds::new(&level);
            let rough: Vec<f64> = (0..level.grid.node_count()).map(|_| rng.random_range(-0.1..0.1)).collect();
            let dual = bounds.below(&level, &rough, 1e-6);
            // Midpoints of a grid `refinement` times finer, the infimum over the same points.
            let fine = TorusGrid::new(dimension, n * refinement).unwrap();
            let points: Vec<[f64; 3]> = (0..fine.node_count())
                .map(|flat| fine.position(flat).map(|x| x + 0.5 * fine.spacing()))
                .collect();
            let at_points = |degree: usize, values: &[f64]| -> Vec<f64> {
                points.iter().map(|x| splined(&level.grid, degree, values, *x)).collect()
            };
            let phi = at_points(2, &dual.coefficients);
            let (p, q) = (at_points(1, &level.source), at_points(1, &level.target));
            let infimum = |x: &[f64; 3]| {
                points.iter().zip(&phi).fold(f64::INFINITY, |best, (y, phi)| {
                    best.min(phi + level.kinetic * level.grid.squared_distance(*x, *y))
                })
            };
            let cell = (refinement as f64).powi(-(dimension as i32));
            let transform: f64 = points.iter().zip(&p).map(|(x, p)| cell * p * infimum(x)).sum();
            let partition: f64 = q.iter().zip(&phi).map(|(q, phi)| cell * q * phi.exp()).sum();
            let exact = transform - partition.ln();
            // quadrature and a restricted infimum: second order in the fine spacing, curvature lambda/T and L^2
            let h2 = fine.spacing().powi(2);
            let (lipschitz, lambda) = parameters;
            let quadrature = h2 * dimension as f64 * (lambda + lipschitz * lipschitz);
            assert!(dual.lower <= exact + quadrature, "{} {exact}", dual.lower);
            // what the boxes and the exponential cost: within a cell phi varies by at most L h sqrt(d)
            let variation = level.slope() * (dimension as f64).sqrt();
            let loss = interpolation_loss(&level, bounds.refinement) + 0.5 * variation;
            assert!(exact - dual.lower <= loss + quadrature, "{} {exact} {loss}", dual.lower);
        }
    }
}

#[test]
fn the_fine_grid_gives_back_most_of_the_interpolation_loss() {
    let level = Level::of(&problem(2, 12, (0.2, 1.0)));
    let phi: Vec<f64> =
        level.grid.tabulate(|x| 0.02 * (6.3 * x[0]).sin() * (6.3 * x[1]).cos()).into_iter().collect();
    let lower = |refinement: usize| {
        let bounds = ContinuumBounds::with_refinement(&level, refinement);
        for spread in [&bounds.spread_source, &bounds.spread_target] {
            assert!((spread.iter().sum::<f64>() - 1.0).abs() < 1e-14); // rounding
        }
        bounds.below(&level, &phi, 1e-6).lower
    };
    let [coarse, middle, fine] = [1, 2, 4].map(lower);
    let loss = interpolation_loss(&level, 1);
    assert!(coarse + 0.5 * loss < middle && middle + 0.1 * loss < fine, "{coarse} {middle} {fine} {loss}");
    assert!(fine < coarse + loss, "{coarse} {fine} {loss}");
}

#[test]
fn finer_grids_of_the_same_hats_keep_the_mass_and_nearly_the_bound() {
    let level = Level::of(&problem(2, 12, (0.2, 1.0)));
    let fine = level.refined().unwrap();
    assert!((fine.source.iter().sum::<f64>() - 1.0).abs() < 1e-14); // rounding
    let phi: Vec<f64> =
        level.grid.tabulate(|x| 0.02 * (6.3 * x[0]).sin() * (6.3 * x[1]).cos()).into_iter().collect();
    let coarse = ContinuumBounds::new(&level).below(&level, &phi, 1e-6);
    let fine = ContinuumBounds::new(&fine).below(
        &fine,
        &crate::torus::lattice::transfer::prolong_values(&level.grid, &phi),
        1e-6,
    );
    assert!((fine.lower - coarse.lower).abs() < interpolation_loss(&level, 1));
}

/// With `r` what the flux leaves over, `eta` takes the `c` that minimises `int c^2 + |grad^{-1}(r - c)|^2/l^2`, which is
/// `c - l^2 Laplacian c = r`, here by differences of neighbours.
#[test]
fn what_the_flux_leaves_over_is_split_by_the_screened_poisson_equation() {
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    for (dimension, n) in [(1, 24), (2, 9)] {
        let level = Level::of(&problem(dimension, n, (1.0, 1.0)));
        let (grid, count) = (level.grid, level.grid.node_count());
        assert!(!level.has_empty_target_nodes());
        let tilted = vec![1.0 / count as f64; count];
        // Small beside eta, so that nothing is cut off.
        let mut change: Vec<f64> = tilted.iter().map(|eta| eta * rng.random_range(-0.1..0.1)).collect();
        let mean = change.iter().sum::<f64>() / count as f64;
        change.iter_mut().for_each(|change| *change -= mean);
        let rho: Vec<f64> = tilted.iter().zip(&change).map(|(eta, change)| eta + change).collect();
        let mut bounds = ContinuumBounds::new(&level);
        for (index, spacings) in tuning::ABSORPTION.into_iter().enumerate() {
            let point = bounds.joined(&level, (0.0, &rho), &tilted, &EdgeFlux::zero(grid), index);
            let taken: Vec<f64> =
                point.intermediate.iter().zip(&tilted).map(|(eta, was)| eta - was).collect();
            for node in 0..count {
                let around = crate::torus::lattice::neighbours::around(&grid, node);
                // h^2 times minus the Laplacian.
                let bending: f64 = around[..dimension]
                    .iter()
                    .map(|[behind, ahead]| 2.0 * taken[node] - taken[*behind] - taken[*ahead])
                    .sum();
                let residual = if spacings.is_finite() {
                    taken[node] + spacings * spacings * bending - change[node]
                } else {
                    taken[node]
                };
                // Rounding of numbers of size 1/count, carried through differences weighted by spacings^2.
                let rounding = 1e-13 / count as f64 * (1.0 + 4.0 * spacings.min(32.0).powi(2));
                assert!(residual.abs() < rounding, "{dimension} {spacings}: {residual}");
            }
        }
    }
}

#[test]
fn a_potential_that_breaks_the_cap_claims_more_than_the_static_value_and_repair_takes_it_back() {
    for (dimension, n) in [(1, 64), (2, 20)] {
        let problem = problem(dimension, n, (0.05, 0.5));
        let exact = static_solution(&problem);
        let level = Level::of(&problem);
        let bounds = ContinuumBounds::new(&level);
        // The optimum of the game without the cap.
        let free = self::problem(dimension, n, (10.0, 0.5));
        let steep: Vec<f64> =
            solve_dual(&free, &Default::default()).unwrap().terminal_potential.iter().copied().collect();
        assert!(bounds.claim(&level, steep.clone()).lower > exact.upper);
        assert!(bounds.below(&level, &steep, 1e-6).lower <= exact.upper + 1e-12); // rounding
    }
}
