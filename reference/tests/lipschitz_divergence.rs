//! Properties of the Lipschitz-regularised divergence: notation 1.2 to 1.5.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    CERTIFIED, KINDS, Measure, any_kind, cumulant, divergence, dual_objective, measure, priced, scale, solve,
};
use ndarray::{Array2, array};
use proptest::prelude::*;
use proxflow_reference::divergence::{
    Cumulant, Generator, LipschitzRegularisedDivergence, f_divergence, f_divergence_of_atoms,
};
use proxflow_reference::{Divergence, DivergenceKind, Measure as LawOf};

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
        let phi = divergence(&p, &q, kind, lipschitz).solution.potential;
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
        let dual = value.model_potential[0] - Cumulant::new(&generator, &heights, &[1.0, 0.0]).unwrap().value;
        assert!((dual - value.upper).abs() < CERTIFIED, "{kind} {dual} {}", value.upper);
    }
}

#[test]
fn mass_too_far_away_stays_and_pays_the_recession_slope() {
    // Half of P sits on the one atom of Q, half where the way costs more than f'(inf) - f'(1/2) for its first bit.
    let (p, q) =
        (Measure::new(array![[0.0], [50.0]], vec![0.5, 0.5]), Measure::new(array![[0.0]], vec![1.0]));
    let generators = KINDS.map(|kind| Generator::new(kind).unwrap());
    for generator in generators.iter().filter(|generator| generator.recession_slope().is_finite()) {
        let (kind, slope) = (generator.kind(), generator.recession_slope());
        let found = solve(&p, &q, kind, 1.0, &priced());
        let expected = generator.value(0.5) + 0.5 * slope;
        assert!((found.upper - expected).abs() < CERTIFIED && found.is_converged(), "{kind} {}", found.upper);
        assert_eq!(found.stayed, [0.0, 0.5]);
        // Where everything stays the potential is at its cap.
        let rise = found.model_potential[1] - found.model_potential[0];
        assert!((rise - (slope - generator.derivative(0.5))).abs() < CERTIFIED, "{kind} {rise}");
    }
}

/// Two measures in the plane without symmetry.
fn pair() -> (Measure, Measure) {
    (
        Measure::new(array![[0.0, 0.3], [1.2, -0.4], [0.5, 1.1]], vec![0.5, 0.2, 0.3]),
        Measure::new(array![[1.0, 1.0], [2.0, -0.5], [0.2, 0.1]], vec![0.3, 0.3, 0.4]),
    )
}

#[test]
fn dilations_exchanged_weights_and_exchanged_arguments_change_the_value() {
    // Negative control of the invariances: none of these is an isometry or a permutation of atoms.
    let (p, q) = pair();
    for kind in KINDS {
        let value = divergence(&p, &q, kind, 1.0).upper;
        let differs = |p: &Measure, q: &Measure| (divergence(p, q, kind, 1.0).upper - value).abs() > 1e-3;
        let dilated = |of: &Measure| Measure { points: &of.points * 1.1, weights: of.weights.clone() };
        assert!(differs(&dilated(&p), &dilated(&q)), "{kind}: dilation");
        let exchanged = Measure::new(p.points.clone(), p.weights.iter().rev().copied().collect());
        assert!(differs(&exchanged, &q), "{kind}: weights without their points");
        assert!(differs(&q, &p), "{kind}: P and Q");
    }
}

#[test]
fn mixing_different_pairs_lowers_the_value_strictly() {
    // Negative control of joint convexity: the test would see the opposite inequality.
    let (p, q) = pair();
    for kind in KINDS {
        let ends = 0.5 * (divergence(&p, &q, kind, 1.0).upper + divergence(&q, &p, kind, 1.0).upper);
        // The two halves of both mixtures are the same measure: the value falls to zero.
        let middle = divergence(&p.mixed(&q, 0.5), &q.mixed(&p, 0.5), kind, 1.0).upper;
        assert!(middle.abs() < CERTIFIED && ends > 0.1, "{kind} {middle} {ends}");
    }
}

