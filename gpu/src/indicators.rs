//! Optimality indicators of a flow (section 5 of docs/notation.md): means over samples with their standard errors.
//!
//! Everything is evaluated at `(x_k, t_k)`. The definitions that the released code logs instead are kept apart, in [`Released`].

mod paths;

use serde::Serialize;
use serde::ser::SerializeMap;
use tch::{Device, Kind, Tensor};

use crate::flow::FlowSpecification;
use crate::host::{f64_of, mean_of, to_f64};
use crate::network::Network;
use crate::team::Part;
use paths::{norm, norm_squared, walk};

/// A mean over samples with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean, or the ratio of two means.
    pub mean: f64,
    /// Its standard error: `sd / sqrt(n)`, by the delta method for ratios.
    pub stderr: f64,
}

impl Estimate {
    /// No estimate: NaN, `null` in JSON.
    pub const ABSENT: Self = Self { mean: f64::NAN, stderr: f64::NAN };

    /// Mean of one number per sample.
    pub fn mean(samples: &Tensor) -> Self {
        Self::ratio(samples, &samples.ones_like())
    }

    /// `E a / E b` over paired samples.
    pub fn ratio(numerator: &Tensor, denominator: &Tensor) -> Self {
        let host = |tensor: &Tensor| tensor.to_device(Device::Cpu).to_kind(Kind::Double);
        let (a, b) = (host(numerator), host(denominator));
        let count = a.size()[0] as f64;
        let scale = f64_of(&b.mean(Kind::Double));
        let mean = f64_of(&a.mean(Kind::Double)) / scale;
        let residual = a - b * mean;
        let variance = f64_of(&residual.square().sum(Kind::Double)) / (count - 1.0).max(1.0);
        Self { mean, stderr: (variance / count).sqrt() / scale.abs() }
    }
}

/// Indicators of one flow at one step size.
#[derive(Debug)]
pub struct FlowIndicators {
    /// Number of Euler steps `N`.
    pub steps: usize,
    /// Step `h = T / N`.
    pub step: f64,
    /// `K_h = E sum_k h |v_k|^2 / 2`.
    pub kinetic_energy: Estimate,
    /// `E |x_N - x_0|^2 / (2 T)`.
    pub displacement_energy: Estimate,
    /// `E [ sum_k h |v_k| / |x_N - x_0| ] >= 1`.
    pub straightness: Estimate,
    /// `E |x_N - x_N^ref| / |x_N^ref - x_0|`; absent where this flow is its own reference.
    pub deviation: Option<Estimate>,
    /// `E sum_k h |dU/dt - |grad U|^2 / (2 lambda)|` \[43\].
    pub hj_residual: Estimate,
    /// The same relative to `lambda K_h`.
    pub hj_residual_relative: Estimate,
    /// The HJ residual with its mean over samples removed at each `t_k` (U is trained up to a function of time).
    pub hj_residual_gauged: Estimate,
    /// The gauged residual relative to `lambda K_h`.
    pub hj_residual_gauged_relative: Estimate,
    /// Negative control: the residual with `+ |grad U|^2 / (2 lambda)`.
    pub hj_residual_flipped: Estimate,
    /// `E |v_{k+1} - v_k| / E |v_k|` along paths; [`Estimate::ABSENT`] with a single step.
    pub acceleration: Estimate,
    /// `E |grad U(x_N, T) - grad phi(x_N)|` \[44\].
    pub terminal_residual: Estimate,
    /// `|grad phi|` at `x_N`: mean.
    pub critic_slope: Estimate,
    /// `|grad phi|` at `x_N`: largest.
    pub critic_slope_max: f64,
    /// Endpoints `x_N (B, d)`.
    pub endpoints: Tensor,
}

