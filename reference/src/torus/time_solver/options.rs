//! How the interior-point method starts and stops.

use super::game::TimeDependentProblem;
use crate::specification::InvalidInput;
use crate::torus::time_solver::barrier;

/// How the solver starts and stops.
#[derive(Debug, Clone)]
pub struct TimeDependentOptions {
    /// Gap to reach, relative to `1 + |value|`; also fixes the last `mu`.
    pub tolerance: f64,
    /// Limit on Newton steps.
    pub most_iterations: usize,
    /// First potential.
    pub start: Start,
}

impl Default for TimeDependentOptions {
    /// Gap `1e-9`, at most 200 Newton steps, from `phi = 0`.
    fn default() -> Self {
        Self { tolerance: 1e-9, most_iterations: 200, start: Start::Zero }
    }
}

impl TimeDependentOptions {
    pub(super) fn check(&self, problem: &TimeDependentProblem) -> Result<(), InvalidInput> {
        if !(self.tolerance >= 1e-13 && self.tolerance <= 1.0) {
            return Err(InvalidInput::new("tolerance", self.tolerance, "1e-13 to 1"));
        }
        if let Start::Potential(potential) = &self.start {
            let neighbours = problem.scheme.neighbours();
            neighbours.require_values("start", potential)?;
            let slack =
                barrier::slacks(&barrier::scaled_differences(neighbours, problem.lipschitz, potential));
            if let Some(slack) = slack.iter().find(|c| **c <= 0.0) {
                return Err(InvalidInput::new(
                    "start",
                    format!("slope {} L", (1.0 - 2.0 * slack).sqrt()),
                    "slope strictly below L at every node",
                ));
            }
        }
        Ok(())
    }
}

/// First potential of the method.
#[derive(Debug, Clone)]
pub enum Start {
    /// `phi = 0`.
    Zero,
    /// A potential of slope strictly below `L` at every node.
    Potential(Vec<f64>),
}
