//! Derivatives of the optimal values in the positions of the atoms and in their weights, by the envelope theorem.
//!
//! In the positions the derivative is that of the cost of the optimal **plan**, `dV/dx_i = sum_j G_ij grad_x c(x_i, z_j)`
//! (`grad phi(x_i)` is another thing wherever an atom splits its mass: `phi` has a kink there). In the weights it is that of
//! the dual objective: `phi_i` for the first measure; for the second `-f*(psi_j - nu)` where it is priced by `D_f`, and
//! `-psi_j` where it is fixed. Weights are normalised, so these are centred: `sum_i p_i dV/dp_i = 0`, which makes them the
//! derivatives of `V(w/sum w)`. At an atom of weight zero the derivative is the one from the right.
//!
//! All are exact where the optimal plan and potential are unique, and one of the limits elsewhere.

use ndarray::{Array2, ArrayView2};

use crate::divergence::Generator;
use crate::measure::Measure;
use crate::specification::InvalidInput;
use crate::transport::PointwiseCost;
use crate::transport::potential::distance;

/// The derivatives of one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    /// In the positions of the model (source) atoms, `(n, d)`.
    pub model: Array2<f64>,
    /// In the positions of the data atoms, `(m, d)`.
    pub data: Array2<f64>,
    /// In the weights of the model atoms, length n.
    pub model_weights: Vec<f64>,
    /// In the weights of the data atoms, length m.
    pub data_weights: Vec<f64>,
}

/// `sum_j G_ij grad c(x_i - z_j)` at all `x_i`, and the same with the opposite sign at all `z_j`.
pub(crate) fn in_positions(
    cost: PointwiseCost,
    plan: impl Iterator<Item = (usize, usize, f64)>,
    x: ArrayView2<f64>,
    z: ArrayView2<f64>,
) -> (Array2<f64>, Array2<f64>) {
    let (mut model, mut data) = (Array2::zeros(x.dim()), Array2::zeros(z.dim()));
    for (i, j, mass) in plan {
        let force = mass * cost.slope_over_distance(distance(x.row(i), z.row(j)));
        for k in 0..x.ncols() {
            let component = force * (x[[i, k]] - z[[j, k]]);
            model[[i, k]] += component;
            data[[j, k]] -= component;
        }
    }
    (model, data)
}

/// `values - sum_i weights_i values_i`, the mean over atoms with weight.
pub(crate) fn centred(values: impl Iterator<Item = f64> + Clone, weights: &[f64]) -> Vec<f64> {
    let mean: f64 = values.clone().zip(weights).filter(|(_, w)| **w > 0.0).map(|(v, w)| v * w).sum();
    values.map(|value| value - mean).collect()
}

/// `-f*(height_j)`, centred; `heights` in the gauge `nu = 0`.
pub(crate) fn in_priced_weights(generator: &Generator, heights: &[f64], q: &[f64]) -> Vec<f64> {
    centred(heights.iter().map(|height| -generator.conjugate(*height)), q)
}

/// Heights of the data atoms, with `max_i (phi_i - c_ij)`, the smallest that is dual feasible, where an atom has no weight.
pub(crate) fn heights_everywhere(
    cost: PointwiseCost,
    heights: &[f64],
    phi: &[f64],
    model: &Measure,
    data: &Measure,
) -> Vec<f64> {
    let (x, z) = (model.points(), data.points());
    let reach = |i: usize, j: usize| phi[i] - cost.of_distance(distance(x.row(i), z.row(j)));
    let charged = || (0..model.len()).filter(|&i| model.weights()[i] > 0.0);
    let height = |j: usize| match data.weights()[j] > 0.0 {
        true => heights[j],
        false => charged().map(|i| reach(i, j)).fold(f64::NEG_INFINITY, f64::max),
    };
    (0..data.len()).map(height).collect()
}

/// Refuses measures other than those that were solved for, as far as sizes tell.
pub(crate) fn require_sizes(
    model: &Measure,
    data: &Measure,
    sizes: (usize, usize),
) -> Result<(), InvalidInput> {
    if (model.len(), data.len()) == sizes && model.dimension() == data.dimension() {
        return Ok(());
    }
    let value = format!("{} and {} atoms", model.len(), data.len());
    let allowed = format!("those of the solution, {} and {}, in one dimension", sizes.0, sizes.1);
    Err(InvalidInput::new("measures", value, allowed))
}
