//! Derivatives of the optimal values in positions and weights: finite differences of the solver, dual numbers of the cost.
#![allow(clippy::unwrap_used)]

use autodiff::{F1, Float};
use ndarray::{Array2, array};
use proxflow_reference::proximal::{combined_proximal, critical_lipschitz};
use proxflow_reference::transport::{
    DenseCost, Order, balanced_transport, semi_relaxed_transport, wasserstein,
};
use proxflow_reference::{
    Divergence, DivergenceKind, Gradients, Measure, Options, ProximalParameters, SingularMass,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Central differences: truncation `h^2` of values of size one, rounding `1e-15/h`; kinks are met with probability `h`.
const STEP: f64 = 1e-6;
const CLOSE: f64 = 2e-7;

fn random_measure(random: &mut ChaCha8Rng, n: usize, d: usize) -> Measure {
    let points = Array2::from_shape_simple_fn((n, d), || random.random_range(-1.5..1.5));
    let masses: Vec<f64> = (0..n).map(|_| random.random_range(0.2..1.0)).collect();
    Measure::normalised(points, masses).unwrap()
}

/// All derivatives of `value` by central differences; weights are normalised on the way.
fn differences(model: &Measure, data: &Measure, value: impl Fn(&Measure, &Measure) -> f64) -> Gradients {
    let in_points = |of_model: bool| {
        let moved = if of_model { model } else { data };
        Array2::from_shape_fn(moved.points().dim(), |(i, k)| {
            let at = |step: f64| {
                let mut points = moved.points().to_owned();
                points[[i, k]] += step;
                let moved = Measure::new(points, moved.weights()).unwrap();
                if of_model { value(&moved, data) } else { value(model, &moved) }
            };
            (at(STEP) - at(-STEP)) / (2.0 * STEP)
        })
    };
    let in_weights = |of_model: bool| -> Vec<f64> {
        let moved = if of_model { model } else { data };
        let slope = |i: usize| {
            let at = |step: f64| {
                let mut weights = moved.weights().to_vec();
                weights[i] += step;
                let moved = Measure::normalised(moved.points(), weights).unwrap();
                if of_model { value(&moved, data) } else { value(model, &moved) }
            };
            (at(STEP) - at(-STEP)) / (2.0 * STEP)
        };
        (0..moved.len()).map(slope).collect()
    };
    Gradients {
        model: in_points(true),
        data: in_points(false),
        model_weights: in_weights(true),
        data_weights: in_weights(false),
    }
}

/// The largest relative deviation of each of the four parts.
fn deviations(left: &Gradients, right: &Gradients) -> [f64; 4] {
    let of = |a: Vec<f64>, b: Vec<f64>| {
        let size = b.iter().fold(1.0f64, |size, b| size.max(b.abs()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max)
    };
    let flat = |points: &Array2<f64>| points.iter().copied().collect::<Vec<f64>>();
    [
        of(flat(&left.model), flat(&right.model)),
        of(flat(&left.data), flat(&right.data)),
        of(left.model_weights.clone(), right.model_weights.clone()),
        of(left.data_weights.clone(), right.data_weights.clone()),
    ]
}

/// Deviations of random instances: all but a few in a hundred, where a kink of the value lies within the step, are small.
fn check(name: &str, found: Vec<[f64; 4]>) {
    let bad = found.iter().filter(|deviations| deviations.iter().any(|deviation| *deviation > CLOSE)).count();
    assert!(20 * bad <= found.len(), "{name}: {bad} of {}, {found:?}", found.len());
}

#[test]
fn divergences_of_every_kind_have_the_derivatives_of_the_envelope_theorem() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for kind in DivergenceKind::ALL {
        for singular in [SingularMass::Forbidden, SingularMass::Priced] {
            let found = (0..10).map(|instance| {
                let (p, q) = (random_measure(&mut random, 5, 2), random_measure(&mut random, 4, 2));
                let options = Options::new().singular(singular);
                let functional =
                    Divergence::of(kind).lipschitz(0.3 + 0.3 * f64::from(instance)).options(options);
                let exact = functional.between(&p, &q).unwrap().gradients(&p, &q).unwrap();
                deviations(&exact, &differences(&p, &q, |p, q| functional.between(p, q).unwrap().upper))
            });
            check(&kind.to_string(), found.collect());
        }
    }
}

#[test]
fn proximals_of_every_kind_have_the_derivatives_of_the_envelope_theorem() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for kind in DivergenceKind::ALL {
        let found = (0..10).map(|instance| {
            let (p, q) = (random_measure(&mut random, 4, 3), random_measure(&mut random, 5, 3));
            let parameters = ProximalParameters::new(0.4 + 0.2 * f64::from(instance), 1.0, 0.9).unwrap();
            let solve = |p: &Measure, q: &Measure| {
                combined_proximal(p, q, kind, parameters, &Options::new()).unwrap()
            };
            let exact = solve(&p, &q).gradients(&p, &q).unwrap();
            deviations(&exact, &differences(&p, &q, |p, q| solve(p, q).upper))
        });
        check(&kind.to_string(), found.collect());
    }
}

