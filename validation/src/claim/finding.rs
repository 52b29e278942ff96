//! What a check found: measurements against their bounds, negative controls, figures and pictures.

use serde::Serialize;

use super::{Basis, Bound, Verdict};
use crate::number::number;
use crate::report::plot::Plot;

/// One measured quantity against its bound.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was measured, in words or a formula.
    pub quantity: String,
    /// The number.
    pub measured: f64,
    /// Standard error of the number when it is a sample mean.
    pub standard_error: Option<f64>,
    /// What it must obey.
    pub bound: Bound,
    /// Why the bound is what it is.
    pub basis: Basis,
    /// Whether it obeys.
    pub holds: bool,
}

impl Measurement {
    /// Compares `measured` with `bound`.
    pub fn new(quantity: impl Into<String>, measured: f64, bound: Bound, basis: Basis) -> Self {
        let holds = bound.admits(measured);
        Self { quantity: quantity.into(), measured, standard_error: None, bound, basis, holds }
    }

    /// See [`Bound::strain`].
    pub fn strain(&self) -> f64 {
        self.bound.strain(self.measured)
    }

    /// Notes the standard error of the measured number.
    pub fn with_standard_error(mut self, standard_error: f64) -> Self {
        self.standard_error = Some(standard_error);
        self
    }
}

/// The same check with the mechanism removed: it must fail.
#[derive(Debug, Clone, Serialize)]
pub struct NegativeControl {
    /// What was broken.
    pub mechanism: String,
    /// The measurement of the broken thing, with the bound of the claim.
    pub measurement: Measurement,
    /// Whether the check failed on it, as it must.
    pub detected: bool,
}

/// What a check found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Finding {
    /// What must hold.
    pub measurements: Vec<Measurement>,
    /// What must fail.
    pub controls: Vec<NegativeControl>,
    /// Figures reported beside the bounds, `(name, value)`; they decide nothing.
    pub figures: Vec<(String, f64)>,
    /// Pictures for the report.
    #[serde(skip)]
    pub plots: Vec<Plot>,
}

impl Finding {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a quantity that must obey `bound`.
    pub fn measure(
        &mut self,
        quantity: impl Into<String>,
        measured: f64,
        bound: Bound,
        basis: Basis,
    ) -> &mut Self {
        self.measurements.push(Measurement::new(quantity, measured, bound, basis));
        self
    }

    /// Adds a broken variant that must *not* obey `bound`.
    pub fn control(
        &mut self,
        mechanism: impl Into<String>,
        measured: f64,
        bound: Bound,
        basis: Basis,
    ) -> &mut Self {
        let mechanism = mechanism.into();
        let measurement = Measurement::new(mechanism.clone(), measured, bound, basis);
        self.controls.push(NegativeControl { mechanism, detected: !measurement.holds, measurement });
        self
    }

    /// Adds a reported figure.
    pub fn figure(&mut self, name: impl Into<String>, value: f64) -> &mut Self {
        self.figures.push((name.into(), value));
        self
    }

    /// Adds a picture.
    pub fn plot(&mut self, plot: Plot) -> &mut Self {
        self.plots.push(plot);
        self
    }

    /// The measurement that uses most of its bound: the failing one where one fails.
    pub fn tightest(&self) -> Option<&Measurement> {
        self.measurements.iter().max_by(|a, b| a.strain().total_cmp(&b.strain()))
    }

    /// The control that breaks its bound by the least.
    pub fn weakest_control(&self) -> Option<&NegativeControl> {
        self.controls.iter().min_by(|a, b| a.measurement.strain().total_cmp(&b.measurement.strain()))
    }

    /// Holds when every measurement obeys its bound and every control is detected, and there is at least one of
    /// each: a check that cannot fail decides nothing.
    pub fn verdict(&self) -> Verdict {
        let broken = self
            .measurements
            .iter()
            .find(|m| !m.holds)
            .map(|m| format!("{}: measured {}, bound {}", m.quantity, number(m.measured), m.bound))
            .or_else(|| {
                let passed = self.controls.iter().find(|control| !control.detected)?;
                Some(format!("negative control not detected: {}", passed.mechanism))
            });
        match broken {
            Some(reason) => Verdict::Fails(reason),
            None if self.measurements.is_empty() => Verdict::Fails("nothing was measured".into()),
            None if self.controls.is_empty() => Verdict::Fails("there is no negative control".into()),
            None => Verdict::Holds,
        }
    }
}
