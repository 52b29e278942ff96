//! Algorithm 1: alternate critic steps \[40,41\] and one potential step \[42\], with Adam on both.

use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::container::hexadecimal;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::adam::Adam;
use crate::architecture::Architecture;
use crate::configuration::Configuration;
use crate::flow::{FlowSpecification, endpoint};
use crate::indicators::to_host;
use crate::network::Network;
use crate::objective;
use crate::random::{Stream, StreamLabel, place};

/// The law of `x_0`.
#[derive(Debug)]
pub enum Source {
    /// Uniform on the cube of [`Configuration::source`].
    Uniform,
    /// Uniform choice, with replacement, among given points `(n, d)`.
    Samples(Tensor),
}

/// State of a run between two outer steps.
pub struct Trainer {
    /// Hyper-parameters.
    pub configuration: Configuration,
    /// `U_theta`.
    pub potential: Network,
    /// `phi`.
    pub discriminator: Network,
    pub(crate) potential_optimiser: Adam,
    pub(crate) critic_optimiser: Adam,
    pub(crate) batch_stream: Stream,
    pub(crate) noise_stream: Stream,
    /// Outer steps made.
    pub iteration: u64,
    pub(crate) data: Tensor,
    pub(crate) data_digest: String,
    pub(crate) source: Source,
}

/// Terms of the objectives at one outer step, before its updates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepRecord {
    /// Outer steps made, this one included.
    pub iteration: u64,
    /// `mean phi(x_N) - Lambda(phi)` at the last critic step: the network's estimate of `D_f^L`.
    pub terminal_cost: f64,
    /// Penalty at the last critic step.
    pub penalty: f64,
    /// `K_h` on the potential's batch.
    pub kinetic_energy: f64,
}

/// A term of an objective that is no longer finite.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("non-finite term at iteration {iteration}: {term} = {value}")]
pub struct NonFinite {
    /// The outer step, counted from 1.
    pub iteration: u64,
    /// Which term.
    pub term: &'static str,
    /// Its value.
    pub value: f64,
}

impl Trainer {
    /// A fresh run on `data (n, d)`.
    pub fn new(
        configuration: Configuration,
        potential: Architecture,
        discriminator: Architecture,
        data: &Tensor,
        source: Source,
        options: (Kind, Device),
    ) -> Result<Self, InvalidInput> {
        configuration.validate()?;
        let seed = configuration.seed;
        potential.validate()?;
        discriminator.validate()?;
        let potential =
            Network::glorot(potential, &mut Stream::new(seed, StreamLabel::PotentialInit), options);
        let discriminator =
            Network::glorot(discriminator, &mut Stream::new(seed, StreamLabel::DiscriminatorInit), options);
        let potential_optimiser = Adam::new(configuration.potential_adam, potential.parameters());
        let critic_optimiser = Adam::new(configuration.critic_adam, discriminator.parameters());
        let batch_stream = Stream::new(seed, StreamLabel::Batch);
        let noise_stream = Stream::new(seed, StreamLabel::Noise);
        let trainer = Self {
            configuration,
            potential,
            discriminator,
            potential_optimiser,
            critic_optimiser,
            batch_stream,
            noise_stream,
            iteration: 0,
            data: Tensor::new(),
            data_digest: String::new(),
            source: Source::Uniform,
        };
        trainer.with_data(data, source)
    }

    /// Attaches the data `(n, d)` and the source; both must have the networks' dimension.
    pub fn with_data(mut self, data: &Tensor, source: Source) -> Result<Self, InvalidInput> {
        let dimension = self.potential.architecture().dimension();
        let check = |field: &str, tensor: &Tensor| match tensor.size().as_slice() {
            [rows, columns] if *rows > 0 && *columns == dimension => Ok(()),
            size => {
                Err(InvalidInput::new(field, format!("shape {size:?}"), format!("(n >= 1, {dimension})")))
            }
        };
        check("data", data)?;
        self.data = place(data, self.potential.options());
        self.data_digest = digest(&self.data);
        self.source = match source {
            Source::Uniform => Source::Uniform,
            Source::Samples(points) => {
                check("source", &points)?;
                Source::Samples(place(&points, self.potential.options()))
            }
        };
        Ok(self)
    }

    /// SHA-256 of the data as single-precision numbers, in hexadecimal: what tells that a resumed run has its own data.
    pub fn data_digest(&self) -> &str {
        &self.data_digest
    }

    /// The flow \[39\] of this run.
    pub fn flow(&self) -> FlowSpecification {
        let Configuration { horizon, steps, lambda, .. } = self.configuration;
        FlowSpecification { horizon, steps, lambda }
    }

    /// `count` source samples `(count, d)` from `stream`.
    pub fn draw_source(&self, stream: &mut Stream, count: usize) -> Tensor {
        let options = self.potential.options();
        match &self.source {
            Source::Uniform => {
                let [low, high] = self.configuration.source;
                let dimension = self.potential.architecture().dimension();
                place(&stream.uniform(count as i64, dimension, low, high), options)
            }
            Source::Samples(points) => {
                points.index_select(0, &stream.indices(count as i64, points.size()[0]).to_device(options.1))
            }
        }
    }

    /// `count` data points `(count, d)` from `stream`, with replacement.
    pub fn draw_data(&self, stream: &mut Stream, count: usize) -> Tensor {
        let indices = stream.indices(count as i64, self.data.size()[0]);
        self.data.index_select(0, &indices.to_device(self.potential.options().1))
    }

