//! The certified divergence and proximal against a generic conic solver that shares no code (Clarabel, dual form).
#![allow(clippy::unwrap_used)]

mod common;

use common::{KINDS, Measure, conic};
use ndarray::Array2;
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::{Divergence, DivergenceKind, Options, ProximalParameters};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

/// Clarabel's relative accuracy is 1e-8 on its scaled problem; the power and exponential cones reach it up to a factor of 100.
const CLARABEL: f64 = 1e-6;

/// Normal points moved by `shift`, gamma(1) weights.
fn random_measure(seed: u64, n: usize, d: usize, shift: f64) -> Measure {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let points = Array2::from_shape_simple_fn((n, d), || {
        let sample: f64 = StandardNormal.sample(&mut generator);
        sample + shift
    });
    let law = Gamma::new(1.0, 1.0).unwrap();
    Measure::new(points, (0..n).map(|_| law.sample(&mut generator)).collect())
}

fn certified(p: &Measure, q: &Measure, kind: DivergenceKind, lipschitz: f64) -> f64 {
    let solved = Divergence::of(kind).lipschitz(lipschitz).between(&p.law(), &q.law()).unwrap();
    assert!(solved.gap().abs() <= 1e-10 * (1.0 + solved.upper));
    solved.upper
}

#[test]
fn every_generator_agrees_with_the_conic_solver() {
    let (p, q) = (random_measure(1, 18, 2, 0.7), random_measure(2, 15, 2, 0.0));
    let distances = conic::distances(&p.points, &q.points);
    for kind in KINDS {
        for lipschitz in [0.3, 1.0, 5.0] {
            let cost = &distances * lipschitz;
            let expected = conic::semi_relaxed_transport(&cost, &p.weights, &q.weights, kind);
            let value = certified(&p, &q, kind, lipschitz);
            assert!(
                (value - expected).abs() <= CLARABEL * (1.0 + value),
                "{kind} L={lipschitz}: {value} {expected}"
            );
        }
    }
}

#[test]
fn kl_agrees_with_the_exponential_cone_at_two_hundred_atoms() {
    let (p, q) = (random_measure(3, 200, 8, 0.5), random_measure(4, 200, 8, 0.0));
    let cost = conic::distances(&p.points, &q.points);
    let kind = DivergenceKind::KullbackLeibler;
    let expected = conic::semi_relaxed_transport(&cost, &p.weights, &q.weights, kind);
    let value = certified(&p, &q, kind, 1.0);
    assert!((value - expected).abs() <= CLARABEL * (1.0 + value), "{value} {expected}");
    // Negative control: the comparison sees a cost that is wrong by a thousandth.
    let wrong = conic::semi_relaxed_transport(&(cost * 1.001), &p.weights, &q.weights, kind);
    assert!((value - wrong).abs() > 1e-4, "{value} {wrong}");
}

#[test]
fn the_combined_proximal_agrees_with_the_conic_solver_on_both_sides_of_the_kink() {
    let (p, q) = (random_measure(5, 20, 2, 1.5), random_measure(6, 16, 2, 0.0));
    let r = conic::distances(&p.points, &q.points);
    for (lipschitz, lambda, horizon) in [(1.0, 1.0, 1.0), (0.5, 2.0, 1.0), (3.0, 0.1, 2.0)] {
        let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
        let kink = lipschitz * horizon / lambda;
        let huber = |r: f64| {
            if r <= kink {
                lambda * r * r / (2.0 * horizon)
            } else {
                lipschitz * r - lipschitz * lipschitz * horizon / (2.0 * lambda)
            }
        };
        for kind in KINDS {
            let expected = conic::semi_relaxed_transport(&r.mapv(huber), &p.weights, &q.weights, kind);
            let solved = combined_proximal(&p.law(), &q.law(), kind, parameters, &Options::new()).unwrap();
            let value = solved.upper;
            assert!(solved.gap().abs() <= 1e-10 * (1.0 + value));
            assert!((value - expected).abs() <= CLARABEL * (1.0 + value), "{kind}: {value} {expected}");
        }
    }
}
