//! libtorch networks against f64 dual numbers, on exported weights.

use crate::claim::{CheckError, Claim, Finding, Setting};

pub(super) const CLAIM: Claim = Claim {
    id: "network_agreement",
    statement: "The libtorch networks U_theta(x,t) and phi(x), their gradients in x, t and the parameters are the functions \
                that their names and weights say.",
    equations: &[(39, 39)],
    notation: &["4"],
    measured: "value, grad_x, dU/dt and derivative along random parameter directions against the oracle's dual-number pass, \
               for dense (ReLU, tanh, softplus), periodic and convolutional architectures of random widths, f64 and f32, on \
               the CPU and on CUDA when present",
    bound: "rounding: 1e-11 in f64, 2e-4 in f32, relative to the largest entry",
    control: "time feature dropped; weights changed by 1e-3; parameter direction with flipped sign",
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
    use std::collections::BTreeMap;

    use ndarray::{Array1, Array2, ArrayD};
    use proxflow_gpu::architecture::{Activation, Architecture, Features};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::network::Direction;
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use tch::{Kind, Tensor};

    use super::{CheckError, Finding, Setting};
    use crate::claim::{Basis, Bound};
    use crate::instances::largest;
    use crate::torch::{devices, to_dynamic, to_reference, to_tensor, values};

    fn architectures(generator: &mut ChaCha8Rng) -> Vec<(&'static str, Architecture)> {
        let mut width = || generator.random_range(3..24_i64);
        let dense = |activation, hidden: Vec<i64>, time| Architecture::dense(4, &hidden, activation, time);
        let image = Features::Image { side: 8, channels: vec![3, 2] };
        vec![
            ("dense ReLU", dense(Activation::Relu, vec![width(), width(), width()], true)),
            ("dense tanh", dense(Activation::Tanh, vec![width(), width()], true)),
            ("dense softplus", dense(Activation::Softplus, vec![width()], false)),
            (
                "periodic tanh",
                Architecture {
                    features: Features::PeriodicCoordinates { dimension: 2 },
                    hidden: vec![width(), width()],
                    activation: Activation::Tanh,
                    time: true,
                },
            ),
            (
                "convolutional",
                Architecture {
                    features: image,
                    hidden: vec![width(), width()],
                    activation: Activation::Relu,
                    time: true,
                },
            ),
        ]
    }

    pub(super) fn check(setting: &Setting) -> Result<Finding, CheckError> {
        crate::torch::use_one_thread();
        let mut generator = setting.stream("network_agreement");
        let mut finding = Finding::new();
        for repeat in 0..setting.choose(2, 20) {
            for (name, architecture) in architectures(&mut generator) {
                for device in devices() {
                    for (kind, tolerance) in [(Kind::Double, 1e-11), (Kind::Float, 2e-4)] {
                        let mut stream = Stream::new(setting.seed + repeat, StreamLabel::PotentialInit);
                        let network = Network::glorot(architecture.clone(), &mut stream, (kind, device));
                        let errors = compare(&network, &mut generator)?;
                        let basis = || Basis::Rounding(format!("{kind:?}: a few hundred operations"));
                        let label = format!("{name}, {kind:?}, {device:?}");
                        if repeat == 0 {
                            finding.measure(
                                format!("largest error, {label}"),
                                errors.agreement,
                                Bound::AtMost(tolerance),
                                basis(),
                            );
                            if network.architecture().time {
                                finding.control(
                                    format!("time dropped, {label}"),
                                    errors.without_time,
                                    Bound::AtMost(tolerance),
                                    basis(),
                                );
                            }
                            if kind == Kind::Double {
                                let bound = Bound::AtMost(tolerance);
                                finding.control(
                                    format!("weights changed, {label}"),
                                    errors.perturbed,
                                    bound,
                                    basis(),
                                );
                                finding.control(
                                    format!("direction flipped, {label}"),
                                    errors.flipped,
                                    bound,
                                    basis(),
                                );
                            }
                        } else if errors.agreement > tolerance {
                            finding.measure(
                                format!("repeat {repeat}, {label}"),
                                errors.agreement,
                                Bound::AtMost(tolerance),
                                basis(),
                            );
                        }
                    }
                }
            }
        }
        Ok(finding)
    }

    struct Errors {
        agreement: f64,
        without_time: f64,
        perturbed: f64,
        flipped: f64,
    }

    fn compare(network: &Network, generator: &mut ChaCha8Rng) -> Result<Errors, CheckError> {
        let architecture = network.architecture();
        let (n, d, t) = (5, architecture.dimension() as usize, 0.37);
        // Multiples of 2^-12 are exact in f32 too.
        let points =
            Array2::from_shape_simple_fn((n, d), || f64::from(generator.random_range(0..4096_u32)) / 4096.0);
        let t = (t * 4096.0_f64).round() / 4096.0;
        let options = network.options();
        let slope = network.slope(&to_tensor(points.view(), options), t);
        let oracle = to_reference(network, "potential")?;
        let relative = |found: &[f64], expected: &[f64]| {
            let scale = largest(expected.iter().map(|e| e.abs())).max(1e-3);
            largest(found.iter().zip(expected).map(|(a, b)| (a - b).abs())) / scale
        };
        let mut value = Array1::zeros(n);
        let mut gradient = Array2::zeros((n, d));
        let mut rate = Array1::zeros(n);
        for i in 0..n {
            let x = points.row(i).to_vec();
            value[i] = oracle.value(&x, t)?;
            gradient.row_mut(i).assign(&Array1::from(oracle.gradient_by_dual_numbers(&x, t)?));
            rate[i] =
                oracle.directional_derivative(&x, t, &Direction { time: 1.0, ..Direction::default() })?;
        }
        let mut agreement = vec![
            relative(&values(&slope.value), &value.to_vec()),
            relative(&values(&slope.gradient), gradient.as_slice().unwrap_or_default()),
        ];
        if architecture.time {
            agreement.push(relative(&values(&slope.time_derivative), &rate.to_vec()));
        }
        let others = network.slope(&to_tensor(points.view(), options), 0.0);
        let without_time = relative(&values(&others.value), &value.to_vec());

        // Parameter gradients by libtorch's own differentiation, against one dual-number pass along a random direction.
        let leaves: Vec<Tensor> =
            network.parameters().iter().map(|p| p.detach().copy().set_requires_grad(true)).collect();
        let copies = leaves.iter().map(Tensor::shallow_clone).collect();
        let copy = Network::from_parameters(architecture.clone(), copies)?;
        copy.value(&to_tensor(points.view(), options), t).sum(options.0).backward();
        let mut parameters = BTreeMap::new();
        let mut pairing = 0.0;
        for ((name, _), leaf) in architecture.parameter_shapes().into_iter().zip(&leaves) {
            let slope = to_dynamic(&leaf.grad());
            let direction = ArrayD::from_shape_simple_fn(slope.raw_dim(), || generator.random::<f64>() - 0.5);
            pairing += (&slope * &direction).sum();
            parameters.insert(format!("potential.{name}"), direction);
        }
        let direction = Direction { parameters, ..Direction::default() };
        let mut expected = 0.0;
        for x in points.rows() {
            expected += oracle.directional_derivative(&x.to_vec(), t, &direction)?;
        }
        agreement.push((pairing - expected).abs() / expected.abs().max(1.0));
        let flipped = (pairing + expected).abs() / expected.abs().max(1.0);

        let changed: Vec<Tensor> = network.parameters().iter().map(|p| p.detach() + 1e-3).collect();
        let changed = Network::from_parameters(architecture.clone(), changed)?;
        let changed = changed.slope(&to_tensor(points.view(), options), t);
        let perturbed = relative(&values(&changed.value), &value.to_vec());
        Ok(Errors { agreement: largest(agreement), without_time, perturbed, flipped })
    }
}
