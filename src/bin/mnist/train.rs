//! `mnist train`: the training run, from resolved configuration to run directory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ndarray::ArrayView2;
use proxflow::command::{COMMIT, Failure, write_atomically, write_json};
use proxflow::dataset::{Dataset, resolve};
use proxflow::run_directory::RunDirectory;
use proxflow::{curves, picture};
use proxflow_gpu::architecture::Architecture;
use proxflow_gpu::device::{DeviceChoice, device_name};
use proxflow_gpu::distributed::Rendezvous;
use proxflow_gpu::train::{NonFinite, Source, StepError, StepRecord, Trainer};
use proxflow_gpu::{device, flow};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::configuration::{Arguments, RunConfiguration, resolve_configuration};
use crate::convert::{bad_checkpoint, tensor_of};
use crate::measure::{self, Evaluation};
use crate::{options, ranks};

/// Why a run ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StopReason {
    IterationsReached,
    GaugedResidualBelow { threshold: f64 },
    Interrupted,
    NonFinite { term: String, iteration: u64 },
}

/// `report.json`.
#[derive(Serialize)]
struct Report<'a> {
    case: &'static str,
    dataset: &'static str,
    dataset_origin: &'a str,
    seed: u64,
    commit: &'static str,
    version: &'static str,
    libtorch: &'static str,
    device: String,
    threads: usize,
    processes: usize,
    configuration: &'a RunConfiguration,
    iterations: u64,
    stop_reason: StopReason,
    seconds: f64,
    seconds_per_iteration: f64,
    peak_memory_mib: Option<f64>,
    indicators: Option<measure::Row>,
}

