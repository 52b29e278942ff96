//! The dual functional `Lambda(phi) = inf_nu { nu + E_Q f*(phi - nu) }` of an f-divergence on a batch, with its gradient.
//!
//! On `n` samples `Lambda` depends on the numbers `phi(y_j)` alone. The optimal `nu` makes the weights
//! `eta_j = (f*)'(phi_j - nu) / n` sum to one; by the envelope theorem `d Lambda / d phi_j = eta_j`. For KL this is
//! log-mean-exp and the softmax. Everything is computed in f64 on the host; batches are a few hundred numbers.

use proxflow_reference::DivergenceKind;

/// `Lambda(phi)` on a batch, with its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct DualFunctional {
    /// `Lambda(phi)`.
    pub value: f64,
    /// `eta_j = d Lambda / d phi_j >= 0`, summing to one: the intermediate measure \[15\].
    pub weights: Vec<f64>,
}

/// Evaluates `Lambda` at the numbers `phi_j`, each of mass `1 / n`. Non-finite input gives a non-finite value.
pub fn dual_functional(kind: DivergenceKind, phi: &[f64]) -> DualFunctional {
    let count = phi.len() as f64;
    let (low, high) =
        phi.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &s| (low.min(s), high.max(s)));
    if phi.is_empty() || phi.iter().any(|s| !s.is_finite()) {
        return DualFunctional { value: f64::NAN, weights: vec![f64::NAN; phi.len()] };
    }
    if kind == DivergenceKind::KullbackLeibler {
        let exponentials: Vec<f64> = phi.iter().map(|s| (s - high).exp()).collect();
        let total: f64 = exponentials.iter().sum();
        let weights = exponentials.iter().map(|e| e / total).collect();
        return DualFunctional { value: high + (total / count).ln(), weights };
    }

    // E (f*)'(phi - nu) falls from >= 1 at nu = min phi - f'(1) to <= 1 at nu = max phi - f'(1).
    let slope_at_one = derivative_at_one(kind);
    let mass = |nu: f64| phi.iter().map(|s| conjugate_derivative(kind, s - nu)).sum::<f64>() / count;
    let (mut below, mut above) = (low - slope_at_one, high - slope_at_one);
    while above - below > 4.0 * f64::EPSILON * below.abs().max(above.abs()).max(1.0) {
        let middle = 0.5 * (below + above);
        if mass(middle) >= 1.0 { below = middle } else { above = middle }
    }
    let nu = above;
    let value = nu + phi.iter().map(|s| conjugate(kind, s - nu)).sum::<f64>() / count;
    let unnormalised: Vec<f64> = phi.iter().map(|s| conjugate_derivative(kind, s - nu)).collect();
    let total: f64 = unnormalised.iter().sum();
    DualFunctional { value, weights: unnormalised.iter().map(|w| w / total).collect() }
}

/// `f'(1)`.
fn derivative_at_one(kind: DivergenceKind) -> f64 {
    match kind {
        DivergenceKind::KullbackLeibler | DivergenceKind::ChiSquared => 1.0,
        DivergenceKind::ReverseKullbackLeibler => -1.0,
        DivergenceKind::Alpha(a) => 1.0 / (a - 1.0),
        DivergenceKind::JensenShannon | DivergenceKind::SquaredHellinger => 0.0,
    }
}

/// `f*(s)`, `+inf` outside its domain.
fn conjugate(kind: DivergenceKind, s: f64) -> f64 {
    let outside = |inside: bool, value: f64| if inside { value } else { f64::INFINITY };
    match kind {
        DivergenceKind::KullbackLeibler => (s - 1.0).exp(),
        DivergenceKind::ReverseKullbackLeibler => outside(s < 0.0, -1.0 - (-s).ln()),
        DivergenceKind::ChiSquared => s.max(0.0).powi(2) / 2.0 + 0.5,
        DivergenceKind::Alpha(a) => {
            let power = ((a - 1.0) * s).max(0.0).powf(a / (a - 1.0)) / a + 1.0 / (a * (a - 1.0));
            outside(a > 1.0 || s < 0.0, power)
        }
        DivergenceKind::JensenShannon => outside(s < std::f64::consts::LN_2, -(2.0 - s.exp()).ln()),
        DivergenceKind::SquaredHellinger => outside(s < 1.0, s / (1.0 - s)),
    }
}

