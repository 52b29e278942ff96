//! The potential and discriminator networks evaluated in f64, independently of libtorch.
//!
//! Two programs that share no code stand behind every number: a plain forward pass generic over the scalar, which
//! with dual numbers (crate `autodiff`) gives any directional derivative in `x`, `t` and the parameters; and a
//! batched forward and reverse sweep by matrix products, which gives `grad_x` and `dU/dt` of many samples at once.
//!
//! Layout: inputs are flattened images in C, H, W order; a convolution is 'same' with stride 1 and no bias, followed
//! by ReLU and a 2x2 max-pool; dense layers are `W h + b` with `W` of shape `(out, in)`, an activation after each but
//! the last; the time `t`, where there is one, is appended to the features before the first dense layer.

mod architecture;
mod convolution;
mod jet;
mod prototypes;
mod reading;
mod sweep;

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use autodiff::F1;
use ndarray::{ArrayD, IxDyn};
use num_traits::Float;

pub use self::architecture::{Activation, Architecture};
use self::convolution::{convolve, maximum_pool};
pub use self::jet::Jet;
pub use self::prototypes::HuberCost;

use crate::specification::InvalidInput;

/// A scalar network `U(x, t)` or `phi(x)` with its weights.
#[derive(Debug, Clone)]
pub struct Network {
    architecture: Architecture,
    time_input: bool,
    names: Vec<String>,
    parameters: Vec<ArrayD<f64>>,
}

/// A direction in `(x, t, parameters)` for [`Network::directional_derivative`]; parts left out are zero.
#[derive(Debug, Clone, Default)]
pub struct Direction {
    /// Direction in `x`, `d` entries, or empty.
    pub position: Vec<f64>,
    /// Direction in `t`.
    pub time: f64,
    /// Direction in the named parameters, each of the parameter's shape.
    pub parameters: BTreeMap<String, ArrayD<f64>>,
}

impl Network {
    /// Takes the tensors that `architecture` needs from `arrays`; a missing or misshapen one is refused by name.
    pub fn new(
        prefix: &str,
        architecture: Architecture,
        time_input: bool,
        arrays: &BTreeMap<String, ArrayD<f64>>,
    ) -> Result<Self, InvalidInput> {
        let (mut names, mut parameters) = (Vec::new(), Vec::new());
        for (name, shape) in architecture.parameter_shapes(prefix, time_input) {
            let array = arrays
                .get(&name)
                .ok_or_else(|| InvalidInput::new(&name, "missing", format!("a tensor of shape {shape:?}")))?;
            if array.shape() != shape {
                let found = format!("shape {:?}", array.shape());
                return Err(InvalidInput::new(&name, found, format!("shape {shape:?}")));
            }
            parameters.push(array.as_standard_layout().into_owned());
            names.push(name);
        }
        Ok(Self { architecture, time_input, names, parameters })
    }

    /// The architecture without the weights.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Names of the parameters in the order of evaluation.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Dimension `d` of one sample.
    pub fn dimension(&self) -> usize {
        self.architecture.dimension()
    }

    /// `U(x, t)` by the plain forward pass; `t` is ignored without time input. `x` must have `d` entries.
    pub fn value(&self, x: &[f64], t: f64) -> Result<f64, InvalidInput> {
        self.require_dimension(x.len())?;
        let parameters: Vec<&[f64]> = self.parameters.iter().map(contiguous).collect();
        Ok(self.forward(&parameters, x, t))
    }

    /// Derivative of `U` at `(x, t)` along `direction` by one pass with dual numbers, exact to rounding.
    pub fn directional_derivative(
        &self,
        x: &[f64],
        t: f64,
        direction: &Direction,
    ) -> Result<f64, InvalidInput> {
        self.require_dimension(x.len())?;
        if !direction.position.is_empty() {
            self.require_dimension(direction.position.len())?;
        }
        for (name, part) in &direction.parameters {
            let index = self
                .names
                .iter()
                .position(|n| n == name)
                .ok_or_else(|| InvalidInput::new(name, "unknown parameter", self.names.join(", ")))?;
            if part.shape() != self.parameters[index].shape() {
                let found = format!("shape {:?}", part.shape());
                return Err(InvalidInput::new(name, found, format!("{:?}", self.parameters[index].shape())));
            }
        }
        let lifted: Vec<Vec<F1>> = self
            .names
            .iter()
            .zip(&self.parameters)
            .map(|(name, values)| match direction.parameters.get(name) {
                Some(part) => values.iter().zip(part).map(|(v, dv)| F1::new(*v, *dv)).collect(),
                None => values.iter().map(|v| F1::cst(*v)).collect(),
            })
            .collect();
        let parameters: Vec<&[F1]> = lifted.iter().map(Vec::as_slice).collect();
        let along = |i: usize| direction.position.get(i).copied().unwrap_or(0.0);
        let position: Vec<F1> = x.iter().enumerate().map(|(i, v)| F1::new(*v, along(i))).collect();
        Ok(self.forward(&parameters, &position, F1::new(t, direction.time)).deriv())
    }

    /// `grad_x U(x, t)` by `d` dual-number passes: the slow twin of [`Network::jet`].
    pub fn gradient_by_dual_numbers(&self, x: &[f64], t: f64) -> Result<Vec<f64>, InvalidInput> {
        (0..x.len())
            .map(|i| {
                let mut position = vec![0.0; x.len()];
                position[i] = 1.0;
                self.directional_derivative(x, t, &Direction { position, ..Direction::default() })
            })
            .collect()
    }

