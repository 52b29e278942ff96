//! The generalised cumulant `Lambda_q(psi) = inf_nu { nu + E_q f*(psi - nu) }` (notation 1.2).
//!
//! It is the conjugate of the divergence in its first argument over probability measures,
//! `Lambda_q(psi) = max_eta { <eta, psi> - D_f(eta|q) }`, convex, and `Lambda(psi + c) = Lambda(psi) + c`. The
//! maximiser `eta_j = q_j (f*)'(psi_j - nu)` is its gradient. For KL, `Lambda_q(psi) = ln E_q e^psi` (Donsker-Varadhan).
//!
//! Atoms of `q` with weight zero: where `f'(inf)` is infinite no `eta` may charge them and they do not count; where it
//! is finite `eta` may, at that price, which is the constraint `nu >= psi_j - f'(inf)`.

use super::generator::Generator;
use crate::measure::check_probability;
use crate::specification::{DivergenceKind, InvalidInput};

/// `Lambda_q(psi)` with its minimiser and its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Cumulant {
    /// `Lambda_q(psi)`. Any error in [`Self::shift`] only raises it, so that `-value` stays a lower bound.
    pub value: f64,
    /// The optimal `nu`.
    pub shift: f64,
    /// `eta_j = q_j (f*)'(psi_j - nu)`, non-negative with sum 1 up to rounding.
    pub weights: Vec<f64>,
}

impl Cumulant {
    /// `Lambda_q(psi)` for `potential` (`psi`, length m) and `weights` (`q >= 0`, length m, sum 1).
    ///
    /// ```
    /// use proxflow_reference::DivergenceKind;
    /// use proxflow_reference::divergence::{Cumulant, Generator};
    /// let kl = Generator::new(DivergenceKind::KullbackLeibler)?;
    /// let found = Cumulant::new(&kl, &[0.0, 1.0], &[0.5, 0.5])?;
    /// assert!((found.value - (0.5 + 0.5 * 1f64.exp()).ln()).abs() < 1e-15);
    /// assert!(Cumulant::new(&kl, &[0.0], &[0.5, 0.5]).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    ///
    /// Errors: different lengths, a potential that is NaN or `+inf`, weights that are no probability vector.
    pub fn new(generator: &Generator, potential: &[f64], weights: &[f64]) -> Result<Self, InvalidInput> {
        if let Some(j) = potential.iter().position(|psi| psi.is_nan() || *psi == f64::INFINITY) {
            return Err(InvalidInput::new(format!("potential[{j}]"), potential[j], "finite or -inf"));
        }
        check_probability("weights", weights, potential.len())?;
        Ok(generalised_cumulant(generator, potential, weights))
    }
}

/// Evaluates `Lambda_q(psi)` for finite `potential` (`psi`, length m) and `weights` (`q >= 0`, length m, sum 1), both checked.
///
/// KL by log-sum-exp; the others by a Newton iteration on `E_q (f*)'(psi - nu) = 1`, kept inside a bracket by bisection
/// and stopped when the bracket or the step reaches the resolution of f64. Returns `value = -inf` when no atom has weight.
pub(crate) fn generalised_cumulant(generator: &Generator, potential: &[f64], weights: &[f64]) -> Cumulant {
    match generator.kind() {
        DivergenceKind::KullbackLeibler => log_mean_exp(potential, weights),
        _ => cumulant_by_newton(generator, potential, weights),
    }
}

fn log_mean_exp(potential: &[f64], weights: &[f64]) -> Cumulant {
    let charged = potential.iter().zip(weights).filter(|(_, q)| **q > 0.0);
    let peak = charged.map(|(psi, _)| *psi).fold(f64::NEG_INFINITY, f64::max);
    let mut gibbs: Vec<f64> = potential
        .iter()
        .zip(weights)
        .map(|(psi, q)| if *q > 0.0 { q * (psi - peak).exp() } else { 0.0 })
        .collect();
    let total: f64 = gibbs.iter().sum();
    gibbs.iter_mut().for_each(|weight| *weight /= total);
    let value = peak + total.ln();
    // f*(s) = exp(s - 1): the optimal nu is Lambda - 1.
    Cumulant { value, shift: value - 1.0, weights: gibbs }
}

