//! What the heights of a Hopf-Lax potential prove about the optimum over all noise.
//!
//! Every `psi` gives a lower bound on `J*`: `D = E U_psi(x, 0) - Lambda(psi)`. Its flow sends noise to prototype j with chance `P_j`;
//! with the coupling that it brings it costs at most `E c(|x - y_j|) + KL(P|nu) = D + KL(P|w)`, `w_j = nu_j e^{psi_j} / sum_k nu_k e^{psi_k}`
//! the dual weights, and `KL(P|w) <= chi^2(P|w) = sum_j P_j^2 / w_j - 1` has an unbiased estimator from counts, since `w` is known.
//!
//! That is of no use where the optimum gives up on a prototype: `w_j = 1e-40`, and one sample in a million that goes there makes `P_j^2 / w_j`
//! astronomic. But `D_f^L(rho|pi) <= L W1(rho, eta) + D_f(eta|pi)` for every `eta`: what arrives at such a prototype may be carried on to
//! another one, `m(j)`, at L times the distance (and farther from the noise it is not paid twice: the Huber cost grows at most by L). With
//! `Q = m_# P` on the prototypes R that are kept and `w_R` their weight, the flow costs at most
//!
//! `D + sum_j P_j delta_j + chi^2(Q | w / w_R) - ln w_R`,  `delta_j = L |y_j - y_{m(j)}| + psi_{m(j)} - psi_j`, 0 for kept ones.
//!
//! `m` depends on the heights and the number of samples only, never on the samples, so that every estimate stays without bias. The carried
//! part is the mean of a bounded variable that is rarely not zero; three standard errors say nothing about that, so that its end is moved by
//! the empirical Bernstein inequality of Maurer and Pontil (2009, theorem 4) instead.

use std::f64::consts::{LN_2, TAU};

use serde::Serialize;
use tch::Tensor;

use crate::hopf_lax;
use crate::host::to_f64;
use crate::indicators::Estimate;

/// What fresh noise says about the optimum over the population, for one set of heights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PopulationBounds {
    /// Fresh noise samples `n`.
    pub samples: usize,
    /// `E U(x, 0) - Lambda`: a lower bound of `J*` for the quantised data.
    pub dual: Estimate,
    /// `dual + excess` is an upper bound of `J*` and of the flow's own J: `chi^2(Q | w / w_R) - ln w_R` and the carried part.
    pub excess: Estimate,
    /// `sum_j P_j delta_j`, contained in `excess`.
    pub carried: Carried,
    /// `K = E |x_T - x_0|^2 / (2 T)` of the flow.
    pub kinetic_energy: Estimate,
}

/// What arrives at prototypes of negligible dual weight, and what it costs to carry it on to others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Carried {
    /// Number of such prototypes.
    pub prototypes: usize,
    /// `E delta`, without bias.
    pub cost: Estimate,
    /// Largest `delta_j`.
    pub largest: f64,
}

impl PopulationBounds {
    /// The interval that holds `J*` and the flow's own J, each end moved outwards by `z` standard errors, the carried part by the empirical
    /// Bernstein inequality at the confidence of as many.
    pub fn interval(&self, z: f64) -> [f64; 2] {
        let rest = (self.excess.stderr.powi(2) - self.carried.cost.stderr.powi(2)).max(0.0).sqrt();
        let spread = self.dual.stderr.hypot(rest);
        let upper =
            self.dual.mean + self.excess.mean.max(0.0) + z * spread + self.carried.margin(z, self.samples);
        [self.dual.mean - z * self.dual.stderr, upper]
    }
}

impl Carried {
    /// What is added to the mean so that `E delta` is exceeded with at most the chance `Q(z)` of a normal law above `z` standard deviations:
    /// `sqrt(2 V ln(2/a) / n) + 7 R ln(2/a) / (3 (n - 1))`, R the range, V the sample variance, `a = z e^{-z^2/2} / (sqrt(2 pi) (1 + z^2)) <= Q(z)`.
    fn margin(&self, z: f64, samples: usize) -> f64 {
        if self.prototypes == 0 || samples < 2 {
            return 0.0;
        }
        let logarithm = LN_2 + z * z / 2.0 + (TAU.sqrt() * (1.0 + z * z) / z).ln();
        let range = 7.0 * self.largest * logarithm / (3.0 * (samples - 1) as f64);
        self.cost.stderr * (2.0 * logarithm).sqrt() + range
    }
}