    /// The plain forward pass, over any scalar; it reads like the definition and is the twin of the batched sweep.
    fn forward<S: Float>(&self, parameters: &[&[S]], x: &[S], t: S) -> S {
        if let Architecture::Prototypes { cost, .. } = self.architecture {
            return prototypes::value(cost, parameters[0], parameters[1], x, self.time_input.then_some(t));
        }
        let mut layers = parameters.iter();
        let mut features = x.to_vec();
        if let Architecture::Convolutional { side, channels, kernel, .. } = &self.architecture {
            let mut side = *side;
            for (&outputs, weight) in channels.iter().zip(layers.by_ref()) {
                features = convolve(&features, weight, outputs, side, *kernel);
                features = maximum_pool(&features, outputs, side);
                side /= 2;
            }
        }
        if self.is_periodic() {
            let angles: Vec<S> =
                features.iter().map(|x| *x * S::from(TAU).expect("a finite constant")).collect();
            features = angles.iter().map(|a| a.cos()).chain(angles.iter().map(|a| a.sin())).collect();
        }
        if self.time_input {
            features.push(t);
        }
        let dense: Vec<&[S]> = layers.copied().collect();
        let last = dense.len() / 2 - 1;
        for (i, layer) in dense.chunks_exact(2).enumerate() {
            let (weight, bias) = (layer[0], layer[1]);
            features = weight
                .chunks_exact(features.len())
                .zip(bias)
                .map(|(row, b)| row.iter().zip(&features).fold(*b, |sum, (w, h)| sum + *w * *h))
                .map(|z| if i < last { self.architecture.activation().apply(z) } else { z })
                .collect();
        }
        features[0]
    }

    fn is_periodic(&self) -> bool {
        matches!(self.architecture, Architecture::MultilayerPerceptron { periodic: true, .. })
    }

    fn require_dimension(&self, found: usize) -> Result<(), InvalidInput> {
        if found == self.dimension() {
            return Ok(());
        }
        Err(InvalidInput::new("x", format!("{found} entries"), format!("{} entries", self.dimension())))
    }
}

fn contiguous(array: &ArrayD<f64>) -> &[f64] {
    array.as_slice().expect("standard layout since construction")
}

/// The zero array of a parameter's shape with a single one at `index`: a coordinate direction.
pub fn coordinate(shape: &[usize], index: usize) -> ArrayD<f64> {
    let mut array = ArrayD::zeros(IxDyn(shape));
    array.as_slice_mut().expect("a fresh array is contiguous")[index] = 1.0;
    array
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use approx::assert_relative_eq;
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    pub(super) fn random(architecture: Architecture, time_input: bool, seed: u64) -> Network {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let arrays = architecture
            .parameter_shapes("potential", time_input)
            .into_iter()
            .map(|(name, shape)| {
                let array = ArrayD::from_shape_simple_fn(shape, || generator.random::<f64>() * 0.8 - 0.38);
                (name, array)
            })
            .collect();
        Network::new("potential", architecture, time_input, &arrays).unwrap()
    }

    pub(super) fn small_convolutional() -> Architecture {
        Architecture::Convolutional { side: 8, channels: vec![3, 2], kernel: 3, hidden: vec![7, 5] }
    }

    pub(super) fn perceptron(activation: Activation) -> Architecture {
        Architecture::MultilayerPerceptron { inputs: 5, periodic: false, hidden: vec![9, 6], activation }
    }

    pub(super) fn points(n: usize, d: usize, seed: u64) -> Array2<f64> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n, d), || generator.random::<f64>())
    }

    #[test]
    fn parameter_derivatives_equal_central_differences() {
        let network = random(perceptron(Activation::Tanh), true, 3);
        let x = points(1, 5, 1).row(0).to_vec();
        for name in network.names().to_vec() {
            let index = network.names.iter().position(|n| *n == name).unwrap();
            let direction = coordinate(network.parameters[index].shape(), 0);
            let exact = network
                .directional_derivative(
                    &x,
                    0.2,
                    &Direction { parameters: [(name, direction)].into(), ..Direction::default() },
                )
                .unwrap();
            let shifted = |by: f64| {
                let mut other = network.clone();
                other.parameters[index].as_slice_mut().unwrap()[0] += by;
                other.value(&x, 0.2).unwrap()
            };
            // Central difference at 1e-5: truncation 1e-10, rounding 1e-11.
            assert_relative_eq!(exact, (shifted(1e-5) - shifted(-1e-5)) / 2e-5, epsilon = 1e-8);
        }
    }

    #[test]
    fn missing_and_misshapen_tensors_are_refused_by_name() {
        let network = random(perceptron(Activation::Relu), true, 0);
        let mut arrays: BTreeMap<_, _> =
            network.names.iter().cloned().zip(network.parameters.iter().cloned()).collect();
        arrays.insert("potential.fc.1.bias".into(), ArrayD::zeros(IxDyn(&[3])));
        let error = Network::new("potential", perceptron(Activation::Relu), true, &arrays).unwrap_err();
        assert_eq!(error.field, "potential.fc.1.bias");
        arrays.remove("potential.fc.1.bias");
        let error = Network::new("potential", perceptron(Activation::Relu), true, &arrays).unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), ("potential.fc.1.bias", "missing"));
        assert_eq!(network.value(&[0.0; 4], 0.0).unwrap_err().field, "x");
    }
}