/// `(f*)'(s)`, `+inf` outside the domain.
fn conjugate_derivative(kind: DivergenceKind, s: f64) -> f64 {
    let outside = |inside: bool, value: f64| if inside { value } else { f64::INFINITY };
    match kind {
        DivergenceKind::KullbackLeibler => (s - 1.0).exp(),
        DivergenceKind::ReverseKullbackLeibler => outside(s < 0.0, -1.0 / s),
        DivergenceKind::ChiSquared => s.max(0.0),
        DivergenceKind::Alpha(a) => {
            let power = ((a - 1.0) * s).max(0.0).powf(1.0 / (a - 1.0));
            outside(a > 1.0 || s < 0.0, power)
        }
        DivergenceKind::JensenShannon => outside(s < std::f64::consts::LN_2, s.exp() / (2.0 - s.exp())),
        DivergenceKind::SquaredHellinger => outside(s < 1.0, (1.0 - s).powi(-2)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KINDS: [DivergenceKind; 8] = [
        DivergenceKind::KullbackLeibler,
        DivergenceKind::ReverseKullbackLeibler,
        DivergenceKind::Alpha(0.5),
        DivergenceKind::Alpha(1.5),
        DivergenceKind::Alpha(3.0),
        DivergenceKind::ChiSquared,
        DivergenceKind::JensenShannon,
        DivergenceKind::SquaredHellinger,
    ];
    const PHI: [f64; 5] = [0.3, -1.2, 4.0, 0.3, 2.5];

    #[test]
    fn weights_are_the_gradient_of_the_functional_and_sum_to_one() {
        for kind in KINDS {
            let at = dual_functional(kind, &PHI);
            assert!((at.weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
            for j in 0..PHI.len() {
                let step = 1e-6;
                let shifted = |sign: f64| {
                    let mut phi = PHI;
                    phi[j] += sign * step;
                    dual_functional(kind, &phi).value
                };
                let slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * step);
                // Central difference: h^2 = 1e-12 truncation, 1e-16 / 1e-6 rounding.
                assert!(
                    (slope - at.weights[j]).abs() < 1e-8,
                    "{kind} {j}: {slope} against {}",
                    at.weights[j]
                );
            }
        }
    }

    #[test]
    fn functional_shifts_with_constants_and_is_zero_at_zero_and_stays_finite_far_out() {
        for kind in KINDS {
            assert!(dual_functional(kind, &[0.0; 3]).value.abs() < 1e-14, "{kind}");
            let shifted: Vec<f64> = PHI.iter().map(|s| s + 1e3).collect();
            let difference = dual_functional(kind, &shifted).value - dual_functional(kind, &PHI).value;
            assert!((difference - 1e3).abs() < 1e-9, "{kind}: {difference}");
            let far = dual_functional(kind, &[-800.0, 0.0, 900.0]);
            assert!(far.value.is_finite() && far.weights.iter().all(|w| w.is_finite()), "{kind}: {far:?}");
        }
    }

    #[test]
    fn functional_is_below_nu_plus_mean_conjugate_for_every_nu() {
        for kind in KINDS {
            let value = dual_functional(kind, &PHI).value;
            for nu in (-40..40).map(|n| 0.25 * f64::from(n)) {
                let bound = nu + PHI.iter().map(|s| conjugate(kind, s - nu)).sum::<f64>() / PHI.len() as f64;
                assert!(value <= bound + 1e-12, "{kind} at {nu}");
            }
        }
    }
}
