//! phi* is the variational derivative of the regularised divergence (notation 1.6), and its monotonicity (1.7).
#![allow(clippy::unwrap_used)]

mod common;

use common::{CERTIFIED, KINDS, Measure, any_kind, divergence, dual_objective, measure, scale};
use ndarray::{Array2, array};
use proptest::prelude::*;
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{Generator, LipschitzRegularisedDivergence};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_potential_is_the_variational_derivative_towards_any_measure(
        p in measure(2, 5), other in measure(2, 4), q in measure(2, 5), kind in any_kind(), lipschitz in 0.05..2.0f64,
        far in prop_oneof![Just(0.0), Just(7.3)],
    ) {
        // With `far` the direction is singular to both measures.
        let direction = Measure { points: &other.points + far, weights: other.weights.clone() };
        let solved = divergence(&p, &q, kind, lipschitz);
        let slope = solved.expected_potential(direction.points.view(), Some(&direction.weights)).unwrap()
            - solved.expected_potential(p.points.view(), Some(&p.weights)).unwrap();
        let quotient = |step: f64| {
            (divergence(&p.mixed(&direction, step), &q, kind, lipschitz).upper - solved.upper) / step
        };
        // Convex in the step: the quotient decreases to the derivative. Noise 2e-11/step.
        let noise = |step: f64| CERTIFIED * scale(solved.upper) / step;
        let (coarse, fine) = (quotient(1e-3), quotient(1e-5));
        prop_assert!(coarse >= fine - noise(1e-5) && fine >= slope - noise(1e-5), "{kind} {coarse} {fine} {slope}");
        // A step e moves at most 2 e of eta*, so phi = f'(eta*/q) by what f' varies over that: the excess is no larger.
        let generator = Generator::new(kind).unwrap();
        let charged = solved.intermediate.iter().zip(&q.weights).filter(|(_, q)| **q > 0.0);
        let variation = charged
            .map(|(eta, q)| {
                let lowest = generator.derivative((eta - 2e-5).max(0.0) / q);
                if lowest.is_finite() { generator.derivative((eta + 2e-5) / q) - lowest } else { f64::INFINITY }
            })
            .fold(0.0, f64::max);
        prop_assert!(fine - slope <= variation + noise(1e-5), "{kind} {fine} {slope} {variation}");
    }

    #[test]
    fn monotonicity_gap_equals_sum_of_optimality_gaps(
        first in measure(2, 6), second in measure(2, 6), q in measure(2, 6), kind in any_kind(), lipschitz in 0.05..4.0f64,
    ) {
        let (one, two) = (divergence(&first, &q, kind, lipschitz), divergence(&second, &q, kind, lipschitz));
        let mean = |solved: &LipschitzRegularisedDivergence, of: &Measure| {
            solved.expected_potential(of.points.view(), Some(&of.weights)).unwrap()
        };
        let gap = mean(&one, &first) - mean(&two, &first) - mean(&one, &second) + mean(&two, &second);
        // The optimal values come from the primal certificate, so that this is more than algebra.
        let at = |p: &Measure, solved: &LipschitzRegularisedDivergence| {
            let on_model = solved.potential.values(p.points.view()).unwrap();
            dual_objective(p, &q, kind, &on_model, &solved.data_potential())
        };
        let gaps = (one.upper - at(&first, &two)) + (two.upper - at(&second, &one));
        prop_assert!((gap - gaps).abs() <= CERTIFIED * scale(gap), "{kind} {gap} {gaps}");
        prop_assert!(gap >= -CERTIFIED * scale(gap), "{kind} {gap}");
    }
}

