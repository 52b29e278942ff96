//! Shapes of the potential and discriminator networks, and the names of their parameters.

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};

use crate::hopf_lax::HuberCost;

/// What the first dense layer sees of an input `x (B, d)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Features {
    /// The coordinates themselves.
    Coordinates {
        /// Dimension `d` of the input.
        dimension: i64,
    },
    /// `cos(2 pi x), sin(2 pi x)`: functions on the unit torus.
    PeriodicCoordinates {
        /// Dimension `d` of the input.
        dimension: i64,
    },
    /// Square grey images, `d = side^2`; each entry of `channels` adds a block conv 7x7 same, no bias, ReLU, 2x2 max-pool.
    Image {
        /// Pixels per side.
        side: i64,
        /// Output channels of each block.
        channels: Vec<i64>,
    },
    /// `2 x` and, in place of `t`, `t / horizon`; the output is multiplied by 0.03. For data in `[0, 1]^d` and potentials of slope
    /// about 0.1: all inputs are then of order one and the first velocities are small.
    ScaledCoordinates {
        /// Dimension `d` of the input.
        dimension: i64,
        /// `T` of the time input.
        horizon: f64,
    },
    /// No layers at all: the Hopf-Lax potential `min_j (psi_j + c_{T - t}(|x - y_j|))` of [`crate::hopf_lax`], or, without
    /// time, its terminal value, the cone potential `min_j (psi_j + L |x - y_j|)`. `hidden` and `activation` are not used.
    Prototypes {
        /// Dimension `d` of the input.
        dimension: i64,
        /// Number `K` of prototypes `y_j`.
        count: i64,
        /// The cost `c`.
        cost: HuberCost,
    },
}

/// Activation of the dense layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `max(z, 0)`: the network is piecewise linear in x, its Hessian vanishes almost everywhere.
    Relu,
    /// `ln(1 + e^z)`.
    Softplus,
    /// `tanh z`.
    Tanh,
    /// `z / (1 + e^-z)`.
    Silu,
}

/// A scalar network `features -> dense hidden layers -> one linear output`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// First stage.
    pub features: Features,
    /// Widths of the hidden dense layers.
    pub hidden: Vec<i64>,
    /// Activation of the hidden dense layers.
    pub activation: Activation,
    /// Whether the time `t` is appended, last, to the features (potential: yes; discriminator: no).
    pub time: bool,
}

/// Nothing in a network is wider, so that no product of two widths overflows.
const WIDEST: i64 = 1 << 24;

impl Architecture {
    /// The published MNIST potential: 28x28, channels 8 and 8, dense 512 x 3, time appended.
    pub fn mnist_potential() -> Self {
        Self::mnist(512, true)
    }

    /// The published MNIST discriminator: 28x28, channels 8 and 8, dense 256 x 3.
    pub fn mnist_discriminator() -> Self {
        Self::mnist(256, false)
    }

    fn mnist(width: i64, time: bool) -> Self {
        let features = Features::Image { side: 28, channels: vec![8, 8] };
        Self { features, hidden: vec![width; 3], activation: Activation::Relu, time }
    }

    /// The smooth dense potential on `d` scaled coordinates: SiLU layers of 1024, 1024 and 512, time appended. Inner products over
    /// the whole image let it choose a digit from the noise at `t = 0`, which 7x7 convolutions and pooling cannot.
    pub fn smooth_potential(dimension: i64, horizon: f64) -> Self {
        Self {
            features: Features::ScaledCoordinates { dimension, horizon },
            hidden: vec![1024, 1024, 512],
            activation: Activation::Silu,
            time: true,
        }
    }

    /// `K` prototypes in dimension `d`: a potential with time, a discriminator without.
    pub fn prototypes(dimension: i64, count: i64, cost: HuberCost, time: bool) -> Self {
        Self {
            features: Features::Prototypes { dimension, count, cost },
            hidden: Vec::new(),
            activation: Activation::Relu,
            time,
        }
    }

