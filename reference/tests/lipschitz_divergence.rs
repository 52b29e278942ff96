//! Properties of the Lipschitz-regularised divergence: notation 1.2 to 1.7.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KINDS, Measure, any_kind, measure, priced};
use ndarray::{Array2, array};
use proptest::prelude::*;
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{
    Cumulant, Generator, LipschitzRegularisedDivergence, RegularisedOptions, f_divergence,
    f_divergence_of_atoms, generalised_cumulant, lipschitz_regularised_divergence,
};

/// Certified gaps are at most 1e-11 (1 + |value|); identities between a few such values hold to ten times that.
const CERTIFIED: f64 = 1e-10;

fn solve(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    lipschitz: f64,
    options: &RegularisedOptions,
) -> LipschitzRegularisedDivergence {
    lipschitz_regularised_divergence(
        p.points.view(),
        Some(&p.weights),
        q.points.view(),
        Some(&q.weights),
        kind,
        lipschitz,
        options,
    )
    .unwrap()
}

fn divergence(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    lipschitz: f64,
) -> LipschitzRegularisedDivergence {
    solve(p, q, kind, lipschitz, &RegularisedOptions::default())
}

/// `Lambda_Q(phi)`, which reads `phi` on the support of Q alone.
fn cumulant(q: &Measure, kind: DivergenceKind, on_data: &[f64]) -> Cumulant {
    let (phi, weights): (Vec<f64>, Vec<f64>) =
        on_data.iter().zip(&q.weights).filter(|(_, q)| **q > 0.0).unzip();
    generalised_cumulant(&Generator::new(kind).unwrap(), &phi, &weights)
}

/// `F(phi) = E_P phi - Lambda_Q(phi)` for `phi` given on the atoms.
fn dual_objective(p: &Measure, q: &Measure, kind: DivergenceKind, on_model: &[f64], on_data: &[f64]) -> f64 {
    let mean: f64 = p.weights.iter().zip(on_model).map(|(p, phi)| p * phi).sum();
    mean - cumulant(q, kind, on_data).value
}

