//! Weighted points: `P = sum_i p_i delta_{x_i}`, checked once.

use ndarray::{Array2, ArrayView2, CowArray, Ix2};

use crate::specification::InvalidInput;

/// How far a sum of weights may lie from 1, everywhere in the library: files in single precision carry about 1e-7 per atom.
pub const MASS_TOLERANCE: f64 = 1e-5;

/// A probability measure on finitely many points of R^d.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::Measure;
/// let p = Measure::new(array![[0.0, 0.0], [1.0, 0.5]], vec![0.25, 0.75])?;
/// assert_eq!((p.len(), p.dimension()), (2, 2));
/// let counts = Measure::normalised(array![[0.0], [1.0]], vec![1.0, 3.0])?;
/// assert_eq!(counts.weights(), [0.25, 0.75]);
/// let error = Measure::new(array![[0.0], [1.0]], vec![0.25, 0.25]).unwrap_err();
/// assert_eq!(error.to_string(), "weights: sum 0.5 is not allowed (allowed: weights that sum to 1 within 1e-5)");
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    points: Array2<f64>,
    weights: Vec<f64>,
    /// The weights before they were divided by their sum.
    given: Vec<f64>,
}

impl Measure {
    /// `points` of shape `(n, d)`, `n, d >= 1`, finite; `weights` of length n, finite, `>= 0`, with sum 1 (within 1e-5; they are
    /// divided by their sum). Points may be an array or a view, weights a vector or a slice.
    pub fn new<'a>(
        points: impl Into<CowArray<'a, f64, Ix2>>,
        weights: impl Into<Vec<f64>>,
    ) -> Result<Self, InvalidInput> {
        let points = checked_points(points.into())?;
        let given = weights.into();
        let weights = probability("weights", given.clone(), points.nrows())?;
        Ok(Self { points, weights, given })
    }

    /// Equal weights `1/n` on `points` `(n, d)`.
    pub fn uniform<'a>(points: impl Into<CowArray<'a, f64, Ix2>>) -> Result<Self, InvalidInput> {
        let points = checked_points(points.into())?;
        let weights = uniform(points.nrows());
        Ok(Self { points, given: weights.clone(), weights })
    }

    /// Weights or counts of any finite positive sum, divided by it.
    pub fn normalised<'a>(
        points: impl Into<CowArray<'a, f64, Ix2>>,
        masses: impl Into<Vec<f64>>,
    ) -> Result<Self, InvalidInput> {
        let (points, given) = (checked_points(points.into())?, masses.into());
        let weights = normalise_masses("weights", given.clone(), points.nrows())?;
        Ok(Self { points, weights, given })
    }

    /// The points, `(n, d)`.
    pub fn points(&self) -> ArrayView2<'_, f64> {
        self.points.view()
    }

    /// The weights, length n, sum 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The weights before they were divided by their sum, length n.
    ///
    /// ```
    /// use proxflow_reference::Measure;
    /// let counts = Measure::normalised(ndarray::array![[0.0], [1.0]], vec![1.0, 3.0])?;
    /// assert_eq!(counts.given_weights(), [1.0, 3.0]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn given_weights(&self) -> &[f64] {
        &self.given
    }

    /// The number n of atoms, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// The dimension d, at least 1.
    pub fn dimension(&self) -> usize {
        self.points.ncols()
    }
}

/// `1/n` for each of n atoms.
pub(crate) fn uniform(atoms: usize) -> Vec<f64> {
    vec![1.0 / atoms as f64; atoms]
}

/// Masses of any finite positive sum, divided by it; scaled by the largest one first, so that no sum overflows.
pub fn normalise_masses(field: &str, masses: Vec<f64>, atoms: usize) -> Result<Vec<f64>, InvalidInput> {
    check_masses(field, &masses, atoms)?;
    let largest = masses.iter().fold(0.0f64, |largest, mass| largest.max(*mass));
    if largest <= 0.0 {
        return Err(InvalidInput::new(field, "all 0", "a positive sum"));
    }
    let total: f64 = masses.iter().map(|mass| mass / largest).sum();
    Ok(masses.iter().map(|mass| mass / largest / total).collect())
}

