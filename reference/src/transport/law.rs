//! How much mass each target attracts: `eta_j = q_j (f*)'(psi_j)`, and the constant that balances a tree.
//!
//! Inside a tree of the forest the potentials are known up to one constant `s`; mass balance fixes it:
//! `sum_j q_j (f*)'(psi_j + s) = mass`. For KL `(f*)'(psi + s) = e^s (f*)'(psi)`, hence `s = ln(mass / sum_j eta_j)`.
//! Other generators need the root of one increasing scalar function. A target with `q_j = 0` attracts nothing while
//! `psi_j + s < f'(inf)` and any amount at equality, so it caps `s` (notation 1.1, recession convention).

use crate::divergence::Generator;
use crate::specification::DivergenceKind;

/// The law `psi -> eta` of all targets.
pub(super) struct TargetLaw<'a> {
    generator: &'a Generator,
    q: &'a [f64],
    multiplicative: bool,
}

/// Newton steps before the bracket alone has to finish; bisection of a double needs at most about 1100.
const MAXIMUM_ROOT_STEPS: usize = 1200;

impl<'a> TargetLaw<'a> {
    pub(super) fn new(generator: &'a Generator, q: &'a [f64]) -> Self {
        Self { generator, q, multiplicative: generator.kind() == DivergenceKind::KullbackLeibler }
    }

    /// `psi_j` of a target without mass: the marginal price `f'(0)` of its first bit of mass, `f'(inf)` where `q_j = 0`.
    pub(super) fn idle_potential(&self, j: usize) -> f64 {
        if self.q[j] > 0.0 { self.generator.idle_slope() } else { self.generator.recession_slope() }
    }

    /// Whether the targets with `q_j > 0` attract mass at every finite potential (`f'(0) = -inf`).
    pub(super) fn always_attracts(&self) -> bool {
        self.generator.derivative(0.0) == f64::NEG_INFINITY
    }

    /// `q_j (f*)'(psi)`, zero where `q_j = 0`.
    pub(super) fn attraction(&self, j: usize, psi: f64) -> f64 {
        if self.q[j] > 0.0 { self.q[j] * self.generator.conjugate_derivative(psi) } else { 0.0 }
    }

    /// What a common rise of the potentials multiplies all attractions by, where there is such a factor (KL); else 1, and
    /// [`Self::balance`] recomputes the shares.
    pub(super) fn share_factor(&self, rise: f64) -> f64 {
        if self.multiplicative { rise.exp() } else { 1.0 }
    }

    /// Finds the shift `s` at which `targets` attract `mass` together and writes their shares to `share`.
    /// `share` must hold `attraction(j, psi_j)` on entry for KL, which is then only rescaled.
    pub(super) fn balance(&self, targets: &[u32], psi: &[f64], mass: f64, share: &mut [f64]) -> f64 {
        if self.multiplicative {
            let total: f64 = targets.iter().map(|&j| share[j as usize]).sum();
            if total > f64::MIN_POSITIVE && total.is_finite() {
                let ratio = mass / total;
                targets.iter().for_each(|&j| share[j as usize] *= ratio);
                return ratio.ln();
            }
            return self.balance_by_logarithms(targets, psi, mass, share);
        }
        let (mut cap, mut capped) = (f64::INFINITY, None);
        let mut highest = f64::NEG_INFINITY;
        for &j in targets {
            let j = j as usize;
            if self.q[j] > 0.0 {
                highest = highest.max(psi[j]);
            } else if self.generator.recession_slope() - psi[j] < cap {
                (cap, capped) = (self.generator.recession_slope() - psi[j], Some(j));
            }
        }
        let total_at = |shift: f64| -> f64 {
            targets.iter().map(|&j| self.attraction(j as usize, psi[j as usize] + shift)).sum()
        };
        let mut write = |shift: f64| -> f64 {
            let mut total = 0.0;
            for &j in targets {
                share[j as usize] = self.attraction(j as usize, psi[j as usize] + shift);
                total += share[j as usize];
            }
            total
        };
        if let Some(capped) = capped {
            let regular = if highest > f64::NEG_INFINITY { total_at(cap) } else { 0.0 };
            if regular <= mass {
                write(cap);
                share[capped] = mass - regular;
                return cap;
            }
        }
        let shift = self.root(targets, psi, mass, highest, cap);
        let total = write(shift);
        if total > 0.0 && total.is_finite() {
            targets.iter().for_each(|&j| share[j as usize] *= mass / total);
        }
        shift
    }

    /// KL when the shares have underflowed: the same constant from `psi`, by log-sum-exp.
    fn balance_by_logarithms(&self, targets: &[u32], psi: &[f64], mass: f64, share: &mut [f64]) -> f64 {
        let highest = targets.iter().fold(f64::NEG_INFINITY, |highest, &j| highest.max(psi[j as usize]));
        let mut total = 0.0;
        for &j in targets {
            share[j as usize] = self.q[j as usize] * (psi[j as usize] - highest).exp();
            total += share[j as usize];
        }
        targets.iter().for_each(|&j| share[j as usize] *= mass / total);
        // (f*)'(psi) = exp(psi - 1).
        (mass / total).ln() + 1.0 - highest
    }

