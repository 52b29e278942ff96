//! Closed forms between Gaussian laws.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use ndarray_linalg::{Cholesky, Diag, SolveTriangular, UPLO};

use crate::specification::InvalidInput;

/// A normal law `N(mean, covariance)` on R^d with a positive definite covariance.
#[derive(Debug, Clone)]
pub struct Gaussian {
    mean: Array1<f64>,
    /// Lower factor `C` with `covariance = C C^T`.
    factor: Array2<f64>,
}

impl Gaussian {
    /// `mean` `(d)`, `covariance` `(d, d)` symmetric (to rounding, 1e-12 relative) and positive definite; refused otherwise.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::Gaussian;
    /// let law = Gaussian::new(array![0.0, 1.0].view(), array![[2.0, 1.0], [1.0, 2.0]].view())?;
    /// assert!(law.kullback_leibler(&law)?.abs() < 1e-14);
    /// assert!(Gaussian::new(array![0.0, 1.0].view(), array![[1.0, 2.0], [2.0, 1.0]].view()).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(mean: ArrayView1<f64>, covariance: ArrayView2<f64>) -> Result<Self, InvalidInput> {
        let d = mean.len();
        if d == 0 || covariance.dim() != (d, d) {
            let value = format!("shape {:?}", covariance.shape());
            return Err(InvalidInput::new("covariance", value, format!("({d}, {d}) with d >= 1")));
        }
        if let Some(entry) = mean.iter().chain(covariance.iter()).find(|entry| !entry.is_finite()) {
            return Err(InvalidInput::new("mean or covariance", entry, "finite entries"));
        }
        let scale = covariance.iter().fold(0.0f64, |scale, entry| scale.max(entry.abs()));
        let skew = (&covariance - &covariance.t()).iter().fold(0.0f64, |skew, entry| skew.max(entry.abs()));
        if skew > 1e-12 * scale {
            return Err(InvalidInput::new("covariance", format!("asymmetric by {skew}"), "symmetric"));
        }
        let factor = covariance.to_owned().cholesky(UPLO::Lower).map_err(|_| {
            InvalidInput::new("covariance", "not positive definite", "symmetric positive definite")
        })?;
        Ok(Self { mean: mean.to_owned(), factor })
    }

    /// `D_KL(self|other) = (tr(S_2^{-1} S_1) + |m_1 - m_2|^2_{S_2^{-1}} - d + ln det S_2 - ln det S_1)/2`, by triangular
    /// solves with the Cholesky factors; relative error about the condition number of the factors times eps.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::Gaussian;
    /// let p = Gaussian::new(array![0.0].view(), array![[1.0]].view())?;
    /// let q = Gaussian::new(array![1.0].view(), array![[4.0]].view())?;
    /// // ln s + (1 + m^2)/(2 s^2) - 1/2 with m = 1, s = 2.
    /// assert!((p.kullback_leibler(&q)? - (2f64.ln() - 0.25)).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn kullback_leibler(&self, other: &Self) -> Result<f64, InvalidInput> {
        let d = self.mean.len();
        if other.mean.len() != d {
            let value = format!("dimension {}", other.mean.len());
            return Err(InvalidInput::new("other", value, format!("dimension {d}")));
        }
        let singular = |_| InvalidInput::new("covariance", "numerically singular", "well conditioned");
        let solve = |right: &Array2<f64>| {
            other.factor.solve_triangular(UPLO::Lower, Diag::NonUnit, right).map_err(singular)
        };
        let shift = (&self.mean - &other.mean).insert_axis(ndarray::Axis(1));
        let trace = solve(&self.factor)?.iter().map(|entry| entry * entry).sum::<f64>();
        let mahalanobis = solve(&shift)?.iter().map(|entry| entry * entry).sum::<f64>();
        let log_determinants: f64 = (0..d).map(|k| (other.factor[[k, k]] / self.factor[[k, k]]).ln()).sum();
        Ok(0.5 * (trace + mahalanobis - d as f64) + log_determinants)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;

    #[test]
    fn one_dimension_matches_the_textbook_formula() {
        let p = Gaussian::new(array![0.3].view(), array![[0.49]].view()).unwrap();
        let q = Gaussian::new(array![-0.2].view(), array![[1.44]].view()).unwrap();
        let (s1, s2, shift): (f64, f64, f64) = (0.7, 1.2, 0.5);
        let expected = (s2 / s1).ln() + (s1 * s1 + shift * shift) / (2.0 * s2 * s2) - 0.5;
        assert!((p.kullback_leibler(&q).unwrap() - expected).abs() < 1e-15);
    }

    #[test]
    fn products_add_and_a_common_linear_map_changes_nothing() {
        let p = Gaussian::new(array![0.3, -1.0].view(), array![[0.49, 0.0], [0.0, 2.0]].view()).unwrap();
        let q = Gaussian::new(array![-0.2, 0.5].view(), array![[1.44, 0.0], [0.0, 0.3]].view()).unwrap();
        let value = p.kullback_leibler(&q).unwrap();
        let marginal = |m1: f64, v1: f64, m2: f64, v2: f64| {
            Gaussian::new(array![m1].view(), array![[v1]].view())
                .unwrap()
                .kullback_leibler(&Gaussian::new(array![m2].view(), array![[v2]].view()).unwrap())
                .unwrap()
        };
        let sum = marginal(0.3, 0.49, -0.2, 1.44) + marginal(-1.0, 2.0, 0.5, 0.3);
        assert!((value - sum).abs() < 1e-14);

        let map = array![[1.0, 0.7], [-0.4, 2.0]];
        let image = |mean: Array1<f64>, covariance: Array2<f64>| {
            let spread = map.dot(&covariance).dot(&map.t());
            let symmetric = (&spread + &spread.t()) / 2.0;
            Gaussian::new(map.dot(&mean).view(), symmetric.view()).unwrap()
        };
        let moved = image(array![0.3, -1.0], array![[0.49, 0.0], [0.0, 2.0]])
            .kullback_leibler(&image(array![-0.2, 0.5], array![[1.44, 0.0], [0.0, 0.3]]))
            .unwrap();
        assert!((value - moved).abs() < 1e-13);
    }

    #[test]
    fn indefinite_asymmetric_and_misshapen_covariances_are_refused() {
        let mean = array![0.0, 0.0];
        for covariance in [
            array![[1.0, 2.0], [2.0, 1.0]],
            array![[1.0, 0.5], [0.0, 1.0]],
            array![[1.0]],
            array![[f64::NAN, 0.0], [0.0, 1.0]],
        ] {
            assert!(Gaussian::new(mean.view(), covariance.view()).is_err(), "{covariance}");
        }
    }
}
