//! The Hamilton-Jacobi residual \[43\] along trajectories, raw and with the gauge of the potential removed.

use ndarray::{Array2, ArrayView2, ArrayView3};
use serde::{Deserialize, Serialize};

use super::{Mean, Trajectories};
use crate::specification::InvalidInput;

/// The Hamilton-Jacobi residual `-dU/dt + |grad U|^2 / (2 lambda)` in the normalisations of section 5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HamiltonJacobiResidual {
    /// `E sum_k h_k |dU/dt - |grad U|^2 / (2 lambda)|` \[43\].
    pub raw: Mean,
    /// The raw residual relative to `lambda K_h`.
    pub relative: Mean,
    /// The same with the mean over samples removed at each `t_k`: training fixes `U` only up to `c(t)`.
    pub gauged: Mean,
    /// The gauged residual relative to `lambda K_h`.
    pub gauged_relative: Mean,
    /// Negative control: the residual with the sign of the Hamiltonian flipped.
    pub sign_flipped: Mean,
    /// Mean Hamiltonian `E |grad U|^2 / (2 lambda)` at each `t_k`: constant in `k` at the optimum.
    pub mean_hamiltonian: Vec<Mean>,
}

impl Trajectories<'_> {
    /// Hamilton-Jacobi residual \[43\] from `time_derivatives` `dU/dt (x_k, t_k)`, shape `(N, n)`, and `gradients`
    /// `grad U(x_k, t_k)`, shape `(N, n, d)`, `k = 0..N-1`. Shapes that do not match are refused.
    ///
    /// ```
    /// # use ndarray::{Array, array};
    /// # use proxflow_reference::trajectory::Trajectories;
    /// // U(x, t) = 2 x + 2 t solves the equation for lambda = 1, and its flow runs at -2.
    /// let positions = array![[[0.0], [5.0]], [[-1.0], [4.0]], [[-2.0], [3.0]]];
    /// let paths = Trajectories::uniform(1.0, positions.view())?;
    /// let gradients = Array::from_elem((2, 2, 1), 2.0);
    /// let exact = paths.hamilton_jacobi(Array::from_elem((2, 2), 2.0).view(), gradients.view(), 1.0)?;
    /// assert_eq!((exact.raw.value, exact.sign_flipped.value, exact.mean_hamiltonian[0].value), (0.0, 4.0, 2.0));
    /// // Another gauge, U + t, is seen by the raw residual alone.
    /// let gauge = paths.hamilton_jacobi(Array::from_elem((2, 2), 3.0).view(), gradients.view(), 1.0)?;
    /// assert_eq!((gauge.raw.value, gauge.relative.value, gauge.gauged.value), (1.0, 0.5, 0.0));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn hamilton_jacobi(
        &self,
        time_derivatives: ArrayView2<f64>,
        gradients: ArrayView3<f64>,
        lambda: f64,
    ) -> Result<HamiltonJacobiResidual, InvalidInput> {
        InvalidInput::require_positive("lambda", lambda)?;
        let (steps, samples, dimension) = (self.steps(), self.samples(), self.positions.shape()[2]);
        if time_derivatives.shape() != [steps, samples] {
            let shape = format!("shape {:?}", time_derivatives.shape());
            return Err(InvalidInput::new("time_derivatives", shape, format!("({steps}, {samples})")));
        }
        if gradients.shape() != [steps, samples, dimension] {
            let shape = format!("shape {:?}", gradients.shape());
            return Err(InvalidInput::new("gradients", shape, format!("({steps}, {samples}, {dimension})")));
        }
        let mut residuals = time_derivatives.to_owned();
        let mut flipped = time_derivatives.to_owned();
        let mut hamiltonians = Array2::zeros((steps, samples));
        for k in 0..steps {
            for i in 0..samples {
                let gradient = gradients.slice(ndarray::s![k, i, ..]);
                let hamiltonian = gradient.dot(&gradient) / (2.0 * lambda);
                residuals[[k, i]] -= hamiltonian;
                flipped[[k, i]] += hamiltonian;
                hamiltonians[[k, i]] = hamiltonian;
            }
        }
        let mut gauged = residuals.clone();
        for mut row in gauged.rows_mut() {
            let mean = row.sum() / samples as f64;
            row -= mean;
        }
        let accumulated = |array: &Array2<f64>| -> Vec<f64> {
            (0..samples).map(|i| (0..steps).map(|k| self.step(k) * array[[k, i]].abs()).sum()).collect()
        };
        let energies: Vec<f64> = self.kinetic_energies().iter().map(|k| lambda * k).collect();
        let (raw, centred) = (accumulated(&residuals), accumulated(&gauged));
        Ok(HamiltonJacobiResidual {
            raw: Mean::of(raw.iter().copied()),
            relative: Mean::ratio(&raw, &energies),
            gauged: Mean::of(centred.iter().copied()),
            gauged_relative: Mean::ratio(&centred, &energies),
            sign_flipped: Mean::of(accumulated(&flipped)),
            mean_hamiltonian: hamiltonians
                .rows()
                .into_iter()
                .map(|row| Mean::of(row.iter().copied()))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use approx::assert_relative_eq;
    use ndarray::Array3;

    use super::super::tests::straight;
    use super::*;

    #[test]
    fn hamilton_jacobi_residual_vanishes_on_quadratic_potential_and_sign_matters() {
        // U = lambda |x|^2 / (2 (1 + T - t)), the Hopf-Lax solution of phi = lambda |x|^2 / 2.
        let (lambda, horizon, steps) = (0.3, 2.0, 5);
        let positions = straight(steps);
        let paths = Trajectories::uniform(horizon, positions.view()).unwrap();
        let remaining = |k: usize| 1.0 + horizon - paths.times()[k];
        let gradients =
            Array3::from_shape_fn((steps, 3, 2), |(k, i, c)| lambda * positions[[k, i, c]] / remaining(k));
        let derivatives = Array2::from_shape_fn((steps, 3), |(k, i)| {
            let square: f64 = (0..2).map(|c| positions[[k, i, c]].powi(2)).sum();
            lambda * square / (2.0 * remaining(k).powi(2))
        });
        let residual = paths.hamilton_jacobi(derivatives.view(), gradients.view(), lambda).unwrap();
        assert!(residual.raw.value < 1e-15, "{residual:?}");
        assert!(residual.sign_flipped.value > 0.1);
        // A gauge c(t) changes the raw residual and leaves the gauged one.
        let shifted = &derivatives + 0.25;
        let gauge = paths.hamilton_jacobi(shifted.view(), gradients.view(), lambda).unwrap();
        assert_relative_eq!(gauge.raw.value, 0.25 * horizon, epsilon = 1e-14);
        assert!(gauge.gauged.value < 1e-14);
    }
}