/// Prototypes with the heights that are judged.
pub(crate) struct Cells {
    /// Dual weights `w_j`, of sum 1.
    pub(crate) weights: Vec<f64>,
    /// `psi_j`.
    pub(crate) heights: Vec<f64>,
    /// `y_j (K, d)`, double, on the host.
    pub(crate) places: Tensor,
    /// L.
    pub(crate) lipschitz: f64,
}

impl Cells {
    /// Excess of the flow over the dual value from the counts of n draws.
    pub(crate) fn excess(&self, counts: &[f64], samples: usize) -> (Estimate, Carried) {
        let n = samples as f64;
        let (target, delta) = self.carrying(n);
        let kept_weight: f64 = (0..counts.len()).filter(|&j| target[j] == j).map(|j| self.weights[j]).sum();
        let mut gathered = vec![0.0; counts.len()];
        for (j, count) in counts.iter().enumerate() {
            gathered[target[j]] += count;
        }
        let kept: Vec<usize> = (0..counts.len()).filter(|&j| target[j] == j).collect();
        let share = |j: &usize| (gathered[*j], self.weights[*j] / kept_weight);
        let chi_squared = chi_squared(kept.iter().map(share), n);

        let mean = counts.iter().zip(&delta).map(|(count, delta)| count * delta).sum::<f64>() / n;
        let squares = counts.iter().zip(&delta).map(|(count, delta)| count * (delta - mean).powi(2));
        let carried = Carried {
            prototypes: counts.len() - kept.len(),
            cost: Estimate { mean, stderr: (squares.sum::<f64>() / (n - 1.0).max(1.0) / n).sqrt() },
            largest: delta.iter().copied().fold(0.0, f64::max),
        };
        let excess = Estimate {
            mean: chi_squared.mean - kept_weight.ln() + mean,
            stderr: chi_squared.stderr.hypot(carried.cost.stderr),
        };
        (excess, carried)
    }

    /// `m(j)` and `delta_j`, from the weights and the number of samples alone.
    ///
    /// A prototype that n draws of the dual weights reach less than once is carried to the cheapest of those that they reach, if one sample there
    /// costs less carried, `delta_j / n`, than kept: `1 / (n^2 w_j)` in `chi^2`.
    fn carrying(&self, n: f64) -> (Vec<usize>, Vec<f64>) {
        let count = self.weights.len();
        let mut target: Vec<usize> = (0..count).collect();
        let mut delta = vec![0.0; count];
        let most = (0..count).max_by(|&a, &b| self.weights[a].total_cmp(&self.weights[b])).unwrap_or(0);
        let reached: Vec<usize> = (0..count).filter(|&j| j == most || self.weights[j] * n >= 1.0).collect();
        if reached.len() == count {
            return (target, delta);
        }
        let rows = |indices: &[usize]| {
            let indices: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
            self.places.index_select(0, &Tensor::from_slice(&indices))
        };
        let rare: Vec<usize> = (0..count).filter(|j| !reached.contains(j)).collect();
        let distances = to_f64(&hopf_lax::distances(&rows(&rare), &rows(&reached)).view([-1]));
        for (&j, distances) in rare.iter().zip(distances.chunks(reached.len())) {
            let costs = reached
                .iter()
                .zip(distances)
                .map(|(&k, distance)| (k, self.lipschitz * distance + self.heights[k] - self.heights[j]));
            if let Some((k, cost)) = costs.min_by(|a, b| a.1.total_cmp(&b.1))
                && cost * n * self.weights[j] < 1.0
            {
                // Below zero the flow never chooses j.
                (target[j], delta[j]) = (k, cost.max(0.0));
            }
        }
        (target, delta)
    }
}

