//! Sample means with their standard errors.

use serde::{Deserialize, Serialize};

/// A sample mean: value, standard error `s / sqrt(n)` (`s` with `n - 1`) and count `n`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// The mean over samples.
    pub value: f64,
    /// Standard error of the mean; 0 when there is a single sample.
    pub standard_error: f64,
    /// Number of samples.
    pub count: usize,
}

impl Mean {
    /// Mean and standard error of `values`; NaN with count 0 when there are none.
    ///
    /// ```
    /// # use proxflow_reference::trajectory::Mean;
    /// let mean = Mean::of([1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!((mean.value, mean.count), (2.5, 4));
    /// assert!((mean.standard_error - (5.0f64 / 12.0).sqrt()).abs() < 1e-15);
    /// ```
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        let value = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
        let standard_error = if count > 1 { (squares / ((count - 1) * count) as f64).sqrt() } else { 0.0 };
        Self { value, standard_error, count }
    }

    /// Ratio of means `E a / E b` over paired samples, its standard error by the delta method
    /// (`Var ~ E (a - r b)^2 / (n (E b)^2)`), first order in `1/n`.
    ///
    /// ```
    /// # use proxflow_reference::trajectory::Mean;
    /// // Not the mean of the ratios, which is 5/2.
    /// assert_eq!(Mean::ratio(&[1.0, 8.0], &[1.0, 2.0]).value, 3.0);
    /// assert_eq!(Mean::ratio(&[2.0, 6.0], &[1.0, 3.0]).standard_error, 0.0);
    /// ```
    pub fn ratio(numerators: &[f64], denominators: &[f64]) -> Self {
        let (above, below) = (Self::of(numerators.iter().copied()), Self::of(denominators.iter().copied()));
        let value = above.value / below.value;
        let residual = Self::of(numerators.iter().zip(denominators).map(|(a, b)| a - value * b));
        Self { value, standard_error: residual.standard_error / below.value.abs(), count: above.count }
    }
}

#[cfg(test)]
mod tests {
    use approx::assert_relative_eq;

    use super::*;

    #[test]
    fn means_carry_the_textbook_standard_error() {
        let mean = Mean::of([1.0, 2.0, 3.0, 4.0]);
        assert_relative_eq!(mean.value, 2.5);
        assert_relative_eq!(mean.standard_error, (5.0f64 / 12.0).sqrt(), epsilon = 1e-15);
        assert_eq!(mean.count, 4);
        // A constant ratio has no error.
        assert!(Mean::ratio(&[1.0, 2.0, 4.0], &[2.0, 4.0, 8.0]).standard_error < 1e-16);
    }
}