#[test]
fn wasserstein_distances_have_the_derivatives_of_the_envelope_theorem() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for order in [Order::One, Order::Two] {
        let found = (0..20).map(|_| {
            let (p, q) = (random_measure(&mut random, 5, 2), random_measure(&mut random, 6, 2));
            let solve = |p: &Measure, q: &Measure| wasserstein(p, q, order, &Options::new()).unwrap();
            let exact = solve(&p, &q).gradients(&p, &q).unwrap();
            deviations(&exact, &differences(&p, &q, |p, q| solve(p, q).transport.upper))
        });
        check(&format!("{order:?}"), found.collect());
    }
}

#[test]
fn the_potential_at_an_atom_that_splits_its_mass_is_no_gradient() {
    // Negative control: the slope of phi at the atom, instead of the plan's.
    let model = Measure::uniform(array![[0.0]]).unwrap();
    let data = Measure::new(array![[-1.0], [2.0]], [0.5, 0.5]).unwrap();
    let solved = wasserstein(&model, &data, Order::Two, &Options::new()).unwrap();
    let exact = solved.gradients(&model, &data).unwrap().model[[0, 0]];
    assert!((exact - (0.5 * 2.0 - 0.5 * 4.0)).abs() < 1e-14);
    let (_, at) = solved.potential(&data).value_and_gradient(array![0.0].view()).unwrap();
    assert!((at.gradient[0] - exact).abs() > 0.5 && at.margin < 1e-14);
}

#[test]
fn positions_agree_with_dual_numbers_of_the_cost_of_the_plan() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for _ in 0..20 {
        let (p, q) = (random_measure(&mut random, 4, 2), random_measure(&mut random, 4, 2));
        let parameters = ProximalParameters::new(0.8, 1.0, 1.0).unwrap();
        let kind = DivergenceKind::KullbackLeibler;
        let solved = combined_proximal(&p, &q, kind, parameters, &Options::new()).unwrap();
        let exact = solved.gradients(&p, &q).unwrap();
        for (i, k) in [(0, 0), (1, 1), (3, 0)] {
            let mut total = F1::cst(0.0);
            for path in &solved.paths {
                let z = q.points().row(path.data.unwrap()).to_vec();
                let mut square = F1::cst(0.0);
                for c in 0..2 {
                    let x = p.points()[[path.source, c]];
                    let x = if (path.source, c) == (i, k) { F1::var(x) } else { F1::cst(x) };
                    square = square + (x - F1::cst(z[c])) * (x - F1::cst(z[c]));
                }
                let r = square.sqrt();
                let huber = if r.x <= 0.8 { square * F1::cst(0.5) } else { F1::cst(0.8) * r - F1::cst(0.32) };
                total = total + huber * F1::cst(path.mass);
            }
            assert!((total.dx - exact.model[[i, k]]).abs() < 1e-14);
        }
    }
}

