//! What one run of a mechanism measured.

use serde::Serialize;

use proxflow_io::plot::Plot;

/// One measurement of a quantity.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Name of the quantity.
    #[serde(skip)]
    pub quantity: &'static str,
    /// The instance it was measured on; empty where there is one only.
    pub case: String,
    /// The number.
    pub value: f64,
    /// Its standard error, where it is a sample mean.
    pub standard_error: Option<f64>,
}

/// What one run measured, with the figures and pictures beside it.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Measurements in the order in which they were made.
    pub measurements: Vec<Measurement>,
    /// Figures that decide nothing, `(name, value)`.
    pub figures: Vec<(String, f64)>,
    /// Pictures for the report.
    pub plots: Vec<Plot>,
}

impl Measured {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a quantity that has one instance.
    pub fn record(&mut self, quantity: &'static str, value: f64) -> &mut Self {
        self.record_case(quantity, "", value)
    }

    /// Records a quantity on the instance `case`.
    pub fn record_case(&mut self, quantity: &'static str, case: impl Into<String>, value: f64) -> &mut Self {
        self.measurements.push(Measurement { quantity, case: case.into(), value, standard_error: None });
        self
    }

    /// Records a sample mean with its standard error.
    pub fn record_mean(
        &mut self,
        quantity: &'static str,
        case: impl Into<String>,
        value: f64,
        standard_error: f64,
    ) -> &mut Self {
        let standard_error = Some(standard_error);
        self.measurements.push(Measurement { quantity, case: case.into(), value, standard_error });
        self
    }

    /// Adds a figure that decides nothing.
    pub fn figure(&mut self, name: impl Into<String>, value: f64) -> &mut Self {
        self.figures.push((name.into(), value));
        self
    }

    /// Adds a picture.
    pub fn plot(&mut self, plot: Plot) -> &mut Self {
        self.plots.push(plot);
        self
    }
}
