//! Optimality indicators \[43,44\]: libtorch against the oracle, and planted exact solutions.

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

const OPERATIONS: Basis = Basis::Rounding("f64, a few thousand operations");
const RELATIVE: Bound = Bound::AtMost(1e-10);

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "indicator_agreement",
    statement: "The indicators (kinetic and displacement energy, straightness, step-size deviation, Hamilton-Jacobi residual raw, \
                relative and gauged, acceleration, terminal residual, critic slope) are what section 5 defines; on exact \
                solutions written into libtorch networks every residual vanishes to the dtype and the step does not matter.",
    equations: &[(39, 39), (43, 44)],
    notation: &["3.3", "5"],
    quantities: &[
        Quantity {
            name: "energies",
            what: "kinetic and displacement energy of random networks with their standard errors, libtorch f64 against the \
                   oracle's flow on the same arrays, relative",
            bound: RELATIVE,
            basis: OPERATIONS,
        },
        Quantity {
            name: "shape of the paths",
            what: "straightness, acceleration and step-size deviation, the same way",
            bound: RELATIVE,
            basis: OPERATIONS,
        },
        Quantity {
            name: "Hamilton-Jacobi residuals",
            what: "raw, relative, gauged, gauged relative and with the sign flipped, the same way",
            bound: RELATIVE,
            basis: OPERATIONS,
        },
        Quantity {
            name: "terminal condition and critic",
            what: "terminal residual and critic slope, the same way",
            bound: RELATIVE,
            basis: OPERATIONS,
        },
        Quantity {
            name: "planted, f64",
            what: "relative Hamilton-Jacobi residual, |straightness - 1|, terminal residual and deviation of 5 steps from 64 of two \
                   planted Hopf-Lax solutions (plane wave, cone), on the CPU and on CUDA when present",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("f64: five steps of order-one terms"),
        },
        Quantity {
            name: "planted, f32",
            what: "the same in single precision",
            bound: Bound::AtMost(1e-5),
            basis: Basis::Rounding("f32: five steps of order-one terms"),
        },
    ],
    removals: &[
        Removal {
            name: "sign of the Hamiltonian",
            what: "dU/dt with flipped sign, recorded for the oracle and planted in U",
            breaks: &["Hamilton-Jacobi residuals", "planted, f64", "planted, f32"],
        },
        Removal {
            name: "time feature",
            what: "dU/dt = 0, recorded for the oracle and planted in U",
            breaks: &["Hamilton-Jacobi residuals", "planted, f64", "planted, f32"],
        },
        Removal {
            name: "value of lambda",
            what: "libtorch is given half of it",
            breaks: &[
                "energies",
                "shape of the paths",
                "Hamilton-Jacobi residuals",
                "terminal condition and critic",
                "planted, f64",
                "planted, f32",
            ],
        },
        Removal {
            name: "definitions of section 5",
            what: "the released code's: energy at (x_{k+1}, t_k), flipped Hamiltonian, terminal residual over the sample count",
            breaks: &["energies", "Hamilton-Jacobi residuals", "terminal condition and critic"],
        },
    ],
    measure,
};

#[cfg(not(feature = "torch"))]
fn measure(_: &Setting, _: Mechanism) -> Result<Measured, CheckError> {
    Err(CheckError::NotApplicable("built without libtorch".into()))
}

#[cfg(feature = "torch")]
use implementation::measure;

