//! Everything that decides a run, its ranges and the set-up of each model.

use std::path::PathBuf;

use proxflow::command::Failure;
use proxflow_gpu::adam::AdamSpecification;
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::flow::SINGLE_PRECISION;
use proxflow_gpu::objective::Case;
use proxflow_gpu::schedule::Schedule;
use proxflow_reference::checkpoint::MOST_STEPS;
use proxflow_reference::{DivergenceKind, InvalidInput};
use serde::{Deserialize, Serialize};

use crate::memory;
use crate::training::model::Model;

/// A run of this length ends in no lifetime.
const MOST_ITERATIONS: u64 = 1_000_000_000;

/// Everything that decides a run; written resolved to `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RunConfiguration {
    pub model: Model,
    pub prototypes: usize,
    /// L as a multiple of the critical constant, until it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lipschitz_factor: Option<f64>,
    pub iterations: u64,
    pub train_size: usize,
    pub dataset: String,
    pub data: Option<PathBuf>,
    pub device: String,
    pub threads: Option<usize>,
    pub pieces: Option<usize>,
    pub log_every: u64,
    pub sample_every: u64,
    pub checkpoint_every: u64,
    pub stop_hj: Option<f64>,
    pub training: Configuration,
}

impl Default for RunConfiguration {
    fn default() -> Self {
        Self {
            model: Model::Published,
            prototypes: 500,
            lipschitz_factor: None,
            iterations: 5000,
            train_size: 6000,
            dataset: "auto".to_owned(),
            data: None,
            device: "auto".to_owned(),
            threads: None,
            pieces: None,
            log_every: 20,
            sample_every: 500,
            checkpoint_every: 50,
            stop_hj: None,
            training: Configuration::default(),
        }
    }
}

impl RunConfiguration {
    /// The set-up that a model is trained with unless options say otherwise.
    pub fn of(model: Model) -> Self {
        let published = Self::default();
        let adam = |learning_rate| AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
        match model {
            Model::Published => published,
            Model::Smooth => Self {
                iterations: 3000,
                lipschitz_factor: Some(1.2),
                model,
                training: Configuration {
                    batch: 128,
                    critic_adam: adam(2e-4),
                    potential_adam: adam(5e-4),
                    learning_rate_schedule: Schedule::Cosine { steps: 3000 },
                    ..Configuration::default()
                },
                ..published
            },
            Model::HopfLax | Model::Exact => Self {
                iterations: 2000,
                lipschitz_factor: Some(if model == Model::Exact { 1.2 } else { 0.45 }),
                model,
                training: Configuration { batch: 1000, ..Configuration::default() },
                ..published
            },
        }
    }

    /// Every range, before any work and any allocation.
    pub fn check(&self) -> Result<(), Failure> {
        let training = &self.training;
        training.validate()?;
        if let Some(threshold) = self.stop_hj {
            InvalidInput::require_positive("stop-hj", threshold)?;
        }
        let numbers = [
            ("lipschitz", training.lipschitz),
            ("penalty-weight", training.penalty_weight),
            ("source", training.source[0].abs().max(*SINGLE_PRECISION.start())),
            ("source", training.source[1].abs().max(*SINGLE_PRECISION.start())),
        ];
        for (field, value) in numbers {
            if !SINGLE_PRECISION.contains(&value) {
                let allowed = format!("{:e} to {:e}", SINGLE_PRECISION.start(), SINGLE_PRECISION.end());
                return Err(Failure::bad_input(field, value, allowed));
            }
        }
        for (field, value, most) in [
            ("iterations", self.iterations, MOST_ITERATIONS),
            ("steps", training.steps as u64, MOST_STEPS as u64),
        ] {
            if value > most {
                return Err(Failure::bad_input(field, value, format!("at most {most}")));
            }
        }
        if let Some(pieces) = self.pieces
            && !(1..=training.batch).contains(&pieces)
        {
            return Err(Failure::bad_input("pieces", pieces, format!("1..={}, the batch", training.batch)));
        }
        if self.train_size == 0 {
            return Err(Failure::bad_input("train-size", 0, ">= 1"));
        }
        memory::require("train-size", self.train_size, memory::IMAGE)?;
        memory::require_batch(training)?;
        self.check_model()
    }

    /// What the models need beyond ranges; before the first digit is read.
    fn check_model(&self) -> Result<(), Failure> {
        let training = &self.training;
        if let Some(factor) = self.lipschitz_factor {
            InvalidInput::require_positive("lipschitz-factor", factor)?;
        }
        if !self.model.is_hopf_lax() {
            return Ok(());
        }
        let most = self.train_size;
        if self.model == Model::HopfLax && !(1..=most).contains(&self.prototypes) {
            let allowed = format!("1..={most}, the training digits");
            return Err(Failure::bad_input("prototypes", self.prototypes, allowed));
        }
        // The ascent of heights knows one problem.
        if training.case != Case::W1W2 {
            let allowed = "w1w2 with a Hopf-Lax model; --preset paper trains every case";
            return Err(Failure::bad_input("case", training.case.name(), allowed));
        }
        if training.f != DivergenceKind::KullbackLeibler {
            let allowed = "kl with a Hopf-Lax model; --preset paper trains every divergence";
            return Err(Failure::bad_input("f", training.f, allowed));
        }
        if self.iterations == 0 {
            return Err(Failure::bad_input("iterations", 0, ">= 1 with a Hopf-Lax model"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::model::Preset;

    #[test]
    fn the_published_model_is_the_default_set_up_untouched() {
        assert_eq!(RunConfiguration::of(Preset::Paper.model()), RunConfiguration::default());
        let paper = RunConfiguration::default();
        assert_eq!((paper.training.lipschitz, paper.training.penalty_weight), (1.0, 0.1));
        assert_eq!((paper.iterations, paper.training.batch, paper.lipschitz_factor), (5000, 200, None));
    }
}
