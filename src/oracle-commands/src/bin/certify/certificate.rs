//! The certificate that the tasks print, for a reader and as JSON.

use proxflow_io::command::{Failure, print_text, write_json};
use proxflow_reference::Bounds;
use proxflow_reference::Termination;
use proxflow_reference::certificate::Certified;
use proxflow_reference::divergence::LipschitzRegularisedDivergence;
use serde::Serialize;

use crate::problem::{Input, Problem};

/// The certificate of the divergence and of the proximal.
#[derive(Serialize)]
pub struct Certificate {
    pub lower: f64,
    pub upper: f64,
    pub gap: f64,
    /// `L W1(P, eta*)`.
    pub transport: f64,
    /// `D_f(eta*|Q)`.
    pub divergence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinetic_energy: Option<f64>,
    pub atoms: [usize; 2],
    pub dimension: usize,
    pub f: String,
    pub lipschitz: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<f64>,
    /// `J(flow) - J*` of the flow given by `--trajectories`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimality_gap: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<Flow>,
    pub outcome: &'static str,
    /// Whether the bounds are a theorem (`--rigorous`).
    pub rigorous: bool,
    pub seconds: f64,
}

/// Certified bounds `lower <= value <= upper`.
#[derive(Serialize)]
pub struct Interval {
    pub lower: f64,
    pub upper: f64,
}

impl From<Bounds> for Interval {
    fn from(bounds: Bounds) -> Self {
        Self { lower: bounds.lower, upper: bounds.upper }
    }
}

/// The terms of `J(flow) = lambda K_h + D_f^L(x_N|data)`.
#[derive(Serialize)]
pub struct Flow {
    /// `J(flow)`.
    pub objective: Interval,
    /// `K_h = sum_k h E|v_k|^2/2`.
    pub kinetic_energy: f64,
    /// `D_f^L` of the end points.
    pub terminal: Interval,
    /// `N`.
    pub steps: usize,
}

impl Certificate {
    /// The part that describes the problem; values are filled in by the caller.
    pub fn of(input: &Input, problem: &Problem) -> Self {
        Self {
            lower: f64::NAN,
            upper: f64::NAN,
            gap: f64::NAN,
            transport: f64::NAN,
            divergence: f64::NAN,
            kinetic_energy: None,
            atoms: [input.model.len(), input.data.len()],
            dimension: input.model.dimension(),
            f: problem.f.to_string(),
            lipschitz: problem.lipschitz,
            lambda: None,
            horizon: None,
            optimality_gap: None,
            flow: None,
            outcome: "",
            rigorous: problem.common.rigorous,
            seconds: 0.0,
        }
    }

    /// Of one divergence.
    pub fn of_divergence(solved: &LipschitzRegularisedDivergence, input: &Input, problem: &Problem) -> Self {
        Self {
            lower: solved.lower,
            upper: solved.upper,
            gap: solved.gap(),
            transport: solved.transport,
            divergence: solved.divergence,
            outcome: solved.termination.name(),
            seconds: solved.seconds,
            ..Self::of(input, problem)
        }
    }

    /// Whether there are bounds to report.
    pub fn is_known(&self) -> bool {
        let finite = |lower: f64, upper: f64| lower.is_finite() && upper.is_finite();
        finite(self.lower, self.upper)
            && self.optimality_gap.as_ref().is_none_or(|gap| finite(gap.lower, gap.upper))
    }

    /// Writes what the shared options ask for.
    pub fn write_optimisers(
        &self,
        solved: &LipschitzRegularisedDivergence,
        input: &Input,
        problem: &Problem,
    ) -> Result<(), Failure> {
        problem.common.write_potential(&solved.model_potential, || solved.data_potential())?;
        problem.common.write_plan(solved.plan.iter().copied(), [input.model.len(), input.data.len()])?;
        problem.write_intermediate(&solved.intermediate, &solved.stayed)
    }

    /// Prints for a reader unless standard output is taken by JSON; a solver that missed its tolerance is a failed run whose
    /// bounds are still printed and valid.
    pub fn report(&self, value: &str, problem: &Problem) -> Result<(), Failure> {
        let widest = self.flow.as_ref().map_or(self.gap, |flow| self.gap.max(flow.terminal.width()));
        let verdict = Verdict { gap: widest, value: self.upper, tolerance: problem.common.tolerance };
        publish(self, problem.common.json.as_deref(), self.is_known(), || self.for_a_reader(value))?;
        verdict.judge(self.outcome, self.is_known())
    }