#[cfg(feature = "torch")]
mod implementation {
    use ndarray::{Array2, Axis, s};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::flow::{FlowSpecification, endpoint};
    use proxflow_gpu::indicators::{self, Estimate};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::flow::Flow;
    use proxflow_reference::trajectory::{slope, terminal_residual};
    use rand::Rng;
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Measured, Mechanism, Setting};
    use crate::torch::{devices, to_reference, to_tensor};

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let mut measured = Measured::new();
        for activation in [Activation::Relu, Activation::Tanh] {
            random_networks(setting, activation, mechanism, &mut measured)?;
        }
        for device in devices() {
            for (quantity, kind) in [("planted, f64", Kind::Double), ("planted, f32", Kind::Float)] {
                planted(setting, (kind, device), quantity, mechanism, &mut measured)?;
            }
        }
        Ok(measured)
    }

    /// What the removed part makes of a time derivative.
    fn rate_factor(mechanism: Mechanism) -> f64 {
        if mechanism.lacks("sign of the Hamiltonian") {
            -1.0
        } else if mechanism.lacks("time feature") {
            0.0
        } else {
            1.0
        }
    }

    fn given(flow: FlowSpecification, mechanism: Mechanism) -> FlowSpecification {
        let factor = if mechanism.lacks("value of lambda") { 0.5 } else { 1.0 };
        FlowSpecification { lambda: factor * flow.lambda, ..flow }
    }

    fn random_networks(
        setting: &Setting,
        activation: Activation,
        mechanism: Mechanism,
        measured: &mut Measured,
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
        let torch_flow = given(flow, mechanism);
        let reference_end = endpoint(&u, &tensor, torch_flow.with_steps(48));
        let mut found = indicators::evaluate(&u, &phi, &tensor, torch_flow, Some(&reference_end));
        if mechanism.lacks("definitions of section 5") {
            let released = indicators::evaluate_released(&u, &phi, &tensor, torch_flow);
            found.kinetic_energy.mean = released.kinetic_energy;
            found.hj_residual.mean = released.hj_residual;
            found.terminal_residual.mean = released.terminal_residual;
        }

        let (plain_u, plain_phi) = (to_reference(&u, "potential")?, to_reference(&phi, "discriminator")?);
        let simulate = |steps| Flow::simulate(&plain_u, x0.view(), flow.horizon, steps, flow.lambda);
        let (plain, fine) = (simulate(6)?, simulate(48)?);
        let paths = plain.trajectories()?;
        let rates = rate_factor(mechanism) * &plain.time_derivatives.slice(s![..6, ..]);
        let gradients = plain.gradients.slice(s![..6, .., ..]);
        let residual = paths.hamilton_jacobi(rates.view(), gradients, flow.lambda)?;
        let critic = plain_phi.jet(paths.endpoints(), 0.0)?.gradients;
        let terminal = terminal_residual(plain.gradients.index_axis(Axis(0), 6), critic.view())?;
        let deviation = paths.step_size_deviation(&fine.trajectories()?)?;
        let absent = Estimate { mean: f64::NAN, stderr: f64::NAN };
        let residuals = "Hamilton-Jacobi residuals";
        let relative = |a: f64, b: f64| (a - b).abs() / b.abs().max(1e-6);
        for (quantity, name, torch, plain) in [
            ("energies", "kinetic energy", found.kinetic_energy, paths.kinetic_energy()),
            ("energies", "displacement energy", found.displacement_energy, paths.displacement_energy()),
            ("shape of the paths", "straightness", found.straightness, paths.straightness()),
            ("shape of the paths", "acceleration", found.acceleration, paths.acceleration()),
            ("shape of the paths", "deviation", found.deviation.unwrap_or(absent), deviation),
            (residuals, "raw", found.hj_residual, residual.raw),
            (residuals, "relative", found.hj_residual_relative, residual.relative),
            (residuals, "gauged", found.hj_residual_gauged, residual.gauged),
            (residuals, "gauged relative", found.hj_residual_gauged_relative, residual.gauged_relative),
            (residuals, "sign flipped", found.hj_residual_flipped, residual.sign_flipped),
            ("terminal condition and critic", "terminal residual", found.terminal_residual, terminal),
            ("terminal condition and critic", "critic slope", found.critic_slope, slope(critic.view()).mean),
        ] {
            let case = format!("{name}, {activation:?}");
            measured.record_case(quantity, &case, relative(torch.mean, plain.value)).record_case(
                quantity,
                format!("standard error of {case}"),
                relative(torch.stderr, plain.standard_error),
            );
        }
        Ok(())
    }

    /// `U = p.x - (T - t) |p|^2 / (2 lambda)` with `phi = p.x`, and `U = L|x_1| - L^2 (T - t)/(2 lambda)` with `phi = L|x_1|`.
    fn planted(
        setting: &Setting,
        options: (Kind, Device),
        quantity: &'static str,
        mechanism: Mechanism,
        measured: &mut Measured,
    ) -> Result<(), CheckError> {
        let mut generator = setting.stream("planted");
        let (lambda, horizon) = (0.5_f64, 2.0);
        let flow = given(FlowSpecification { horizon, steps: 5, lambda }, mechanism);
        let tensor = |values: &[f64], shape: &[i64]| {
            Tensor::from_slice(values).reshape(shape).to_kind(options.0).to_device(options.1)
        };
        let p = [0.75, -0.5];
        let l = 0.5;
        let rate = |square: f64| rate_factor(mechanism) * square / (2.0 * lambda);
        let wave_rate = rate(p.iter().map(|p| p * p).sum());
        let cone_rate = rate(l * l);
        let dense = |hidden: &[i64], time| Architecture::dense(2, hidden, Activation::Relu, time);
        let wave = [
            Network::from_parameters(
                dense(&[], true),
                vec![tensor(&[p[0], p[1], wave_rate], &[1, 3]), tensor(&[-wave_rate * horizon], &[1])],
            )?,
            Network::from_parameters(dense(&[], false), vec![tensor(&p, &[1, 2]), tensor(&[0.0], &[1])])?,
        ];
        // relu(x), relu(-x) and relu(t + 1): t >= 0 passes through, away from the corner at 0.
        let cone = [
            Network::from_parameters(
                dense(&[3], true),
                vec![
                    tensor(&[1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0], &[3, 3]),
                    tensor(&[0.0, 0.0, 1.0], &[3]),
                    tensor(&[l, l, cone_rate], &[1, 3]),
                    tensor(&[-cone_rate * (horizon + 1.0)], &[1]),
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
        for (name, [u, phi]) in [("plane wave", &wave), ("cone", &cone)] {
            let end = endpoint(u, &x0, flow.with_steps(64));
            let found = indicators::evaluate(u, phi, &x0, flow, Some(&end));
            for (what, value) in [
                ("relative Hamilton-Jacobi residual", found.hj_residual_relative.mean),
                ("straightness - 1", (found.straightness.mean - 1.0).abs()),
                ("terminal residual", found.terminal_residual.mean),
                ("deviation", found.deviation.map_or(f64::NAN, |deviation| deviation.mean)),
            ] {
                measured.record_case(quantity, format!("{what}, {name}, {:?}", options.1), value);
            }
        }
        Ok(())
    }
}
