//! Potentials on all of R^d: the lower envelope of costs at the targets.
//!
//! ```text
//! phi(y) = min( min_j ( c(|y - z_j|) + psi_j ), cap )
//! ```
//! For `c = L r` this is McShane's extension of the optimal discriminator (notation 1.4), for the Huber cost Hopf-Lax's value
//! function `U(., 0)` (3.2), for `r` and `r^2` the potentials of `W1` and `W2^2`.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::certificate::lower_transform;
use super::cost::{PointCost, PointwiseCost, power_of_two_unit};
use crate::measure::{check_dimensions, check_points};
use crate::observer::Watch;
use crate::specification::InvalidInput;

/// A function on R^d: the minimum of a cost from each of m atoms plus a height, and of a cap.
#[derive(Debug, Clone)]
pub struct TransportPotential {
    cost: PointwiseCost,
    atoms: Array2<f64>,
    offsets: Vec<f64>,
    cap: f64,
}

/// `grad phi` at a point, with what is needed to judge it.
#[derive(Debug, Clone, PartialEq)]
pub struct PotentialGradient {
    /// `c'(r) (x - z_j)/r`, `r = |x - z_j|`, for the atom `j` that attains the minimum (of norm `L` for cones of slope `L`); zero
    /// at the atom itself and where the cap attains the minimum. On a tie the lowest `j` is taken: one of the limits of
    /// gradients there.
    pub gradient: Array1<f64>,
    /// The atom that attains the minimum, `None` for the cap.
    pub cone: Option<usize>,
    /// How far the runner-up lies above the minimum: for cones of slope `L`, `phi` is smooth within `margin / (2 L)` of `x`,
    /// apex aside.
    pub margin: f64,
}

impl TransportPotential {
    /// Heights NaN where a solver was stopped too early to know them.
    pub(crate) fn from_parts(cost: PointwiseCost, atoms: Array2<f64>, offsets: Vec<f64>, cap: f64) -> Self {
        Self { cost, atoms, offsets, cap }
    }

