//! One table of indicators: what each is called, how it is written and what it means. JSON, CSV, pictures, reports and help are
//! made from it, so that no two of them can differ.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// A number with the standard error of its mean, where it is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The value, or the mean over samples.
    pub mean: f64,
    /// Standard error of the mean; absent for a number that is no mean.
    pub stderr: Option<f64>,
}

impl Estimate {
    /// A number that is no mean.
    pub fn plain(value: f64) -> Self {
        Self { mean: value, stderr: None }
    }

    /// A mean with its standard error.
    pub fn with_error(mean: f64, stderr: f64) -> Self {
        Self { mean, stderr: Some(stderr) }
    }
}

/// What an indicator is, whatever program measured it.
#[derive(Debug, PartialEq)]
pub struct Indicator {
    /// Name in JSON and CSV; the standard error is `KEY_stderr`.
    pub key: &'static str,
    /// Name for readers.
    pub label: &'static str,
    /// Definition in one line.
    pub help: &'static str,
    /// Value of an optimal flow, where it is known beforehand.
    pub optimum: Option<f64>,
}

macro_rules! catalogue {
    ($($name:ident: $key:literal, $label:literal, $optimum:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $name: Indicator =
            Indicator { key: $key, label: $label, help: $help, optimum: $optimum };)*

        /// Every indicator, in the order of reports.
        pub const CATALOGUE: &[&Indicator] = &[$(&$name),*];
    };
}

catalogue! {
    KINETIC_ENERGY: "kinetic_energy", "kinetic energy K_h", None, "E sum_k h |v_k|^2 / 2";
    DISPLACEMENT_ENERGY: "displacement_energy", "displacement energy", None, "E |x_N - x_0|^2 / (2 T)";
    STRAIGHTNESS: "straightness", "straightness", Some(1.0), "E [sum_k h |v_k| / |x_N - x_0|], 1 on straight lines";
    DEVIATION: "deviation", "step-size deviation", Some(0.0),
        "E |x_N - x_N of the finest step| / |x_N of the finest step - x_0|; absent for the finest itself";
    HJ_RESIDUAL: "hj_residual", "HJ residual", Some(0.0), "E sum_k h |dU/dt - |grad U|^2 / (2 lambda)|";
    HJ_RESIDUAL_RELATIVE: "hj_residual_relative", "HJ residual / (lambda K_h)", Some(0.0), "HJ residual over lambda K_h";
    HJ_RESIDUAL_GAUGED: "hj_residual_gauged", "HJ residual, gauged", Some(0.0),
        "HJ residual with its mean over samples removed at each time, since U is trained up to a function of time";
    HJ_RESIDUAL_GAUGED_RELATIVE: "hj_residual_gauged_relative", "HJ residual, gauged, / (lambda K_h)", Some(0.0),
        "gauged HJ residual over lambda K_h";
    HJ_RESIDUAL_FLIPPED: "hj_residual_flipped", "HJ residual, sign flipped", None,
        "negative control: E sum_k h |dU/dt + |grad U|^2 / (2 lambda)|";
    ACCELERATION: "acceleration", "acceleration", Some(0.0), "E |v_(k+1) - v_k| / E |v_k| along paths";
    TERMINAL_RESIDUAL: "terminal_residual", "terminal residual", Some(0.0), "E |grad U(x_N, T) - grad phi(x_N)|";
    CRITIC_SLOPE_MEAN: "critic_slope_mean", "critic slope at x_N", None, "mean of |grad phi(x_N)|, at most L";
    CRITIC_SLOPE_MAX: "critic_slope_max", "largest critic slope at x_N", None, "max of |grad phi(x_N)|, at most L";
}

/// One column of a table about `T`: an indicator and where `T` has it.
pub struct Column<T: ?Sized> {
    /// What is shown.
    pub indicator: &'static Indicator,
    /// Its value; `None` where `T` does not tell it.
    pub get: fn(&T) -> Option<Estimate>,
}

/// Columns in the order in which they are written.
pub struct Table<T: ?Sized + 'static>(pub &'static [Column<T>]);

impl<T: ?Sized> Table<T> {
    /// Names of the CSV columns: `key`, and `key_stderr` behind the means. `example` decides which are means.
    pub fn csv_names(&self, example: &T) -> Vec<String> {
        self.cells(example).into_iter().map(|(name, _)| name).collect()
    }

