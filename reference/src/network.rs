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

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use autodiff::F1;
use ndarray::{Array1, Array2, ArrayD, ArrayView1, ArrayView2, Axis, IxDyn, concatenate, s};
use num_traits::Float;
use rayon::prelude::*;

pub use self::architecture::{Activation, Architecture};
use self::convolution::{ConvolutionStage, convolve, maximum_pool};
use crate::checkpoint::NamedArrays;
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

/// Values and derivatives of a network at `n` points.
#[derive(Debug, Clone)]
pub struct Jet {
    /// `U(x_i, t)`, `n` entries.
    pub values: Array1<f64>,
    /// `grad_x U(x_i, t)`, shape `(n, d)`.
    pub gradients: Array2<f64>,
    /// `dU/dt (x_i, t)`, `n` entries; zero without time input.
    pub time_derivatives: Array1<f64>,
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

    /// Reads the network named `prefix` (`potential` or `discriminator`) from a checkpoint, the architecture being
    /// read off the tensor shapes. `time_input` says whether `t` is the last feature.
    pub fn from_checkpoint(
        checkpoint: &NamedArrays,
        prefix: &str,
        time_input: bool,
    ) -> Result<Self, InvalidInput> {
        let shapes = |kind: &str| -> Vec<Vec<usize>> {
            (0..)
                .map_while(|i| checkpoint.arrays.get(&format!("{prefix}.{kind}.{i}.weight")))
                .map(|array| array.shape().to_vec())
                .collect()
        };
        let (convolutions, dense) = (shapes("conv"), shapes("fc"));
        let first = dense
            .first()
            .filter(|shape| shape.len() == 2)
            .ok_or_else(|| InvalidInput::new(format!("{prefix}.fc.0.weight"), "missing", "a matrix"))?;
        let features = first[1].saturating_sub(usize::from(time_input));
        let hidden: Vec<usize> = dense[..dense.len() - 1].iter().map(|shape| shape[0]).collect();
        let architecture = if convolutions.is_empty() {
            let (activation, periodic) = dense_metadata(checkpoint, prefix)?;
            let inputs = if periodic { features / 2 } else { features };
            Architecture::MultilayerPerceptron { inputs, periodic, hidden, activation }
        } else {
            if convolutions.iter().any(|shape| shape.len() != 4 || shape[2] % 2 == 0 || shape[2] != shape[3])
            {
                return Err(InvalidInput::new(
                    format!("{prefix}.conv"),
                    format!("{convolutions:?}"),
                    "(out, in, k, k) with one odd k",
                ));
            }
            let channels: Vec<usize> = convolutions.iter().map(|shape| shape[0]).collect();
            let pixels = features / channels[channels.len() - 1];
            let side = pixels.isqrt() << channels.len();
            Architecture::Convolutional { side, channels, kernel: convolutions[0][2], hidden }
        };
        Self::new(prefix, architecture, time_input, &checkpoint.arrays)
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

    /// Values, `grad_x` and `dU/dt` at the rows of `points`, shape `(n, d)`, at time `t`, by one batched reverse sweep.
    pub fn jet(&self, points: ArrayView2<f64>, t: f64) -> Result<Jet, InvalidInput> {
        self.require_dimension(points.ncols())?;
        // Chunks keep the unfolded convolution inputs in cache and both cores busy.
        let parts: Vec<Jet> = points
            .axis_chunks_iter(Axis(0), 16)
            .into_par_iter()
            .map(|chunk| self.chunk_jet(chunk, t))
            .collect();
        let join = |pick: fn(&Jet) -> ArrayView1<f64>| {
            Array1::from_iter(parts.iter().flat_map(|part| pick(part).to_vec()))
        };
        let gradients: Vec<ArrayView2<f64>> = parts.iter().map(|part| part.gradients.view()).collect();
        Ok(Jet {
            values: join(|part| part.values.view()),
            gradients: concatenate(Axis(0), &gradients)
                .unwrap_or_else(|_| Array2::zeros((0, points.ncols()))),
            time_derivatives: join(|part| part.time_derivatives.view()),
        })
    }

    fn chunk_jet(&self, points: ArrayView2<f64>, t: f64) -> Jet {
        let samples = points.nrows();
        let (stages, mut features) = self.convolution_stages(points);
        if self.is_periodic() {
            let angles = &points * TAU;
            features = concatenate(Axis(1), &[angles.mapv(f64::cos).view(), angles.mapv(f64::sin).view()])
                .expect("both blocks have one row per sample");
        }
        let flat = features.ncols();
        if self.time_input {
            let time = Array2::from_elem((samples, 1), t);
            features = concatenate(Axis(1), &[features.view(), time.view()])
                .expect("both blocks have one row per sample");
        }
        let activation = self.architecture.activation();
        let dense: Vec<(ArrayView2<f64>, ArrayView1<f64>)> =
            self.parameters[stages.len()..].chunks_exact(2).map(dense_layer).collect();
        let mut pre_activations: Vec<Array2<f64>> = Vec::new();
        for (i, (weight, bias)) in dense.iter().enumerate() {
            if i > 0 {
                features = pre_activations[i - 1].mapv(|z| activation.apply(z));
            }
            pre_activations.push(features.dot(&weight.t()) + bias);
        }
        let values = pre_activations[dense.len() - 1].column(0).to_owned();
        let mut adjoint = Array2::ones((samples, 1));
        for (i, (weight, _)) in dense.iter().enumerate().rev() {
            if i + 1 < dense.len() {
                adjoint.zip_mut_with(&pre_activations[i], |a, z| *a *= activation.derivative(*z));
            }
            adjoint = adjoint.dot(weight);
        }
        let time_derivatives =
            if self.time_input { adjoint.column(flat).to_owned() } else { Array1::zeros(samples) };
        let mut adjoint = adjoint.slice_move(s![.., ..flat]);
        for stage in stages.iter().rev() {
            adjoint = stage.pull_back(&adjoint);
        }
        if self.is_periodic() {
            let (cosines, sines) = adjoint.view().split_at(Axis(1), points.ncols());
            let angles = &points * TAU;
            adjoint = TAU * (&sines * &angles.mapv(f64::cos) - &cosines * &angles.mapv(f64::sin));
        }
        Jet { values, gradients: adjoint, time_derivatives }
    }

    /// Runs the convolution stages, keeping what the reverse sweep needs.
    fn convolution_stages(&self, points: ArrayView2<f64>) -> (Vec<ConvolutionStage<'_>>, Array2<f64>) {
        let mut features = points.to_owned();
        let mut stages = Vec::new();
        if let Architecture::Convolutional { side, channels, kernel, .. } = &self.architecture {
            let (mut inputs, mut side) = (1, *side);
            for (&outputs, weight) in channels.iter().zip(&self.parameters) {
                let weight = ArrayView2::from_shape((outputs, inputs * kernel * kernel), contiguous(weight))
                    .expect("shape checked at construction");
                let (stage, next) = ConvolutionStage::run(weight, features.view(), inputs, side, *kernel);
                stages.push(stage);
                features = next;
                (inputs, side) = (outputs, side / 2);
            }
        }
        (stages, features)
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

/// Activation and periodicity of a dense network, which shapes do not tell: the metadata entry `architectures` (JSON,
/// `{"potential": {"activation": "tanh", "features": {"kind": "periodic-coordinates"}}}`); ReLU on coordinates without it.
fn dense_metadata(checkpoint: &NamedArrays, prefix: &str) -> Result<(Activation, bool), InvalidInput> {
    let Some(text) = checkpoint.metadata.get("architectures") else { return Ok((Activation::Relu, false)) };
    let refuse =
        |error: &dyn std::fmt::Display| InvalidInput::new("architectures", error, "JSON by network name");
    let all: serde_json::Value = serde_json::from_str(text).map_err(|error| refuse(&error))?;
    let activation =
        serde_json::from_value(all[prefix]["activation"].clone()).map_err(|error| refuse(&error))?;
    Ok((activation, all[prefix]["features"]["kind"] == "periodic-coordinates"))
}

fn contiguous(array: &ArrayD<f64>) -> &[f64] {
    array.as_slice().expect("standard layout since construction")
}

fn dense_layer(layer: &[ArrayD<f64>]) -> (ArrayView2<'_, f64>, ArrayView1<'_, f64>) {
    let weight = layer[0].view().into_dimensionality().expect("matrix by construction");
    let bias = layer[1].view().into_dimensionality().expect("vector by construction");
    (weight, bias)
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
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(architecture: Architecture, time_input: bool, seed: u64) -> Network {
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

    fn small_convolutional() -> Architecture {
        Architecture::Convolutional { side: 8, channels: vec![3, 2], kernel: 3, hidden: vec![7, 5] }
    }

    fn perceptron(activation: Activation) -> Architecture {
        Architecture::MultilayerPerceptron { inputs: 5, periodic: false, hidden: vec![9, 6], activation }
    }

    fn points(n: usize, d: usize, seed: u64) -> Array2<f64> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_simple_fn((n, d), || generator.random::<f64>())
    }

    #[test]
    fn batched_sweep_equals_dual_numbers_in_value_gradient_and_time_derivative() {
        let architectures = [
            small_convolutional(),
            perceptron(Activation::Relu),
            perceptron(Activation::Tanh),
            perceptron(Activation::Softplus),
            Architecture::MultilayerPerceptron {
                inputs: 3,
                periodic: true,
                hidden: vec![6],
                activation: Activation::Tanh,
            },
        ];
        for (seed, architecture) in architectures.into_iter().enumerate() {
            for time_input in [true, false] {
                let network = random(architecture.clone(), time_input, seed as u64);
                let x = points(19, network.dimension(), 7);
                let jet = network.jet(x.view(), 0.4).unwrap();
                for i in [0, 15, 18] {
                    let row = x.row(i).to_vec();
                    // Rounding: a few hundred operations of order-one terms.
                    let value = network.value(&row, 0.4).unwrap();
                    assert_relative_eq!(jet.values[i], value, epsilon = 1e-12);
                    let gradient = network.gradient_by_dual_numbers(&row, 0.4).unwrap();
                    for (fast, slow) in jet.gradients.row(i).iter().zip(&gradient) {
                        assert_relative_eq!(*fast, *slow, epsilon = 1e-12);
                    }
                    let direction = Direction { time: 1.0, ..Direction::default() };
                    let rate = network.directional_derivative(&row, 0.4, &direction).unwrap();
                    assert_relative_eq!(jet.time_derivatives[i], rate, epsilon = 1e-12);
                    assert_eq!(rate != 0.0, time_input, "the time feature acts iff it is there");
                }
            }
        }
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
    fn architecture_is_read_off_the_tensor_shapes() {
        for (architecture, time_input) in
            [(small_convolutional(), true), (perceptron(Activation::Relu), false)]
        {
            let network = random(architecture.clone(), time_input, 0);
            let arrays = network.names.iter().cloned().zip(network.parameters.iter().cloned()).collect();
            let checkpoint = NamedArrays { arrays, ..NamedArrays::default() };
            let read = Network::from_checkpoint(&checkpoint, "potential", time_input).unwrap();
            assert_eq!(read.architecture(), &architecture);
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
