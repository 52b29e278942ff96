//! The certificate that both tasks print, for a reader and as JSON.

use proxflow::command::{Failure, write_json};
use proxflow_reference::transport::Outcome;
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
    pub outcome: &'static str,
    pub seconds: f64,
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
            self.print(value);
        }
        if self.gap <= problem.tolerance * (1.0 + self.upper.abs()) {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "{}: certified gap {:.3e} exceeds tolerance {:e} (1 + |value|)",
            self.outcome, self.gap, problem.tolerance
        )))
    }

    fn print(&self, value: &str) {
        let [n, m] = self.atoms;
        println!(
            "{value} lies in [{:.12}, {:.12}], gap {:.1e} ({})",
            self.lower, self.upper, self.gap, self.outcome
        );
        if let (Some(lambda), Some(energy)) = (self.lambda, self.kinetic_energy) {
            println!("  lambda K*            {:.12}   (K* = {energy:.12})", lambda * energy);
        }
        println!("  L W1(model, eta*)    {:.12}", self.transport);
        println!("  D_f(eta*|data)       {:.12}", self.divergence);
        print!("  f {}, L {}", self.f, self.lipschitz);
        if let (Some(lambda), Some(horizon)) = (self.lambda, self.horizon) {
            print!(", lambda {lambda}, T {horizon}");
        }
        println!("; {n} x {m} atoms in dimension {}; {:.3} s", self.dimension, self.seconds);
    }
}

pub fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Converged => "converged",
        Outcome::Stalled => "stalled",
        Outcome::IterationLimit => "iteration limit",
    }
}