    /// The cost `c`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// let phi = wasserstein(&p, &q, Order::Two, &Options::new())?.potential(&q);
    /// assert_eq!(phi.cost(), Order::Two.cost());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn cost(&self) -> PointwiseCost {
        self.cost
    }

    /// The atoms `z_j`, `(m, d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// assert_eq!(wasserstein(&p, &q, Order::One, &Options::new())?.potential(&q).atoms(), q.points());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn atoms(&self) -> ArrayView2<'_, f64> {
        self.atoms.view()
    }

    /// The heights `psi_j`, length m.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// let found = wasserstein(&p, &q, Order::Two, &Options::new())?;
    /// assert_eq!(found.potential(&q).offsets(), found.transport.target_potential);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn offsets(&self) -> &[f64] {
        &self.offsets
    }

    /// The constant bound from above, `+inf` for none.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// // Only prices of singular mass cap a potential.
    /// assert_eq!(wasserstein(&p, &q, Order::One, &Options::new())?.potential(&q).cap(), f64::INFINITY);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn cap(&self) -> f64 {
        self.cap
    }

    /// `phi` at `points` `(k, d)`, in parallel; `O(k m d)`. Errors: another dimension, coordinates that are not finite.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::{Measure, Options};
    /// use proxflow_reference::transport::{Order, wasserstein};
    /// let p = Measure::uniform(array![[0.0]])?;
    /// let q = Measure::uniform(array![[2.0]])?;
    /// let phi = wasserstein(&p, &q, Order::Two, &Options::new())?.potential(&q);
    /// let values = phi.values(array![[0.0], [1.0]].view())?;
    /// assert_eq!(values[0] - values[1], 4.0 - 1.0);
    /// let (_, gradients) = phi.values_and_gradients(array![[0.0], [1.0]].view())?;
    /// assert_eq!(gradients, array![[-4.0], [-2.0]]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn values(&self, points: ArrayView2<f64>) -> Result<Vec<f64>, InvalidInput> {
        check_dimensions(self.atoms.view(), points)?;
        let cost = PointCost::new(self.cost, points, self.atoms.view())?;
        let mut values =
            lower_transform(&cost, &self.offsets, &mut Watch::new(None)).expect("nobody stops it");
        values.iter_mut().for_each(|value| *value = value.min(self.cap));
        Ok(values)
    }

    /// `phi` and its gradient at one `point` of finite coordinates.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0, 0.0]])?, Measure::uniform(array![[1.0, 2.0]])?);
    /// let phi = wasserstein(&p, &q, Order::Two, &Options::new())?.potential(&q);
    /// let (value, at) = phi.value_and_gradient(array![2.0, 2.0].view())?;
    /// // |y - z|^2 + psi and 2 (y - z).
    /// assert_eq!((value, at.gradient), (1.0 + phi.offsets()[0], array![2.0, 0.0]));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn value_and_gradient(
        &self,
        point: ArrayView1<f64>,
    ) -> Result<(f64, PotentialGradient), InvalidInput> {
        check_points("point", point.insert_axis(Axis(0)))?;
        if point.len() != self.atoms.ncols() {
            let allowed = format!("dimension {}", self.atoms.ncols());
            return Err(InvalidInput::new("point", format!("dimension {}", point.len()), allowed));
        }
        Ok(self.at(point))
    }

    /// `phi` (length k) and its gradients `(k, d)` at `points` `(k, d)`, in parallel; `O(k m d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// let phi = wasserstein(&p, &q, Order::Two, &Options::new())?.potential(&q);
    /// let points = array![[0.3], [4.0]];
    /// let (values, gradients) = phi.values_and_gradients(points.view())?;
    /// for k in 0..2 {
    ///     let (value, at) = phi.value_and_gradient(points.row(k))?;
    ///     assert_eq!((value, at.gradient[0]), (values[k], gradients[[k, 0]]));
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn values_and_gradients(
        &self,
        points: ArrayView2<f64>,
    ) -> Result<(Vec<f64>, Array2<f64>), InvalidInput> {
        check_points("points", points)?;
        check_dimensions(self.atoms.view(), points)?;
        let found: Vec<(f64, Array1<f64>)> = (0..points.nrows())
            .into_par_iter()
            .map(|k| self.at(points.row(k)))
            .map(|(value, at)| (value, at.gradient))
            .collect();
        let mut gradients = Array2::zeros(points.dim());
        for (mut row, (_, gradient)) in gradients.outer_iter_mut().zip(&found) {
            row.assign(gradient);
        }
        Ok((found.into_iter().map(|(value, _)| value).collect(), gradients))
    }

    fn at(&self, point: ArrayView1<f64>) -> (f64, PotentialGradient) {
        let (mut lowest, mut runner_up, mut cone, mut radius) = (self.cap, f64::INFINITY, None, 0.0);
        for (j, (atom, psi)) in self.atoms.outer_iter().zip(&self.offsets).enumerate() {
            let r = distance(point, atom);
            let height = self.cost.of_distance(r) + psi;
            if height < lowest {
                (runner_up, lowest, cone, radius) = (lowest, height, Some(j), r);
            } else {
                runner_up = runner_up.min(height);
            }
        }
        let gradient = match cone {
            Some(j) => (&point - &self.atoms.row(j)) * self.cost.slope_over_distance(radius),
            None => Array1::zeros(point.len()),
        };
        (lowest, PotentialGradient { gradient, cone, margin: runner_up - lowest })
    }
}

/// `|x - y|`, also where its square leaves the range of f64.
pub(crate) fn distance(x: ArrayView1<f64>, y: ArrayView1<f64>) -> f64 {
    let square = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
    if square == 0.0 || !(1e-280..1e280).contains(&square) {
        let longest = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        let unit = power_of_two_unit(longest);
        if unit != 1.0 {
            return unit * x.iter().zip(y).map(|(x, y)| ((x - y) / unit).powi(2)).sum::<f64>().sqrt();
        }
    }
    square.sqrt()
}
