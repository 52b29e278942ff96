//! The optimal discriminator, defined on all of R^d by McShane's extension (notation 1.4).
//!
//! ```text
//! phi(x) = min( min_j ( L |x - z_j| + psi_j ), cap )
//! ```
//! A minimum of cones of slope L (and a constant): L-Lipschitz everywhere, equal to `psi_j` at every `z_j` that receives mass.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::measure::check_points;
use crate::specification::InvalidInput;
use crate::transport::{PointwiseCost, PotentialGradient, TransportPotential};

/// An L-Lipschitz function on R^d, the lower envelope of cones at the data atoms.
#[derive(Debug, Clone)]
pub struct LipschitzPotential {
    lipschitz: f64,
    envelope: TransportPotential,
}

impl LipschitzPotential {
    /// Cones of slope `lipschitz` at `atoms` `(m, d)` with heights `offsets` (length m, `+inf` for a cone that is absent), and a
    /// `cap` (`+inf` for none). At least one height or the cap must be finite.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::divergence::LipschitzPotential;
    /// let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// assert_eq!(phi.values(array![[1.0], [2.5]].view())?, [2.0, 2.0]);
    /// let (value, at) = phi.value_and_gradient(array![1.0].view())?;
    /// assert_eq!((value, at.gradient[0], at.cone), (2.0, 2.0, Some(0)));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(
        lipschitz: f64,
        atoms: ArrayView2<f64>,
        offsets: Vec<f64>,
        cap: f64,
    ) -> Result<Self, InvalidInput> {
        InvalidInput::require_positive("lipschitz", lipschitz)?;
        check_points("atoms", atoms)?;
        if offsets.len() != atoms.nrows() {
            return Err(InvalidInput::new("offsets", offsets.len(), format!("{} numbers", atoms.nrows())));
        }
        if let Some(j) = offsets.iter().position(|psi| psi.is_nan() || *psi == f64::NEG_INFINITY) {
            return Err(InvalidInput::new(format!("offsets[{j}]"), offsets[j], "finite or +inf"));
        }
        if cap.is_nan() || offsets.iter().chain([&cap]).all(|height| *height == f64::INFINITY) {
            return Err(InvalidInput::new("offsets and cap", "all +inf", "at least one finite height"));
        }
        Ok(Self::from_parts(lipschitz, atoms.to_owned(), offsets, cap))
    }

    /// Parts from a solver, heights NaN where it was stopped too early to know them.
    pub(crate) fn from_parts(lipschitz: f64, atoms: Array2<f64>, offsets: Vec<f64>, cap: f64) -> Self {
        let cones = PointwiseCost::Lipschitz { lipschitz };
        Self { lipschitz, envelope: TransportPotential::from_parts(cones, atoms, offsets, cap) }
    }

    /// The Lipschitz constant `L`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// let values = phi.values(array![[7.0], [9.0]].view())?;
    /// assert_eq!(values[1] - values[0], phi.lipschitz() * (9.0 - 7.0));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }

    /// The apexes `z_j`, `(m, d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// assert_eq!(phi.atoms(), atoms);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn atoms(&self) -> ArrayView2<'_, f64> {
        self.envelope.atoms()
    }

    /// The heights `psi_j`, length m.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// assert_eq!(phi.offsets(), phi.values(atoms.view())?); // no cone lies below another's apex
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn offsets(&self) -> &[f64] {
        self.envelope.offsets()
    }

    /// The upper bound `nu + f'(inf)` where singular mass is priced, else `+inf`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], 1.5)?;
    /// assert_eq!(phi.values(array![[1e6]].view())?, [phi.cap()]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn cap(&self) -> f64 {
        self.envelope.cap()
    }

    /// `phi` at `points` `(k, d)`, in parallel; `O(k m d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// let points = array![[-1.0], [1.5], [4.0]];
    /// for (x, value) in points.iter().zip(phi.values(points.view())?) {
    ///     assert_eq!(value, (2.0 * f64::abs(x - 0.0)).min(2.0 * f64::abs(x - 3.0) + 1.0));
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn values(&self, points: ArrayView2<f64>) -> Result<Vec<f64>, InvalidInput> {
        self.envelope.values(points)
    }

    /// `phi` at the apexes, length m; `O(m^2 d)`. At most [`Self::offsets`].
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 10.0], f64::INFINITY)?;
    /// assert_eq!(phi.values_at_atoms(), [0.0, 6.0]); // the cone of the first lies below the apex of the second
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn values_at_atoms(&self) -> Vec<f64> {
        self.values(self.atoms()).expect("the atoms have passed the same checks")
    }

    /// `phi` and its gradient at one `point` of finite coordinates.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], f64::INFINITY)?;
    /// let (value, at) = phi.value_and_gradient(array![2.5].view())?;
    /// assert_eq!((value, at.cone, at.gradient[0]), (2.0, Some(1), -2.0)); // uphill is away from 3
    /// assert_eq!(at.margin, 5.0 - 2.0); // the other cone
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn value_and_gradient(
        &self,
        point: ArrayView1<f64>,
    ) -> Result<(f64, PotentialGradient), InvalidInput> {
        self.envelope.value_and_gradient(point)
    }

    /// `phi` (length k) and its gradients `(k, d)` at `points` `(k, d)`, in parallel.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::LipschitzPotential;
    /// # let atoms = array![[0.0], [3.0]];
    /// let phi = LipschitzPotential::new(2.0, atoms.view(), vec![0.0, 1.0], 3.0)?;
    /// let (values, gradients) = phi.values_and_gradients(array![[1.0], [2.5], [1e6]].view())?;
    /// assert_eq!((values, gradients), (vec![2.0, 2.0, 3.0], array![[2.0], [-2.0], [0.0]])); // flat at the cap
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn values_and_gradients(
        &self,
        points: ArrayView2<f64>,
    ) -> Result<(Vec<f64>, Array2<f64>), InvalidInput> {
        self.envelope.values_and_gradients(points)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;
    use proptest::prelude::*;

    use super::*;
    use crate::transport::potential::distance;

    fn two_cones() -> LipschitzPotential {
        LipschitzPotential::new(2.0, array![[0.0], [3.0]].view(), vec![0.0, 1.0], f64::INFINITY).unwrap()
    }

    #[test]
    fn the_envelope_of_two_cones_is_what_a_pencil_draws() {
        let phi = two_cones();
        let points = array![[-1.0], [0.0], [1.0], [1.75], [2.5], [3.0], [4.0]];
        let expected = [2.0, 0.0, 2.0, 3.5, 2.0, 1.0, 3.0];
        assert_eq!(phi.values(points.view()).unwrap(), expected);
        for (point, expected) in points.outer_iter().zip(expected) {
            assert_eq!(phi.value_and_gradient(point).unwrap().0, expected);
        }
        let (_, kink) = phi.value_and_gradient(array![1.75].view()).unwrap();
        assert_eq!((kink.margin, kink.cone), (0.0, Some(0)));
        let (_, apex) = phi.value_and_gradient(array![3.0].view()).unwrap();
        assert_eq!(apex.gradient, array![0.0]);
        let capped = LipschitzPotential::new(2.0, array![[0.0], [3.0]].view(), vec![0.0, 1.0], 1.5).unwrap();
        let (value, top) = capped.value_and_gradient(array![1.0].view()).unwrap();
        assert_eq!((value, top.cone, top.gradient), (1.5, None, array![0.0]));
    }

    #[test]
    fn bad_cones_and_points_are_refused() {
        let atoms = array![[0.0], [3.0]];
        assert!(LipschitzPotential::new(0.0, atoms.view(), vec![0.0, 1.0], 1.0).is_err());
        assert!(LipschitzPotential::new(1.0, atoms.view(), vec![0.0], 1.0).is_err());
        assert!(LipschitzPotential::new(1.0, atoms.view(), vec![0.0, f64::NAN], 1.0).is_err());
        let absent = vec![f64::INFINITY; 2];
        assert!(LipschitzPotential::new(1.0, atoms.view(), absent.clone(), f64::INFINITY).is_err());
        assert!(LipschitzPotential::new(1.0, atoms.view(), absent, 0.0).is_ok());
        assert!(two_cones().values(array![[0.0, 1.0]].view()).is_err());
        assert!(two_cones().value_and_gradient(array![f64::NAN].view()).is_err());
    }

    proptest! {
        #[test]
        fn gradients_match_central_differences_away_from_kinks(
            cones in prop::collection::vec((-2.0..2.0f64, -2.0..2.0f64, -1.0..1.0f64), 1..6),
            x in (-3.0..3.0f64, -3.0..3.0f64),
            lipschitz in 0.1..5.0f64,
        ) {
            let atoms = Array2::from_shape_fn((cones.len(), 2), |(j, k)| if k == 0 { cones[j].0 } else { cones[j].1 });
            let heights = cones.iter().map(|cone| cone.2).collect();
            let phi = LipschitzPotential::new(lipschitz, atoms.view(), heights, f64::INFINITY).unwrap();
            let point = array![x.0, x.1];
            let (value, at) = phi.value_and_gradient(point.view()).unwrap();
            let other = phi.values(point.view().insert_axis(ndarray::Axis(0))).unwrap()[0];
            // Rounding: the two sum the squares of a distance below 8 in different orders.
            prop_assert!((value - other).abs() <= 8.0 * f64::EPSILON * (1.0 + 8.0 * lipschitz));
            let step = 1e-5;
            let radius = distance(point.view(), atoms.row(at.cone.unwrap()));
            prop_assume!(at.margin > 4.0 * lipschitz * step && radius > 0.1);
            for k in 0..2 {
                let moved = |sign: f64| {
                    let mut y = point.clone();
                    y[k] += sign * step;
                    phi.value_and_gradient(y.view()).unwrap().0
                };
                let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
                // Truncation L h^2/r^2 = 1e-8 L, rounding eps/h = 1e-10.
                prop_assert!((slope - at.gradient[k]).abs() < 1e-7 * (1.0 + lipschitz));
            }
            let norm = at.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            prop_assert!((norm - lipschitz).abs() < 1e-12 * lipschitz);
        }
    }
}