/// What the released training code logs, kept for comparison with its curves: energy and residual at `(x_{k+1}, t_k)`, the
/// residual with a plus sign, the terminal residual as a root-sum-of-squares over the sample count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Released {
    /// `E sum_k h |grad U(x_{k+1}, t_k)|^2 / (2 lambda^2)`.
    pub kinetic_energy: f64,
    /// `E sum_k h |dU/dt + |grad U|^2 / (2 lambda)|` at `(x_{k+1}, t_k)`.
    pub hj_residual: f64,
    /// `sqrt(sum_b |grad U - grad phi|^2) / B` at `(x_N, T)`.
    pub terminal_residual: f64,
}

/// Evaluates all indicators for `x_0 (B, d)`. `reference` holds endpoints of the finest flow from the same `x_0`.
pub fn evaluate(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    reference: Option<&Tensor>,
) -> FlowIndicators {
    evaluate_part(potential, discriminator, (x0, reference), flow, &Part::whole())
}

/// The same from one part of a batch: its rows of `x_0` and of the reference. The indicators are those of the whole batch, the same in
/// every part, and depend on the pieces of the batch alone.
pub fn evaluate_part(
    potential: &Network,
    discriminator: &Network,
    rows: (&Tensor, Option<&Tensor>),
    flow: FlowSpecification,
    part: &Part<'_>,
) -> FlowIndicators {
    tch::no_grad(|| {
        let paths = walk(potential, discriminator, rows, flow, part);
        let scale = &paths.energy * flow.lambda;
        FlowIndicators {
            steps: flow.steps,
            step: flow.step(),
            displacement_energy: Estimate::mean(&(paths.displacement.square() / (2.0 * flow.horizon))),
            straightness: Estimate::mean(&(paths.length / &paths.displacement)),
            deviation: paths.deviation.as_ref().map(Estimate::mean),
            hj_residual_relative: Estimate::ratio(&paths.residual, &scale),
            hj_residual: Estimate::mean(&paths.residual),
            hj_residual_gauged_relative: Estimate::ratio(&paths.gauged, &scale),
            hj_residual_gauged: Estimate::mean(&paths.gauged),
            hj_residual_flipped: Estimate::mean(&paths.flipped),
            kinetic_energy: Estimate::mean(&paths.energy),
            acceleration: match flow.steps {
                0 | 1 => Estimate::ABSENT,
                _ => Estimate::ratio(&paths.turning, &paths.speed),
            },
            terminal_residual: Estimate::mean(&paths.mismatch),
            critic_slope_max: f64_of(&paths.critic_slope.max()),
            critic_slope: Estimate::mean(&paths.critic_slope),
            endpoints: paths.end,
        }
    })
}

/// The released code's definitions, for `x_0 (B, d)`.
pub fn evaluate_released(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
) -> Released {
    tch::no_grad(|| {
        let (h, lambda) = (flow.step(), flow.lambda);
        let (mut kinetic_energy, mut hj_residual) = (0.0, 0.0);
        let mut x = x0.detach();
        for k in 0..flow.steps {
            x = &x - potential.gradient(&x, flow.time(k)) * (h / lambda);
            let slope = potential.slope(&x, flow.time(k));
            let hamiltonian = norm_squared(&slope.gradient) / (2.0 * lambda);
            kinetic_energy += h / lambda * mean_of(&hamiltonian);
            hj_residual += h * mean_of(&(slope.time_derivative + hamiltonian).abs());
        }
        let mismatch = potential.gradient(&x, flow.horizon) - discriminator.gradient(&x, 0.0);
        let terminal_residual =
            (mean_of(&mismatch.square()) * mismatch.numel() as f64).sqrt() / x.size()[0] as f64;
        Released { kinetic_energy, hj_residual, terminal_residual }
    })
}

/// Mean and largest `|grad phi|` over points `(B, d)`: the Lipschitz check.
pub fn slope_statistics(discriminator: &Network, points: &Tensor) -> (Estimate, f64) {
    let slopes = norm(&discriminator.gradient(points, 0.0));
    (Estimate::mean(&slopes), f64_of(&slopes.max()))
}

