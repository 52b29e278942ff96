//! Outward-rounded bounds: they contain the value, lie around the ordinary ones, and a wrong number is seen.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, array};
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::transport::{
    DenseCost, Order, balanced_transport, semi_relaxed_transport, wasserstein,
};
use proxflow_reference::{
    Certified, Divergence, DivergenceKind, Measure, Options, ProximalParameters, SingularMass,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn random_measure(random: &mut ChaCha8Rng, n: usize, d: usize) -> Measure {
    let points = Array2::from_shape_simple_fn((n, d), || random.random_range(-1.0..1.0));
    let masses: Vec<f64> = (0..n).map(|_| random.random_range(0.05..7.0)).collect();
    Measure::normalised(points, masses).unwrap()
}

/// Ordered without any rounding, still meeting the tolerance, around the bounds of plain arithmetic up to their rounding.
fn check<T>(rigorous: &Certified<T>, plain: &Certified<T>, what: &str) {
    assert!(
        rigorous.is_converged() && rigorous.lower <= rigorous.upper,
        "{what} {} {}",
        rigorous.lower,
        rigorous.upper
    );
    let rounding = 1e-12 * (1.0 + plain.upper);
    assert!(rigorous.gap() <= 1e-11 * (1.0 + plain.upper), "{what} {}", rigorous.gap());
    assert!(rigorous.lower <= plain.lower + rounding && rigorous.upper >= plain.upper - rounding, "{what}");
    assert!(rigorous.lower <= plain.upper && plain.lower <= rigorous.upper + rounding, "{what}");
}

#[test]
fn every_value_has_rigorous_bounds() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut kinds = DivergenceKind::ALL.to_vec();
    kinds.extend([1e-15, 1e-6, 1.0 - 1e-9, 1.0 + 2.3e-16, 1.0 + 1e-5].map(DivergenceKind::Alpha));
    for d in [1, 2, 50] {
        let (p, q) = (random_measure(&mut random, 12, d), random_measure(&mut random, 9, d));
        let plain = Options::new();
        let rigorous = plain.rigorous(true);
        for &kind in &kinds {
            for singular in [SingularMass::Forbidden, SingularMass::Priced] {
                let functional = Divergence::of(kind).lipschitz(1.3);
                let solve = |options: Options<'static>| {
                    functional.options(options.singular(singular)).between(&p, &q).unwrap()
                };
                check(&solve(rigorous), &solve(plain), &format!("{kind} {singular:?} d {d}"));
            }
            let parameters = ProximalParameters::new(0.9, 1.1, 1.0).unwrap();
            let solve = |options| combined_proximal(&p, &q, kind, parameters, &options).unwrap();
            check(&solve(rigorous), &solve(plain), &format!("proximal {kind} d {d}"));
        }
        for order in [Order::One, Order::Two] {
            let solve = |options| wasserstein(&p, &q, order, &options).unwrap();
            check(&solve(rigorous), &solve(plain), &format!("{order:?} d {d}"));
        }
    }
}

#[test]
fn closed_forms_lie_within_their_rigorous_bounds() {
    let rigorous = Options::new().rigorous(true);
    // W1 of two atoms: 1/3 of the mass moves by 1; exactly rational.
    let cost = DenseCost::new(array![[0.0, 1.0], [1.0, 0.0]]).unwrap();
    let found = balanced_transport(&cost, &[0.5, 0.5], &[0.25, 0.75], &rigorous).unwrap();
    assert!(found.lower <= 0.25 && 0.25 <= found.upper && found.gap() < 1e-14);
    // KL with one target: the cost of the move.
    let cost = DenseCost::new(array![[0.7]]).unwrap();
    for kind in DivergenceKind::ALL {
        let found = semi_relaxed_transport(&cost, &[1.0], &[1.0], kind, &rigorous).unwrap();
        assert!(
            found.lower <= 0.7 && 0.7 <= found.upper && found.gap() < 1e-13,
            "{kind} {} {}",
            found.lower,
            found.upper
        );
    }
    // ln(1/2 + e^-3/2), as in the split at the kink.
    let partition = 0.5 * (1.0 + (-3.0f64).exp());
    let cost = DenseCost::new(array![[0.0, 3.0]]).unwrap();
    let found =
        semi_relaxed_transport(&cost, &[1.0], &[0.5, 0.5], DivergenceKind::KullbackLeibler, &rigorous)
            .unwrap();
    assert!(
        found.lower <= -partition.ln() + 1e-16
            && -partition.ln() - 1e-16 <= found.upper
            && found.gap() < 1e-14
    );
}

#[test]
fn what_cannot_be_rigorous_is_refused() {
    let rigorous = Options::new().rigorous(true);
    let p = Measure::uniform(array![[0.0], [1.0]]).unwrap();
    let tiny = Divergence::alpha(1e-300).lipschitz(1.0).options(rigorous).between(&p, &p).unwrap_err();
    assert!(tiny.to_string().contains("1e-30"), "{tiny}");
    let cost = DenseCost::with_forbidden(array![[f64::INFINITY, 0.0], [0.0, 0.0]]).unwrap();
    assert!(balanced_transport(&cost, &[0.5, 0.5], &[0.5, 0.5], &rigorous).is_err());
}
