//! The forward Euler flow \[39\] of a potential, in f64: `x_{k+1} = x_k - (h / lambda) grad_x U(x_k, t_k)`.

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};

use crate::network::Network;
use crate::specification::InvalidInput;
use crate::trajectory::Trajectories;

/// A potential `U(x, t)` that can be differentiated at many points at once.
pub trait Potential {
    /// `grad_x U(x_i, t)`, shape `(n, d)`, and `dU/dt (x_i, t)`, `n` entries, at the rows of `points`.
    fn derivatives(
        &self,
        points: ArrayView2<f64>,
        t: f64,
    ) -> Result<(Array2<f64>, Array1<f64>), InvalidInput>;
}

impl Potential for Network {
    fn derivatives(
        &self,
        points: ArrayView2<f64>,
        t: f64,
    ) -> Result<(Array2<f64>, Array1<f64>), InvalidInput> {
        self.jet(points, t).map(|jet| (jet.gradients, jet.time_derivatives))
    }
}

/// A closed-form potential: `derivative(x, t, gradient) -> dU/dt` writes `grad_x U` into `gradient`.
pub struct ClosedForm<F>(pub F);

impl<F: Fn(&[f64], f64, &mut [f64]) -> f64> Potential for ClosedForm<F> {
    fn derivatives(
        &self,
        points: ArrayView2<f64>,
        t: f64,
    ) -> Result<(Array2<f64>, Array1<f64>), InvalidInput> {
        let mut gradients = Array2::zeros(points.raw_dim());
        let mut gradient = vec![0.0; points.ncols()];
        let mut rates = Array1::zeros(points.nrows());
        for (i, x) in points.rows().into_iter().enumerate() {
            rates[i] = (self.0)(&x.to_vec(), t, &mut gradient);
            gradients.row_mut(i).assign(
                &ArrayView2::from_shape((1, gradient.len()), &gradient).expect("one row of d entries").row(0),
            );
        }
        Ok((gradients, rates))
    }
}

/// A simulated flow with the derivatives of the potential met along it.
#[derive(Debug, Clone)]
pub struct Flow {
    /// `t_k = k T / N`, `k = 0..N`.
    pub times: Vec<f64>,
    /// `x_k`, shape `(N + 1, n, d)`.
    pub positions: Array3<f64>,
    /// `grad_x U(x_k, t_k)`, shape `(N + 1, n, d)`, the terminal one included.
    pub gradients: Array3<f64>,
    /// `dU/dt (x_k, t_k)`, shape `(N + 1, n)`.
    pub time_derivatives: Array2<f64>,
}

impl Flow {
    /// Simulates \[39\] from `start`, shape `(n, d)`, with `steps >= 1` steps of `horizon / steps`. A flow that leaves
    /// the finite numbers is returned as it is: [`Flow::trajectories`] then refuses it by name.
    pub fn simulate(
        potential: &impl Potential,
        start: ArrayView2<f64>,
        horizon: f64,
        steps: usize,
        lambda: f64,
    ) -> Result<Self, InvalidInput> {
        InvalidInput::require_positive("horizon", horizon)?;
        InvalidInput::require_positive("lambda", lambda)?;
        if steps == 0 {
            return Err(InvalidInput::new("steps", steps, ">= 1"));
        }
        let (samples, dimension) = start.dim();
        let h = horizon / steps as f64;
        let times: Vec<f64> = (0..=steps).map(|k| k as f64 * h).collect();
        let mut positions = Array3::zeros((steps + 1, samples, dimension));
        let mut gradients = Array3::zeros((steps + 1, samples, dimension));
        let mut time_derivatives = Array2::zeros((steps + 1, samples));
        let mut x = start.to_owned();
        for k in 0..=steps {
            let (gradient, rate) = potential.derivatives(x.view(), times[k])?;
            positions.index_axis_mut(Axis(0), k).assign(&x);
            gradients.index_axis_mut(Axis(0), k).assign(&gradient);
            time_derivatives.row_mut(k).assign(&rate);
            x.scaled_add(-h / lambda, &gradient);
        }
        Ok(Self { times, positions, gradients, time_derivatives })
    }

    /// The positions as [`Trajectories`].
    pub fn trajectories(&self) -> Result<Trajectories<'_>, InvalidInput> {
        Trajectories::new(self.times.clone(), self.positions.view())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::{Array2, array, s};

    #[test]
    fn exact_quadratic_potential_gives_the_same_straight_paths_at_every_step() {
        let (lambda, horizon) = (0.5, 2.0);
        let exact = ClosedForm(|x: &[f64], t: f64, gradient: &mut [f64]| {
            let remaining = 1.0 + horizon - t;
            for (g, x) in gradient.iter_mut().zip(x) {
                *g = lambda * x / remaining;
            }
            lambda * x.iter().map(|x| x * x).sum::<f64>() / (2.0 * remaining * remaining)
        });
        let start: Array2<f64> = array![[3.0, -1.0], [0.5, 2.0]];
        let fine = Flow::simulate(&exact, start.view(), horizon, 64, lambda).unwrap();
        let reference = fine.trajectories().unwrap();
        for steps in [1, 5, 17] {
            let flow = Flow::simulate(&exact, start.view(), horizon, steps, lambda).unwrap();
            let paths = flow.trajectories().unwrap();
            // Rounding: 64 additions of order one.
            assert!(paths.step_size_deviation(&reference).unwrap().value < 1e-14);
            let residual = paths
                .hamilton_jacobi(
                    flow.time_derivatives.slice(s![..steps, ..]),
                    flow.gradients.slice(s![..steps, .., ..]),
                    lambda,
                )
                .unwrap();
            assert!(residual.relative.value < 1e-14);
            assert!(residual.sign_flipped.value > 0.1);
        }
    }

    #[test]
    fn bad_parameters_are_refused_by_name() {
        let still = ClosedForm(|_: &[f64], _: f64, _: &mut [f64]| 0.0);
        let start = Array2::zeros((1, 1));
        let field = |horizon, steps, lambda| {
            Flow::simulate(&still, start.view(), horizon, steps, lambda).unwrap_err().field
        };
        assert_eq!(field(0.0, 1, 1.0), "horizon");
        assert_eq!(field(1.0, 0, 1.0), "steps");
        assert_eq!(field(1.0, 1, f64::NAN), "lambda");
    }
}