fn cumulant_by_newton(generator: &Generator, potential: &[f64], weights: &[f64]) -> Cumulant {
    let charged = || potential.iter().zip(weights).filter(|(_, q)| **q > 0.0).map(|(psi, q)| (*psi, *q));
    let singular_peak = potential
        .iter()
        .zip(weights)
        .filter(|(_, q)| **q <= 0.0)
        .map(|(psi, _)| *psi)
        .fold(f64::NEG_INFINITY, f64::max);
    // -inf when f'(inf) is infinite or when every atom has weight.
    let singular_bound = singular_peak - generator.recession_slope();

    let shift = root_of_mass_balance(generator, &charged, singular_bound);
    let value = shift + charged().map(|(psi, q)| q * generator.conjugate(psi - shift)).sum::<f64>();
    let mut eta: Vec<f64> = potential
        .iter()
        .zip(weights)
        .map(|(psi, q)| if *q > 0.0 { q * generator.conjugate_derivative(psi - shift) } else { 0.0 })
        .collect();
    let mass: f64 = eta.iter().sum();
    if shift <= singular_bound && mass < 1.0 {
        // The constraint binds: what mass is left sits on the highest atom of weight zero.
        let position = (0..eta.len()).find(|&j| weights[j] <= 0.0 && potential[j] == singular_peak);
        if let Some(j) = position {
            eta[j] = 1.0 - mass;
        }
    }
    Cumulant { value, shift, weights: eta }
}

