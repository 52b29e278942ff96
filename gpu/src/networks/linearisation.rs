//! The local linear map of a piecewise linear network, written out: value, slopes and exact parameter gradients.
//!
//! Near almost every point a ReLU / max-pool / affine network is `U(x, t) = W_n M_{n-1} W_{n-1} ... M_1 W_1 [x; t] + const` with 0/1
//! masks M. One forward pass finds the masks and layer inputs, one backward pass the *adjoints* `delta_l` (gradient of U
//! at the output of layer l). Then
//!
//! - `grad_x U` and `dU/dt` are the adjoint at the input;
//! - `d/dW_l sum_b w_b U(x_b) = sum_b w_b delta_l (input_l)^T`;
//! - `d/dW_l sum_b <grad_x U(x_b), a_b> = sum_b delta_l (tangent_l)^T`, where the *tangent* is `a` carried through the same masks.
//!
//! The last line is what training needs (\[42\] and the penalty of \[40\]): it replaces differentiation of a gradient by one linear pass.

use tch::Tensor;

use crate::architecture::Features;
use crate::network::Network;
use crate::polyphase::{BlockState, PolyphaseBlock, from_cells, into_cells};

/// The local linear map of a network at a batch of points `x (B, d)` and a time.
pub struct Linearisation<'a> {
    network: &'a Network,
    batch: i64,
    blocks: &'a [PolyphaseBlock],
    block_states: Vec<BlockState>,
    /// Adjoint at each block's convolution output.
    block_adjoints: Vec<Tensor>,
    /// Input of each dense layer; the first is the features, with the time last.
    dense_inputs: Vec<Tensor>,
    /// Adjoint at each dense layer's output, before the activation.
    dense_adjoints: Vec<Tensor>,
    /// Adjoint at the features (with the time last).
    feature_adjoint: Tensor,
    value: Tensor,
}

impl<'a> Linearisation<'a> {
    /// Forward and adjoint pass at `x (B, d)` and time `t`. The network must be piecewise linear.
    pub fn new(network: &'a Network, x: &Tensor, t: f64) -> Self {
        Self::of(network, x, t, false)
    }

    /// The same, ready for [`Self::value_gradient`].
    pub fn recorded(network: &'a Network, x: &Tensor, t: f64) -> Self {
        Self::of(network, x, t, true)
    }

    fn of(network: &'a Network, x: &Tensor, t: f64, record: bool) -> Self {
        debug_assert!(network.architecture().is_piecewise_linear());
        tch::no_grad(|| {
            let batch = x.size()[0];
            let blocks = network.polyphase_blocks();
            let mut block_states = Vec::with_capacity(blocks.len());
            let mut signal = as_signal(network, x);
            for block in blocks {
                let (output, state) = block.forward(&signal, record);
                block_states.push(state);
                signal = output;
            }
            let mut hidden = signal.flatten(1, -1);
            if network.architecture().time {
                hidden = Tensor::cat(&[hidden, network.time_column(x, t)], 1);
            }

            let layers = network.dense().len();
            let mut dense_inputs = Vec::with_capacity(layers);
            for (index, (weight, bias)) in network.dense().enumerate() {
                let output = hidden.linear(weight, Some(bias));
                dense_inputs.push(hidden);
                hidden = if index + 1 < layers { output.relu() } else { output };
            }
            let value = hidden.squeeze_dim(1);

            let mut dense_adjoints = Vec::with_capacity(layers);
            let mut adjoint = Tensor::ones([batch, 1], (x.kind(), x.device()));
            for (index, (weight, _)) in network.dense().enumerate().rev() {
                let at_input = adjoint.matmul(weight);
                dense_adjoints.push(adjoint);
                adjoint = if index > 0 { where_active(&dense_inputs[index], &at_input) } else { at_input };
            }
            dense_adjoints.reverse();

            let mut block_adjoints = Vec::with_capacity(blocks.len());
            if let Features::Image { side, .. } = network.architecture().features {
                let reduced = side >> blocks.len();
                let mut delta = network.features_only(&adjoint).reshape([batch, -1, reduced, reduced]);
                for (index, (block, state)) in blocks.iter().zip(&block_states).enumerate().rev() {
                    let selected = block.select(state, &delta);
                    if index > 0 {
                        delta = block.backward(&selected);
                    }
                    block_adjoints.push(selected);
                }
                block_adjoints.reverse();
            }
            Self {
                network,
                batch,
                blocks,
                block_states,
                block_adjoints,
                dense_inputs,
                dense_adjoints,
                feature_adjoint: adjoint,
                value,
            }
        })
    }

