//! Balanced transport and the Wasserstein distances: certificates, enumeration, the line and the circle.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ndarray::{Array2, array};
use proptest::prelude::*;
use proxflow_reference::transport::circle::{w1_circle, w2_circle};
use proxflow_reference::transport::line::{w1_line, w2_line};
use proxflow_reference::transport::{
    BalancedTransport, DenseCost, GroundCost, Order, PointCost, PointwiseCost, WassersteinDistance,
    balanced_transport, wasserstein,
};
use proxflow_reference::{Measure, Options, Progress, Termination};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn weights(count: usize, zeros: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut raw: Vec<f64> = (0..count)
        .map(|_| if random.random_bool(zeros) { 0.0 } else { random.random_range(0.01..1.0) })
        .collect();
    raw[0] += 0.1;
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}

/// Marginals to rounding, dual feasibility, complementary slackness and the gap, relative to the size of the cost.
fn check(cost: &DenseCost, p: &[f64], q: &[f64], solution: &BalancedTransport) -> Result<(), TestCaseError> {
    let size = cost.matrix().iter().fold(0.0_f64, |size, c| size.max(c.abs()));
    prop_assert_eq!(solution.termination, Termination::Converged, "gap {}", solution.gap());
    // Rounding: dual sums over at most a few hundred terms, potentials built up along paths of the tree.
    prop_assert!(solution.gap().abs() <= 1e-13 * (1.0 + size * p.len() as f64), "gap {}", solution.gap());
    let (mut rows, mut columns) = (vec![0.0; p.len()], vec![0.0; q.len()]);
    for &(i, j, mass) in &solution.plan {
        let (i, j) = (i as usize, j as usize);
        prop_assert!(mass > 0.0);
        rows[i] += mass;
        columns[j] += mass;
        let slack = cost.entry(i, j) + solution.target_potential[j] - solution.source_potential[i];
        prop_assert!(mass * slack <= 1e-12 * (1.0 + size), "slack {slack} on {mass}");
    }
    for (sum, weight) in rows.iter().zip(p).chain(columns.iter().zip(q)) {
        prop_assert!((sum - weight).abs() <= 1e-14, "{sum} {weight}");
    }
    Ok(())
}

fn distance(order: Order, x: &Array2<f64>, p: &[f64], z: &Array2<f64>, q: &[f64]) -> WassersteinDistance {
    let (p, q) = (Measure::new(x.view(), p).unwrap(), Measure::new(z.view(), q).unwrap());
    wasserstein(&p, &q, order, &Options::new()).unwrap()
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let insert = |shorter: &Vec<usize>, place: usize| {
        let mut longer = shorter.clone();
        longer.insert(place, n - 1);
        longer
    };
    shorter.iter().flat_map(|shorter| (0..n).map(move |place| insert(shorter, place))).collect()
}

/// `min_k |x - y + k|^power` on the circle of circumference 1.
fn geodesic(x: &[f64], y: &[f64], power: i32) -> DenseCost {
    DenseCost::new(Array2::from_shape_fn((x.len(), y.len()), |(i, j)| {
        let r = (x[i] - y[j]).rem_euclid(1.0);
        r.min(1.0 - r).powi(power)
    }))
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plans_and_potentials_certify_each_other(
        n in 1..50usize, m in 1..50usize, integer: bool, uniform: bool, zeros in prop::sample::select(vec![0.0, 0.3]), seed: u64,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cost = DenseCost::new(Array2::from_shape_simple_fn((n, m), || {
            if integer { f64::from(random.random_range(0..5_u8)) } else { random.random_range(-1.0..3.0) }
        })).unwrap();
        let (p, q) = if uniform {
            (vec![1.0 / n as f64; n], vec![1.0 / m as f64; m])
        } else {
            (weights(n, zeros, &mut random), weights(m, zeros, &mut random))
        };
        check(&cost, &p, &q, &balanced_transport(&cost, &p, &q, &Options::new()).unwrap())?;
    }

    #[test]
    fn assignments_agree_with_enumeration(n in 1..7usize, integer: bool, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cost = DenseCost::new(Array2::from_shape_simple_fn((n, n), || {
            if integer { f64::from(random.random_range(0..4_u8)) } else { random.random_range(0.0..1.0) }
        })).unwrap();
        let p = vec![1.0 / n as f64; n];
        let total = |permutation: &Vec<usize>| -> f64 {
            permutation.iter().enumerate().map(|(i, &j)| cost.entry(i, j)).sum::<f64>() / n as f64
        };
        let best = permutations(n).iter().map(total).fold(f64::INFINITY, f64::min);
        let solution = balanced_transport(&cost, &p, &p, &Options::new()).unwrap();
        prop_assert!((solution.upper - best).abs() <= 1e-14 * (1.0 + best), "{} {best}", solution.upper);
    }

    #[test]
    fn the_line_agrees_with_the_general_solver(n in 1..40usize, m in 1..40usize, grid: bool, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut places = |count: usize| -> Vec<f64> {
            (0..count).map(|_| if grid { f64::from(random.random_range(0..6_u8)) } else { random.random_range(-1.0..2.0) }).collect()
        };
        let (x, y) = (places(n), places(m));
        let (p, q) = (weights(n, 0.2, &mut random), weights(m, 0.2, &mut random));
        let column = |places: &[f64]| Array2::from_shape_vec((places.len(), 1), places.to_vec()).unwrap();
        let (general_w1, general_w2) = (
            distance(Order::One, &column(&x), &p, &column(&y), &q),
            distance(Order::Two, &column(&x), &p, &column(&y), &q),
        );
        prop_assert!((w1_line(&x, &p, &y, &q).unwrap() - general_w1.upper).abs() <= 1e-13);
        // The square root amplifies rounding of W2^2 next to zero, so squares are compared.
        prop_assert!((w2_line(&x, &p, &y, &q).unwrap().powi(2) - general_w2.upper.powi(2)).abs() <= 1e-12);
    }

    #[test]
    fn the_circle_agrees_with_the_general_solver(n in 1..30usize, m in 1..30usize, grid: bool, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut places = |count: usize| -> Vec<f64> {
            (0..count).map(|_| if grid { f64::from(random.random_range(0..8_u8)) / 8.0 } else { random.random_range(-1.0..2.0) }).collect()
        };
        let (x, y) = (places(n), places(m));
        let (p, q) = (weights(n, 0.2, &mut random), weights(m, 0.2, &mut random));
        let first = balanced_transport(&geodesic(&x, &y, 1), &p, &q, &Options::new()).unwrap().upper;
        let second = balanced_transport(&geodesic(&x, &y, 2), &p, &q, &Options::new()).unwrap().upper;
        prop_assert!((w1_circle(1.0, &x, &p, &y, &q).unwrap() - first).abs() <= 1e-13);
        prop_assert!((w2_circle(1.0, &x, &p, &y, &q).unwrap().powi(2) - second).abs() <= 1e-12);
        // Scaling the circle scales both distances.
        let scale = |places: &[f64]| -> Vec<f64> { places.iter().map(|place| 5.0 * place).collect() };
        let scaled = w2_circle(5.0, &scale(&x), &p, &scale(&y), &q).unwrap();
        prop_assert!((scaled.powi(2) - 25.0 * second).abs() <= 1e-10);
    }
}