    /// One outer step of Algorithm 1. A non-finite term stops before the update that would spread it.
    pub fn step(&mut self) -> Result<StepRecord, NonFinite> {
        let Configuration { case, f, batch, critic_steps, .. } = self.configuration;
        let (flow, penalty, options) = (self.flow(), self.configuration.penalty(), self.potential.options());
        let mut record = StepRecord {
            iteration: self.iteration + 1,
            terminal_cost: 0.0,
            penalty: 0.0,
            kinetic_energy: 0.0,
        };
        let finite = |term: &'static str, value: f64| match value.is_finite() {
            true => Ok(value),
            false => Err(NonFinite { iteration: record.iteration, term, value }),
        };

        let factor = self.configuration.learning_rate_schedule.factor(self.iteration);
        // theta is frozen during the critic steps, so all their samples are simulated in one batch.
        let mut noise = self.noise_stream.clone();
        let x0 = self.draw_source(&mut noise, critic_steps * batch);
        let generated = endpoint(&self.potential, &x0, flow);
        for x in generated.chunk(critic_steps as i64, 0) {
            let y = self.data.index_select(
                0,
                &self.batch_stream.indices(batch as i64, self.data.size()[0]).to_device(options.1),
            );
            let u = place(&self.batch_stream.uniform(batch as i64, 1, 0.0, 1.0), options);
            let between = &y * &u + &x * (1.0 - &u);
            let critic =
                objective::critic(&self.discriminator, f, &x, &y, penalty.map(|penalty| (penalty, &between)));
            let generated_mean = finite("critic: mean phi(x_N)", critic.generated_mean)?;
            let dual_functional = finite("critic: Lambda(phi)", critic.dual_functional)?;
            record.penalty = finite("critic: gradient penalty", critic.penalty)?;
            record.terminal_cost = generated_mean - dual_functional;
            self.critic_optimiser.update(self.discriminator.parameters_mut(), &critic.gradient, factor);
        }

        let x0 = self.draw_source(&mut noise, batch);
        let potential = objective::potential(&self.potential, &self.discriminator, &x0, flow, case);
        finite("potential: mean phi(x_N)", potential.terminal)?;
        record.kinetic_energy = finite("potential: kinetic energy", potential.kinetic_energy)?;
        self.potential_optimiser.update(self.potential.parameters_mut(), &potential.gradient, factor);

        self.noise_stream = noise;
        self.iteration += 1;
        Ok(record)
    }
}

pub(crate) fn digest(data: &Tensor) -> String {
    let mut digest = Sha256::new();
    data.size().iter().for_each(|size| digest.update(size.to_le_bytes()));
    to_host(data).iter().for_each(|value| digest.update(value.to_le_bytes()));
    hexadecimal(&digest.finalize())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::Activation;
    use crate::schedule::Schedule;

    fn trainer(case: objective::Case) -> Trainer {
        let configuration = Configuration { case, batch: 16, ..Configuration::default() };
        let data = Tensor::from_slice(&[2.0_f32, 2.0, 2.5, 2.0, 2.0, 2.5]).reshape([3, 2]);
        let shape = |time| Architecture::dense(2, &[32, 32], Activation::Relu, time);
        Trainer::new(
            configuration,
            shape(true),
            shape(false),
            &data,
            Source::Uniform,
            (Kind::Float, Device::Cpu),
        )
        .unwrap()
    }

    #[test]
    fn two_runs_with_one_seed_give_the_same_numbers() {
        let (mut first, mut second) = (trainer(objective::Case::W1W2), trainer(objective::Case::W1W2));
        for _ in 0..5 {
            assert_eq!(first.step(), second.step());
        }
    }

    #[test]
    fn a_schedule_scales_the_updates_and_stops_them_at_zero() {
        let run = |learning_rate_schedule| {
            let mut trainer = trainer(objective::Case::W1W2);
            trainer.configuration.learning_rate_schedule = learning_rate_schedule;
            let mut weights = Vec::new();
            for _ in 0..3 {
                trainer.step().unwrap();
                weights.push(trainer.potential.parameters()[0].copy());
            }
            weights
        };
        let (constant, falling) = (run(Schedule::Constant), run(Schedule::Linear { steps: 2 }));
        assert!(constant[0].equal(&falling[0]), "the factor of the first step is 1");
        assert!(!constant[1].equal(&falling[1]), "that of the second is 1/2");
        assert!(falling[1].equal(&falling[2]), "that of the third is 0");
    }

    #[test]
    fn the_loss_moves_and_stays_finite() {
        let mut trainer = trainer(objective::Case::W1W2);
        let records: Vec<StepRecord> = (0..20).map(|_| trainer.step().unwrap()).collect();
        assert!(records.iter().any(|record| record.terminal_cost != records[0].terminal_cost));
        assert_eq!(trainer.iteration, 20);
    }

    #[test]
    fn a_non_finite_term_names_itself_and_the_step() {
        let mut trainer = trainer(objective::Case::None);
        trainer.step().unwrap();
        let poisoned = &mut trainer.discriminator.parameters_mut()[0];
        let _ = tch::no_grad(|| poisoned.fill_(f64::NAN));
        let error = trainer.step().unwrap_err();
        assert_eq!(error.iteration, 2);
        assert!(error.to_string().contains("critic: mean phi(x_N)"), "{error}");
        assert_eq!(trainer.iteration, 1);
    }

    #[test]
    fn data_of_another_dimension_is_bad_input() {
        let data = Tensor::zeros([4, 3], (Kind::Float, Device::Cpu));
        assert!(trainer(objective::Case::W1).with_data(&data, Source::Uniform).is_err());
    }
}
