//! The scalar networks `U_theta(x, t)` (potential) and `phi(x)` (discriminator): parameters and plain value.
//!
//! [`Network::value`] is the definition, differentiable by libtorch; `derivatives.rs` adds [`Network::slope`].

use std::cell::OnceCell;

use proxflow_reference::InvalidInput;
use tch::{Device, Kind, Tensor};

use crate::architecture::{Activation, Architecture, Features};
use crate::hopf_lax;
use crate::polyphase::PolyphaseBlock;
use crate::random::{Stream, place};

/// A network: its architecture and its parameters, in the order of [`Architecture::parameter_shapes`].
#[derive(Debug)]
pub struct Network {
    architecture: Architecture,
    parameters: Vec<Tensor>,
    /// Built on first use; those of other weights once the parameters have been handed out for a change.
    blocks: OnceCell<Vec<PolyphaseBlock>>,
    outdated: Vec<PolyphaseBlock>,
}

/// Factors of [`Features::ScaledCoordinates`] on the coordinates and on the output.
const INPUT_SCALE: f64 = 2.0;
const OUTPUT_SCALE: f64 = 0.03;

impl Network {
    /// Glorot-normal weights (`std = sqrt(2 / (fan_in + fan_out))`, fans counted with the receptive field), zero biases.
    pub fn glorot(architecture: Architecture, stream: &mut Stream, options: (Kind, Device)) -> Self {
        let parameters = architecture
            .parameter_shapes()
            .iter()
            .map(|(_, shape)| {
                if shape.len() == 1 {
                    return Tensor::zeros(shape.as_slice(), options);
                }
                let receptive: i64 = shape[2..].iter().product();
                let deviation = (2.0 / ((shape[0] + shape[1]) * receptive) as f64).sqrt();
                place(&(stream.normal(shape) * deviation), options)
            })
            .collect();
        Self::assemble(architecture, parameters)
    }

    fn assemble(architecture: Architecture, parameters: Vec<Tensor>) -> Self {
        Self { architecture, parameters, blocks: OnceCell::new(), outdated: Vec::new() }
    }

    /// The same parameters under another handle, for another thread.
    pub fn share(&self) -> Self {
        let parameters = self.parameters.iter().map(Tensor::shallow_clone).collect();
        let shared = Self::assemble(self.architecture.clone(), parameters);
        let _ = shared.blocks.set(self.polyphase_blocks().iter().map(PolyphaseBlock::share).collect());
        shared
    }

    /// Takes given parameters; their number and shapes must be those of `architecture`.
    pub fn from_parameters(
        architecture: Architecture,
        parameters: Vec<Tensor>,
    ) -> Result<Self, InvalidInput> {
        architecture.validate()?;
        let shapes = architecture.parameter_shapes();
        if shapes.len() != parameters.len() {
            return Err(InvalidInput::new("parameters", parameters.len(), shapes.len()));
        }
        for ((name, shape), tensor) in shapes.iter().zip(&parameters) {
            if tensor.size() != *shape {
                return Err(InvalidInput::new(
                    name,
                    format!("{:?}", tensor.size()),
                    format!("shape {shape:?}"),
                ));
            }
        }
        Ok(Self::assemble(architecture, parameters))
    }

    /// The architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Parameters in the order of [`Architecture::parameter_shapes`].
    pub fn parameters(&self) -> &[Tensor] {
        &self.parameters
    }

    /// Parameters, for an optimiser's update.
    pub fn parameters_mut(&mut self) -> &mut [Tensor] {
        if let Some(blocks) = self.blocks.take() {
            self.outdated = blocks;
        }
        &mut self.parameters
    }

    /// Element kind and device of the parameters.
    pub fn options(&self) -> (Kind, Device) {
        (self.parameters[0].kind(), self.parameters[0].device())
    }

    /// The same network with parameters of another kind or on another device.
    pub fn to(&self, options: (Kind, Device)) -> Self {
        let parameters = self.parameters.iter().map(|tensor| place(tensor, options).detach()).collect();
        Self::assemble(self.architecture.clone(), parameters)
    }

