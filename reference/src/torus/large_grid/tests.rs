//! The large-grid solver against the static one, orders of its gaps, negative controls, degenerate input.
#![allow(clippy::unwrap_used)]
use super::options::Aim;
use super::*;
use crate::options::Options;
use crate::specification::{DivergenceKind, ProximalParameters};
use crate::torus::experiments::uniqueness::starts::random_potential;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::neighbour_table::NeighbourTable;
use crate::torus::lattice::vector::kullback_leibler;
use crate::torus::solution::BoundedProblem;
use crate::torus::{MiddlePoint, NamedDensity, solve_static};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn problem(
    (dimension, n): (usize, usize),
    (source, target): (NamedDensity, NamedDensity),
    (lipschitz, lambda, horizon): (f64, f64, f64),
) -> TorusProblem {
    let grid = TorusGrid::new(dimension, n).unwrap();
    let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
    let kind = DivergenceKind::KullbackLeibler;
    TorusProblem::new(grid, &source.on(&grid), &target.on(&grid), parameters, kind).unwrap()
}

fn solve(problem: &TorusProblem, relative_gap: f64) -> TorusSolution {
    let options = DualOptions { relative_gap, ..DualOptions::default() };
    solve_dual(problem, &options).unwrap()
}

/// Asserts `lower <= J` and `J <= upper` (plus the stated excess of the node value where the bounds are of the
/// continuum game), for the static value `J`.
fn assert_bounds_hold(problem: &TorusProblem, large: &TorusSolution, exact: &TorusSolution, rounding: f64) {
    let excess = match large.bounded {
        BoundedProblem::HatSpread => problem.node_excess(large.upper),
        _ => 0.0,
    };
    assert!(large.lower <= exact.upper + rounding, "{} {}", large.lower, exact.upper);
    assert!(large.upper + excess >= exact.lower - rounding, "{} {}", large.upper, exact.lower);
    assert!(large.lower <= large.upper + rounding, "{} {}", large.lower, large.upper);
}

fn exact(problem: &TorusProblem) -> TorusSolution {
    solve_static(problem, MiddlePoint::Node, &Options::default()).unwrap().solution
}

#[test]
fn static_and_large_grid_solvers_agree_to_their_certified_gaps() {
    use NamedDensity::{Bump, Checkerboard, Circle, Gaussian, Mixture, Point, TwoBumps};
    let mut controls = 0;
    for (grid, densities, parameters) in [
        ((1, 128), (Bump, TwoBumps), (10.0, 1.0, 1.0)),
        ((1, 128), (Bump, TwoBumps), (0.1, 1.0, 1.0)),
        ((2, 24), (Bump, Mixture), (10.0, 1.0, 1.0)),
        ((2, 20), (Bump, Mixture), (0.1, 1.0, 1.0)),
        ((2, 20), (Bump, Circle), (10.0, 1.0, 1.0)),
        ((2, 20), (Gaussian, Circle), (1.0, 0.5, 1.0)),
        ((1, 64), (Point, Checkerboard), (1.0, 1.0, 1.0)),
        ((3, 8), (Bump, Mixture), (0.1, 1.0, 1.0)),
    ] {
        let problem = problem(grid, densities, parameters);
        let exact = exact(&problem);
        let large = solve(&problem, 0.0);
        let rounding = 1e-11;
        assert_bounds_hold(&problem, &large, &exact, rounding);
        assert!(large.mass_error() < 1e-11); // rounding
        // Negative control: the bounds of the same game with a dearer kinetic energy do not hold for this one.
        let (lipschitz, lambda, horizon) = parameters;
        let other = self::problem(grid, densities, (lipschitz, 2.0 * lambda, horizon));
        if large.bounded == BoundedProblem::Nodes && large.relative_gap() < 0.05 {
            assert!(solve(&other, 0.0).lower > exact.upper, "{densities:?}");
            controls += 1;
        }
    }
    // A control that did not run is a failure.
    assert!(controls >= 2, "{controls}");
}

