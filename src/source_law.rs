//! The law of `x_0`, in the units of the flow (after standardisation): mean 0 and variance 1 per coordinate, or given points.

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;
use proxflow_reference::InvalidInput;
use rand::Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use serde::{Deserialize, Serialize};

/// Which law, by name or by file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SourceChoice {
    /// Independent standard normal coordinates.
    Gaussian,
    /// Independent uniform coordinates on `[-sqrt 3, sqrt 3)`.
    Uniform,
    /// Independent logistic coordinates of variance 1.
    Logistic,
    /// Uniform choice among the rows of a file.
    File(String),
}

impl FromStr for SourceChoice {
    type Err = InvalidInput;

    /// `gaussian`, `uniform`, `logistic`, else a file of points.
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        Ok(match text {
            "gaussian" => Self::Gaussian,
            "uniform" => Self::Uniform,
            "logistic" => Self::Logistic,
            "" => {
                return Err(InvalidInput::new(
                    "source",
                    "nothing",
                    "gaussian, uniform, logistic or a file (n, d)",
                ));
            }
            file => Self::File(file.to_owned()),
        })
    }
}

impl TryFrom<String> for SourceChoice {
    type Error = InvalidInput;

    fn try_from(text: String) -> Result<Self, InvalidInput> {
        text.parse()
    }
}

impl From<SourceChoice> for String {
    fn from(choice: SourceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for SourceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gaussian => "gaussian",
            Self::Uniform => "uniform",
            Self::Logistic => "logistic",
            Self::File(file) => file,
        })
    }
}

/// A law that can be drawn from.
#[derive(Debug, Clone)]
pub enum SourceLaw {
    /// Standard normal on R^d.
    Gaussian,
    /// Uniform on `[-sqrt 3, sqrt 3)^d`.
    Uniform,
    /// Logistic coordinates of variance 1.
    Logistic,
    /// Uniform choice, with replacement, among rows `(n, d)`.
    Samples(Array2<f64>),
}

impl SourceLaw {
    /// `count` independent points `(count, dimension)`.
    ///
    /// ```
    /// use proxflow::source_law::SourceLaw;
    /// use rand::SeedableRng;
    /// let x = SourceLaw::Logistic.draw(20_000, 1, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
    /// let variance = x.iter().map(|value| value * value).sum::<f32>() / 20_000.0;
    /// assert!((variance - 1.0).abs() < 0.06); // four standard errors, kurtosis 4.2
    /// ```
    pub fn draw(&self, count: usize, dimension: usize, generator: &mut impl Rng) -> Array2<f32> {
        let root = 3.0_f64.sqrt();
        match self {
            Self::Gaussian => independent(count, dimension, || StandardNormal.sample(generator)),
            Self::Uniform => independent(count, dimension, || root * (2.0 * generator.random::<f64>() - 1.0)),
            Self::Logistic => independent(count, dimension, || {
                let u: f64 = Open01.sample(generator);
                root / std::f64::consts::PI * (u / (1.0 - u)).ln()
            }),
            Self::Samples(rows) => {
                let chosen: Vec<usize> =
                    (0..count).map(|_| generator.random_range(0..rows.nrows())).collect();
                rows.select(ndarray::Axis(0), &chosen).mapv(|value| value as f32)
            }
        }
    }
}

fn independent(count: usize, dimension: usize, mut draw: impl FnMut() -> f64) -> Array2<f32> {
    Array2::from_shape_simple_fn((count, dimension), || draw() as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn named_laws_have_mean_zero_and_variance_one() {
        for law in [SourceLaw::Gaussian, SourceLaw::Uniform, SourceLaw::Logistic] {
            let x = law.draw(40_000, 2, &mut ChaCha8Rng::seed_from_u64(5)).mapv(f64::from);
            let n = x.len() as f64;
            let mean = x.sum() / n;
            let second = x.mapv(|value| value * value).sum() / n;
            // Five standard errors; the fourth moment is at most 4.2.
            assert!(mean.abs() < 5.0 / n.sqrt(), "{law:?}: {mean}");
            assert!((second - 1.0).abs() < 5.0 * 1.8 / n.sqrt(), "{law:?}: {second}");
        }
    }

    #[test]
    fn choices_read_back() {
        for text in ["gaussian", "uniform", "logistic", "points.npy"] {
            assert_eq!(text.parse::<SourceChoice>().unwrap().to_string(), text);
        }
        assert!("".parse::<SourceChoice>().is_err());
    }
}
