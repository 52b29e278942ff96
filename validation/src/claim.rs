//! What a claim is: a statement of the paper, what is measured for it, a bound with its basis, and a negative control.

use std::path::PathBuf;

use proxflow_reference::InvalidInput;
use serde::Serialize;

use crate::report::plot::Plot;

/// How much work a check does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Minutes for the whole list on two cores; what `cargo test` runs.
    #[default]
    Ci,
    /// The long form: larger instances, more seeds, longer training.
    Paper,
}

/// What a check may depend on besides itself.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// How much work to do.
    pub scale: Scale,
    /// Root seed; every check derives its own labelled ChaCha streams from it.
    pub seed: u64,
    /// Folder of the released weights and curves (`PROXFLOW_PUBLISHED`).
    pub published: Option<PathBuf>,
    /// Folder of the MNIST IDX files (`PROXFLOW_MNIST`).
    pub mnist: Option<PathBuf>,
}

impl Setting {
    /// The setting of the tests: CI scale unless `PROXFLOW_SCALE=paper`, data folders from the environment.
    pub fn from_environment() -> Self {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_dir());
        let paper = std::env::var("PROXFLOW_SCALE").is_ok_and(|text| text == "paper");
        Self {
            scale: if paper { Scale::Paper } else { Scale::Ci },
            seed: 0,
            published: folder("PROXFLOW_PUBLISHED"),
            mnist: folder("PROXFLOW_MNIST"),
        }
    }

    /// `ci` at CI scale, `paper` at paper scale.
    pub fn choose<T>(&self, ci: T, paper: T) -> T {
        match self.scale {
            Scale::Ci => ci,
            Scale::Paper => paper,
        }
    }

    /// The labelled ChaCha stream `label` of the root seed: equal labels give equal numbers on every platform.
    pub fn stream(&self, label: &str) -> rand_chacha::ChaCha8Rng {
        use rand::SeedableRng;
        // FNV-1a of the label picks the stream; the root seed picks the key.
        let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(hash);
        generator
    }
}

/// Why a bound is what it is.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", content = "reason", rename_all = "snake_case")]
pub enum Basis {
    /// Floating-point error: the count of operations times the unit roundoff of the working precision.
    Rounding(String),
    /// Truncation of a scheme: `C h^p` with `C` measured or a stated order.
    Discretisation(String),
    /// Sampling error: a stated number of standard errors.
    MonteCarlo(String),
    /// A number from an independent program.
    Golden(String),
    /// An exact inequality of the theory; rounding is the only slack.
    Exact(String),
    /// A requirement stated in advance by this project, not derived.
    Requirement(String),
}

impl Basis {
    /// The kind in one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rounding(_) => "rounding",
            Self::Discretisation(_) => "discretisation",
            Self::MonteCarlo(_) => "Monte Carlo",
            Self::Golden(_) => "golden",
            Self::Exact(_) => "exact",
            Self::Requirement(_) => "requirement",
        }
    }

    /// The reason behind it.
    pub fn reason(&self) -> &str {
        match self {
            Self::Rounding(text)
            | Self::Discretisation(text)
            | Self::MonteCarlo(text)
            | Self::Golden(text)
            | Self::Exact(text)
            | Self::Requirement(text) => text,
        }
    }
}

/// The values that a measured quantity may take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// `measured <= value`.
    AtMost(f64),
    /// `measured >= value`.
    AtLeast(f64),
    /// `|measured - value| <= tolerance`.
    Near {
        /// The expected value.
        value: f64,
        /// Allowed absolute deviation.
        tolerance: f64,
    },
}

impl Bound {
    /// Whether `measured` obeys the bound; NaN never does.
    pub fn admits(self, measured: f64) -> bool {
        match self {
            Self::AtMost(value) => measured <= value,
            Self::AtLeast(value) => measured >= value,
            Self::Near { value, tolerance } => (measured - value).abs() <= tolerance,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(value) => write!(formatter, "<= {}", number(*value)),
            Self::AtLeast(value) => write!(formatter, ">= {}", number(*value)),
            Self::Near { value, tolerance } => {
                write!(formatter, "{} +- {}", number(*value), number(*tolerance))
            }
        }
    }
}

/// A number for readers: four significant digits, scientific when very small or large.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.2e}")
    } else {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{value:.decimals$}")
    }
}

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