/// The `nu >= singular_bound` with `E_q (f*)'(psi - nu) = 1`, or `singular_bound` itself when the mean is below 1 there.
fn root_of_mass_balance<I>(generator: &Generator, charged: &impl Fn() -> I, singular_bound: f64) -> f64
where
    I: Iterator<Item = (f64, f64)>,
{
    // Mean mass and its slope in -nu.
    let mass_at = |nu: f64| {
        charged().fold((0.0, 0.0), |(mass, slope), (psi, q)| {
            (
                mass + q * generator.conjugate_derivative(psi - nu),
                slope + q * generator.conjugate_second_derivative(psi - nu),
            )
        })
    };
    let (lowest, peak) = charged()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (psi, _)| (low.min(psi), high.max(psi)));
    let peak_weight = charged().filter(|(psi, _)| *psi == peak).map(|(_, q)| q).sum::<f64>();
    if peak == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }

    // (f*)'(f'(1)) = 1 brackets the root between the extremes of psi; the peak atom alone gives the second lower end.
    let unit_slope = generator.derivative(1.0);
    let mut upper = peak - unit_slope;
    let mut lower = (lowest - unit_slope).max(peak - generator.derivative(1.0 / peak_weight));
    if singular_bound >= upper || mass_at(singular_bound.max(lower)).0 <= 1.0 {
        return singular_bound.max(lower);
    }
    lower = lower.max(singular_bound);

    let mut nu = lower;
    // 200 bisections exhaust f64; Newton needs about ten steps.
    for _ in 0..200 {
        let (mass, slope) = mass_at(nu);
        if mass == 1.0 {
            break;
        } else if mass > 1.0 {
            lower = nu;
        } else {
            upper = nu;
        }
        // Newton on ln(mass), which is close to linear for poles and powers alike.
        let newton = nu + mass * mass.ln() / slope;
        let next = if newton > lower && newton < upper { newton } else { 0.5 * (lower + upper) };
        let resolution = f64::EPSILON * (1.0 + nu.abs());
        if (next - nu).abs() <= resolution || upper - lower <= resolution {
            nu = next;
            break;
        }
        nu = next;
    }
    nu
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const KINDS: [DivergenceKind; 9] = DivergenceKind::ALL;

    fn normalised(masses: &[f64]) -> Vec<f64> {
        let total: f64 = masses.iter().sum();
        masses.iter().map(|mass| mass / total).collect()
    }

    fn divergence(generator: &Generator, eta: &[f64], q: &[f64]) -> f64 {
        eta.iter().zip(q).map(|(eta, q)| generator.perspective(*eta, *q)).sum()
    }

    /// Naive twin: the infimum over nu by golden-section search on the definition.
    fn naive(generator: &Generator, psi: &[f64], q: &[f64]) -> f64 {
        let objective = |nu: f64| {
            let singular = psi.iter().zip(q).any(|(p, q)| *q == 0.0 && p - nu > generator.recession_slope());
            let mean: f64 = psi
                .iter()
                .zip(q)
                .filter(|(_, q)| **q > 0.0)
                .map(|(psi, q)| q * generator.conjugate(psi - nu))
                .sum();
            if singular { f64::INFINITY } else { nu + mean }
        };
        let (mut low, mut high) = (-200.0, 200.0);
        let ratio = 0.618_033_988_749_894_9;
        for _ in 0..200 {
            let (left, right) = (high - ratio * (high - low), low + ratio * (high - low));
            // Infinite on the left of the domain: move right on ties.
            if objective(left) < objective(right) { high = right } else { low = left }
        }
        objective(high)
    }

    proptest! {
        #[test]
        fn the_cumulant_is_the_infimum_over_the_shift(
            psi in prop::collection::vec(-3.0..3.0f64, 6),
            masses in prop::collection::vec(prop_oneof![3 => 0.05..1.0f64, 1 => Just(0.0)], 6),
        ) {
            prop_assume!(masses.iter().sum::<f64>() > 0.0);
            let q = normalised(&masses);
            for kind in KINDS {
                let generator = Generator::new(kind).unwrap();
                let cumulant = generalised_cumulant(&generator, &psi, &q);
                let expected = naive(&generator, &psi, &q);
                // Golden section places nu to about 1e-8 of the bracket; next to a binding constraint the error is first order.
                prop_assert!((cumulant.value - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{kind}");
                prop_assert!(cumulant.value <= expected + 1e-12 * (1.0 + expected.abs()), "{kind} is not the infimum");
                // Conjugate pair: Lambda = <eta, psi> - D_f(eta|q) at the gradient, which is a probability vector.
                prop_assert!((cumulant.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{kind} mass");
                prop_assert!(cumulant.weights.iter().all(|eta| *eta >= 0.0));
                let pairing: f64 = cumulant.weights.iter().zip(&psi).map(|(eta, psi)| eta * psi).sum();
                let conjugate = pairing - divergence(&generator, &cumulant.weights, &q);
                prop_assert!((cumulant.value - conjugate).abs() < 1e-11 * (1.0 + expected.abs()), "{kind} {conjugate}");
            }
        }

        #[test]
        fn no_probability_vector_beats_the_cumulant(
            psi in prop::collection::vec(-3.0..3.0f64, 5),
            masses in prop::collection::vec(0.05..1.0f64, 5),
            other in prop::collection::vec(0.0..1.0f64, 5),
        ) {
            let (q, eta) = (normalised(&masses), normalised(&other));
            for kind in KINDS {
                let generator = Generator::new(kind).unwrap();
                let pairing: f64 = eta.iter().zip(&psi).map(|(eta, psi)| eta * psi).sum();
                let lower = pairing - divergence(&generator, &eta, &q);
                let value = generalised_cumulant(&generator, &psi, &q).value;
                prop_assert!(lower <= value + 1e-12 * (1.0 + value.abs()), "{kind}");
            }
        }

        #[test]
        fn the_weights_are_the_gradient_and_a_constant_passes_through(
            psi in prop::collection::vec(-2.0..2.0f64, 4),
            masses in prop::collection::vec(0.05..1.0f64, 4),
            constant in -50.0..50.0f64,
        ) {
            let q = normalised(&masses);
            for kind in KINDS {
                let generator = Generator::new(kind).unwrap();
                let base = generalised_cumulant(&generator, &psi, &q);
                let moved: Vec<f64> = psi.iter().map(|psi| psi + constant).collect();
                let raised = generalised_cumulant(&generator, &moved, &q).value;
                prop_assert!((raised - base.value - constant).abs() < 1e-12 * (1.0 + constant.abs()), "{kind}");
                for j in 0..psi.len() {
                    let step = 1e-5;
                    let at = |sign: f64| {
                        let mut shifted = psi.clone();
                        shifted[j] += sign * step;
                        generalised_cumulant(&generator, &shifted, &q).value
                    };
                    let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
                    // Central difference: rounding eps/step = 2e-11 and truncation, first order in step where (f*)' has a kink.
                    prop_assert!((slope - base.weights[j]).abs() < 1e-4 * (1.0 + base.weights[j]), "{kind} {j}");
                }
            }
        }
    }

    #[test]
    fn the_logarithmic_moment_is_ln_of_the_mean_exponential_and_does_not_overflow() {
        let generator = Generator::new(DivergenceKind::KullbackLeibler).unwrap();
        let q = [0.25, 0.75];
        let small = generalised_cumulant(&generator, &[0.3, -0.4], &q);
        let expected = (0.25 * 0.3f64.exp() + 0.75 * (-0.4f64).exp()).ln();
        assert!((small.value - expected).abs() < 1e-15);
        let large = generalised_cumulant(&generator, &[5000.3, 4999.6], &q);
        assert!((large.value - 5000.0 - expected).abs() < 1e-11);
        // The definition through f* = exp(s - 1) and the reported shift gives the same number.
        let by_definition = small.shift
            + 0.25 * generator.conjugate(0.3 - small.shift)
            + 0.75 * generator.conjugate(-0.4 - small.shift);
        assert!((by_definition - expected).abs() < 1e-15);
    }

    #[test]
    fn mass_leaves_for_an_atom_without_weight_where_the_recession_slope_is_finite() {
        let generator = Generator::new(DivergenceKind::JensenShannon).unwrap();
        let far = generalised_cumulant(&generator, &[0.0, 3.0], &[1.0, 0.0]);
        assert!(far.weights[1] > 0.5, "{far:?}");
        let near = generalised_cumulant(&generator, &[0.0, 0.1], &[1.0, 0.0]);
        assert_eq!(near.weights[1], 0.0, "{near:?}");
        assert_eq!(near.value, 0.0);
    }
}
