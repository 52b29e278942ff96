//! libtorch networks against f64 dual numbers, on exported weights.

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "network_agreement",
    statement: "The libtorch networks U_theta(x,t) and phi(x), their gradients in x, t and the parameters are the functions \
                that their names and weights say.",
    equations: &[(39, 39)],
    notation: &["4"],
    quantities: &[
        Quantity {
            name: "f64",
            what: "largest error, relative to the largest entry, of value, grad_x, dU/dt and of the derivative along random \
                   parameter directions against the oracle's dual-number pass, for dense (ReLU, tanh, softplus), periodic and \
                   convolutional architectures of random widths, on the CPU and on CUDA when present",
            bound: Bound::AtMost(1e-11),
            basis: Basis::Rounding("a few hundred operations in f64"),
        },
        Quantity {
            name: "f32",
            what: "the same in single precision",
            bound: Bound::AtMost(2e-4),
            basis: Basis::Rounding("a few hundred operations in f32"),
        },
    ],
    removals: &[
        Removal { name: "time feature", what: "libtorch evaluates at t = 0", breaks: &["f64", "f32"] },
        Removal { name: "own weights", what: "the oracle's weights differ by 1e-3", breaks: &["f64", "f32"] },
        Removal {
            name: "parameter direction",
            what: "the oracle differentiates along the opposite one",
            breaks: &["f64", "f32"],
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
    use std::collections::BTreeMap;

    use ndarray::{Array1, Array2, ArrayD};
    use proxflow_gpu::architecture::{Activation, Architecture, Features};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::network::Direction;
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use tch::{Kind, Tensor};

    use super::{CheckError, Measured, Mechanism, Setting};
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

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let mut generator = setting.stream("network_agreement");
        let mut measured = Measured::new();
        for repeat in 0..setting.choose(2, 20) {
            for (name, architecture) in architectures(&mut generator) {
                for device in devices() {
                    for (quantity, kind) in [("f64", Kind::Double), ("f32", Kind::Float)] {
                        let mut stream = Stream::new(setting.seed + repeat, StreamLabel::PotentialInit);
                        let network = Network::glorot(architecture.clone(), &mut stream, (kind, device));
                        let case = format!("{name}, {device:?}, repeat {repeat}");
                        measured.record_case(quantity, case, error(&network, mechanism, &mut generator)?);
                    }
                }
            }
        }
        Ok(measured)
    }

    /// The largest relative error of `network` against the oracle at five points and along one direction of parameters.
    fn error(network: &Network, mechanism: Mechanism, generator: &mut ChaCha8Rng) -> Result<f64, CheckError> {
        let architecture = network.architecture();
        let (n, d) = (5, architecture.dimension() as usize);
        // Multiples of 2^-12 are exact in f32 too.
        let points =
            Array2::from_shape_simple_fn((n, d), || f64::from(generator.random_range(0..4096_u32)) / 4096.0);
        let t = 1516.0 / 4096.0;
        let time = if mechanism.lacks("time feature") { 0.0 } else { t };
        let options = network.options();
        let slope = network.slope(&to_tensor(points.view(), options), time);
        let oracle = if mechanism.lacks("own weights") {
            let changed = network.parameters().iter().map(|p| p.detach() + 1e-3).collect();
            to_reference(&Network::from_parameters(architecture.clone(), changed)?, "potential")?
        } else {
            to_reference(network, "potential")?
        };
        let relative = |found: &[f64], expected: &[f64]| {
            let scale = largest(expected.iter().map(|e| e.abs())).max(1e-3);
            largest(found.iter().zip(expected).map(|(a, b)| (a - b).abs())) / scale
        };
        let (mut value, mut rate) = (Array1::zeros(n), Array1::zeros(n));
        let mut gradient = Array2::zeros((n, d));
        for i in 0..n {
            let x = points.row(i).to_vec();
            value[i] = oracle.value(&x, t)?;
            gradient.row_mut(i).assign(&Array1::from(oracle.gradient_by_dual_numbers(&x, t)?));
            rate[i] =
                oracle.directional_derivative(&x, t, &Direction { time: 1.0, ..Direction::default() })?;
        }
        let mut errors = vec![
            relative(&values(&slope.value), &value.to_vec()),
            relative(&values(&slope.gradient), gradient.as_slice().unwrap_or_default()),
        ];
        if architecture.time {
            errors.push(relative(&values(&slope.time_derivative), &rate.to_vec()));
        }

        // Parameter gradients by libtorch's own differentiation, against one dual-number pass along a random direction.
        let leaves: Vec<Tensor> =
            network.parameters().iter().map(|p| p.detach().copy().set_requires_grad(true)).collect();
        let copies = leaves.iter().map(Tensor::shallow_clone).collect();
        let copy = Network::from_parameters(architecture.clone(), copies)?;
        copy.value(&to_tensor(points.view(), options), time).sum(options.0).backward();
        let sign = if mechanism.lacks("parameter direction") { -1.0 } else { 1.0 };
        let mut parameters = BTreeMap::new();
        let mut pairing = 0.0;
        for ((name, _), leaf) in architecture.parameter_shapes().into_iter().zip(&leaves) {
            let slope = to_dynamic(&leaf.grad());
            let direction = ArrayD::from_shape_simple_fn(slope.raw_dim(), || generator.random::<f64>() - 0.5);
            pairing += (&slope * &direction).sum();
            parameters.insert(format!("potential.{name}"), sign * direction);
        }
        let direction = Direction { parameters, ..Direction::default() };
        let mut expected = 0.0;
        for x in points.rows() {
            expected += oracle.directional_derivative(&x.to_vec(), t, &direction)?;
        }
        errors.push((pairing - expected).abs() / expected.abs().max(1.0));
        Ok(largest(errors))
    }
}