/// Rows of a tensor `(B, d)` as f32 on the host, row-major.
pub fn to_host(rows: &Tensor) -> Vec<f32> {
    to_f64(rows).into_iter().map(|value| value as f32).collect()
}

impl Serialize for FlowIndicators {
    /// One entry of `steps` in the report of `mnist evaluate`: every mean with its `_stderr`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What is absent is NaN here, which JSON writes as null: the reference has no deviation of zero, it has none.
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("steps", &self.steps)?;
        map.serialize_entry("h", &self.step)?;
        for (name, estimate) in [
            ("kinetic_energy", self.kinetic_energy),
            ("displacement_energy", self.displacement_energy),
            ("straightness", self.straightness),
            ("deviation", self.deviation.unwrap_or(Estimate::ABSENT)),
            ("hj_residual", self.hj_residual),
            ("hj_residual_relative", self.hj_residual_relative),
            ("hj_residual_gauged", self.hj_residual_gauged),
            ("hj_residual_gauged_relative", self.hj_residual_gauged_relative),
            ("hj_residual_flipped", self.hj_residual_flipped),
            ("acceleration", self.acceleration),
            ("terminal_residual", self.terminal_residual),
            ("critic_slope_mean", self.critic_slope),
        ] {
            map.serialize_entry(name, &estimate.mean)?;
            map.serialize_entry(&format!("{name}_stderr"), &estimate.stderr)?;
        }
        map.serialize_entry("critic_slope_max", &self.critic_slope_max)?;
        map.end()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

    /// `U(x, t) = <w, x> + c t`: every path is straight with velocity `-w / lambda`.
    fn affine(weights: &[f64], time_slope: f64) -> Network {
        let row: Vec<f64> = weights.iter().copied().chain([time_slope]).collect();
        let architecture = Architecture::dense(weights.len() as i64, &[], Activation::Relu, true);
        let weight = Tensor::from_slice(&row).reshape([1, -1]);
        Network::from_parameters(architecture, vec![weight, Tensor::zeros([1], OPTIONS)]).unwrap()
    }

    fn linear(weights: &[f64]) -> Network {
        let architecture = Architecture::dense(weights.len() as i64, &[], Activation::Relu, false);
        let weight = Tensor::from_slice(weights).reshape([1, -1]);
        Network::from_parameters(architecture, vec![weight, Tensor::zeros([1], OPTIONS)]).unwrap()
    }

    #[test]
    fn an_exact_affine_potential_has_no_residual_and_the_flipped_sign_has() {
        // |w|^2 / (2 lambda) = 25 / (2 * 0.5) = 25 is the time slope that solves Hamilton-Jacobi.
        let flow = FlowSpecification::new(2.0, 5, 0.5).unwrap();
        let x0 = Tensor::rand([7, 2], OPTIONS);
        let (potential, discriminator) = (affine(&[3.0, 4.0], 25.0), linear(&[3.0, 4.0]));
        let end = crate::flow::endpoint(&potential, &x0, flow.with_steps(40));
        let found = evaluate(&potential, &discriminator, &x0, flow, Some(&end));
        // Rounding: a few operations on numbers of size 100.
        let zero = |value: f64| assert!(value.abs() < 1e-12, "{value}");
        zero(found.hj_residual.mean);
        zero(found.hj_residual_gauged.mean);
        zero(found.terminal_residual.mean);
        zero(found.acceleration.mean);
        zero(found.straightness.mean - 1.0);
        zero(found.deviation.unwrap().mean);
        // |v| = 10, K = T |v|^2 / 2 = 100, equal to the displacement energy.
        zero(found.kinetic_energy.mean / 100.0 - 1.0);
        zero(found.displacement_energy.mean / 100.0 - 1.0);
        zero(found.hj_residual_flipped.mean / 100.0 - 1.0);
        zero(found.critic_slope.mean - 5.0);
    }