/// What is known about a claim after its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// Every measurement obeys its bound, every control is detected.
    Holds,
    /// Something does not, named here.
    Fails(String),
    /// The check needs something that is not here.
    NotApplicable(String),
}

/// Why a check ended without a finding.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckError {
    /// A computation refused its input; a defect of the check or of the implementation.
    #[error("{0}")]
    Input(#[from] InvalidInput),
    /// A computation failed.
    #[error("{0}")]
    Run(String),
    /// Data, weights or a device that the check needs is absent.
    #[error("not applicable: {0}")]
    NotApplicable(String),
}

/// One claim of the paper, or a consequence that the paper does not state.
#[derive(Clone, Copy)]
pub struct Claim {
    /// Identifier, the name of its file and of its test.
    pub id: &'static str,
    /// The statement.
    pub statement: &'static str,
    /// Equation numbers of the paper covered, as inclusive ranges.
    pub equations: &'static [(u32, u32)],
    /// Items of docs/notation.md covered.
    pub notation: &'static [&'static str],
    /// What is measured.
    pub measured: &'static str,
    /// The bound and its basis.
    pub bound: &'static str,
    /// The negative control.
    pub control: &'static str,
    /// The check.
    pub check: fn(&Setting) -> Result<Finding, CheckError>,
}

/// A claim with what its check found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Identifier of the claim.
    pub id: String,
    /// The statement.
    pub statement: String,
    /// Where it comes from.
    pub source: String,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The numbers behind it.
    pub finding: Finding,
    /// Wall-clock seconds of the check.
    pub seconds: f64,
}

impl Claim {
    /// Equation numbers and notation items as text, `[6]-[8], notation 1.3`.
    pub fn source(&self) -> String {
        let range = |(first, last): &(u32, u32)| {
            if first == last { format!("[{first}]") } else { format!("[{first}]-[{last}]") }
        };
        let mut parts: Vec<String> = self.equations.iter().map(range).collect();
        if !self.notation.is_empty() {
            parts.push(format!("notation {}", self.notation.join(", ")));
        }
        parts.join(", ")
    }

    /// Runs the check.
    pub fn run(&self, setting: &Setting) -> Outcome {
        let start = std::time::Instant::now();
        let (verdict, finding) = match (self.check)(setting) {
            Ok(finding) => (finding.verdict(), finding),
            Err(CheckError::NotApplicable(reason)) => (Verdict::NotApplicable(reason), Finding::new()),
            Err(error) => (Verdict::Fails(error.to_string()), Finding::new()),
        };
        Outcome {
            id: self.id.into(),
            statement: self.statement.into(),
            source: self.source(),
            verdict,
            finding,
            seconds: start.elapsed().as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounding() -> Basis {
        Basis::Rounding("test".into())
    }

    #[test]
    fn verdict_needs_a_measurement_and_a_detected_control() {
        let mut finding = Finding::new();
        assert!(matches!(finding.verdict(), Verdict::Fails(_)));
        finding.measure("gap", 1e-12, Bound::AtMost(1e-10), rounding());
        assert!(matches!(finding.verdict(), Verdict::Fails(_)), "no control yet");
        finding.control("broken", 1.0, Bound::AtMost(1e-10), rounding());
        assert_eq!(finding.verdict(), Verdict::Holds);
        finding.control("not broken enough", 1e-11, Bound::AtMost(1e-10), rounding());
        assert!(matches!(finding.verdict(), Verdict::Fails(_)), "an undetected control fails the claim");
    }

    #[test]
    fn nan_obeys_no_bound() {
        for bound in [Bound::AtMost(1.0), Bound::AtLeast(1.0), Bound::Near { value: 1.0, tolerance: 1.0 }] {
            assert!(!bound.admits(f64::NAN));
        }
    }

    #[test]
    fn streams_differ_by_label_and_by_seed_and_repeat() {
        use rand::Rng;
        let draw = |seed, label: &str| Setting { seed, ..Setting::default() }.stream(label).random::<u64>();
        assert_eq!(draw(0, "data"), draw(0, "data"));
        assert_ne!(draw(0, "data"), draw(0, "noise"));
        assert_ne!(draw(0, "data"), draw(1, "data"));
    }

    #[test]
    fn numbers_are_written_for_readers() {
        assert_eq!(number(19.2345), "19.23");
        assert_eq!(number(1.5e-12), "1.50e-12");
        assert_eq!(number(0.0), "0");
    }
}