#[test]
fn weights_of_any_cost_have_the_derivatives_of_the_envelope_theorem() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..10 {
        let cost =
            DenseCost::new(Array2::from_shape_simple_fn((5, 4), || random.random_range(-1.0..1.0))).unwrap();
        let draw = |n: usize, random: &mut ChaCha8Rng| -> Vec<f64> {
            let masses: Vec<f64> = (0..n).map(|_| random.random_range(0.2..1.0)).collect();
            masses.iter().map(|mass| mass / masses.iter().sum::<f64>()).collect()
        };
        let (p, q) = (draw(5, &mut random), draw(4, &mut random));
        let moved = |w: &[f64], i: usize, step: f64| -> Vec<f64> {
            let mut w = w.to_vec();
            w[i] += step;
            w.iter().map(|v| v / (1.0 + step)).collect()
        };
        let options = Options::new();
        let balanced = |p: &[f64], q: &[f64]| balanced_transport(&cost, p, q, &options).unwrap();
        let (in_p, in_q) = balanced(&p, &q).weight_gradients(&p, &q).unwrap();
        let mut pairs = Vec::new();
        for i in 0..5 {
            let at = |step: f64| balanced(&moved(&p, i, step), &q).upper;
            pairs.push((in_p[i], (at(STEP) - at(-STEP)) / (2.0 * STEP)));
        }
        for j in 0..4 {
            let at = |step: f64| balanced(&p, &moved(&q, j, step)).upper;
            pairs.push((in_q[j], (at(STEP) - at(-STEP)) / (2.0 * STEP)));
        }
        for kind in DivergenceKind::ALL {
            let solve = |q: &[f64]| semi_relaxed_transport(&cost, &p, q, kind, &options).unwrap();
            let (_, in_q) = solve(&q).weight_gradients(&p, &q, kind).unwrap();
            for j in 0..4 {
                let at = |step: f64| solve(&moved(&q, j, step)).upper;
                pairs.push((in_q[j], (at(STEP) - at(-STEP)) / (2.0 * STEP)));
            }
        }
        let bad =
            pairs.iter().filter(|(exact, slope)| (exact - slope).abs() > CLOSE * (1.0 + slope.abs())).count();
        assert!(20 * bad <= pairs.len(), "{pairs:?}");
    }
}

#[test]
fn the_critical_lipschitz_constant_is_bracketed_on_random_pairs() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let kind = DivergenceKind::KullbackLeibler;
    for _ in 0..12 {
        let (p, q) = (random_measure(&mut random, 6, 2), random_measure(&mut random, 7, 2));
        let (lambda, horizon) = (random.random_range(0.2..3.0), random.random_range(0.5..4.0));
        let found = critical_lipschitz(&p, &q, kind, lambda, horizon, &Options::new()).unwrap();
        assert!(found.is_converged() && found.lower <= found.upper && found.gap() <= 1.001e-3 * found.upper);
        let bound = lambda * found.longest_move / horizon;
        assert!(
            found.upper >= bound * (1.0 - 1e-6) && found.lower >= bound * (1.0 - 1e-4),
            "{bound} {found:?}"
        );
        // A twin that shares nothing but the solver: the value saturates above and has dropped below.
        let value = |lipschitz: f64| {
            let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
            combined_proximal(&p, &q, kind, parameters, &Options::new()).unwrap()
        };
        let unconstrained = value(1e3);
        assert!((value(found.upper * (1.0 + 1e-9)).upper - unconstrained.upper).abs() < 1e-11);
        assert!(value(found.lower * 0.999).upper < unconstrained.lower);
    }
}

#[test]
fn the_critical_lipschitz_constant_of_equal_measures_is_zero_and_of_a_line_known() {
    let kind = DivergenceKind::KullbackLeibler;
    let p = Measure::uniform(array![[0.0], [1.0]]).unwrap();
    let same = critical_lipschitz(&p, &p, kind, 1.0, 1.0, &Options::new()).unwrap();
    assert!(same.lower == 0.0 && same.upper < 1e-6 && same.longest_move == 0.0, "{same:?}");
    for (r, lambda, horizon) in [(0.1, 2.0, 3.0), (50.0, 0.05, 5.0), (1e-6, 1e9, 1.0), (1e6, 1e-3, 1e2)] {
        let (p, q) = (Measure::uniform(array![[0.0]]).unwrap(), Measure::uniform(array![[r]]).unwrap());
        let found = critical_lipschitz(&p, &q, kind, lambda, horizon, &Options::new()).unwrap();
        let exact = lambda * r / horizon;
        assert!(
            found.lower <= exact * (1.0 + 1e-12) && exact <= found.upper * (1.0 + 1e-6),
            "{exact} {found:?}"
        );
    }
}