/// Set by Ctrl-C; the run then writes its checkpoint and report and ends.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Trains, and leaves everything in the run directory.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let configuration = resolve_configuration(&arguments)?;
    let choice: DeviceChoice = configuration.device.parse()?;
    let device = options::prepare_device(choice, configuration.threads)?;
    device::keep_freed_memory();
    let place = ranks::place()?;
    let writes = ranks::writes(place.as_ref());
    let seed = configuration.training.seed;
    let dataset = resolve::load(
        configuration.dataset.parse()?,
        configuration.data.as_deref(),
        seed,
        configuration.train_size,
    )?;
    if writes {
        eprintln!(
            "data: {} ({}), {} of {} images; device: {}",
            dataset.name,
            dataset.origin,
            configuration.train_size,
            dataset.train.labels.len(),
            device_name(device)
        );
    }
    if configuration.train_size > dataset.train.labels.len() {
        let allowed = format!("1..={}", dataset.train.labels.len());
        return Err(Failure::bad_input("train-size", configuration.train_size, allowed));
    }
    let images = dataset.train.training_subset(configuration.train_size, seed);
    let data = tensor_of(&images)?;
    let options = (Kind::Float, device);
    if !writes {
        return follow(&arguments, &configuration, place.as_ref(), &data, options);
    }

    let (directory, trainer) = if let (true, Some(folder)) = (arguments.resume, &arguments.out) {
        let directory = RunDirectory::open(folder)?;
        let trainer = Trainer::resume(&directory.checkpoint(), &data, Source::Uniform, options)
            .map_err(bad_checkpoint)?;
        if trainer.configuration != configuration.training {
            let allowed = "the options the run was started with";
            return Err(Failure::bad_input(
                "resume",
                "other training options than the checkpoint's",
                allowed,
            ));
        }
        directory.rewind_metrics(trainer.iteration)?;
        (directory, trainer)
    } else {
        let base =
            PathBuf::from("runs").join(format!("mnist-{}-seed{seed}", configuration.training.case.name()));
        let folder = arguments.out.clone().unwrap_or_else(|| RunDirectory::unused(&base));
        let directory = RunDirectory::create(&folder)?;
        let networks = (Architecture::mnist_potential(), Architecture::mnist_discriminator());
        let training = configuration.training.clone();
        (directory, Trainer::new(training, networks.0, networks.1, &data, Source::Uniform, options)?)
    };
    let text = toml::to_string(&configuration).map_err(|error| Failure::Run(error.to_string()))?;
    write_atomically(&directory.configuration(), text.as_bytes())?;
    eprintln!("run: {}", directory.folder().display());
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst));

    let team = ranks::team(place.as_ref(), device, configuration.threads, arguments.timeout)?;
    let trainer = trainer.with_team(team)?;
    let evaluation = Evaluation::new(&trainer);
    let start = Instant::now();
    let first = trainer.iteration;
    let (trainer, outcome) = train(trainer, &configuration, &directory, &dataset, &evaluation);
    let stop_reason = outcome?;
    let seconds = start.elapsed().as_secs_f64();
    let made = trainer.iteration.saturating_sub(first);

    let finite = !matches!(stop_reason, StopReason::NonFinite { .. });
    if finite {
        trainer.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
        write_samples(&trainer, &directory, &dataset, &evaluation)?;
    }
    if directory.metrics().exists() {
        curves::draw(&directory.metrics(), &directory.curves(), &caption(&trainer, &dataset))?;
    }
    let report = Report {
        case: configuration.training.case.name(),
        dataset: dataset.name,
        dataset_origin: &dataset.origin,
        seed,
        commit: COMMIT,
        version: env!("CARGO_PKG_VERSION"),
        libtorch: device::LIBTORCH_VERSION,
        device: device_name(device),
        threads: trainer.team().threads(),
        processes: trainer.team().size(),
        configuration: &configuration,
        iterations: trainer.iteration,
        stop_reason: stop_reason.clone(),
        seconds,
        seconds_per_iteration: if made > 0 { seconds / made as f64 } else { 0.0 },
        peak_memory_mib: measure::peak_memory_mib(),
        indicators: finite.then(|| trainer.team().pooled(|| evaluation.measure(&trainer, None))),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&directory.report(), text.as_bytes())?;
    if let Some(target) = &arguments.common.json {
        write_json(target, &report)?;
    }
    match stop_reason {
        StopReason::NonFinite { term, iteration } => Err(Failure::Run(format!(
            "stopped at iteration {iteration}: {term} is not finite; the last finite checkpoint is kept in {}",
            directory.folder().display()
        ))),
        reason => {
            eprintln!(
                "done: {made} iterations in {seconds:.0} s, stop reason {reason:?}, results in {}",
                directory.folder().display()
            );
            Ok(())
        }
    }
}

/// The loop: one outer step of Algorithm 1 at a time, with what is measured, drawn and saved on the way.
fn train(
    mut trainer: Trainer,
    configuration: &RunConfiguration,
    directory: &RunDirectory,
    dataset: &Dataset,
    evaluation: &Evaluation,
) -> (Trainer, Result<StopReason, Failure>) {
    let bar = progress_bar(configuration.iterations, trainer.iteration);
    let due = |every: u64, iteration: u64| every > 0 && iteration.is_multiple_of(every);
    let mut body = || -> Result<StopReason, Failure> {
        if trainer.iteration == 0 {
            trainer.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
        }
        while trainer.iteration < configuration.iterations {
            if stop_in_any(&trainer, INTERRUPTED.load(Ordering::SeqCst))? {
                return Ok(StopReason::Interrupted);
            }
            let record: StepRecord = match trainer.step() {
                Ok(record) => record,
                Err(StepError::NonFinite(NonFinite { iteration, term, .. })) => {
                    return Ok(StopReason::NonFinite { term: term.to_owned(), iteration });
                }
                Err(StepError::Group(error)) => return Err(ranks::lost(&error)),
            };
            bar.inc(1);
            if due(configuration.log_every, trainer.iteration) {
                let row = trainer.team().pooled(|| evaluation.measure(&trainer, Some(record)));
                directory.append_metrics(measure::Row::NAMES, &row.values())?;
                bar.set_message(row.summary());
                if let Some(threshold) = configuration.stop_hj
                    && row.hj_residual_gauged < threshold
                {
                    if trainer.iteration < configuration.iterations {
                        stop_in_any(&trainer, true)?;
                    }
                    return Ok(StopReason::GaugedResidualBelow { threshold });
                }
            }
            if due(configuration.sample_every, trainer.iteration) {
                write_samples(&trainer, directory, dataset, evaluation)?;
            }
            if due(configuration.checkpoint_every, trainer.iteration) && parameters_are_finite(&trainer) {
                trainer.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
            }
        }
        Ok(StopReason::IterationsReached)
    };
    let outcome = body();
    bar.finish_and_clear();
    (trainer, outcome)
}

