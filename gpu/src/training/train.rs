//! Algorithm 1: alternate critic steps \[40,41\] and one potential step \[42\], with Adam on both.

use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::container::hexadecimal;
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::adam::Adam;
use crate::architecture::Architecture;
use crate::configuration::Configuration;
use crate::distributed::GroupError;
use crate::flow::{FlowSpecification, endpoint};
use crate::indicators::to_host;
use crate::network::Network;
use crate::objective;
use crate::random::{Stream, StreamLabel, place};
use crate::team::Team;

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
    pub(crate) team: Team,
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

/// Why an outer step was not made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StepError {
    /// A term is no longer finite, in every process of the run.
    #[error(transparent)]
    NonFinite(#[from] NonFinite),
    /// The processes of the run no longer work together.
    #[error(transparent)]
    Group(#[from] GroupError),
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
            team: Team::single(),
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

    /// Shares every batch out over `team`. All its processes must have been given the same configuration, data and source: each draws
    /// the whole batches and keeps its rows. The numbers of a run on the CPU depend on [`Team::pieces`] alone, not on processes or threads.
    pub fn with_team(mut self, team: Team) -> Result<Self, InvalidInput> {
        team.check_batch(self.configuration.batch)?;
        self.team = team;
        Ok(self)
    }

    /// The threads and processes of this run.
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// Whether all processes of the team stand at the same point of the same run: configuration, data, iteration, pieces and the
    /// parameters of both networks.
    pub fn ranks_agree(&self) -> Result<bool, GroupError> {
        let mut digest = Sha256::new();
        digest.update(format!("{:?} {} {}", self.configuration, self.iteration, self.team.pieces()));
        digest.update(&self.data_digest);
        let parameters = self.potential.parameters().iter().chain(self.discriminator.parameters());
        parameters.flat_map(to_host).for_each(|value| digest.update(value.to_le_bytes()));
        self.team.agree_on(digest)
    }

    /// Ends the run and gives its team back.
    pub fn into_team(self) -> Team {
        self.team
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
    pub fn step(&mut self) -> Result<StepRecord, StepError> {
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
        let parts = self.team.parts(batch);
        let rows_of = |tensor: &Tensor, dimension: i64| -> Vec<Tensor> {
            parts.iter().map(|rows| tensor.narrow(dimension, rows.start as i64, rows.len() as i64)).collect()
        };

        let factor = self.configuration.learning_rate_schedule.factor(self.iteration);
        // Everything is drawn before anything is computed, so that a device does not wait for draws half-way.
        let mut noise = self.noise_stream.clone();
        let x0 = self.draw_source(&mut noise, critic_steps * batch);
        let x0_of_potential = self.draw_source(&mut noise, batch);
        let draw = |stream: &mut Stream| {
            let chosen = stream.indices(batch as i64, self.data.size()[0]).to_device(options.1);
            (self.data.index_select(0, &chosen), place(&stream.uniform(batch as i64, 1, 0.0, 1.0), options))
        };
        let drawn: Vec<(Tensor, Tensor)> = (0..critic_steps).map(|_| draw(&mut self.batch_stream)).collect();

        // theta is frozen during the critic steps, so all their samples are simulated in one batch.
        let x0 = x0.view([critic_steps as i64, batch as i64, -1]);
        let inputs = rows_of(&x0, 1).into_iter().map(|x0| (self.potential.share(), x0)).collect();
        let generated: Vec<Tensor> =
            self.team.each(batch, inputs, |part, (potential, x0): (Network, Tensor)| {
                let end =
                    |x0: Tensor| endpoint(&potential, &x0.reshape([-1, x0.size()[2]]), flow).view_as(&x0);
                Tensor::cat(&part.cut(&x0, 1).into_iter().map(end).collect::<Vec<_>>(), 1)
            })?;
        for (critic_step, (y, u)) in drawn.into_iter().enumerate() {
            let inputs = generated
                .iter()
                .zip(rows_of(&y, 0).into_iter().zip(rows_of(&u, 0)))
                .map(|(x, (y, u))| (self.discriminator.share(), x.get(critic_step as i64), y, u))
                .collect();
            let parts = self.team.each(batch, inputs, |part, (discriminator, x, y, u)| {
                let between = &y * &u + &x * (1.0 - &u);
                let penalty = penalty.map(|penalty| (penalty, &between));
                objective::critic_part(&discriminator, f, &x, &y, penalty, part)
            })?;
            let (generated_mean, dual_functional) = (parts[0].generated_mean, parts[0].dual_functional);
            let generated_mean = finite("critic: mean phi(x_N)", generated_mean)?;
            let dual_functional = finite("critic: Lambda(phi)", dual_functional)?;
            let ([penalty], gradient) =
                self.team.sum(parts.into_iter().flat_map(|part| part.contributions).collect())?;
            record.penalty = finite("critic: gradient penalty", penalty)?;
            record.terminal_cost = generated_mean - dual_functional;
            self.critic_optimiser.update(self.discriminator.parameters_mut(), &gradient, factor);
        }

        let networks = || (self.potential.share(), self.discriminator.share());
        let inputs = rows_of(&x0_of_potential, 0).into_iter().map(|x0| (networks(), x0)).collect();
        let parts =
            self.team.each(batch, inputs, |part, ((potential, discriminator), x0): (_, Tensor)| {
                objective::potential_part(&potential, &discriminator, &x0, flow, case, part)
            })?;
        let ([terminal, kinetic_energy], gradient) = self.team.sum(parts.into_iter().flatten().collect())?;
        finite("potential: mean phi(x_N)", terminal)?;
        record.kinetic_energy = finite("potential: kinetic energy", kinetic_energy)?;
        self.potential_optimiser.update(self.potential.parameters_mut(), &gradient, factor);

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
        let StepError::NonFinite(error) = trainer.step().unwrap_err() else {
            panic!("one process has no group")
        };
        assert_eq!(error.iteration, 2);
        assert!(error.to_string().contains("critic: mean phi(x_N)"), "{error}");
        assert_eq!(trainer.iteration, 1);
    }

    #[test]
    fn threads_change_nothing_and_pieces_only_the_order_of_summation() {
        let run = |threads, pieces| {
            let mut trainer =
                double_precision_trainer().with_team(Team::new(threads, pieces, None).unwrap()).unwrap();
            for _ in 0..5 {
                trainer.step().unwrap();
            }
            trainer.potential.parameters()[0].copy()
        };
        let (one, four) = (run(1, 1), run(1, 4));
        let error = f64::try_from((&one - &four).norm() / one.norm()).unwrap();
        // Rounding in f64 over five updates.
        assert!(error > 0.0 && error < 1e-12, "{error}");
        for threads in [2, 3, 4, 5] {
            assert!(four.equal(&run(threads, 4)), "{threads} threads");
        }
    }

    fn double_precision_trainer() -> Trainer {
        let configuration = Configuration { batch: 16, ..Configuration::default() };
        let data = Tensor::from_slice(&[2.0_f32, 2.0, 2.5, 2.0, 2.0, 2.5]).reshape([3, 2]);
        let shape = |time| Architecture::dense(2, &[32, 32], Activation::Relu, time);
        let options = (Kind::Double, Device::Cpu);
        Trainer::new(configuration, shape(true), shape(false), &data, Source::Uniform, options).unwrap()
    }

    #[test]
    fn data_of_another_dimension_is_bad_input() {
        let data = Tensor::zeros([4, 3], (Kind::Float, Device::Cpu));
        assert!(trainer(objective::Case::W1).with_data(&data, Source::Uniform).is_err());
    }
}