/// `sum_j P_j^2 / w_j - 1` without bias from pairs `(count, w_j)` of n draws, with its standard error (the variance of the U-statistic with P
/// in place of its mean: `4 Var(P_j / w_j) / n + 2 sum_j (P_j / w_j)^2 / n^2`).
fn chi_squared(cells: impl Iterator<Item = (f64, f64)>, n: f64) -> Estimate {
    let [mut pairs, mut first, mut square, mut second] = [0.0; 4];
    for (count, weight) in cells {
        let ratio = count / (weight * n);
        pairs += count * (count - 1.0) / weight;
        first += count * ratio;
        square += count * ratio * ratio;
        second += ratio * ratio;
    }
    let variance = (square / n - (first / n).powi(2)).max(0.0);
    Estimate {
        mean: pairs / (n * (n - 1.0)) - 1.0,
        stderr: (4.0 * variance / n + 2.0 * second / (n * n)).sqrt(),
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::random::{Stream, StreamLabel};

    fn draw(shares: &[f64], samples: usize, stream: &mut Stream) -> Vec<f64> {
        let mut counts = vec![0.0; shares.len()];
        for _ in 0..samples {
            let mut u: f64 = stream.generator().random();
            let reached = shares.iter().position(|share| {
                u -= share;
                u < 0.0
            });
            counts[reached.unwrap_or(shares.len() - 1)] += 1.0;
        }
        counts
    }

    #[test]
    fn chi_squared_of_counts_has_no_bias_and_its_standard_error_is_its_spread() {
        let shares = [0.1, 0.2, 0.3, 0.4];
        let exact = shares.iter().map(|p| p * p / 0.25).sum::<f64>() - 1.0;
        let mut stream = Stream::new(3, StreamLabel::Noise);
        let (mut estimates, mut errors) = (Vec::new(), Vec::new());
        for _ in 0..400 {
            let counts = draw(&shares, 100, &mut stream);
            let found = chi_squared(counts.iter().map(|&count| (count, 0.25)), 100.0);
            estimates.push(found.mean);
            errors.push(found.stderr);
        }
        let mean = Estimate::mean(&Tensor::from_slice(&estimates));
        assert!((mean.mean - exact).abs() < 4.0 * mean.stderr, "{mean:?} against {exact}");
        let spread = mean.stderr * 20.0;
        let stated = errors.iter().sum::<f64>() / 400.0;
        assert!((stated / spread - 1.0).abs() < 0.25, "stated {stated}, observed {spread}");
    }

    /// Three prototypes on the line, the last with weight 1e-40.
    fn forsaken() -> Cells {
        Cells {
            weights: vec![0.5, 0.5, 1e-40],
            heights: vec![0.0, 0.0, -91.0],
            places: Tensor::from_slice(&[0.0, 1.0, 11.0]).reshape([3, 1]),
            lipschitz: 2.0,
        }
    }

    #[test]
    fn a_sample_at_a_forsaken_prototype_costs_its_way_to_the_next_and_not_the_inverse_of_its_weight() {
        let (excess, carried) = forsaken().excess(&[5000.0, 4999.0, 1.0], 10_000);
        // delta = L |11 - 1| + psi_2 - psi_3 = 20 + 91, one sample of ten thousand.
        assert!((carried.cost.mean - 111.0 / 1e4).abs() < 1e-12, "{carried:?}");
        assert_eq!((carried.prototypes, carried.largest), (1, 111.0));
        assert!(excess.mean < 0.02, "{excess:?}");
        // Removed: the carrying. The same counts, kept.
        let kept = chi_squared([(5000.0, 0.5), (4999.0, 0.5), (2.0, 1e-40)].into_iter(), 10_000.0);
        assert!(kept.mean > 1e30, "{kept:?}");
    }

    #[test]
    fn a_rare_cost_is_covered_by_the_margin_where_standard_errors_fail() {
        let mut stream = Stream::new(4, StreamLabel::Noise);
        let (runs, samples, z) = (1000, 1000, 2.0);
        for rare in [3e-4, 2e-3, 2e-2] {
            let exact = rare * 111.0;
            let shares = [0.5, 0.5 - rare, rare];
            let (mut missed, mut missed_by_errors) = (0, 0);
            for _ in 0..runs {
                let (_, carried) = forsaken().excess(&draw(&shares, samples, &mut stream), samples);
                missed += usize::from(carried.cost.mean + carried.margin(z, samples) < exact);
                missed_by_errors += usize::from(carried.cost.mean + z * carried.cost.stderr < exact);
            }
            // Q(2) = 0.0228; the inequality is far from sharp. At 3e-4 no sample comes in 74 % of the runs.
            assert!(missed <= 23, "{rare}: {missed}");
            assert!(rare > 1e-3 || missed_by_errors > 500, "{rare}: {missed_by_errors}");
        }
    }

    #[test]
    fn reached_prototypes_are_kept_and_every_excess_is_then_the_chi_squared_alone() {
        let cells = Cells { weights: vec![0.7, 0.3], heights: vec![0.0, 0.0], ..forsaken() };
        let (excess, carried) = cells.excess(&[60.0, 40.0], 100);
        let alone = chi_squared([(60.0, 0.7), (40.0, 0.3)].into_iter(), 100.0);
        assert!((excess.mean - alone.mean).abs() < 1e-15 && (excess.stderr - alone.stderr).abs() < 1e-15);
        assert_eq!(carried.margin(3.0, 100), 0.0);
    }
}