    #[test]
    fn what_one_step_without_a_reference_cannot_tell_is_absent() {
        let flow = FlowSpecification::new(2.0, 1, 0.5).unwrap();
        let x0 = Tensor::rand([7, 2], OPTIONS);
        let found = evaluate(&affine(&[3.0, 4.0], 25.0), &linear(&[3.0, 4.0]), &x0, flow, None);
        assert!(found.deviation.is_none() && found.acceleration.mean.is_nan());
    }

    #[test]
    fn the_released_definitions_of_an_affine_potential_have_closed_forms() {
        let flow = FlowSpecification::new(2.0, 5, 0.5).unwrap();
        let x0 = Tensor::rand([9, 2], OPTIONS);
        // |w|^2 / (2 lambda) = 25; the discriminator's slope differs from w by (1, 2).
        let found = evaluate_released(&affine(&[3.0, 4.0], 20.0), &linear(&[2.0, 2.0]), &x0, flow);
        let zero = |value: f64| assert!(value.abs() < 1e-12, "{value}");
        zero(found.kinetic_energy / (2.0 * 25.0 / (2.0 * 0.25)) - 1.0);
        zero(found.hj_residual / (2.0 * (20.0 + 25.0)) - 1.0);
        // sqrt(9 * 5) / 9.
        zero(found.terminal_residual - 5.0_f64.sqrt() / 3.0);
    }

    #[test]
    fn slopes_of_a_critic_with_two_slopes_have_a_mean_a_largest_and_a_standard_error() {
        // phi(x) = max(x, 0) + 3 max(-x, 0).
        let tensor = |values: &[f64], shape: &[i64]| Tensor::from_slice(values).reshape(shape);
        let parameters = vec![
            tensor(&[1.0, -1.0], &[2, 1]),
            tensor(&[0.0, 0.0], &[2]),
            tensor(&[1.0, 3.0], &[1, 2]),
            tensor(&[0.0], &[1]),
        ];
        let critic =
            Network::from_parameters(Architecture::dense(1, &[2], Activation::Relu, false), parameters)
                .unwrap();
        let points = tensor(&[-1.0, 1.0, 2.0], &[3, 1]);
        let (mean, largest) = slope_statistics(&critic, &points);
        assert!((mean.mean - 5.0 / 3.0).abs() < 1e-15 && largest == 3.0);
        // Variance (2 (2/3)^2 + (4/3)^2) / 2 = 4/3 over three points.
        assert!((mean.stderr - 2.0 / 3.0).abs() < 1e-15);
        // A flow that stays where it is ends in the same points.
        let flow = FlowSpecification::new(2.0, 3, 0.5).unwrap();
        let found = evaluate(&affine(&[0.0], 0.0), &critic, &points, flow, None);
        assert_eq!((found.critic_slope, found.critic_slope_max), (mean, largest));
    }

    #[test]
    fn the_gauge_removes_a_function_of_time_alone() {
        let flow = FlowSpecification::new(2.0, 5, 0.5).unwrap();
        let x0 = Tensor::rand([7, 2], OPTIONS);
        let found = evaluate(&affine(&[3.0, 4.0], 20.0), &linear(&[3.0, 4.0]), &x0, flow, None);
        assert!((found.hj_residual.mean - 10.0).abs() < 1e-12);
        assert!(found.hj_residual_gauged.mean.abs() < 1e-12);
    }

    #[test]
    fn standard_error_of_a_ratio_follows_the_delta_method() {
        let b = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]);
        let ratio = Estimate::ratio(&(&b * 2.0), &b);
        assert_eq!((ratio.mean, ratio.stderr), (2.0, 0.0));
        let mean = Estimate::mean(&b);
        // sd = sqrt(5/3), n = 4.
        assert!((mean.stderr - (5.0_f64 / 12.0).sqrt()).abs() < 1e-15);
    }
}