    /// `U(x, t)`, `(B)`.
    pub fn value(&self) -> &Tensor {
        &self.value
    }

    /// `U(x, t)`, `(B)`, by value.
    pub fn into_value(self) -> Tensor {
        self.value
    }

    /// `grad_x U(x, t)`, `(B, d)`.
    pub fn gradient(&self) -> Tensor {
        tch::no_grad(|| match (self.blocks.first(), self.block_adjoints.first()) {
            (Some(block), Some(selected)) => from_cells(&block.backward(selected), 1 << self.blocks.len()),
            _ => self.network.features_only(&self.feature_adjoint),
        })
    }

    /// `dU/dt (x, t)`, `(B)`; zero for a network without time.
    pub fn time_derivative(&self) -> Tensor {
        if self.network.architecture().time {
            self.feature_adjoint.select(1, -1)
        } else {
            self.value.zeros_like()
        }
    }

    /// Gradient of `sum_b w_b U(x_b)` with respect to every parameter, `w (B)`; of a linearisation that was [`Self::recorded`].
    pub fn value_gradient(&self, weights: &Tensor) -> Vec<Tensor> {
        tch::no_grad(|| {
            let weights = weights.reshape([self.batch, 1]);
            let mut gradients = Vec::with_capacity(self.network.parameters().len());
            for ((block, state), selected) in
                self.blocks.iter().zip(&self.block_states).zip(&self.block_adjoints)
            {
                let weighted = selected * weights.reshape([self.batch, 1, 1, 1]);
                gradients.push(block.weight_gradient(state, &weighted));
            }
            for (input, adjoint) in self.dense_inputs.iter().zip(&self.dense_adjoints) {
                let weighted = adjoint * &weights;
                gradients.push(weighted.tr().matmul(input));
                gradients.push(weighted.sum_dim_intlist(0, false, weighted.kind()));
            }
            gradients
        })
    }

    /// Gradient of `sum_b <grad_x U(x_b, t), a_b>` with respect to every parameter, `direction a (B, d)` held constant.
    /// Exact almost everywhere; biases move only the masks, so their gradient is zero.
    pub fn slope_gradient(&self, direction: &Tensor) -> Vec<Tensor> {
        tch::no_grad(|| {
            let mut gradients = Vec::with_capacity(self.network.parameters().len());
            let mut tangent = as_signal(self.network, direction);
            for ((block, state), selected) in
                self.blocks.iter().zip(&self.block_states).zip(&self.block_adjoints)
            {
                gradients.push(block.pairing_gradient(selected, &tangent));
                tangent = block.tangent(state, &tangent);
            }
            let mut tangent = tangent.flatten(1, -1);
            if self.network.architecture().time {
                tangent = Tensor::cat(&[tangent, self.network.time_column(direction, 0.0)], 1);
            }
            for (index, ((weight, bias), adjoint)) in
                self.network.dense().zip(&self.dense_adjoints).enumerate()
            {
                gradients.push(adjoint.tr().matmul(&tangent));
                gradients.push(bias.zeros_like());
                if let Some(next) = self.dense_inputs.get(index + 1) {
                    tangent = where_active(next, &tangent.matmul(&weight.tr()));
                }
            }
            gradients
        })
    }
}

/// `signal` where the ReLU outputs `hidden` are active, zero elsewhere.
fn where_active(hidden: &Tensor, signal: &Tensor) -> Tensor {
    hidden.threshold_backward(signal, 0.0)
}

