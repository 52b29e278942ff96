//! The two ways of learning a flow behind one face: Algorithm 1 on dense networks, concave ascent of a Hopf-Lax potential.

use std::path::Path;

use proxflow::command::Failure;
use proxflow::libtorch::{bad_checkpoint, rows_of, tensor_of};
use proxflow::source_law::SourceLaw;
use proxflow_gpu::architecture::{Activation, Architecture};
use proxflow_gpu::ascent::{HeightAscent, PopulationBounds};
use proxflow_gpu::checkpoint::{AscentRun, Model};
use proxflow_gpu::quantisation::Quantisation;
use proxflow_gpu::random::{Stream, StreamLabel, place};
use proxflow_gpu::train::{Source, Trainer};
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::{Measure, Options};
use tch::{Device, Kind, Tensor};

use crate::configuration::{ModelChoice, RunConfiguration};
use crate::problem::Problem;

/// Points that stand for a source law in Algorithm 1, which draws from points.
const POOL: usize = 1 << 17;
/// Rounds of Lloyd's alternation for prototypes.
const LLOYD_ROUNDS: usize = 30;
/// Source points of the problem that the oracle solves for the first heights, and its certified gap.
const ORACLE_SAMPLES: usize = 8000;
const ORACLE_TOLERANCE: f64 = 1e-7;
/// Fresh source points a batch of the population certificate.
const CERTIFICATE_BATCH: usize = 1000;

/// A flow in training.
pub enum Learner {
    /// Algorithm 1.
    Dense(Box<Trainer>),
    /// Heights by ascent, from a source that the ascent need not know.
    HopfLax(Box<Ascent>),
}

/// An ascent with what it draws from.
pub struct Ascent {
    run: AscentRun,
    source: SourceLaw,
    data: Tensor,
    options: (Kind, Device),
}

/// Widths of the hidden layers, by dimension.
fn hidden(dimension: usize) -> Vec<i64> {
    match dimension {
        0..=3 => vec![64, 64],
        4..=16 => vec![128, 128],
        _ => vec![256, 256, 256],
    }
}

/// Prototypes with the heights of the optimum on a sample of the source, by the oracle: its coarse shape is right, and what the
/// sample leaves open is of the size of single cells, which the ascent settles.
fn started(problem: &Problem, configuration: &RunConfiguration, data: &Tensor) -> Result<AscentRun, Failure> {
    let training = &configuration.training;
    let quantisation = if problem.train.nrows() <= configuration.prototypes {
        Quantisation::whole(data)
    } else {
        let mut stream = Stream::new(training.seed, StreamLabel::PotentialInit);
        Quantisation::medians(data, configuration.prototypes as i64, LLOYD_ROUNDS, &mut stream)
    };
    let ascent = HeightAscent::new(&quantisation, AscentRun::cost(training), training.source)?;
    let noise = problem
        .noise(ORACLE_SAMPLES, training.seed ^ ORACLE_SAMPLES as u64, StreamLabel::Noise)
        .mapv(f64::from);
    let masses: Vec<f64> = (0..ascent.prototypes()).map(|j| quantisation.masses.double_value(&[j])).collect();
    let total: f64 = masses.iter().sum();
    let masses: Vec<f64> = masses.iter().map(|mass| mass / total).collect();
    let prototypes = Measure::new(rows_of(&quantisation.prototypes), masses)?;
    let options = Options::new().tolerance(ORACLE_TOLERANCE);
    let optimum = combined_proximal(
        &Measure::uniform(noise.view())?,
        &prototypes,
        training.f,
        configuration.parameters()?,
        &options,
    )?;
    Ok(AscentRun {
        ascent: ascent.started_at(optimum.potential.offsets())?,
        configuration: training.clone(),
        distortion: quantisation.distortion,
        noise: Stream::new(training.seed, StreamLabel::Noise),
    })
}