    /// The root of `sum_j q_j (f*)'(psi_j + s) = mass` by Newton's method inside a shrinking bracket.
    fn root(&self, targets: &[u32], psi: &[f64], mass: f64, highest: f64, cap: f64) -> f64 {
        let evaluate = |shift: f64| -> (f64, f64) {
            targets.iter().fold((0.0, 0.0), |(value, slope), &j| {
                let j = j as usize;
                if self.q[j] > 0.0 {
                    let s = psi[j] + shift;
                    (
                        value + self.q[j] * self.generator.conjugate_derivative(s),
                        slope + self.q[j] * self.generator.conjugate_second_derivative(s),
                    )
                } else {
                    (value, slope)
                }
            })
        };
        // Open end of the domain for the highest potential; the sum tends to +inf there when it is finite.
        let end = self.generator.conjugate_domain_end() - highest;
        let mut high = end.min(cap);
        let mut low = f64::NEG_INFINITY;
        let mut shift = if 0.0 < high { 0.0 } else { high - 1.0 };
        let mut width = 1.0;
        for _ in 0..MAXIMUM_ROOT_STEPS {
            let (value, slope) = evaluate(shift);
            if value < mass {
                low = shift;
            } else {
                high = shift;
            }
            // Newton on ln(sum): bounded steps for both the exponential and the pole-like laws.
            let newton = if value > 0.0 && value.is_finite() && slope > 0.0 && slope.is_finite() {
                shift - value / slope * (value / mass).ln()
            } else {
                f64::NAN
            };
            let next = if newton > low && newton < high {
                newton
            } else if low == f64::NEG_INFINITY {
                width *= 4.0;
                high.min(shift) - width
            } else if high == f64::INFINITY {
                width *= 4.0;
                low + width
            } else {
                0.5 * (low + high)
            };
            let resolution = 2.0 * f64::EPSILON * (shift.abs() + highest.abs());
            let resolved = (next - shift).abs() <= 0.25 * resolution || next == low || next == high;
            if (value - mass).abs() <= 4.0 * f64::EPSILON * mass || resolved {
                // A law as steep as a root at f'(0) can step over a tiny mass within one unit of the last place; the
                // side that attracts something is the useful one, its shares are rescaled.
                return if value > 0.0 { shift } else { high };
            }
            shift = next;
        }
        shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balanced_shares_sum_to_the_mass_and_follow_the_law() {
        for kind in DivergenceKind::ALL {
            let generator = Generator::new(kind).expect("listed");
            let q = [0.1, 0.4, 0.0, 0.5];
            let law = TargetLaw::new(&generator, &q);
            let psi = [0.3, -5.0, -40.0, 0.9];
            for mass in [1e-12, 1e-3, 0.7, 1.0] {
                let mut share: Vec<f64> = (0..4).map(|j| law.attraction(j, psi[j])).collect();
                let targets: &[u32] =
                    if generator.recession_slope().is_finite() { &[0, 1, 2, 3] } else { &[0, 1, 3] };
                let shift = law.balance(targets, &psi, mass, &mut share);
                let total: f64 = targets.iter().map(|&j| share[j as usize]).sum();
                // Rounding of four terms.
                assert!((total - mass).abs() <= 8.0 * f64::EPSILON * mass, "{kind} {mass} {total}");
                for &j in targets {
                    let j = j as usize;
                    // The share lies between the attractions at the neighbours of psi + s, a few units in the last place
                    // away, up to the rounding of the law itself.
                    let resolution = 8.0 * f64::EPSILON * (psi[j].abs() + shift.abs() + 1.0);
                    let low = law.attraction(j, psi[j] + shift - resolution);
                    let high = law.attraction(j, psi[j] + shift + resolution);
                    if q[j] > 0.0 {
                        assert!(
                            share[j] >= low * (1.0 - 1e-13) && share[j] <= high * (1.0 + 1e-13),
                            "{kind} {mass} {j}: {low} {} {high}",
                            share[j]
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_target_outside_the_data_takes_what_the_cap_leaves() {
        let generator = Generator::new(DivergenceKind::SquaredHellinger).expect("listed");
        let q = [1.0, 0.0];
        let law = TargetLaw::new(&generator, &q);
        let mut share = [0.0; 2];
        // At the cap s = 1 - 3 = -2 the regular target attracts 1/(1+2)^2 = 1/9.
        let shift = law.balance(&[0, 1], &[0.0, 3.0], 1.0, &mut share);
        assert_eq!(shift, -2.0);
        assert!((share[0] - 1.0 / 9.0).abs() < 1e-15 && (share[1] - 8.0 / 9.0).abs() < 1e-15);
    }
}
