#![allow(clippy::unwrap_used)]

use autodiff::{F1, Float};
use proptest::prelude::*;

use super::*;

const KINDS: [DivergenceKind; 9] = DivergenceKind::ALL;

fn constant(value: f64) -> F1 {
    F1::cst(value)
}

/// The table of notation 1.1 as printed, over dual numbers: shares no code with the families.
fn textbook_value(kind: DivergenceKind, x: F1) -> F1 {
    let one = constant(1.0);
    match kind {
        DivergenceKind::KullbackLeibler => x * x.ln(),
        DivergenceKind::ReverseKullbackLeibler => -x.ln(),
        DivergenceKind::Alpha(a) => (x.powf(constant(a)) - one) / constant(a * (a - 1.0)),
        DivergenceKind::ChiSquared => (x * x - one) / constant(2.0),
        DivergenceKind::JensenShannon => x * x.ln() - (one + x) * ((one + x) / constant(2.0)).ln(),
        DivergenceKind::SquaredHellinger => (x.sqrt() - one) * (x.sqrt() - one),
    }
}

fn textbook_conjugate(kind: DivergenceKind, s: F1) -> F1 {
    let one = constant(1.0);
    match kind {
        DivergenceKind::KullbackLeibler => (s - one).exp(),
        DivergenceKind::ReverseKullbackLeibler => -one - (-s).ln(),
        DivergenceKind::Alpha(a) => {
            let base = constant(a - 1.0) * s;
            let power = if base.x > 0.0 { base.powf(constant(a / (a - 1.0))) } else { constant(0.0) };
            power / constant(a) + constant(1.0 / (a * (a - 1.0)))
        }
        DivergenceKind::ChiSquared => {
            let positive = if s.x > 0.0 { s } else { constant(0.0) };
            positive * positive / constant(2.0) + constant(0.5)
        }
        DivergenceKind::JensenShannon => -(constant(2.0) - s.exp()).ln(),
        DivergenceKind::SquaredHellinger => s / (one - s),
    }
}

/// A point of the interior of the domain of `f*`, at distance between 1e-3 and 1e3 from a finite end.
fn slope_from(generator: &Generator, log_distance: f64, sign: f64) -> f64 {
    let end = generator.conjugate_domain_end();
    if end.is_finite() { end - log_distance.exp() } else { sign * log_distance.exp().min(30.0) }
}

fn close(left: f64, right: f64, scale: f64) -> bool {
    // Rounding: the textbook formulas lose up to `scale` units; 1e-12 leaves a thousandfold margin over eps.
    (left - right).abs() <= 1e-12 * (1.0 + scale.max(left.abs()).max(right.abs()))
}

