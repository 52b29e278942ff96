//! Standardisation: `z = (x - centre) / scale`, stated in a run and undone on the way out.

use clap::ValueEnum;
use ndarray::{Array2, ArrayView2, Axis};
use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};

/// How points are brought to the scale of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Standardise {
    /// Every column to mean 0 and standard deviation 1
    Columns,
    /// Every column to mean 0, one factor for all, so that the mean variance is 1: distances keep their ratios
    Global,
    /// As they are
    None,
}

/// The map between the units of the data and those of the flow, from the training rows alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardisation {
    /// `centre (d)`.
    pub centre: Vec<f64>,
    /// `scale (d)`, positive.
    pub scale: Vec<f64>,
}

/// A standard deviation below this part of the largest number of its column is rounding.
const ROUNDING: f64 = 1e-12;

impl Standardisation {
    /// The map that `how` means for `rows (n, d)`, `n >= 1`. Refused: a constant column where every column is scaled by its own
    /// deviation, rows that are all equal where one factor serves all.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow::own_data::{Standardisation, Standardise};
    /// let rows = array![[1.0, 10.0], [3.0, 30.0]];
    /// let map = Standardisation::of(Standardise::Columns, rows.view(), "X.npy")?;
    /// assert_eq!(map.apply(rows.view()), array![[-1.0, -1.0], [1.0, 1.0]]);
    /// assert_eq!(map.undo(array![[0.0, 1.0]].view()), array![[2.0, 30.0]]);
    /// assert!(Standardisation::of(Standardise::Columns, array![[1.0], [1.0]].view(), "X.npy").is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn of(how: Standardise, rows: ArrayView2<'_, f64>, field: &str) -> Result<Self, InvalidInput> {
        let columns = rows.ncols();
        if how == Standardise::None {
            return Ok(Self { centre: vec![0.0; columns], scale: vec![1.0; columns] });
        }
        let centre: Vec<f64> =
            rows.columns().into_iter().map(|column| column.mean().unwrap_or(0.0)).collect();
        let deviations: Vec<f64> = rows.columns().into_iter().map(|column| column.std(0.0)).collect();
        let size = |k: usize| rows.column(k).iter().fold(0.0, |size: f64, value| size.max(value.abs()));
        let constant = |k: usize| deviations[k] <= ROUNDING * size(k);
        let scale = match how {
            Standardise::Columns => {
                if let Some(k) = (0..columns).find(|k| constant(*k)) {
                    let value = format!("constant {} in all rows trained on", rows[[0, k]]);
                    let allowed = "columns that vary, or --standardise global or none";
                    return Err(InvalidInput::new(format!("{field}: column {k}"), value, allowed));
                }
                deviations
            }
            _ => {
                if (0..columns).all(constant) {
                    return Err(InvalidInput::new(field, "rows that are all equal", "rows that vary"));
                }
                let mean = deviations.iter().map(|value| value * value).sum::<f64>() / columns as f64;
                vec![mean.sqrt(); columns]
            }
        };
        Ok(Self { centre, scale })
    }

    /// From the data's units `(n, d)` to the flow's.
    pub fn apply(&self, rows: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut standard = rows.to_owned();
        for (k, mut column) in standard.axis_iter_mut(Axis(1)).enumerate() {
            column.mapv_inplace(|value| (value - self.centre[k]) / self.scale[k]);
        }
        standard
    }

    /// From the flow's units `(n, d)` to the data's.
    pub fn undo(&self, rows: ArrayView2<'_, f64>) -> Array2<f64> {
        let mut original = rows.to_owned();
        for (k, mut column) in original.axis_iter_mut(Axis(1)).enumerate() {
            column.mapv_inplace(|value| value * self.scale[k] + self.centre[k]);
        }
        original
    }

    /// Whether two maps agree to rounding, as one that was written and read does.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let close = |a: &[f64], b: &[f64]| {
            a.len() == b.len()
                && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= 1e-9 * (1.0 + x.abs().max(y.abs())))
        };
        close(&self.centre, &other.centre) && close(&self.scale, &other.scale)
    }

    /// In one line: what was done.
    pub fn in_words(&self, how: Standardise) -> String {
        let extremes = |values: &[f64]| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!("{low:.4} to {high:.4}")
        };
        match how {
            Standardise::Columns => {
                format!("columns divided by their standard deviations, {}", extremes(&self.scale))
            }
            Standardise::Global => format!("columns centred, divided by {:.4}", self.scale[0]),
            Standardise::None => "none".to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn applying_and_undoing_is_the_identity_and_moments_are_those_stated() {
        let rows = array![[1.0, 100.0], [2.0, 500.0], [6.0, 300.0]];
        for how in [Standardise::Columns, Standardise::Global, Standardise::None] {
            let map = Standardisation::of(how, rows.view(), "x").unwrap();
            let there = map.apply(rows.view());
            let back = map.undo(there.view());
            assert!(back.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-9));
            let deviations = there.std_axis(Axis(0), 0.0);
            match how {
                Standardise::Columns => assert!(deviations.iter().all(|value| (value - 1.0).abs() < 1e-12)),
                Standardise::Global => {
                    assert!((deviations.mapv(|v| v * v).mean().unwrap() - 1.0).abs() < 1e-12)
                }
                Standardise::None => assert_eq!(there, rows),
            }
        }
    }

    #[test]
    fn constant_columns_are_named_and_allowed_under_one_factor() {
        let rows = array![[1.0, 7.3], [2.0, 7.3], [3.0, 7.3]];
        let error = Standardisation::of(Standardise::Columns, rows.view(), "X.npy").unwrap_err().to_string();
        assert!(error.contains("X.npy: column 1") && error.contains("constant 7.3"), "{error}");
        assert!(Standardisation::of(Standardise::Global, rows.view(), "x").is_ok());
        let equal = array![[1.0, 2.0], [1.0, 2.0]];
        assert!(Standardisation::of(Standardise::Global, equal.view(), "x").is_err());
    }
}