    fn for_a_reader(&self, value: &str) -> String {
        let [n, m] = self.atoms;
        let mut lines = vec![format!(
            "{value} lies in {}, gap {:.1e} ({}{})",
            interval(self.lower, self.upper, self.rigorous),
            self.gap,
            self.outcome,
            rigour(self.rigorous)
        )];
        if let (Some(lambda), Some(energy)) = (self.lambda, self.kinetic_energy) {
            lines.push(format!(
                "  lambda K*            {}   (K* = {})",
                digits(lambda * energy),
                digits(energy)
            ));
        }
        let model = if self.lambda.is_some() { "rho_T" } else { "model" };
        lines.push(format!("  L W1({model}, eta*)    {}", digits(self.transport)));
        lines.push(format!("  D_f(eta*|data)       {}", digits(self.divergence)));
        if let (Some(gap), Some(flow)) = (&self.optimality_gap, &self.flow) {
            lines.push(format!(
                "J(flow) - J* lies in {} ({} steps)",
                interval(gap.lower, gap.upper, self.rigorous),
                flow.steps
            ));
            lines.push(format!("  kinetic energy K_h   {}", digits(flow.kinetic_energy)));
            lines.push(format!("  D_f^L(x_N|data)      {}", digits(flow.terminal.upper)));
        }
        let mut setting = format!("  f {}, L {}", self.f, self.lipschitz);
        if let (Some(lambda), Some(horizon)) = (self.lambda, self.horizon) {
            setting += &format!(", lambda {lambda}, T {horizon}");
        }
        lines.push(format!(
            "{setting}; {n} x {m} atoms in dimension {}; {:.3} s",
            self.dimension, self.seconds
        ));
        lines.join("\n") + "\n"
    }
}

/// The certificate of balanced transport.
#[derive(Serialize)]
pub struct Summary {
    pub lower: f64,
    pub upper: f64,
    pub gap: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i64>,
    /// Bounds of `W_p^p`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Interval>,
    pub atoms: [usize; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimension: Option<usize>,
    pub outcome: &'static str,
    /// Whether the bounds are a theorem (`--rigorous`).
    pub rigorous: bool,
    pub seconds: f64,
}

impl Summary {
    /// Bounds and status of a solve.
    pub fn of<T>(found: &Certified<T>, atoms: [usize; 2], rigorous: bool) -> Self {
        Self {
            lower: found.lower,
            upper: found.upper,
            gap: found.gap(),
            order: None,
            cost: None,
            atoms,
            dimension: None,
            outcome: found.termination.name(),
            rigorous,
            seconds: found.seconds,
        }
    }

    /// As [`Certificate::report`].
    pub fn report(&self, value: &str, json: Option<&str>, verdict: &Verdict) -> Result<(), Failure> {
        let known = self.lower.is_finite() && self.upper.is_finite();
        publish(self, json, known, || {
            let [n, m] = self.atoms;
            format!(
                "{value} lies in {}, gap {:.1e} ({}{})\n  {n} x {m} atoms; {:.3} s\n",
                interval(self.lower, self.upper, self.rigorous),
                self.gap,
                self.outcome,
                rigour(self.rigorous),
                self.seconds
            )
        })?;
        verdict.judge(self.outcome, known)
    }
}

/// Whether a certified gap counts as success.
pub struct Verdict {
    pub gap: f64,
    pub value: f64,
    pub tolerance: f64,
}

impl Verdict {
    fn judge(&self, outcome: &str, known: bool) -> Result<(), Failure> {
        if outcome == Termination::Infeasible.name() {
            return Err(Failure::Run("infeasible: no plan avoids the forbidden pairs".into()));
        }
        if !known {
            return Err(Failure::Run(format!("{outcome}: no bounds can be given")));
        }
        if outcome == Termination::Cancelled.name() {
            return Err(Failure::Run(format!("cancelled at a certified gap of {:.3e}", self.gap)));
        }
        if self.gap <= self.tolerance * (1.0 + self.value.abs()) {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "{outcome}: certified gap {:.3e} exceeds tolerance {:e} (1 + |value|)",
            self.gap, self.tolerance
        )))
    }
}

/// JSON where it is asked for, text on standard output unless JSON is there. Bounds that are not known are nowhere printed as
/// numbers.
fn publish(
    report: &impl Serialize,
    json: Option<&str>,
    known: bool,
    text: impl Fn() -> String,
) -> Result<(), Failure> {
    if let Some(target) = json {
        write_json(target, report)?;
    }
    if json != Some("-") && known { print_text(&text()) } else { Ok(()) }
}

impl Interval {
    fn width(&self) -> f64 {
        self.upper - self.lower
    }
}

/// `[lower, upper]`; rounding to fewer digits would spoil a theorem, so that those print every digit.
fn interval(lower: f64, upper: f64, rigorous: bool) -> String {
    if rigorous {
        format!("[{lower:?}, {upper:?}]")
    } else {
        format!("[{}, {}]", digits(lower), digits(upper))
    }
}

fn rigour(rigorous: bool) -> &'static str {
    if rigorous { ", rigorous" } else { "" }
}

/// Twelve decimals, or as many significant digits where those would run over or under.
fn digits(value: f64) -> String {
    let size = value.abs();
    if size < 1e6 && (size >= 1e-6 || size == 0.0) { format!("{value:.12}") } else { format!("{value:.15e}") }
}