    /// Prototypes `(K, d)` and heights `(K)` of a [`Features::Prototypes`] network.
    pub(crate) fn prototypes(&self) -> (&Tensor, &Tensor) {
        (&self.parameters[0], &self.parameters[1])
    }

    /// Convolution weights, one per block.
    pub(crate) fn convolutions(&self) -> &[Tensor] {
        &self.parameters[..self.architecture.blocks()]
    }

    /// The convolutional blocks in polyphase form, the first on the largest cells.
    pub(crate) fn polyphase_blocks(&self) -> &[PolyphaseBlock] {
        let build = || {
            let blocks = self.architecture.blocks();
            let weights = self.convolutions().iter().enumerate();
            let block = |(index, weight): (usize, &Tensor)| match self.outdated.get(index) {
                Some(block) => block.with_weight(weight),
                None => PolyphaseBlock::new(weight, 1 << (blocks - index)),
            };
            tch::no_grad(|| weights.map(block).collect())
        };
        self.blocks.get_or_init(build)
    }

    /// Dense layers as `(weight (out, in), bias (out))`.
    pub(crate) fn dense(&self) -> impl DoubleEndedIterator<Item = (&Tensor, &Tensor)> + ExactSizeIterator {
        self.parameters[self.architecture.blocks()..].chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// `U(x, t)` for `x (B, d)` and one common time, as `(B)`.
    pub fn value(&self, x: &Tensor, t: f64) -> Tensor {
        self.value_at_times(x, &self.time_column(x, t))
    }

    /// `U(x_b, t_b)` for `x (B, d)` and `t (B, 1)`, as `(B)`; differentiable by libtorch in x, t and the parameters.
    pub fn value_at_times(&self, x: &Tensor, t: &Tensor) -> Tensor {
        let batch = x.size()[0];
        let mut t = t.shallow_clone();
        let features = match &self.architecture.features {
            Features::Prototypes { cost, .. } => {
                let remaining = if self.architecture.time { cost.horizon - t } else { t.zeros_like() };
                return hopf_lax::value(self.prototypes(), *cost, x, &remaining);
            }
            Features::ScaledCoordinates { horizon, .. } => {
                t = t / *horizon;
                x * INPUT_SCALE
            }
            Features::Coordinates { .. } => x.shallow_clone(),
            Features::PeriodicCoordinates { .. } => {
                let angle = x * (2.0 * std::f64::consts::PI);
                Tensor::cat(&[angle.cos(), angle.sin()], 1)
            }
            Features::Image { side, .. } => {
                let mut image = x.reshape([batch, 1, *side, *side]);
                for weight in self.convolutions() {
                    image = image
                        .conv2d(weight, None::<&Tensor>, 1, 3, 1, 1)
                        .relu()
                        .max_pool2d(2, 2, 0, 1, false);
                }
                image.flatten(1, -1)
            }
        };
        let mut hidden = if self.architecture.time { Tensor::cat(&[&features, &t], 1) } else { features };
        let layers = self.dense().len();
        for (index, (weight, bias)) in self.dense().enumerate() {
            hidden = hidden.linear(weight, Some(bias));
            if index + 1 < layers {
                hidden = match self.architecture.activation {
                    Activation::Relu => hidden.relu(),
                    Activation::Softplus => hidden.softplus(),
                    Activation::Tanh => hidden.tanh(),
                    Activation::Silu => hidden.silu(),
                };
            }
        }
        match self.architecture.features {
            Features::ScaledCoordinates { .. } => hidden.squeeze_dim(1) * OUTPUT_SCALE,
            _ => hidden.squeeze_dim(1),
        }
    }

    /// The column `(B, 1)` filled with `t`, beside `x (B, d)`.
    pub(crate) fn time_column(&self, x: &Tensor, t: f64) -> Tensor {
        Tensor::full([x.size()[0], 1], t, (x.kind(), x.device()))
    }
}
