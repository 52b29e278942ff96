//! Orders next to 0 and 1, scales, weights and Lipschitz constants far from one: right, or failed, never wrong.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ndarray::{Array2, array};
use proptest::prelude::*;
use proxflow_reference::divergence::{Cumulant, Generator};
use proxflow_reference::transport::{DenseCost, Order, balanced_transport, wasserstein};
use proxflow_reference::{Certified, Divergence, DivergenceKind, Measure, Options, Progress, Termination};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random_measure(random: &mut ChaCha8Rng, n: usize, scale: f64) -> Measure {
    let points = Array2::from_shape_simple_fn((n, 2), || scale * random.random_range(-1.0..1.0));
    let masses: Vec<f64> = (0..n).map(|_| random.random_range(0.05..1.0)).collect();
    Measure::normalised(points, masses).unwrap()
}

/// What may be reported: ordered finite bounds with a status that fits, or a failure without numbers.
fn is_honest<T>(found: &Certified<T>) -> bool {
    match found.termination {
        Termination::Failed => found.lower == f64::NEG_INFINITY && found.upper == f64::INFINITY,
        Termination::Converged => {
            found.lower <= found.upper * (1.0 + 1e-12) + 1e-12 && found.gap() < 1e-8 * (1.0 + found.upper)
        }
        _ => found.lower <= found.upper * (1.0 + 1e-12) + 1e-12,
    }
}

#[test]
fn orders_next_to_zero_and_one_are_their_limits() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..6 {
        let (p, q) = (random_measure(&mut random, 9, 1.0), random_measure(&mut random, 8, 1.0));
        let value = |kind: DivergenceKind, lipschitz: f64| {
            let found = Divergence::of(kind).lipschitz(lipschitz).between(&p, &q).unwrap();
            assert!(
                found.is_converged() && found.gap().abs() < 1e-10,
                "{kind} {:?} {}",
                found.termination,
                found.gap()
            );
            found.upper
        };
        for lipschitz in [0.3, 2.0, 20.0] {
            let kl = value(DivergenceKind::KullbackLeibler, lipschitz);
            for near in [1e-3, 1e-6, 1e-9, 1e-12, 2.3e-16] {
                for order in [1.0 + near, 1.0 - near] {
                    let alpha = value(DivergenceKind::Alpha(order), lipschitz);
                    // d D_alpha / d alpha is of the order of (ln ratio)^2 D, below 1e2 here.
                    assert!(
                        (alpha - kl).abs() <= 100.0 * near * (1.0 + kl) + 1e-10,
                        "alpha:{order} {alpha} {kl}"
                    );
                }
            }
            let reverse = value(DivergenceKind::ReverseKullbackLeibler, lipschitz);
            for order in [1e-3, 1e-6, 1e-9, 1e-15, 1e-100, 1e-300, 5e-324] {
                let alpha = value(DivergenceKind::Alpha(order), lipschitz);
                assert!(
                    (alpha - reverse).abs() <= 100.0 * order * (1.0 + reverse) + 1e-10,
                    "alpha:{order} {alpha} {reverse}"
                );
            }
        }
    }
}

#[test]
fn the_alpha_family_is_continuous_where_its_forms_change() {
    for (order, other) in [
        (1.0 / 64.0, 1.0 / 64.0 - 1e-13),
        (1.0 + 1.0 / 64.0, 1.0 + 1.0 / 64.0 - 1e-13),
        (1.0 - 1.0 / 64.0, 1.0 - 1.0 / 64.0 + 1e-13),
    ] {
        let (p, q) = ([0.2, 0.5, 0.3], [0.6, 0.1, 0.3]);
        let value = |order| {
            proxflow_reference::divergence::f_divergence(DivergenceKind::Alpha(order), &p, &q).unwrap()
        };
        assert!((value(order) - value(other)).abs() < 1e-11, "{order}");
        let lambda = |order| {
            let generator = Generator::new(DivergenceKind::Alpha(order)).unwrap();
            Cumulant::new(&generator, &[0.3, -1.0, 0.8], &q).unwrap().value
        };
        // Lambda does not see multiples of x - 1 in f.
        assert!((lambda(order) - lambda(other)).abs() < 1e-11, "{order}");
    }
}

#[test]
fn fenchel_young_holds_next_to_the_limits() {
    for order in
        [5e-324, 1e-15, 1e-6, 1.0 - 1e-3, 1.0 - 1e-9, 1.0 - 1.2e-16, 1.0 + 2.3e-16, 1.0 + 1e-9, 1.0 + 1e-3]
    {
        let generator = Generator::new(DivergenceKind::Alpha(order)).unwrap();
        for log_x in -60..60_i32 {
            let x = f64::from(log_x).exp();
            let s = generator.derivative(x);
            let gap = generator.value(x) + generator.conjugate(s) - x * s;
            assert!(
                gap.abs() <= 1e-12 * (1.0 + x) * (1.0 + s.abs() + f64::from(log_x.abs())),
                "alpha:{order} x {x}: {gap}"
            );
            let back = generator.conjugate_derivative(s);
            assert!(
                (back / x - 1.0).abs() < 1e-12 * (1.0 + f64::from(log_x.abs())),
                "alpha:{order} {x} {back}"
            );
        }
    }
}