#[test]
fn the_line_is_not_the_circle() {
    // Negative control for the circle: the short way crosses the cut.
    let (x, y) = ([0.05], [0.95]);
    assert!((w1_line(&x, &[1.0], &y, &[1.0]).unwrap() - 0.9).abs() < 1e-15);
    assert!((w1_circle(1.0, &x, &[1.0], &y, &[1.0]).unwrap() - 0.1).abs() < 1e-15);
    assert!((w2_circle(1.0, &x, &[1.0], &y, &[1.0]).unwrap() - 0.1).abs() < 1e-9);
}

#[test]
fn a_translation_is_transported_along_itself() {
    let x = array![[0.0, 0.0], [1.0, 0.5], [-0.5, 2.0]];
    let z = x.mapv(|v| v) + &array![[3.0, 4.0]];
    let p = [0.2, 0.5, 0.3];
    let second = distance(Order::Two, &x, &p, &z, &p);
    assert!((second.upper - 5.0).abs() < 1e-14 && (second.lower - 5.0).abs() < 1e-14);
    let first = distance(Order::One, &x, &p, &z, &p);
    assert!((first.upper - 5.0).abs() < 1e-14);
}

#[test]
fn uniform_weights_on_a_regular_grid_do_not_cycle() {
    // As many ties as there can be: every plan of the start is degenerate.
    let side = 16;
    let points =
        Array2::from_shape_fn((side * side, 2), |(k, c)| (if c == 0 { k % side } else { k / side }) as f64);
    let shifted = points.mapv(|v| (v * 3.0 + 5.0) % side as f64);
    let p = vec![1.0 / (side * side) as f64; side * side];
    let cost =
        PointCost::new(PointwiseCost::SquaredDistance, points.view(), shifted.view()).unwrap().into_dense();
    let solution = balanced_transport(&cost, &p, &p, &Options::new()).unwrap();
    check(&cost, &p, &p, &solution).unwrap();
}

#[test]
fn a_stop_at_any_look_leaves_bounds_that_contain_the_value() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let mut points = |n: usize| Array2::from_shape_simple_fn((n, 2), || random.random_range(-1.0..1.0));
    let (x, z) = (points(300), points(250));
    let (p, q) = (weights(300, 0.0, &mut random), weights(250, 0.1, &mut random));
    let cost = PointCost::new(PointwiseCost::SquaredDistance, x.view(), z.view()).unwrap().into_dense();
    let value = balanced_transport(&cost, &p, &q, &Options::new()).unwrap().upper;
    let mut least = f64::INFINITY;
    for looks in 0.. {
        let left = AtomicUsize::new(looks);
        let watch = |_: &Progress| match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        let stopped = balanced_transport(&cost, &p, &q, &Options::new().observed_by(&watch)).unwrap();
        assert!(stopped.lower <= value + 1e-13 && value <= stopped.upper + 1e-13, "{looks}");
        if stopped.is_converged() {
            break;
        }
        assert_eq!(stopped.termination, Termination::Cancelled, "{looks}");
        least = least.min(stopped.gap());
    }
    // The last looks are taken at the optimum.
    assert!(least < 1e-3 * value, "{least} {value}");
}

#[test]
fn bad_weights_and_shapes_are_named() {
    let cost = DenseCost::new(array![[0.0, 1.0]]).unwrap();
    assert!(
        balanced_transport(&cost, &[1.0], &[0.5], &Options::new())
            .unwrap_err()
            .to_string()
            .contains("one per atom")
    );
    assert!(w1_line(&[0.0], &[1.0], &[f64::NAN], &[1.0]).unwrap_err().to_string().contains("y[0]"));
    assert!(w1_circle(0.0, &[0.0], &[1.0], &[0.0], &[1.0]).unwrap_err().to_string().contains("period"));
}
