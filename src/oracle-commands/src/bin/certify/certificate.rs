//! The certificate that both tasks print, for a reader and as JSON.

use proxflow_io::command::{Failure, print_text, write_json};
use proxflow_reference::Bounds;
use serde::Serialize;

use crate::problem::{Input, Problem};

/// The certificate that both commands print.
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
            atoms: [input.model.nrows(), input.data.nrows()],
            dimension: input.model.ncols(),
            f: input.kind.to_string(),
            lipschitz: problem.lipschitz,
            lambda: None,
            horizon: None,
            optimality_gap: None,
            flow: None,
            outcome: "",
            seconds: 0.0,
        }
    }

    /// Prints for a reader unless standard output is taken by JSON; a solver that missed its tolerance is a failed run whose
    /// bounds are still printed and valid.
    pub fn report(&self, value: &str, problem: &Problem) -> Result<(), Failure> {
        if let Some(target) = &problem.json {
            write_json(target, self)?;
        }
        if problem.json.as_deref() != Some("-") {
            print_text(&self.for_a_reader(value))?;
        }
        let widest = self.flow.as_ref().map_or(self.gap, |flow| self.gap.max(flow.terminal.width()));
        if widest <= problem.tolerance * (1.0 + self.upper.abs()) {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "{}: certified gap {widest:.3e} exceeds tolerance {:e} (1 + |value|)",
            self.outcome, problem.tolerance
        )))
    }

    fn for_a_reader(&self, value: &str) -> String {
        let [n, m] = self.atoms;
        let mut lines = vec![format!(
            "{value} lies in [{}, {}], gap {:.1e} ({})",
            digits(self.lower),
            digits(self.upper),
            self.gap,
            self.outcome
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
                "J(flow) - J* lies in [{}, {}] ({} steps)",
                digits(gap.lower),
                digits(gap.upper),
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

impl Interval {
    fn width(&self) -> f64 {
        self.upper - self.lower
    }
}

/// Twelve decimals, or as many significant digits where those would run over.
fn digits(value: f64) -> String {
    if value.abs() < 1e6 { format!("{value:.12}") } else { format!("{value:.15e}") }
}