/// A rank other than 0: takes part in every step, writes nothing, and ends when rank 0 does.
fn follow(
    arguments: &Arguments,
    configuration: &RunConfiguration,
    place: Option<&Rendezvous>,
    data: &Tensor,
    options: (Kind, Device),
) -> Result<(), Failure> {
    let trainer = match (arguments.resume, &arguments.out) {
        (true, Some(folder)) => {
            Trainer::resume(&RunDirectory::open(folder)?.checkpoint(), data, Source::Uniform, options)
                .map_err(bad_checkpoint)?
        }
        _ => {
            let networks = (Architecture::mnist_potential(), Architecture::mnist_discriminator());
            let training = configuration.training.clone();
            Trainer::new(training, networks.0, networks.1, data, Source::Uniform, options)?
        }
    };
    let team = ranks::team(place, options.1, configuration.threads, arguments.timeout)?;
    let mut trainer = trainer.with_team(team)?;
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst));
    while trainer.iteration < configuration.iterations {
        if stop_in_any(&trainer, INTERRUPTED.load(Ordering::SeqCst))? {
            break;
        }
        match trainer.step() {
            Ok(_) => {}
            // Rank 0 finds the same and says so.
            Err(StepError::NonFinite(_)) => break,
            Err(StepError::Group(error)) => return Err(ranks::lost(&error)),
        }
    }
    Ok(())
}

/// Whether any rank wants to stop. Asked by all of them, once before every step.
fn stop_in_any(trainer: &Trainer, here: bool) -> Result<bool, Failure> {
    trainer.team().any(here).map_err(|error| ranks::lost(&error))
}

fn parameters_are_finite(trainer: &Trainer) -> bool {
    let parameters = trainer.potential.parameters().iter().chain(trainer.discriminator.parameters());
    parameters.into_iter().all(|tensor| tensor.isfinite().all().int64_value(&[]) != 0)
}

/// Draws 64 samples of the evaluation noise at the run's own step.
fn write_samples(
    trainer: &Trainer,
    directory: &RunDirectory,
    dataset: &Dataset,
    evaluation: &Evaluation,
) -> Result<(), Failure> {
    let end = flow::endpoint(&trainer.potential, &evaluation.source().narrow(0, 0, 64), trainer.flow());
    let values = proxflow_gpu::indicators::to_host(&end);
    let images =
        ArrayView2::from_shape((64, values.len() / 64), &values).map_err(|e| Failure::Run(e.to_string()))?;
    picture::write_grid(&directory.samples(trainer.iteration), images, 16, &caption(trainer, dataset))
}

fn caption(trainer: &Trainer, dataset: &Dataset) -> String {
    let configuration = &trainer.configuration;
    let source = if dataset.name == "strokes" { "built-in strokes (not MNIST)" } else { dataset.name };
    format!(
        "{} on {source}, f = {}, N = {}, seed {}, iteration {}, commit {COMMIT}",
        configuration.case.name(),
        configuration.f,
        configuration.steps,
        configuration.seed,
        trainer.iteration
    )
}

fn progress_bar(length: u64, position: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {per_sec} left {eta} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style).with_position(position);
    bar.reset_eta();
    bar
}
