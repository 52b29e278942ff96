//! What a network computes, without its weights: layers, activations and the tensors they need.

use num_traits::Float;
use serde::{Deserialize, Serialize};

use super::prototypes::HuberCost;

/// The nonlinearity after each hidden dense layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(z, 0)`, derivative 0 at 0.
    Relu,
    /// `tanh z`.
    Tanh,
    /// `ln(1 + e^z)`.
    Softplus,
}

impl Activation {
    pub(super) fn apply<S: Float>(self, z: S) -> S {
        match self {
            Self::Relu => rectify(z),
            Self::Tanh => z.tanh(),
            // max(z, 0) + ln(1 + e^-|z|): no overflow for large z.
            Self::Softplus => rectify(z) + (S::one() + (-z.abs()).exp()).ln(),
        }
    }

    pub(super) fn derivative(self, z: f64) -> f64 {
        match self {
            Self::Relu => f64::from(u8::from(z > 0.0)),
            Self::Tanh => 1.0 - z.tanh().powi(2),
            Self::Softplus => 1.0 / (1.0 + (-z).exp()),
        }
    }
}

pub(super) fn rectify<S: Float>(z: S) -> S {
    if z > S::zero() { z } else { S::zero() }
}

/// What is computed, without the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Architecture {
    /// Convolutions on a square one-channel image of `side` pixels, then dense layers.
    Convolutional {
        /// Height and width of the image; halved by each pool.
        side: usize,
        /// Output channels of each convolution.
        channels: Vec<usize>,
        /// Odd kernel width.
        kernel: usize,
        /// Widths of the hidden dense layers.
        hidden: Vec<usize>,
    },
    /// Dense layers on a vector of `inputs` entries.
    MultilayerPerceptron {
        /// Dimension `d` of the sample space.
        inputs: usize,
        /// Whether the features are `cos(2 pi x), sin(2 pi x)`, `2 d` of them, instead of the coordinates.
        periodic: bool,
        /// Widths of the hidden layers.
        hidden: Vec<usize>,
        /// Nonlinearity after each hidden layer.
        activation: Activation,
    },
    /// The Hopf-Lax potential of `count` prototypes, or without time input its terminal value.
    Prototypes {
        /// Dimension `d` of the sample space.
        inputs: usize,
        /// Number of prototypes.
        count: usize,
        /// The cost.
        cost: HuberCost,
    },
}

impl Architecture {
    /// Dimension `d` of one sample.
    pub fn dimension(&self) -> usize {
        match self {
            Self::Convolutional { side, .. } => side * side,
            Self::MultilayerPerceptron { inputs, .. } | Self::Prototypes { inputs, .. } => *inputs,
        }
    }

    /// The tensors this architecture needs, `(name, shape)` under `prefix`, in the order of evaluation.
    pub fn parameter_shapes(&self, prefix: &str, time_input: bool) -> Vec<(String, Vec<usize>)> {
        let mut shapes = Vec::new();
        let (mut features, hidden) = match self {
            Self::Convolutional { side, channels, kernel, hidden } => {
                let mut inputs = 1;
                for (i, &outputs) in channels.iter().enumerate() {
                    shapes
                        .push((format!("{prefix}.conv.{i}.weight"), vec![outputs, inputs, *kernel, *kernel]));
                    inputs = outputs;
                }
                (inputs * (side >> channels.len()).pow(2), hidden)
            }
            Self::MultilayerPerceptron { inputs, periodic, hidden, .. } => {
                (inputs * if *periodic { 2 } else { 1 }, hidden)
            }
            Self::Prototypes { inputs, count, .. } => {
                return vec![
                    (format!("{prefix}.prototypes"), vec![*count, *inputs]),
                    (format!("{prefix}.heights"), vec![*count]),
                ];
            }
        };
        features += usize::from(time_input);
        for (i, &width) in hidden.iter().chain([&1]).enumerate() {
            shapes.push((format!("{prefix}.fc.{i}.weight"), vec![width, features]));
            shapes.push((format!("{prefix}.fc.{i}.bias"), vec![width]));
            features = width;
        }
        shapes
    }

    pub(super) fn activation(&self) -> Activation {
        match self {
            Self::Convolutional { .. } | Self::Prototypes { .. } => Activation::Relu,
            Self::MultilayerPerceptron { activation, .. } => *activation,
        }
    }
}