    /// A dense network on `d` coordinates.
    pub fn dense(dimension: i64, hidden: &[i64], activation: Activation, time: bool) -> Self {
        Self { features: Features::Coordinates { dimension }, hidden: hidden.to_vec(), activation, time }
    }

    /// Dimension `d` of the input.
    pub fn dimension(&self) -> i64 {
        match &self.features {
            Features::Coordinates { dimension }
            | Features::PeriodicCoordinates { dimension }
            | Features::ScaledCoordinates { dimension, .. }
            | Features::Prototypes { dimension, .. } => *dimension,
            Features::Image { side, .. } => side * side,
        }
    }

    /// Number of features before the time is appended.
    pub fn feature_count(&self) -> i64 {
        match &self.features {
            Features::Coordinates { dimension }
            | Features::ScaledCoordinates { dimension, .. }
            | Features::Prototypes { dimension, .. } => *dimension,
            Features::PeriodicCoordinates { dimension } => 2 * dimension,
            Features::Image { side, channels } => {
                let reduced = side >> channels.len();
                channels.last().copied().unwrap_or(1) * reduced * reduced
            }
        }
    }

    /// True when `x -> U(x, t)` is piecewise linear, so that `Hess_x U = 0` almost everywhere.
    pub fn is_piecewise_linear(&self) -> bool {
        self.activation == Activation::Relu
            && matches!(self.features, Features::Coordinates { .. } | Features::Image { .. })
    }

    /// Names and shapes of the parameters in checkpoint order: `conv.{i}.weight (out, in, 7, 7)`,
    /// `fc.{i}.weight (out, in)`, `fc.{i}.bias (out)`; of prototypes `prototypes (K, d)`, `heights (K)`.
    pub fn parameter_shapes(&self) -> Vec<(String, Vec<i64>)> {
        if let Features::Prototypes { dimension, count, .. } = self.features {
            return vec![
                ("prototypes".to_owned(), vec![count, dimension]),
                ("heights".to_owned(), vec![count]),
            ];
        }
        let mut shapes = Vec::new();
        if let Features::Image { channels, .. } = &self.features {
            let mut inputs = 1;
            for (index, &outputs) in channels.iter().enumerate() {
                shapes.push((format!("conv.{index}.weight"), vec![outputs, inputs, 7, 7]));
                inputs = outputs;
            }
        }
        let mut inputs = self.feature_count() + i64::from(self.time);
        for (index, &outputs) in self.hidden.iter().chain(&[1]).enumerate() {
            shapes.push((format!("fc.{index}.weight"), vec![outputs, inputs]));
            shapes.push((format!("fc.{index}.bias"), vec![outputs]));
            inputs = outputs;
        }
        shapes
    }

    /// Number of convolutional blocks.
    pub fn blocks(&self) -> usize {
        match &self.features {
            Features::Image { channels, .. } => channels.len(),
            _ => 0,
        }
    }

    /// Checks that every width is positive and at most 2^24, and that images can be halved by every block.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        let positive = |field: &str, value: i64| match value {
            1..=WIDEST => Ok(()),
            _ => Err(InvalidInput::new(field, value, format!("1..={WIDEST}"))),
        };
        if let Features::Image { side, .. } = &self.features {
            positive("side", *side)?;
        }
        positive("dimension", self.dimension())?;
        for &width in &self.hidden {
            positive("hidden width", width)?;
        }
        match &self.features {
            Features::Prototypes { count, cost, .. } => {
                positive("prototypes", *count)?;
                cost.validate()?;
            }
            Features::ScaledCoordinates { horizon, .. } => {
                InvalidInput::require_positive("horizon", *horizon)?;
            }
            _ => {}
        }
        if let Features::Image { side, channels } = &self.features {
            for &outputs in channels {
                positive("channels", outputs)?;
            }
            if channels.len() > 15 {
                return Err(InvalidInput::new(
                    "channels",
                    format!("{} blocks", channels.len()),
                    "at most 15",
                ));
            }
            let factor = 1_i64 << channels.len();
            if side % factor != 0 {
                return Err(InvalidInput::new("side", side, format!("a multiple of {factor}")));
            }
        }
        Ok(())
    }
}
