//! Hyper-parameters of a training run, with the published MNIST set-up as default.

use proxflow_reference::{DivergenceKind, InvalidInput};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::adam::AdamSpecification;
use crate::flow::FlowSpecification;
use crate::objective::{Case, Penalty};
use crate::schedule::Schedule;

/// Everything that decides the numbers of a run, given the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Configuration {
    /// Which proximals are used.
    pub case: Case,
    /// The f-divergence.
    pub f: DivergenceKind,
    /// Batch size `B`.
    pub batch: usize,
    /// Critic steps per potential step.
    pub critic_steps: usize,
    /// Horizon `T`.
    pub horizon: f64,
    /// Euler steps `N`.
    pub steps: usize,
    /// Kinetic weight `lambda`.
    pub lambda: f64,
    /// Lipschitz constant `L`.
    pub lipschitz: f64,
    /// Weight `w` of the gradient penalty.
    pub penalty_weight: f64,
    /// Adam of the discriminator.
    pub critic_adam: AdamSpecification,
    /// Adam of the potential.
    pub potential_adam: AdamSpecification,
    /// Factor on both learning rates, by outer step; constant as published.
    pub learning_rate_schedule: Schedule,
    /// Source law: uniform on `[low, high)^d`.
    #[serde(deserialize_with = "two_numbers")]
    pub source: [f64; 2],
    /// Root seed.
    pub seed: u64,
}

/// An array of another length than two is refused, not cut.
fn two_numbers<'de, D: Deserializer<'de>>(source: D) -> Result<[f64; 2], D::Error> {
    let numbers = Vec::<f64>::deserialize(source)?;
    let length = numbers.len();
    numbers.try_into().map_err(|_| D::Error::invalid_length(length, &"two numbers, low and high"))
}

impl Default for Configuration {
    fn default() -> Self {
        let adam = |learning_rate| AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
        Self {
            case: Case::W1W2,
            f: DivergenceKind::KullbackLeibler,
            batch: 200,
            critic_steps: 5,
            horizon: 5.0,
            steps: 5,
            lambda: 0.05,
            lipschitz: 1.0,
            penalty_weight: 0.1,
            critic_adam: adam(1e-4),
            potential_adam: adam(5e-4),
            learning_rate_schedule: Schedule::Constant,
            source: [0.0, 0.5],
            seed: 1,
        }
    }
}

impl Configuration {
    /// Checks every range before any work.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        self.flow()?;
        for (field, value) in [("batch", self.batch), ("critic-steps", self.critic_steps)] {
            if value == 0 {
                return Err(InvalidInput::new(field, value, ">= 1"));
            }
        }
        InvalidInput::require_positive("lipschitz", self.lipschitz)?;
        InvalidInput::require_positive("penalty-weight", self.penalty_weight)?;
        for (field, adam) in [("critic-adam", self.critic_adam), ("potential-adam", self.potential_adam)] {
            InvalidInput::require_positive(&format!("{field}.learning-rate"), adam.learning_rate)?;
            for (name, beta) in [("beta1", adam.beta1), ("beta2", adam.beta2)] {
                if !(0.0..1.0).contains(&beta) {
                    return Err(InvalidInput::new(format!("{field}.{name}"), beta, "[0, 1)"));
                }
            }
        }
        let [low, high] = self.source;
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(InvalidInput::new("source", format!("[{low}, {high}]"), "finite, low < high"));
        }
        Ok(())
    }

    /// The flow \[39\].
    pub fn flow(&self) -> Result<FlowSpecification, InvalidInput> {
        FlowSpecification::new(self.horizon, self.steps, self.lambda)
    }

    /// The gradient penalty, when the case has one.
    pub fn penalty(&self) -> Option<Penalty> {
        self.case.has_penalty().then_some(Penalty { weight: self.penalty_weight, lipschitz: self.lipschitz })
    }
}