fn scale(value: f64) -> f64 {
    1.0 + value.abs()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_gap_is_certified_and_the_potential_attains_the_dual(
        p in measure(2, 7), q in measure(2, 7), kind in any_kind(), lipschitz in 0.05..8.0f64,
    ) {
        let solved = divergence(&p, &q, kind, lipschitz);
        let tolerance = CERTIFIED * scale(solved.upper);
        prop_assert!(solved.gap().abs() <= tolerance, "{kind} {}", solved.gap());
        prop_assert!((solved.transport + solved.divergence - solved.upper).abs() <= tolerance);
        let dual = dual_objective(&p, &q, kind, &solved.model_potential, &solved.data_potential());
        prop_assert!((dual - solved.upper).abs() <= tolerance, "{kind} {dual} {}", solved.upper);
        prop_assert!((solved.intermediate.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_value_is_never_negative_and_grows_concavely_with_the_lipschitz_constant(
        p in measure(2, 6), q in measure(2, 6), kind in any_kind(), lipschitz in 0.05..4.0f64, factor in 1.1..5.0f64,
    ) {
        let low = divergence(&p, &q, kind, lipschitz);
        let high = divergence(&p, &q, kind, factor * lipschitz);
        let tolerance = CERTIFIED * scale(high.upper);
        prop_assert!(low.upper >= -tolerance);
        prop_assert!(low.lower <= high.upper + tolerance, "{kind}: not monotone");
        // A minimum of functions linear in L is concave, and zero at L = 0.
        prop_assert!(high.lower <= factor * low.upper + factor * tolerance, "{kind}: not concave");
    }

    #[test]
    fn the_divergence_without_regularisation_bounds_the_value(
        p in measure(2, 6), q in measure(2, 6), masses in prop::collection::vec(0.0..1.0f64, 6), kind in any_kind(),
        lipschitz in 0.05..20.0f64,
    ) {
        // Any P when singular mass is priced by the recession slope, as D_f itself does.
        let bound = f_divergence_of_atoms(kind, p.points.view(), Some(&p.weights), q.points.view(), Some(&q.weights)).unwrap();
        let value = solve(&p, &q, kind, lipschitz, &priced());
        let tolerance = CERTIFIED * scale(value.upper);
        prop_assert!(value.lower <= bound + tolerance, "{kind} {} {bound}", value.lower);
        prop_assert!(value.gap().abs() <= tolerance);
        // Pricing singular mass only adds choices.
        prop_assert!(value.lower <= divergence(&p, &q, kind, lipschitz).upper + tolerance);

        // P << Q: the problem as it stands.
        let weights: Vec<f64> = q.weights.iter().zip(&masses).map(|(q, mass)| q * (mass + 1e-3)).collect();
        let inside = Measure::new(q.points.clone(), weights);
        let bound = f_divergence(kind, &inside.weights, &q.weights).unwrap();
        prop_assert!(divergence(&inside, &q, kind, lipschitz).lower <= bound + CERTIFIED * scale(bound), "{kind}");
    }

    #[test]
    fn a_large_lipschitz_constant_recovers_the_divergence(
        q in measure(2, 6), masses in prop::collection::vec(0.1..1.0f64, 6), kind in any_kind(),
    ) {
        let weights: Vec<f64> = q.weights.iter().zip(&masses).map(|(q, mass)| q * mass).collect();
        let p = Measure::new(q.points.clone(), weights);
        let value = divergence(&p, &q, kind, 1e9);
        let bound = f_divergence_of_atoms(kind, p.points.view(), Some(&p.weights), q.points.view(), Some(&q.weights)).unwrap();
        // Slopes of f at these ratios are below 1e3: beyond L min|z_j - z_k| = 1e3 no mass moves. Random coordinates may lie
        // closer than 1e-6, then a mass moved over 1e-6 costs at most as much.
        prop_assert!((value.upper - bound).abs() <= 1e-9 * scale(bound), "{kind} {} {bound}", value.upper);
    }

    #[test]
    fn the_value_vanishes_exactly_on_equal_measures(
        p in measure(2, 7), kind in any_kind(), lipschitz in 0.05..8.0f64, shift in 0.1..2.0f64,
    ) {
        let same = divergence(&p, &p, kind, lipschitz);
        prop_assert!(same.upper.abs() <= CERTIFIED, "{kind} {}", same.upper);
        let moved = Measure { points: &p.points + &array![[shift, 0.0]], weights: p.weights.clone() };
        prop_assert!(divergence(&moved, &p, kind, lipschitz).lower > 1e-6, "{kind}");
    }

    #[test]
    fn the_value_is_jointly_convex(
        p in measure(2, 4), q in measure(2, 4), r in measure(2, 4), s in measure(2, 4), kind in any_kind(),
        lipschitz in 0.05..8.0f64, t in 0.05..0.95f64,
    ) {
        let ends = (divergence(&p, &q, kind, lipschitz).upper, divergence(&r, &s, kind, lipschitz).upper);
        let middle = divergence(&p.mixed(&r, t), &q.mixed(&s, t), kind, lipschitz).lower;
        let chord = (1.0 - t) * ends.0 + t * ends.1;
        prop_assert!(middle <= chord + CERTIFIED * scale(chord), "{kind} {middle} {chord}");
    }

    #[test]
    fn isometries_and_permutations_change_nothing(
        p in measure(3, 6), q in measure(3, 6), kind in any_kind(), lipschitz in 0.05..8.0f64,
        mirror in prop::array::uniform3(-1.0..1.0f64), shift in prop::array::uniform3(-5.0..5.0f64),
    ) {
        let norm2: f64 = mirror.iter().map(|m| m * m).sum();
        prop_assume!(norm2 > 0.01);
        let moved = |measure: &Measure| {
            let mut points = measure.points.clone();
            for mut point in points.outer_iter_mut() {
                let along: f64 = point.iter().zip(&mirror).map(|(x, m)| x * m).sum();
                for k in 0..3 {
                    point[k] += shift[k] - 2.0 * along / norm2 * mirror[k];
                }
            }
            let order: Vec<usize> = (0..points.nrows()).rev().collect();
            Measure { points: points.select(ndarray::Axis(0), &order), weights: order.iter().map(|&i| measure.weights[i]).collect() }
        };
        let value = divergence(&p, &q, kind, lipschitz);
        let image = divergence(&moved(&p), &moved(&q), kind, lipschitz);
        prop_assert!((value.upper - image.upper).abs() <= CERTIFIED * scale(value.upper), "{kind}");
        // eta* is unique where f is strictly convex, up to duplicate atoms; compare its total on the first data point.
        let at_first = |solved: &LipschitzRegularisedDivergence, points: &Array2<f64>, which: usize| -> f64 {
            let first = points.row(which);
            let same = |j: &usize| points.row(*j).iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-9);
            (0..points.nrows()).filter(same).map(|j| solved.intermediate[j]).sum()
        };
        let last = q.points.nrows() - 1;
        let (before, after) = (at_first(&value, &q.points, 0), at_first(&image, &moved(&q).points, last));
        // A gap g leaves eta* uncertain by about sqrt(g): 1e-5.
        prop_assert!((before - after).abs() < 1e-5, "{kind} {before} {after}");
    }

    #[test]
    fn the_slope_is_at_most_the_lipschitz_constant_everywhere(
        p in measure(3, 6), q in measure(3, 6), kind in any_kind(), lipschitz in 0.05..8.0f64,
        pairs in prop::collection::vec((prop::array::uniform3(-6.0..6.0f64), prop::array::uniform3(-6.0..6.0f64)), 16),
    ) {
        let phi = divergence(&p, &q, kind, lipschitz).potential;
        let points = |side: usize| {
            Array2::from_shape_fn((pairs.len(), 3), |(k, c)| if side == 0 { pairs[k].0[c] } else { pairs[k].1[c] })
        };
        let (left, right) = (phi.values(points(0).view()).unwrap(), phi.values(points(1).view()).unwrap());
        for (k, (left, right)) in left.iter().zip(&right).enumerate() {
            let distance = (&points(0).row(k) - &points(1).row(k)).mapv(|c| c * c).sum().sqrt();
            // Rounding of the two values alone.
            prop_assert!((left - right).abs() <= lipschitz * distance + 1e-13 * scale(left.abs().max(right.abs())));
        }
        // At the atoms too: phi(z_j) is the value of the dual variable.
        prop_assert!(phi.values(q.points.view()).unwrap().iter().zip(phi.offsets()).all(|(phi, psi)| *phi <= *psi));
    }

    #[test]
    fn the_intermediate_measure_is_the_gradient_of_the_cumulant(
        p in measure(2, 7), q in measure(2, 7), kind in any_kind(), lipschitz in 0.05..8.0f64,
    ) {
        let solved = divergence(&p, &q, kind, lipschitz);
        let from_potential = cumulant(&q, kind, &solved.data_potential());
        let charged = solved.intermediate.iter().zip(&q.weights).filter(|(_, q)| **q > 0.0);
        // (f*)' is Lipschitz near the data except for alpha:3, a square root at 0: rounding 1e-14 of phi becomes 1e-7.
        let tolerance = if kind == DivergenceKind::Alpha(3.0) { 1e-6 } else { 1e-9 };
        for ((eta, _), expected) in charged.zip(&from_potential.weights) {
            prop_assert!((eta - expected).abs() < tolerance, "{kind}: {eta} {expected}");
        }
        prop_assert!(solved.intermediate.iter().zip(&q.weights).all(|(eta, q)| *q > 0.0 || *eta == 0.0));
        // The gauge of the potential is nu = 0.
        prop_assert!(from_potential.shift.abs() < 1e-9, "{kind} {}", from_potential.shift);
        if kind == DivergenceKind::KullbackLeibler {
            let data_potential = solved.data_potential();
            let partition: f64 = q.weights.iter().zip(&data_potential).map(|(q, phi)| q * phi.exp()).sum();
            for (j, eta) in solved.intermediate.iter().enumerate() {
                prop_assert!((eta - q.weights[j] * data_potential[j].exp() / partition).abs() < 1e-10);
            }
        }
    }

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

    #[test]
    fn no_other_plan_or_potential_crosses_the_certificate(
        p in measure(2, 5), q in measure(2, 5), kind in any_kind(), lipschitz in 0.05..8.0f64,
        psi in prop::collection::vec(-3.0..3.0f64, 5), rows in prop::collection::vec(0.01..1.0f64, 25),
    ) {
        let solved = divergence(&p, &q, kind, lipschitz);
        let (n, m) = (p.weights.len(), q.weights.len());
        let length = |i: usize, j: usize| (&p.points.row(i) - &q.points.row(j)).mapv(|c| c * c).sum().sqrt();
        let on_model: Vec<f64> = (0..n)
            .map(|i| (0..m).map(|j| lipschitz * length(i, j) + psi[j]).fold(f64::INFINITY, f64::min))
            .collect();
        let dual = dual_objective(&p, &q, kind, &on_model, &psi[..m]);
        prop_assert!(dual <= solved.upper + CERTIFIED * scale(dual), "{kind} {dual}");
        let (mut eta, mut transport) = (vec![0.0; m], 0.0);
        for i in 0..n {
            // No plan may charge atoms outside the support of q.
            let row: Vec<f64> = (0..m).map(|j| if q.weights[j] > 0.0 { rows[i * m + j] } else { 0.0 }).collect();
            let total: f64 = row.iter().sum();
            for j in 0..m {
                eta[j] += p.weights[i] * row[j] / total;
                transport += p.weights[i] * row[j] / total * lipschitz * length(i, j);
            }
        }
        let primal = transport + f_divergence(kind, &eta, &q.weights).unwrap();
        prop_assert!(primal >= solved.lower - CERTIFIED * scale(primal), "{kind} {primal}");
    }
}

#[test]
fn without_a_price_for_singular_mass_the_bound_by_the_divergence_fails() {
    // Negative control of the recession convention: P and Q mutually singular at distance 50.
    let (p, q) = (Measure::new(array![[0.0]], vec![1.0]), Measure::new(array![[50.0]], vec![1.0]));
    for kind in [DivergenceKind::JensenShannon, DivergenceKind::SquaredHellinger, DivergenceKind::Alpha(0.5)]
    {
        let bound = f_divergence_of_atoms(kind, p.points.view(), None, q.points.view(), None).unwrap();
        assert!((divergence(&p, &q, kind, 1.0).lower - 50.0).abs() < 1e-9);
        let value = solve(&p, &q, kind, 1.0, &priced());
        assert!(value.lower <= bound + CERTIFIED && value.upper > 0.5, "{kind} {} {bound}", value.lower);
        assert!(value.stayed[0] > 0.5, "{kind}");
        // The dual under phi <= nu + f'(inf): the same value from the reported potential.
        let generator = Generator::new(kind).unwrap();
        let heights = [value.data_potential()[0], value.potential.cap()];
        let dual = value.model_potential[0] - generalised_cumulant(&generator, &heights, &[1.0, 0.0]).value;
        assert!((dual - value.upper).abs() < CERTIFIED, "{kind} {dual} {}", value.upper);
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

#[test]
fn one_atom_each_has_a_closed_form() {
    // eta* = Q: the value is L |x - z| and phi is the cone at z.
    let (x, z) = (array![[3.0, 4.0]], array![[0.0, 0.0]]);
    for kind in KINDS {
        let options = RegularisedOptions::default();
        let solved =
            lipschitz_regularised_divergence(x.view(), None, z.view(), None, kind, 0.5, &options).unwrap();
        assert!((solved.upper - 2.5).abs() < 1e-14 && solved.gap().abs() < 1e-14, "{kind}");
        let (_, at) = solved.potential.value_and_gradient(x.row(0)).unwrap();
        assert!((&at.gradient - &array![0.3, 0.4]).iter().all(|error| error.abs() < 1e-15));
    }
}

#[test]
fn bad_input_is_refused_before_any_work() {
    let (x, z) = (array![[0.0, 1.0]], array![[0.0, 0.0]]);
    let options = RegularisedOptions::default();
    let kl = DivergenceKind::KullbackLeibler;
    let refused = |x: &Array2<f64>, p: Option<&[f64]>, z: &Array2<f64>, kind, lipschitz| {
        lipschitz_regularised_divergence(x.view(), p, z.view(), None, kind, lipschitz, &options)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&x, None, &z, kl, 0.0).starts_with("lipschitz"));
    assert!(refused(&x, None, &z, DivergenceKind::Alpha(1.0), 1.0).contains("alpha:1"));
    assert!(refused(&array![[0.0]], None, &z, kl, 1.0).contains("dimension"));
    assert!(refused(&array![[0.0, f64::INFINITY]], None, &z, kl, 1.0).contains("model[0, 1]"));
    assert!(refused(&x, Some(&[0.5]), &z, kl, 1.0).contains("sum 0.5"));
    assert!(refused(&x, Some(&[0.5, 0.5]), &z, kl, 1.0).contains("2 weights"));
    assert!(refused(&Array2::zeros((0, 2)), None, &z, kl, 1.0).contains("model"));
}