proptest! {
    #[test]
    fn values_and_derivatives_agree_with_dual_numbers_of_the_table(log_x in -7.0..7.0f64) {
        for kind in KINDS {
            let generator = Generator::new(kind).unwrap();
            let x = log_x.exp();
            let expected = textbook_value(kind, F1::var(x));
            prop_assert!(close(generator.value(x), expected.x, x * log_x.abs()), "{kind} f({x})");
            prop_assert!(close(generator.derivative(x), expected.dx, log_x.abs()), "{kind} f'({x})");
            let step = 1e-5 * x;
            let slope = (generator.derivative(x + step) - generator.derivative(x - step)) / (2.0 * step);
            // Central difference: relative truncation h^2 f'''' / f'' is about 1e-10, rounding eps/1e-5.
            prop_assert!((slope / generator.second_derivative(x) - 1.0).abs() < 1e-7, "{kind} f''({x})");
        }
    }

    #[test]
    fn conjugates_agree_with_dual_numbers_of_the_table(log_distance in -6.9..6.9f64, negative: bool) {
        for kind in KINDS {
            let generator = Generator::new(kind).unwrap();
            let s = slope_from(&generator, log_distance, if negative { -1.0 } else { 1.0 });
            let expected = textbook_conjugate(kind, F1::var(s));
            // Next to the end of the domain the table's own formula cancels: relative error eps/distance.
            let amplification = (1.0 + s.abs()) * (1.0 + (-log_distance).exp());
            prop_assert!(close(generator.conjugate(s), expected.x, amplification), "{kind} f*({s})");
            let x = generator.conjugate_derivative(s);
            prop_assert!(close(x, expected.dx, x * amplification), "{kind} (f*)'({s}) {x} {}", expected.dx);
            if generator.second_derivative(x).is_finite() && x > 0.0 {
                let product = generator.second_derivative(x) * generator.conjugate_second_derivative(s);
                prop_assert!((product - 1.0).abs() < 1e-8, "{kind} (f*)''({s}) f''({x}) = {product}");
            }
        }
    }

    #[test]
    fn fenchel_young_holds_with_equality_at_the_derivative(
        log_x in -30.0..30.0f64, log_distance in -30.0..6.9f64, negative: bool,
    ) {
        for kind in KINDS {
            let generator = Generator::new(kind).unwrap();
            let x = log_x.exp();
            let s = slope_from(&generator, log_distance, if negative { -1.0 } else { 1.0 });
            let (f, conjugate) = (generator.value(x), generator.conjugate(s));
            let rounding = 1e-13 * (1.0 + f.abs() + conjugate.abs() + (x * s).abs());
            prop_assert!(f + conjugate - x * s >= -rounding, "{kind} x={x} s={s}");

            // Equality at x = (f*)'(s), to the rounding of the largest term.
            let matched = generator.conjugate_derivative(s);
            let (at, product) = (generator.value(matched), matched * s);
            if at.is_finite() && product.is_finite() {
                let gap = at + conjugate - product;
                let largest = 1.0 + at.abs() + conjugate.abs() + product.abs();
                prop_assert!(gap.abs() <= 1e-12 * largest, "{kind} gap {gap} at s={s}, x={matched}");
            }

            // Equality at s = f'(x): an error eps in s costs x eps, so the scale is x (1 + |s|).
            let slope = generator.derivative(x);
            if slope < generator.conjugate_domain_end() {
                let gap = f + generator.conjugate(slope) - x * slope;
                prop_assert!(
                    gap.abs() <= 1e-12 * (1.0 + x) * (1.0 + slope.abs()) + 1e-12 * f.abs(),
                    "{kind} gap {gap} at x={x}, s={slope}"
                );
            }
        }
    }
}

#[test]
fn every_generator_vanishes_at_one_and_inverts_its_derivative_there() {
    for kind in KINDS {
        let generator = Generator::new(kind).unwrap();
        assert_eq!(generator.value(1.0), 0.0, "{kind}");
        let slope = generator.derivative(1.0);
        assert!((generator.conjugate_derivative(slope) - 1.0).abs() < 1e-15, "{kind}");
        // f(1) + f*(f'(1)) = f'(1).
        assert!((generator.conjugate(slope) - slope).abs() < 1e-14, "{kind}");
    }
}

#[test]
fn fenchel_young_holds_at_the_end_points() {
    for kind in KINDS {
        let generator = Generator::new(kind).unwrap();
        // x = 0: f* decreases to -f(0), so f(0) + f*(s) >= 0 with equality in the limit.
        let at_zero = generator.value(0.0);
        let lowest = generator.conjugate(-1e300);
        if at_zero.is_finite() {
            assert!((at_zero + lowest).abs() <= 1e-12 * (1.0 + at_zero.abs()), "{kind}: {at_zero} {lowest}");
        } else {
            assert!(lowest < -600.0, "{kind}: {lowest}");
        }
        assert!(!generator.derivative(0.0).is_nan() && generator.derivative(0.0) <= 0.0, "{kind}");
        assert_eq!(generator.value(-1e-9), f64::INFINITY, "{kind}");
        // s = f'(inf): an open end.
        let end = generator.conjugate_domain_end();
        assert_eq!(end, generator.recession_slope(), "{kind}");
        if end.is_finite() {
            assert_eq!(generator.conjugate(end), f64::INFINITY, "{kind}");
            assert_eq!(generator.conjugate_derivative(end), f64::INFINITY, "{kind}");
            let x = 1e200;
            assert!((generator.value(x) / x - end).abs() < 1e-12, "{kind} recession slope");
        } else {
            assert!(generator.value(1e30) / 1e30 > 50.0, "{kind} recession slope");
        }
    }
}