#[test]
fn without_the_cap_or_with_half_the_weight_the_bounds_do_not_hold() {
    for grid in [(1, 256), (2, 40)] {
        let densities = (NamedDensity::Bump, NamedDensity::Mixture);
        let problem = problem(grid, densities, (0.1, 1.0, 1.0));
        let exact = exact(&problem);
        assert_bounds_hold(&problem, &solve(&problem, 0.0), &exact, 1e-11); // rounding
        let uncapped = solve(&self::problem(grid, densities, (10.0, 1.0, 1.0)), 0.0);
        assert!(uncapped.lower > exact.upper, "{} {}", uncapped.lower, exact.upper);
        let lighter = solve(&self::problem(grid, densities, (0.1, 0.5, 1.0)), 0.0);
        assert!(lighter.upper < exact.lower, "{} {}", lighter.upper, exact.lower);
    }
}

#[test]
fn the_gap_under_an_active_cap_falls_with_the_spacing() {
    // Second order away from kinks of the potential and the edge of the capped region, where it is first order on
    // a set of measure O(h).
    for (dimension, grids) in [(1, [64, 128, 256, 512]), (2, [16, 32, 64, 128])] {
        let solutions = grids.map(|n| {
            let densities = (NamedDensity::Bump, NamedDensity::Mixture);
            solve(&problem((dimension, n), densities, (0.1, 1.0, 1.0)), 0.0)
        });
        let gaps = solutions.each_ref().map(TorusSolution::gap);
        assert!(solutions.iter().all(|s| s.bounded == BoundedProblem::HatSpread && s.lipschitz_cost > 0.0));
        let order = (gaps[0] / gaps[3]).log2() / 3.0;
        assert!(order > 1.5, "{dimension}: {order} {gaps:?}");
    }
}

#[test]
fn smooth_densities_under_an_active_cap_are_certified_to_a_thousandth_on_256_nodes_a_side() {
    use NamedDensity::{Bump, Mixture, TwoBumps};
    for (densities, lipschitz) in
        [((Bump, Mixture), 0.1), ((Bump, Mixture), 0.05), ((TwoBumps, Mixture), 0.1)]
    {
        let solution = solve(&problem((2, 256), densities, (lipschitz, 1.0, 1.0)), 1e-3);
        assert_eq!(solution.bounded, BoundedProblem::HatSpread);
        assert_eq!(
            solution.termination,
            Termination::Converged,
            "{densities:?}: {}",
            solution.relative_gap()
        );
        assert!(solution.relative_gap() <= 1e-3 && solution.lipschitz_cost > 0.01 * solution.upper);
    }
    // One round on the finest grid, and the gap met in it, is no spent budget.
    let options = DualOptions { relative_gap: 0.05, rounds: 1, ..DualOptions::default() };
    let coarse = solve_dual(&problem((2, 64), (Bump, Mixture), (0.1, 1.0, 1.0)), &options).unwrap();
    assert_eq!(coarse.termination, Termination::Converged);
}

#[test]
fn towards_a_singular_target_the_gap_has_second_order_too() {
    let solutions = [32, 64, 128]
        .map(|n| solve(&problem((2, n), (NamedDensity::Bump, NamedDensity::Circle), (10.0, 1.0, 1.0)), 0.0));
    for pair in solutions.windows(2) {
        assert_ne!(pair[1].termination, Termination::IterationLimit);
        let order = (pair[0].gap() / pair[1].gap()).log2();
        assert!((order - 2.0).abs() < 0.2, "{order}"); // the circle's nodes change from grid to grid
    }
}

#[test]
fn the_free_ascent_keeps_all_mass_on_the_target_and_forgets_its_start() {
    // The cap is below the steepest kinetic slope: on cones of slope L mass would land beside the target.
    let problem = problem((2, 32), (NamedDensity::Bump, NamedDensity::Circle), (1.0, 1.0, 0.25));
    let neighbours = NeighbourTable::new(problem.grid).unwrap();
    let aim = Some(Aim { relative_gap: 0.0, at_floor: AtFloor::Settle });
    let values = [1000, 1001, 1003].map(|seed| {
        let mut ascent = Ascent::new(Level::of(&problem), random_potential(&neighbours, 1.0, seed));
        climb_free(&mut ascent, &Effort { aim, free_steps: 200, rounds: 0, inner_steps: 0 }, &mut |_| ());
        assert_eq!(ascent.level.stray_mass(&ascent.smooth.marginal), 0.0);
        ascent.value
    });
    let spread = values.iter().fold(0.0_f64, |worst, value| worst.max((value - values[0]).abs()));
    assert!(spread < 1e-7 * values[0], "{values:?}"); // the steps stop on predictions of 1e-10 of the spread over cells
}