#[test]
fn coordinates_of_any_size_give_the_same_value() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let (p, q) = (random_measure(&mut random, 12, 1.0), random_measure(&mut random, 9, 1.0));
    for kind in DivergenceKind::ALL {
        let expected = Divergence::of(kind).lipschitz(1.0).between(&p, &q).unwrap().upper;
        for exponent in [-1000, -520, -100, 100, 500, 1000] {
            let scale = f64::from(exponent).exp2();
            let scaled = |m: &Measure| Measure::new(m.points().mapv(|x| x * scale), m.weights()).unwrap();
            let found =
                Divergence::of(kind).lipschitz(1.0 / scale).between(&scaled(&p), &scaled(&q)).unwrap();
            assert!(
                found.is_converged() && (found.upper - expected).abs() <= 1e-12 * (1.0 + expected),
                "{kind} 2^{exponent}: {} {expected}",
                found.upper
            );
        }
    }
    for order in [Order::One, Order::Two] {
        let expected = wasserstein(&p, &q, order, &Options::new()).unwrap().upper;
        for exponent in [-1000, -520, 100, 500, 1000] {
            let scale = f64::from(exponent).exp2();
            let scaled = |m: &Measure| Measure::new(m.points().mapv(|x| x * scale), m.weights()).unwrap();
            let found = wasserstein(&scaled(&p), &scaled(&q), order, &Options::new()).unwrap();
            assert!(
                (found.upper / scale / expected - 1.0).abs() < 1e-12,
                "{order:?} 2^{exponent}: {}",
                found.upper / scale
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn forbidden_pairs_carry_no_mass_and_infeasible_problems_say_so(n in 1..7usize, share in 0.0..0.9f64, integer: bool, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let matrix = Array2::from_shape_simple_fn((n, n), || {
            if random.random_bool(share) { return f64::INFINITY; }
            if integer { f64::from(random.random_range(-2..3_i8)) } else { random.random_range(-1.0..3.0) }
        });
        let p = vec![1.0 / n as f64; n];
        let cost = DenseCost::with_forbidden(matrix.clone()).unwrap();
        let found = balanced_transport(&cost, &p, &p, &Options::new()).unwrap();
        // Assignments by enumeration.
        let best = permutations(n).iter().map(|s| s.iter().enumerate().map(|(i, &j)| matrix[[i, j]]).sum::<f64>() / n as f64).fold(f64::INFINITY, f64::min);
        if best.is_finite() {
            prop_assert_eq!(found.termination, Termination::Converged);
            prop_assert!((found.upper - best).abs() < 1e-12 && (found.lower - best).abs() < 1e-12, "{} {} {best}", found.lower, found.upper);
            prop_assert!(found.plan.iter().all(|&(i, j, _)| matrix[[i as usize, j as usize]].is_finite()));
        } else {
            prop_assert_eq!(found.termination, Termination::Infeasible);
            prop_assert!(found.upper == f64::INFINITY && found.plan.is_empty());
        }
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |shorter: &Vec<usize>, place: usize| {
        let mut longer = shorter.clone();
        longer.insert(place, n - 1);
        longer
    };
    permutations(n - 1).iter().flat_map(|shorter| (0..n).map(move |place| insert(shorter, place))).collect()
}

#[test]
fn light_and_absent_atoms_change_little_and_nothing() {
    let data = Measure::normalised(array![[0.0], [1.0], [2.0]], [1.0, 1.0, 1e-300]).unwrap();
    let without = Measure::uniform(array![[0.0], [1.0]]).unwrap();
    let model = Measure::uniform(array![[0.2], [0.9]]).unwrap();
    for kind in DivergenceKind::ALL {
        let value = |data: &Measure| Divergence::of(kind).lipschitz(1.0).between(&model, data).unwrap();
        assert!(
            is_honest(&value(&data)) && (value(&data).upper - value(&without).upper).abs() < 1e-11,
            "{kind}"
        );
    }
}

#[test]
fn an_observer_stops_every_stage_within_a_tenth_of_a_second() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (p, q) = (random_measure(&mut random, 3000, 1.0), random_measure(&mut random, 3000, 1.0));
    for limit in [0, 30, 120, 300] {
        for lazy in [false, true] {
            let clock = Instant::now();
            let (mut late, started) = (Duration::ZERO, Instant::now());
            let asked = std::sync::Mutex::new(None::<Instant>);
            let watch = |_: &Progress| {
                if started.elapsed() < Duration::from_millis(limit) {
                    return ControlFlow::Continue(());
                }
                asked.lock().unwrap().get_or_insert_with(Instant::now);
                ControlFlow::Break(())
            };
            let options = Options::new().observed_by(&watch).dense_cost_bytes(if lazy { 0 } else { 1 << 30 });
            let found = Divergence::chi_squared().lipschitz(1.0).options(options).between(&p, &q).unwrap();
            if let Some(asked) = *asked.lock().unwrap() {
                assert_eq!(found.termination, Termination::Cancelled);
                late = asked.elapsed();
            }
            assert!(found.lower <= found.upper);
            // The machine may be loaded: the promise is 0.1 s on a quiet one.
            assert!(
                late < Duration::from_millis(1000),
                "{limit} ms, lazy {lazy}: {late:?} of {:?}",
                clock.elapsed()
            );
        }
    }
}

#[test]
fn threads_do_not_change_the_numbers() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (p, q) = (random_measure(&mut random, 300, 1.0), random_measure(&mut random, 200, 1.0));
    let solve = |options: Options<'_>| {
        let found = Divergence::jensen_shannon().lipschitz(2.0).options(options).between(&p, &q).unwrap();
        (found.lower, found.upper, found.solution.plan)
    };
    let alone = solve(Options::new().threads(1));
    assert_eq!(solve(Options::new().threads(3)), alone);
    assert_eq!(solve(Options::new()), alone);
    let watch = |_: &Progress| ControlFlow::Continue(());
    assert_eq!(solve(Options::new().observed_by(&watch)), alone);
    let refused = Divergence::kl().lipschitz(1.0).options(Options::new().threads(0)).between(&p, &q);
    assert_eq!(refused.unwrap_err().field, "threads");
}