impl Learner {
    /// At the start, or with `checkpoint` where that stands.
    pub fn new(
        problem: &Problem,
        configuration: &RunConfiguration,
        checkpoint: Option<&Path>,
        options: (Kind, Device),
    ) -> Result<Self, Failure> {
        let training = &configuration.training;
        let data = place(&tensor_of(&problem.train.mapv(|value| value as f32)), options);
        match configuration.model {
            ModelChoice::Dense => {
                let pool = match &problem.source {
                    SourceLaw::Samples(rows) => rows.mapv(|value| value as f32),
                    _ => problem.noise(POOL, training.seed ^ POOL as u64, StreamLabel::Noise),
                };
                let source = Source::Samples(tensor_of(&pool));
                let trainer = match checkpoint {
                    Some(path) => Trainer::resume(path, &data, source, options).map_err(bad_checkpoint)?,
                    None => {
                        let dimension = problem.dimension();
                        let network = |activation, time| {
                            Architecture::dense(dimension as i64, &hidden(dimension), activation, time)
                        };
                        // U is smooth before T; the critic has kinks where its slope changes.
                        let networks = (network(Activation::Tanh, true), network(Activation::Relu, false));
                        Trainer::new(training.clone(), networks.0, networks.1, &data, source, options)?
                    }
                };
                Ok(Self::Dense(Box::new(trainer)))
            }
            ModelChoice::HopfLax => {
                let mut run = match checkpoint {
                    Some(path) => AscentRun::resume(path, &data, options).map_err(bad_checkpoint)?,
                    None => started(problem, configuration, &data)?,
                };
                run.ascent = run.ascent.with_local_steps();
                Ok(Self::HopfLax(Box::new(Ascent { run, source: problem.source.clone(), data, options })))
            }
        }
    }

    /// Steps made.
    pub fn iteration(&self) -> u64 {
        match self {
            Self::Dense(trainer) => trainer.iteration,
            Self::HopfLax(ascent) => ascent.run.ascent.iteration,
        }
    }

    /// One step; the name of a term that is not finite.
    pub fn step(&mut self) -> Result<(), String> {
        match self {
            Self::Dense(trainer) => trainer.step().map(drop).map_err(|error| error.to_string()),
            Self::HopfLax(ascent) => {
                let Ascent { run, source, options, .. } = ascent.as_mut();
                let dimension = run.ascent.dimension() as usize;
                let x0 = source.draw(run.configuration.batch, dimension, run.noise.generator());
                let record = run.ascent.step(&place(&tensor_of(&x0), *options));
                match record.dual.is_finite() {
                    true => Ok(()),
                    false => Err(format!("dual value at iteration {}", record.iteration)),
                }
            }
        }
    }

    /// The networks as they stand.
    pub fn model(&self) -> Model {
        match self {
            Self::Dense(trainer) => Model {
                potential: trainer.potential.to(trainer.potential.options()),
                discriminator: trainer.discriminator.to(trainer.discriminator.options()),
                flow: trainer.flow(),
                lipschitz: trainer.configuration.lipschitz,
                source: trainer.configuration.source,
                notices: Vec::new(),
            },
            Self::HopfLax(ascent) => ascent.run.model(),
        }
    }

    /// Writes the checkpoint.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        match self {
            Self::Dense(trainer) => trainer.save(path),
            Self::HopfLax(ascent) => ascent.run.save(path, &ascent.data),
        }
        .map_err(bad_checkpoint)
    }

    /// Bounds on `J*` and on this flow's own J over the whole source law, from fresh noise: what only an ascent has.
    pub fn population(&self, batches: usize, stream: &mut Stream) -> Option<PopulationBounds> {
        let Self::HopfLax(ascent) = self else { return None };
        let dimension = ascent.run.ascent.dimension() as usize;
        Some(ascent.run.ascent.certify((0..batches).map(|_| {
            let x0 = ascent.source.draw(CERTIFICATE_BATCH, dimension, stream.generator());
            place(&tensor_of(&x0), ascent.options)
        })))
    }

    /// Number of prototypes and W1 from the training points to them.
    pub fn prototypes(&self) -> Option<(i64, f64)> {
        match self {
            Self::Dense(_) => None,
            Self::HopfLax(ascent) => Some((ascent.run.ascent.prototypes(), ascent.run.distortion)),
        }
    }
}