#[test]
fn every_start_ends_in_the_same_problem_towards_a_singular_target() {
    // From the first of these starts the free ascent stuck with a quarter of the mass off the target, from the others not,
    // while empty nodes were put on cones of slope L.
    let problem = problem((2, 32), (NamedDensity::Bump, NamedDensity::Circle), (1.0, 1.0, 0.25));
    let neighbours = NeighbourTable::new(problem.grid).unwrap();
    let solutions: Vec<TorusSolution> = (1000..1003)
        .map(|seed| {
            let start = Some(random_potential(&neighbours, 1.0, seed));
            let at_floor = AtFloor::Settle;
            let options =
                DualOptions { relative_gap: 0.0, rounds: 100, at_floor, start, ..Default::default() };
            solve_dual(&problem, &options).unwrap()
        })
        .collect();
    for other in &solutions[1..] {
        let first = &solutions[0];
        assert_eq!(other.bounded, first.bounded);
        assert!((other.upper - first.upper).abs() < 0.01 * first.gap(), "{} {}", other.upper, first.upper);
        let terminal = (&other.terminal_density - &first.terminal_density).mapv(f64::abs).sum();
        assert!(terminal < first.gap(), "{terminal}");
    }
}

#[test]
fn a_refined_grid_tightens_the_bounds_of_the_same_number() {
    let problem = problem((2, 32), (NamedDensity::Bump, NamedDensity::Mixture), (0.1, 1.0, 1.0));
    let options = DualOptions { relative_gap: 0.0, refinements: 1, ..DualOptions::default() };
    let (refined, plain) = (solve_dual(&problem, &options).unwrap(), solve(&problem, 0.0));
    assert!(refined.gap() < 0.5 * plain.gap(), "{} {}", refined.gap(), plain.gap());
    assert!(refined.lower <= plain.upper && plain.lower <= refined.upper);
    assert_eq!(refined.terminal_density.shape(), [32, 32]);
    assert!(refined.mass_error() < 1e-11); // rounding
    assert!(refined.lower <= exact(&problem).upper);
}

#[test]
fn degenerate_input_keeps_valid_bounds() {
    use NamedDensity::{Bump, Checkerboard, Circle, Gaussian, Mixture, Point, Points, TwoGaussians, Uniform};
    for (grid, densities) in [
        ((1, 48), (Point, Point)),
        ((1, 48), (Points, Bump)),
        ((2, 12), (Point, Circle)),
        ((2, 12), (Circle, Points)),
        ((2, 12), (TwoGaussians, Gaussian)),
        ((2, 12), (Checkerboard, Mixture)),
        ((2, 12), (Uniform, Uniform)),
    ] {
        for parameters in [
            (0.1, 1.0, 1.0),
            (1e6, 1.0, 1.0),
            (1.0, 1e6, 1.0),
            (10.0, 1.0, 1e-6),
            (1e-6, 1.0, 1.0),
            (1.0, 1e-6, 1.0),
        ] {
            let problem = problem(grid, densities, parameters);
            let exact = exact(&problem);
            let large = solve(&problem, 1e-6);
            assert_bounds_hold(&problem, &large, &exact, 1e-9 * (1.0 + exact.upper));
            assert!(large.lower.is_finite() && large.upper.is_finite(), "{densities:?} {parameters:?}");
        }
    }
}

