//! The batched forward and reverse sweep by matrix products: `U`, `grad_x U` and `dU/dt` of many samples at once.

use std::f64::consts::TAU;

use ndarray::{Array1, Array2, ArrayD, ArrayView1, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;

use super::convolution::ConvolutionStage;
use super::jet::Jet;
use super::{Architecture, Network, contiguous, prototypes};
use crate::specification::InvalidInput;

impl Network {
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
        if let Architecture::Prototypes { cost, .. } = self.architecture {
            let matrix = self.parameters[0].view().into_dimensionality().expect("matrix by construction");
            let time = self.time_input.then_some(t);
            return prototypes::jet(cost, matrix, contiguous(&self.parameters[1]), points, time);
        }
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
}

fn dense_layer(layer: &[ArrayD<f64>]) -> (ArrayView2<'_, f64>, ArrayView1<'_, f64>) {
    let weight = layer[0].view().into_dimensionality().expect("matrix by construction");
    let bias = layer[1].view().into_dimensionality().expect("vector by construction");
    (weight, bias)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;

    use super::super::tests::{perceptron, points, random, small_convolutional};
    use super::super::{Activation, Direction, HuberCost};
    use super::*;

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
            // L (T - t) / lambda = 0.56 at t = 0.4: some points reach their prototype, others do not.
            Architecture::Prototypes {
                inputs: 3,
                count: 6,
                cost: HuberCost { lambda: 0.8, horizon: 1.9, lipschitz: 0.3 },
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
}