    /// Values of the CSV columns, NaN where `of` tells none.
    pub fn csv_values(&self, of: &T) -> Vec<f64> {
        self.cells(of).into_iter().map(|(_, value)| value.unwrap_or(f64::NAN)).collect()
    }

    /// `{"key": value, "key_stderr": error}`; null where `of` tells none or the number is not finite.
    pub fn json(&self, of: &T) -> Map<String, Value> {
        self.cells(of).into_iter().map(|(name, value)| (name, json!(value))).collect()
    }

    /// A text table: a row an indicator, a column for each of `entries` under its `title`.
    pub fn text(&self, titles: &[String], entries: &[T]) -> String
    where
        T: Sized,
    {
        let mut text = format!("{:36}", "");
        for title in titles {
            let _ = write!(text, "{title:>24}");
        }
        for column in self.0 {
            let _ = write!(text, "\n{:36}", column.indicator.label);
            for entry in entries {
                let cell = match (column.get)(entry) {
                    None => "-".to_owned(),
                    Some(Estimate { mean, stderr: None }) => format!("{mean:.4}"),
                    Some(Estimate { mean, stderr: Some(error) }) => format!("{mean:.4} +- {error:.4}"),
                };
                let _ = write!(text, "{cell:>24}");
            }
        }
        text + "\n"
    }

    /// `key  meaning`, a line a column, for `--help`.
    pub fn help(&self) -> String {
        self.0
            .iter()
            .map(|column| format!("  {:28} {}\n", column.indicator.key, column.indicator.help))
            .collect()
    }

    fn cells(&self, of: &T) -> Vec<(String, Option<f64>)> {
        let mut cells = Vec::new();
        for column in self.0 {
            let estimate = (column.get)(of);
            cells.push((column.indicator.key.to_owned(), estimate.map(|estimate| estimate.mean)));
            // What is a mean for one entry is a mean for all: an absent one keeps its two columns.
            if estimate.is_none_or(|estimate| estimate.stderr.is_some()) {
                let error = estimate.and_then(|estimate| estimate.stderr);
                cells.push((format!("{}_stderr", column.indicator.key), error));
            }
        }
        cells
    }
}

/// The indicator of a JSON or CSV name.
pub fn find(key: &str) -> Option<&'static Indicator> {
    CATALOGUE.iter().find(|indicator| indicator.key == key).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Measured {
        energy: f64,
        deviation: Option<f64>,
    }

    const TABLE: Table<Measured> = Table(&[
        Column { indicator: &KINETIC_ENERGY, get: |m| Some(Estimate::with_error(m.energy, 0.5)) },
        Column { indicator: &DEVIATION, get: |m| m.deviation.map(|value| Estimate::with_error(value, 0.1)) },
        Column { indicator: &CRITIC_SLOPE_MAX, get: |_| Some(Estimate::plain(1.5)) },
    ]);

    #[test]
    fn csv_json_text_and_help_come_from_the_same_columns() {
        let whole = Measured { energy: 2.0, deviation: Some(0.25) };
        let finest = Measured { energy: 3.0, deviation: None };
        let names = TABLE.csv_names(&whole);
        assert_eq!(
            names,
            ["kinetic_energy", "kinetic_energy_stderr", "deviation", "deviation_stderr", "critic_slope_max"]
        );
        assert_eq!(TABLE.csv_names(&finest), names, "an absent mean keeps its columns");
        assert_eq!(TABLE.csv_values(&whole), [2.0, 0.5, 0.25, 0.1, 1.5]);
        assert!(TABLE.csv_values(&finest)[2].is_nan());
        let json = TABLE.json(&finest);
        assert_eq!((json["deviation"].is_null(), json["kinetic_energy"].as_f64()), (true, Some(3.0)));
        let text = TABLE.text(&["5".into(), "40".into()], &[whole, finest]);
        assert!(text.contains("2.0000 +- 0.5000") && text.lines().count() == 4, "{text}");
        assert_eq!(TABLE.help().lines().count(), 3);
    }

    #[test]
    fn keys_are_unique_and_found() {
        for (k, indicator) in CATALOGUE.iter().enumerate() {
            assert!(CATALOGUE[..k].iter().all(|other| other.key != indicator.key));
            assert_eq!(find(indicator.key), Some(*indicator));
        }
        assert_eq!(find("nonsense"), None);
    }
}