/// `(B, d)` as the first stage sees it: an image cut into cells for the blocks, or the coordinates.
fn as_signal(network: &Network, x: &Tensor) -> Tensor {
    match &network.architecture().features {
        Features::Image { side, channels } => {
            into_cells(&x.reshape([x.size()[0], 1, *side, *side]), 1 << channels.len())
        }
        _ => x.shallow_clone(),
    }
}

impl Network {
    /// Drops the time column of an adjoint at the features.
    fn features_only(&self, adjoint: &Tensor) -> Tensor {
        adjoint.narrow(1, 0, self.architecture().feature_count())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture};
    use crate::random::{Stream, StreamLabel};
    use tch::{Device, Kind};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn networks() -> Vec<Network> {
        let small_image = Features::Image { side: 12, channels: vec![3, 5] };
        [
            Architecture::mnist_potential(),
            Architecture::mnist_discriminator(),
            Architecture {
                features: small_image,
                hidden: vec![17, 9],
                activation: Activation::Relu,
                time: true,
            },
            Architecture::dense(3, &[16, 16], Activation::Relu, true),
            Architecture::dense(2, &[], Activation::Relu, false),
        ]
        .into_iter()
        .map(|architecture| {
            let mut network =
                Network::glorot(architecture, &mut Stream::new(1, StreamLabel::PotentialInit), OPTIONS);
            for parameter in network.parameters_mut() {
                let noise = Tensor::randn_like(parameter) * 0.05;
                let _ = parameter.g_add_(&noise);
            }
            network
        })
        .collect()
    }

    fn assert_close(a: &Tensor, b: &Tensor) {
        let scale = f64::try_from(b.norm()).unwrap().max(1.0);
        let error = f64::try_from((a - b).norm()).unwrap() / scale;
        assert!(error < 1e-12, "relative error {error}");
    }

    #[test]
    fn linearisation_equals_automatic_differentiation_in_value_slopes_and_parameter_gradients() {
        tch::manual_seed(5);
        for network in networks() {
            let batch = 6;
            let x = Tensor::rand([batch, network.architecture().dimension()], OPTIONS);
            let direction = Tensor::randn_like(&x);
            let weights = Tensor::randn([batch], OPTIONS);
            let linear = Linearisation::recorded(&network, &x, 0.7);

            let parameters: Vec<Tensor> =
                network.parameters().iter().map(|p| p.detach().copy().set_requires_grad(true)).collect();
            let plain = Network::from_parameters(
                network.architecture().clone(),
                parameters.iter().map(Tensor::shallow_clone).collect(),
            )
            .unwrap();
            let x = x.set_requires_grad(true);
            let t = plain.time_column(&x, 0.7).set_requires_grad(true);
            let value = plain.value_at_times(&x, &t);
            let gradient = Tensor::run_backward(&[value.sum(Kind::Double)], &[&x], true, true).remove(0);
            assert_close(linear.value(), &value);
            assert_close(&linear.gradient(), &gradient);
            if network.architecture().time {
                let slope = Tensor::run_backward(&[value.sum(Kind::Double)], &[&t], true, false).remove(0);
                assert_close(&linear.time_derivative(), &slope.squeeze_dim(1));
            }
            let expected =
                Tensor::run_backward(&[(&value * &weights).sum(Kind::Double)], &parameters, true, false);
            for (ours, theirs) in linear.value_gradient(&weights).iter().zip(&expected) {
                assert_close(ours, theirs);
            }
            let pairing = (&gradient * &direction).sum(Kind::Double);
            // Biases do not enter the slope; libtorch needs a zero path to them.
            let anchored = pairing
                + parameters
                    .iter()
                    .map(|p| p.sum(Kind::Double) * 0.0)
                    .fold(Tensor::zeros([], OPTIONS), |sum, term| sum + term);
            let expected = Tensor::run_backward(&[anchored], &parameters, false, false);
            for (ours, theirs) in linear.slope_gradient(&direction).iter().zip(&expected) {
                assert_close(ours, theirs);
            }
        }
    }
}