#[test]
fn an_idle_data_atom_bounds_the_potential_by_the_price_of_its_first_mass_only() {
    // All mass sits at 0; the atom at 10 receives none. Towards it the derivative is f'(0) - phi(0): of all optimal potentials
    // the largest. The smallest, phi(0) - 10 there, would be off by more than 7.
    let p = Measure::new(array![[0.0]], vec![1.0]);
    let q = Measure::new(array![[0.0], [10.0]], vec![0.5, 0.5]);
    let direction = Measure::new(array![[10.0]], vec![1.0]);
    for kind in [DivergenceKind::Alpha(1.5), DivergenceKind::Alpha(3.0), DivergenceKind::ChiSquared] {
        let solved = divergence(&p, &q, kind, 1.0);
        assert_eq!(solved.intermediate[1], 0.0, "{kind}");
        let mean = |of: &Measure| solved.expected_potential(of.points.view(), Some(&of.weights)).unwrap();
        let slope = mean(&direction) - mean(&p);
        let quotient = (divergence(&p.mixed(&direction, 1e-6), &q, kind, 1.0).upper - solved.upper) / 1e-6;
        // f' varies by (2e)^(a-1) over the step: 3e-3 at a = 1.5; rounding 1e-5.
        assert!((quotient - slope).abs() < 1e-2, "{kind} {quotient} {slope}");
    }
}

#[test]
fn suboptimal_potentials_violate_monotonicity() {
    // Negative control of 1.7: Lipschitz potentials that belong to the wrong measure give the wrong sign.
    let q = Measure::new(array![[0.0], [1.0], [2.0]], vec![1.0, 1.0, 1.0]);
    let (first, second) = (Measure::new(array![[-0.5]], vec![1.0]), Measure::new(array![[2.5]], vec![1.0]));
    for kind in KINDS {
        let (one, two) = (divergence(&first, &q, kind, 1.0), divergence(&second, &q, kind, 1.0));
        let mean = |solved: &LipschitzRegularisedDivergence, of: &Measure| {
            solved.expected_potential(of.points.view(), None).unwrap()
        };
        let gap = mean(&one, &first) - mean(&two, &first) - mean(&one, &second) + mean(&two, &second);
        assert!(gap > 0.1, "{kind}");
        let exchanged = mean(&two, &first) - mean(&one, &first) - mean(&two, &second) + mean(&one, &second);
        assert!(exchanged < -0.1, "{kind}");

        // The identity with the optimal values fails as well once a potential is not optimal.
        let half = |of: &Measure| 0.5 * mean(&one, of);
        let pairing = half(&first) - mean(&two, &first) - half(&second) + mean(&two, &second);
        let values = |solved: &LipschitzRegularisedDivergence, p: &Measure, factor: f64| {
            let on = |points: &Array2<f64>| -> Vec<f64> {
                solved.potential.values(points.view()).unwrap().iter().map(|phi| factor * phi).collect()
            };
            dual_objective(p, &q, kind, &on(&p.points), &on(&q.points))
        };
        let gaps = (one.upper - values(&two, &first, 1.0)) + (two.upper - values(&one, &second, 0.5));
        assert!((pairing - gaps).abs() > 1e-2, "{kind} {pairing} {gaps}");
    }
}

#[test]
fn a_potential_of_half_the_slope_is_not_the_variational_derivative() {
    // Negative control of 1.6.
    let p = Measure::new(array![[0.0], [0.7]], vec![0.5, 0.5]);
    let q = Measure::new(array![[1.5], [3.0]], vec![0.3, 0.7]);
    let direction = Measure::new(array![[-4.0]], vec![1.0]);
    for kind in KINDS {
        let solved = divergence(&p, &q, kind, 1.0);
        let quotient = (divergence(&p.mixed(&direction, 1e-5), &q, kind, 1.0).upper - solved.upper) / 1e-5;
        let slope = solved.expected_potential(direction.points.view(), None).unwrap()
            - solved.expected_potential(p.points.view(), Some(&p.weights)).unwrap();
        assert!((quotient - slope).abs() < 1e-3, "{kind} {quotient} {slope}");
        assert!((quotient - 0.5 * slope).abs() > 0.5, "{kind}");
    }
}
