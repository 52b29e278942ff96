//! Optimality indicators \[43,44\]: libtorch against the oracle, and planted exact solutions.

use crate::claim::{CheckError, Claim, Finding, Setting};

pub(super) const CLAIM: Claim = Claim {
    id: "indicator_agreement",
    statement: "The indicators (kinetic and displacement energy, straightness, step-size deviation, Hamilton-Jacobi residual raw, \
                relative and gauged, acceleration, terminal residual, critic slope) are what section 5 defines; on exact \
                solutions written into libtorch networks every residual vanishes to the dtype and the step does not matter.",
    equations: &[(39, 39), (43, 44)],
    notation: &["3.3", "5"],
    measured: "all indicators of random networks, libtorch f64 against the oracle's flow on the same arrays; residuals, \
               straightness and deviation of two planted Hopf-Lax solutions (plane wave, cone) in f64 and f32",
    bound: "1e-10 relative in f64; planted: 1e-12 in f64, 1e-5 in f32 (rounding)",
    control: "flipped Hamiltonian sign, time feature dropped, lambda halved, energy at (x_{k+1}, t_k), terminal residual divided \
              by the root of the sample count",
    check,
};

#[cfg(not(feature = "torch"))]
fn check(_: &Setting) -> Result<Finding, CheckError> {
    Err(CheckError::NotApplicable("built without libtorch".into()))
}

#[cfg(feature = "torch")]
use implementation::check;