/// The weights of a probability measure on `atoms` points, checked and divided by their sum. Errors name `field`.
pub(crate) fn probability(field: &str, weights: Vec<f64>, atoms: usize) -> Result<Vec<f64>, InvalidInput> {
    let total = check_probability(field, &weights, atoms)?;
    Ok(weights.iter().map(|weight| weight / total).collect())
}

/// Refuses what is not a probability vector of length `atoms`; returns its sum.
pub(crate) fn check_probability(field: &str, weights: &[f64], atoms: usize) -> Result<f64, InvalidInput> {
    check_masses(field, weights, atoms)?;
    let total: f64 = weights.iter().sum();
    if (total - 1.0).abs() > MASS_TOLERANCE {
        let allowed = "weights that sum to 1 within 1e-5";
        return Err(InvalidInput::new(field, format!("sum {total}"), allowed));
    }
    Ok(total)
}

fn check_masses(field: &str, weights: &[f64], atoms: usize) -> Result<(), InvalidInput> {
    if atoms == 0 {
        return Err(InvalidInput::new(field, "0 atoms", "at least one atom"));
    }
    if weights.len() != atoms {
        let value = format!("{} weights", weights.len());
        return Err(InvalidInput::new(field, value, format!("{atoms} weights, one per atom")));
    }
    match weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0)) {
        Some(j) => Err(InvalidInput::new(format!("{field}[{j}]"), weights[j], "finite and >= 0")),
        None => Ok(()),
    }
}

fn checked_points(points: CowArray<'_, f64, Ix2>) -> Result<Array2<f64>, InvalidInput> {
    check_points("points", points.view())?;
    Ok(if points.is_standard_layout() {
        points.into_owned()
    } else {
        points.as_standard_layout().into_owned()
    })
}

/// Refuses an empty array and coordinates that are not finite.
pub(crate) fn check_points(field: &str, points: ArrayView2<f64>) -> Result<(), InvalidInput> {
    if points.nrows() == 0 || points.ncols() == 0 {
        return Err(InvalidInput::new(field, format!("shape {:?}", points.shape()), "(n, d) with n, d >= 1"));
    }
    match points.indexed_iter().find(|(_, coordinate)| !coordinate.is_finite()) {
        Some(((i, k), coordinate)) => {
            Err(InvalidInput::new(format!("{field}[{i}, {k}]"), coordinate, "finite coordinates"))
        }
        None => Ok(()),
    }
}

/// Refuses two point sets of different dimensions.
pub(crate) fn check_dimensions(model: ArrayView2<f64>, data: ArrayView2<f64>) -> Result<(), InvalidInput> {
    if model.ncols() == data.ncols() {
        return Ok(());
    }
    let value = format!("dimension {}", data.ncols());
    Err(InvalidInput::new("data", value, format!("dimension {}, that of the model", model.ncols())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;

    #[test]
    fn weights_are_checked_once_and_scaled_without_overflow() {
        let points = array![[0.0], [1.0]];
        let huge = Measure::normalised(points.view(), vec![1e308, 1.7e308]).unwrap();
        assert!((huge.weights()[0] - 1.0 / 2.7).abs() < 1e-15);
        let tiny = Measure::normalised(points.view(), vec![1e-300, 3e-300]).unwrap();
        assert!((tiny.weights()[1] - 0.75).abs() < 1e-15);
        for weights in [vec![0.0, 0.0], vec![1.0], vec![-1.0, 2.0], vec![f64::INFINITY, 1.0]] {
            assert!(Measure::normalised(points.view(), weights.clone()).is_err(), "{weights:?}");
            assert!(Measure::new(points.view(), weights).is_err());
        }
        assert!(Measure::new(points.view(), [0.5 + 2e-5, 0.5]).is_err());
        assert!(Measure::new(points.view(), [0.5 + 5e-6, 0.5]).is_ok());
        assert_eq!(Measure::uniform(array![[f64::NAN]]).unwrap_err().field, "points[0, 0]");
        assert!(Measure::uniform(Array2::zeros((0, 2))).is_err());
    }
}
