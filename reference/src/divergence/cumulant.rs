//! The generalised cumulant `Lambda_q(psi) = inf_nu { nu + E_q f*(psi - nu) }` (notation 1.2).
//!
//! It is the conjugate of the divergence in its first argument over probability measures,
//! `Lambda_q(psi) = max_eta { <eta, psi> - D_f(eta|q) }`, convex, and `Lambda(psi + c) = Lambda(psi) + c`. The
//! maximiser `eta_j = q_j (f*)'(psi_j - nu)` is its gradient. For KL, `Lambda_q(psi) = ln E_q e^psi` (Donsker-Varadhan).
//!
//! Atoms of `q` with weight zero: where `f'(inf)` is infinite no `eta` may charge them and they do not count; where it
//! is finite `eta` may, at that price, which is the constraint `nu >= psi_j - f'(inf)`.

use super::generator::Generator;
use crate::specification::DivergenceKind;

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

/// Evaluates `Lambda_q(psi)` for finite `potential` (`psi`, length m) and `weights` (`q >= 0`, length m, sum 1).
///
/// KL by log-sum-exp; the others by a Newton iteration on `E_q (f*)'(psi - nu) = 1`, kept inside a bracket by bisection
/// and stopped when the bracket or the step reaches the resolution of f64. Returns `value = -inf` when no atom has weight.
pub fn generalised_cumulant(generator: &Generator, potential: &[f64], weights: &[f64]) -> Cumulant {
    debug_assert_eq!(potential.len(), weights.len());
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