#[cfg(feature = "torch")]
mod implementation {
    use ndarray::{Array2, Axis, s};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::flow::{FlowSpecification, endpoint};
    use proxflow_gpu::indicators;
    use proxflow_gpu::network::Network;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::flow::Flow;
    use proxflow_reference::trajectory::{slope, terminal_residual};
    use rand::Rng;
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Finding, Setting};
    use crate::claim::{Basis, Bound};
    use crate::torch::{devices, to_reference, to_tensor};

    pub(super) fn check(setting: &Setting) -> Result<Finding, CheckError> {
        crate::torch::use_one_thread();
        let mut finding = Finding::new();
        for activation in [Activation::Relu, Activation::Tanh] {
            random_networks(setting, activation, &mut finding)?;
        }
        for device in devices() {
            for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
                planted(setting, (kind, device), tolerance, &mut finding)?;
            }
        }
        Ok(finding)
    }

    fn random_networks(
        setting: &Setting,
        activation: Activation,
        finding: &mut Finding,
    ) -> Result<(), CheckError> {
        let options = (Kind::Double, Device::Cpu);
        let mut generator = setting.stream("indicator_agreement");
        let mut stream = Stream::new(setting.seed, StreamLabel::PotentialInit);
        let shape = |time| Architecture::dense(3, &[16, 12], activation, time);
        let u = Network::glorot(shape(true), &mut stream, options);
        let phi = Network::glorot(shape(false), &mut stream, options);
        let flow = FlowSpecification { horizon: 2.0, steps: 6, lambda: 0.3 };
        let x0 = Array2::from_shape_simple_fn((40, 3), || generator.random::<f64>());
        let tensor = to_tensor(x0.view(), options);
        let reference_end = endpoint(&u, &tensor, flow.with_steps(48));
        let found = indicators::evaluate(&u, &phi, &tensor, flow, Some(&reference_end));

        let (plain_u, plain_phi) = (to_reference(&u, "potential")?, to_reference(&phi, "discriminator")?);
        let simulate = |steps| Flow::simulate(&plain_u, x0.view(), flow.horizon, steps, flow.lambda);
        let (plain, fine) = (simulate(6)?, simulate(48)?);
        let paths = plain.trajectories()?;
        let rates = plain.time_derivatives.slice(s![..6, ..]);
        let gradients = plain.gradients.slice(s![..6, .., ..]);
        let residual = paths.hamilton_jacobi(rates, gradients, flow.lambda)?;
        let halved = paths.hamilton_jacobi(rates, gradients, 0.5 * flow.lambda)?;
        let critic = plain_phi.jet(paths.endpoints(), 0.0)?.gradients;
        let terminal = terminal_residual(plain.gradients.index_axis(Axis(0), 6), critic.view())?;
        let slopes = slope(critic.view());
        let pairs = [
            ("kinetic energy", found.kinetic_energy, paths.kinetic_energy()),
            ("displacement energy", found.displacement_energy, paths.displacement_energy()),
            ("straightness", found.straightness, paths.straightness()),
            ("Hamilton-Jacobi residual", found.hj_residual, residual.raw),
            ("relative residual", found.hj_residual_relative, residual.relative),
            ("gauged residual", found.hj_residual_gauged, residual.gauged),
            ("gauged relative residual", found.hj_residual_gauged_relative, residual.gauged_relative),
            ("flipped residual", found.hj_residual_flipped, residual.sign_flipped),
            ("terminal residual", found.terminal_residual, terminal),
            ("critic slope", found.critic_slope, slopes.mean),
            ("acceleration", found.acceleration, paths.acceleration()),
        ];
        let rounding = || Basis::Rounding("f64, a few thousand operations".into());
        let bound = Bound::AtMost(1e-10);
        let relative = |a: f64, b: f64| (a - b).abs() / b.abs().max(1e-6);
        for (name, torch, plain) in pairs {
            finding.measure(
                format!("{name}, {activation:?}"),
                relative(torch.mean, plain.value),
                bound,
                rounding(),
            );
            let error = relative(torch.stderr, plain.standard_error);
            finding.measure(format!("standard error of {name}, {activation:?}"), error, bound, rounding());
        }
        let deviation = found.deviation.map_or(f64::NAN, |d| d.mean);
        let plain_deviation = paths.step_size_deviation(&fine.trajectories()?)?.value;
        finding.measure(
            format!("step-size deviation, {activation:?}"),
            relative(deviation, plain_deviation),
            bound,
            rounding(),
        );
        let released = indicators::evaluate_released(&u, &phi, &tensor, flow);
        let mut control = |name: &str, wrong: f64, right: f64| {
            finding.control(format!("{name}, {activation:?}"), relative(wrong, right), bound, rounding());
        };
        control("flipped Hamiltonian sign", found.hj_residual_flipped.mean, residual.raw.value);
        control("lambda halved", halved.raw.value, residual.raw.value);
        control("energy at (x_{k+1}, t_k)", released.kinetic_energy, paths.kinetic_energy().value);
        control("terminal residual over the sample count", released.terminal_residual, terminal.value);
        Ok(())
    }

    /// `U = p.x - (T - t) |p|^2 / (2 lambda)` with `phi = p.x`, and `U = L|x_1| - L^2 (T - t)/(2 lambda)` with `phi = L|x_1|`.
    fn planted(
        setting: &Setting,
        options: (Kind, Device),
        tolerance: f64,
        finding: &mut Finding,
    ) -> Result<(), CheckError> {
        let mut generator = setting.stream("planted");
        let (lambda, horizon) = (0.5_f64, 2.0);
        let flow = FlowSpecification { horizon, steps: 5, lambda };
        let tensor = |values: &[f64], shape: &[i64]| {
            Tensor::from_slice(values).reshape(shape).to_kind(options.0).to_device(options.1)
        };
        let p = [0.75, -0.5];
        let rate = |slope: f64| slope * slope / (2.0 * lambda);
        let square: f64 = p.iter().map(|p| p * p).sum();
        let dense = |hidden: &[i64], time| Architecture::dense(2, hidden, Activation::Relu, time);
        let wave = |rate: f64| -> Result<[Network; 2], CheckError> {
            let bias = -rate * horizon;
            Ok([
                Network::from_parameters(
                    dense(&[], true),
                    vec![tensor(&[p[0], p[1], rate], &[1, 3]), tensor(&[bias], &[1])],
                )?,
                Network::from_parameters(dense(&[], false), vec![tensor(&p, &[1, 2]), tensor(&[0.0], &[1])])?,
            ])
        };
        // relu(x), relu(-x) and relu(t + 1): t >= 0 passes through, away from the corner at 0.
        let l = 0.5;
        let cone = [
            Network::from_parameters(
                dense(&[3], true),
                vec![
                    tensor(&[1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[3, 3]),
                    tensor(&[0.0, 0.0, 1.0], &[3]),
                    tensor(&[l, l, rate(l)], &[1, 3]),
                    tensor(&[-rate(l) * (horizon + 1.0)], &[1]),
                ],
            )?,
            Network::from_parameters(
                dense(&[2], false),
                vec![
                    tensor(&[1.0, 0.0, -1.0, 0.0], &[2, 2]),
                    tensor(&[0.0; 2], &[2]),
                    tensor(&[l, l], &[1, 2]),
                    tensor(&[0.0], &[1]),
                ],
            )?,
        ];
        // |x_1| >= 3 exceeds L T / lambda = 2: no path reaches the kink.
        let x0 = Array2::from_shape_fn((32, 2), |(i, _)| {
            let size = 3.0 + f64::from(generator.random_range(0..1024_u32)) / 1024.0;
            if i % 2 == 0 { size } else { -size }
        });
        let x0 = to_tensor(x0.view(), options);
        let rounding = || Basis::Rounding(format!("{:?}: five steps of order-one terms", options.0));
        let bound = Bound::AtMost(tolerance);
        let exact = Bound::Near { value: 1.0, tolerance };
        let [plane_u, plane_phi] = wave(square / (2.0 * lambda))?;
        let [cone_u, cone_phi] = &cone;
        for (name, u, phi) in [("plane wave", &plane_u, &plane_phi), ("cone", cone_u, cone_phi)] {
            let label = |what: &str| format!("{what}, {name}, {:?}, {:?}", options.0, options.1);
            let end = endpoint(u, &x0, flow.with_steps(64));
            let found = indicators::evaluate(u, phi, &x0, flow, Some(&end));
            finding
                .measure(
                    label("relative Hamilton-Jacobi residual"),
                    found.hj_residual_relative.mean,
                    bound,
                    rounding(),
                )
                .measure(label("straightness"), found.straightness.mean, exact, rounding())
                .measure(label("terminal residual"), found.terminal_residual.mean, bound, rounding())
                .measure(
                    label("deviation of 5 steps from 64"),
                    found.deviation.map_or(f64::NAN, |d| d.mean),
                    bound,
                    rounding(),
                )
                .control(label("flipped sign"), found.hj_residual_flipped.mean, bound, rounding());
            let halved =
                indicators::evaluate(u, phi, &x0, FlowSpecification { lambda: 0.5 * lambda, ..flow }, None);
            finding.control(label("lambda halved"), halved.hj_residual_relative.mean, bound, rounding());
        }
        let [dropped, phi] = wave(0.0)?;
        let found = indicators::evaluate(&dropped, &phi, &x0, flow, None);
        let label = format!("time feature dropped, {:?}, {:?}", options.0, options.1);
        finding.control(label, found.hj_residual_relative.mean, bound, rounding());
        Ok(())
    }
}