#[test]
fn a_random_start_reaches_the_same_bounds_and_a_bad_one_is_refused() {
    let problem = problem((2, 32), (NamedDensity::Bump, NamedDensity::Mixture), (10.0, 1.0, 1.0));
    let from_zero = solve(&problem, 0.0);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let start = (0..1024).map(|_| rng.random_range(-0.2..0.2)).collect();
    let options = DualOptions { relative_gap: 0.0, start: Some(start), ..DualOptions::default() };
    let from_random = solve_dual(&problem, &options).unwrap();
    assert!(from_random.upper >= from_zero.lower && from_random.lower <= from_zero.upper);
    assert!(from_random.gap() < 1.5 * from_zero.gap(), "{} {}", from_random.gap(), from_zero.gap());
    for bad in [vec![0.0; 1023], vec![f64::NAN; 1024]] {
        let options = DualOptions { start: Some(bad), ..DualOptions::default() };
        assert!(solve_dual(&problem, &options).unwrap_err().to_string().contains("start"));
    }
}

#[test]
fn the_gap_falls_with_second_order_in_the_spacing() {
    let gap = |n: usize| {
        let densities = (NamedDensity::Bump, NamedDensity::TwoBumps);
        solve(&problem((1, n), densities, (10.0, 1.0, 1.0)), 0.0).gap()
    };
    let gaps = [64, 128, 256, 512].map(gap);
    let order = (gaps[0] / gaps[3]).log2() / 3.0;
    assert!((order - 2.0).abs() < 0.3, "{gaps:?}"); // where breaks fall among nodes varies from grid to grid
}

#[test]
fn two_dimensional_gaps_shrink_with_the_spacing() {
    let gap = |n: usize| {
        let densities = (NamedDensity::Bump, NamedDensity::Mixture);
        solve(&problem((2, n), densities, (10.0, 1.0, 1.0)), 0.0).gap()
    };
    let gaps = [32, 64, 128].map(gap);
    assert!(gaps[0] > 2.5 * gaps[1] && gaps[1] > 2.5 * gaps[2], "{gaps:?}");
}

#[test]
fn extreme_parameters_keep_valid_bounds() {
    for parameters in
        [(1e6, 1.0, 1.0), (10.0, 1e6, 1.0), (10.0, 1.0, 1e-6), (1e-6, 1.0, 1.0), (1.0, 1e-6, 1.0)]
    {
        let problem = problem((1, 48), (NamedDensity::Bump, NamedDensity::Mixture), parameters);
        let (exact, large) = (exact(&problem), solve(&problem, 1e-6));
        assert_bounds_hold(&problem, &large, &exact, 1e-9 * (1.0 + exact.upper)); // rounding
    }
}

#[test]
fn equal_densities_are_worth_nothing_and_nearly_equal_ones_nearly_nothing_on_every_grid() {
    use NamedDensity::{Bump, Circle, Uniform};
    for density in [Bump, Uniform, Circle] {
        for lipschitz in [0.1, 10.0] {
            for n in [32, 64] {
                let solution = solve(&problem((2, n), (density, density), (lipschitz, 1.0, 1.0)), 1e-4);
                assert_eq!((solution.lower, solution.upper), (0.0, 0.0), "{density} {lipschitz} {n}");
                assert_eq!(solution.termination, Termination::Converged);
                assert_eq!(solution.relative_gap(), 0.0);
            }
        }
    }
    // A hundredth of the bump's contrast: worth at most its divergence, which staying costs, and at least zero.
    for n in [32, 64] {
        let mut nearly = problem((2, n), (Bump, Bump), (10.0, 1.0, 1.0));
        let uniform = 1.0 / nearly.target.len() as f64;
        nearly.target.mapv_inplace(|q| 0.99 * q + 0.01 * uniform);
        let staying = kullback_leibler(nearly.source.as_slice().unwrap(), nearly.target.as_slice().unwrap());
        let solution = solve(&nearly, 1e-4);
        assert!(staying > 0.0 && (0.0..=staying).contains(&solution.upper), "{} {staying}", solution.upper);
        assert!((0.0..=solution.upper).contains(&solution.lower), "{}", solution.lower);
    }
}

#[test]
fn other_divergences_are_refused_with_the_way_out() {
    let mut problem = problem((1, 16), (NamedDensity::Bump, NamedDensity::Mixture), (1.0, 1.0, 1.0));
    problem.kind = DivergenceKind::ChiSquared;
    let error = solve_dual(&problem, &DualOptions::default()).unwrap_err().to_string();
    assert!(error.contains("static"), "{error}");
}