#[test]
fn a_wrong_sign_in_the_conjugate_breaks_fenchel_young() {
    // Negative control: the check above tells f* from f*(-s) for every generator.
    for kind in KINDS {
        let generator = Generator::new(kind).unwrap();
        let violated = (-40..40).any(|k| {
            let x = (0.25 * f64::from(k)).exp();
            let s = generator.derivative(x);
            let reflected = generator.conjugate(-s);
            reflected.is_infinite() || (generator.value(x) + reflected - x * s).abs() > 1e-3
        });
        assert!(violated, "{kind}");
    }
}

#[test]
fn the_perspective_prices_singular_mass_at_the_recession_slope() {
    for kind in KINDS {
        let generator = Generator::new(kind).unwrap();
        assert_eq!(generator.perspective(0.0, 0.0), 0.0, "{kind}");
        let slope = generator.recession_slope();
        if slope.is_finite() {
            assert_eq!(generator.perspective(0.4, 0.0), 0.4 * slope, "{kind}");
            // The closure is continuous: q f(m/q) -> m f'(inf); Alpha(a < 1) converges as q^{1-a}.
            assert!((generator.perspective(0.4, 1e-60) - 0.4 * slope).abs() < 1e-12, "{kind}");
        } else {
            assert_eq!(generator.perspective(0.4, 0.0), f64::INFINITY, "{kind}");
        }
    }
}

proptest! {
    /// What stands in where the ratio overflows is the perspective itself, at ratios where both can be computed.
    #[test]
    fn the_far_perspective_is_the_perspective(log_m in -5.0..5.0f64, log_ratio in 0.5..9.0f64) {
        let (m, ratio) = (log_m.exp(), log_ratio.exp());
        let q = m / ratio;
        let orders = [1e-6, 0.01, 1.0 / 64.0, 0.3, 1.0 - 1e-9, 1.0 + 1e-5, 1.5, 3.0].map(DivergenceKind::Alpha);
        for kind in KINDS.into_iter().chain(orders) {
            let generator = Generator::new(kind).unwrap();
            let (far, near) = (generator.family.far_perspective(m, q), q * generator.value(ratio));
            // A family without an own form has its limit m f'(inf), the only one that is reached where the ratio overflows.
            let limit = matches!(kind, DivergenceKind::JensenShannon | DivergenceKind::SquaredHellinger);
            let scale = near.abs() + m * ratio.ln().abs();
            if limit {
                let tail = (generator.recession_slope() - generator.value(1e200) / 1e200).abs();
                prop_assert!(far == m * generator.recession_slope() && tail < 1e-12, "{kind}");
            } else {
                prop_assert!((far - near).abs() <= 1e-11 * scale, "{kind} m={m} q={q}: {far} {near}");
            }
        }
    }
}

#[test]
fn next_to_order_one_the_recession_slope_is_the_limit_of_the_slope() {
    // f'(x) = (x^b - 1)/b with b = a - 1 < 0 comes within x^b/|b| of it.
    for order in [0.985, 0.99, 0.999, 1.0 - 1e-6] {
        let generator = Generator::new(DivergenceKind::Alpha(order)).unwrap();
        assert!(generator.is_centred());
        let (b, slope) = (order - 1.0, generator.recession_slope());
        for log_x in [0.0, 1.0, 50.0, 600.0] {
            let left = (b * log_x).exp() / b.abs();
            let limit = generator.derivative(log_x.exp()) + left;
            assert!((limit / slope - 1.0).abs() < 1e-12, "{order} {log_x}: {limit} {slope}");
        }
    }
}

#[test]
fn orders_outside_the_range_are_refused() {
    for order in [1.0, 0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Generator::new(DivergenceKind::Alpha(order)).is_err(), "{order}");
    }
}