#[test]
fn the_lipschitz_constant_is_attained_and_a_steeper_cone_exceeds_it() {
    // Negative control of the slope bound: it is sharp, and one cone of twice the slope is seen.
    let (p, q) = pair();
    for kind in KINDS {
        let phi = divergence(&p, &q, kind, 1.0).solution.potential;
        let steepest = |phi: &dyn Fn(f64) -> f64| {
            (0..400)
                .map(|k| (phi(0.02 * f64::from(k + 1)) - phi(0.02 * f64::from(k))).abs() / 0.02)
                .fold(0.0, f64::max)
        };
        let along = |t: f64| array![[1.0 + t, 1.0 + 0.3 * t]];
        let length = (1.0f64 + 0.09).sqrt();
        let value = |t: f64| phi.values(along(t).view()).unwrap()[0];
        let sharp = steepest(&value) / length;
        assert!(sharp > 0.9 && sharp <= 1.0 + 1e-12, "{kind} {sharp}");
        let steep = |t: f64| value(t).max(2.0 * (t - 4.0) * length + value(4.0));
        assert!(steepest(&steep) / length > 1.5, "{kind}");
    }
}

#[test]
fn another_potential_has_another_intermediate_measure() {
    // Negative control of 1.5: half the potential does not reproduce eta*.
    let (p, q) = pair();
    for kind in KINDS {
        let solved = divergence(&p, &q, kind, 1.0);
        let half: Vec<f64> = solved.data_potential().iter().map(|phi| 0.5 * phi).collect();
        let other = cumulant(&q, kind, &half).weights;
        let apart = solved.intermediate.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart > 1e-3, "{kind} {apart}");
    }
}

#[test]
fn one_atom_each_has_a_closed_form() {
    // eta* = Q: the value is L |x - z| and phi is the cone at z.
    let (x, z) = (array![[3.0, 4.0]], array![[0.0, 0.0]]);
    for kind in KINDS {
        let (p, q) = (LawOf::uniform(x.view()).unwrap(), LawOf::uniform(z.view()).unwrap());
        let solved = Divergence::of(kind).lipschitz(0.5).between(&p, &q).unwrap();
        assert!((solved.upper - 2.5).abs() < 1e-14 && solved.gap().abs() < 1e-14, "{kind}");
        let (_, at) = solved.potential.value_and_gradient(x.row(0)).unwrap();
        assert!((&at.gradient - &array![0.3, 0.4]).iter().all(|error| error.abs() < 1e-15));
    }
}

#[test]
fn bad_input_is_refused_before_any_work() {
    let (x, z) = (array![[0.0, 1.0]], array![[0.0, 0.0]]);
    let kl = DivergenceKind::KullbackLeibler;
    let refused = |x: &Array2<f64>, p: Option<&[f64]>, z: &Array2<f64>, kind, lipschitz| {
        let weighted = |p: &[f64]| LawOf::new(x.view(), p);
        let p = p.map_or_else(|| LawOf::uniform(x.view()), weighted);
        let functional = Divergence::of(kind).lipschitz(lipschitz);
        p.and_then(|p| functional.between(&p, &LawOf::uniform(z.view())?)).unwrap_err().to_string()
    };
    assert!(refused(&x, None, &z, kl, 0.0).starts_with("lipschitz"));
    assert!(refused(&x, None, &z, DivergenceKind::Alpha(1.0), 1.0).contains("alpha:1"));
    assert!(refused(&array![[0.0]], None, &z, kl, 1.0).contains("dimension"));
    assert!(refused(&array![[0.0, f64::INFINITY]], None, &z, kl, 1.0).contains("points[0, 1]"));
    assert!(refused(&x, Some(&[0.5]), &z, kl, 1.0).contains("sum 0.5"));
    assert!(refused(&x, Some(&[0.5, 0.5]), &z, kl, 1.0).contains("2 weights"));
    assert!(refused(&Array2::zeros((0, 2)), None, &z, kl, 1.0).contains("points"));
}
