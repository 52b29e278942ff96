//! `mnist train`: the training run, from resolved configuration to run directory.

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ndarray::ArrayView2;
use proxflow::command::{COMMIT, Failure, print_note, write_atomically, write_json};
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

use crate::convert::{bad_checkpoint, tensor_of};
use crate::options;
use crate::training::ascent;
use crate::training::configuration::{Arguments, resolve_configuration};
use crate::training::critical;
use crate::training::measure::{self, Evaluation};
use crate::training::model::Model;
use crate::training::run_configuration::RunConfiguration;
use crate::training::{interrupt, ranks, resume};

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
    peak_device_memory_mib: Option<f64>,
    indicators: Option<measure::Row>,
}

/// Trains, and leaves everything in the run directory.
pub fn run(mut arguments: Arguments) -> Result<(), Failure> {
    arguments.resume |= ranks::started_again(arguments.out.as_deref());
    let mut configuration = resolve_configuration(&arguments)?;
    RunDirectory::check_json(arguments.common.json.as_deref(), arguments.out.as_deref())?;
    let choice: DeviceChoice = configuration.device.parse()?;
    let device = options::prepare_device(choice, configuration.threads)?;
    device::keep_freed_memory();
    let place = ranks::place(arguments.timeout)?;
    ranks::resolve_pieces(&mut configuration, place.as_ref(), device);
    let writes = ranks::writes(place.as_ref());
    let seed = configuration.training.seed;
    let dataset = resolve::load(
        configuration.dataset.parse()?,
        configuration.data.as_deref(),
        seed,
        configuration.train_size,
    )?;
    if writes {
        print_note(&format!(
            "data: {} ({}), {} of {} images; device: {}",
            dataset.name,
            dataset.origin,
            configuration.train_size,
            dataset.train.labels.len(),
            device_name(device)
        ));
    }
    if configuration.train_size > dataset.train.labels.len() {
        let allowed = format!("1..={}", dataset.train.labels.len());
        return Err(Failure::bad_input("train-size", configuration.train_size, allowed));
    }
    // What `auto` came to: a resumed run must not end up with other data.
    let choice = if dataset.name == "strokes" { "strokes" } else { "mnist" };
    choice.clone_into(&mut configuration.dataset);
    let images = dataset.train.training_subset(configuration.train_size, seed);
    let data = tensor_of(&images)?;
    let options = (Kind::Float, device);
    if place.is_some() && configuration.model.is_hopf_lax() {
        let allowed = "1 for this --model, whose ascent runs as one process";
        return Err(Failure::bad_input("WORLD_SIZE", place.map_or(1, |place| place.size), allowed));
    }
    let place = (place.as_ref(), arguments.timeout);
    if !writes {
        critical::settle_lipschitz(&mut configuration, &images)?;
        return follow(&arguments, &configuration, place, &dataset, &data, options);
    }
    let mut directory = take_directory(&arguments, &configuration)?;
    let critical = critical::settle_lipschitz(&mut configuration, &images)?;
    interrupt::watch();
    if configuration.model.is_hopf_lax() {
        return ascent::run(&arguments, &configuration, &dataset, &data, critical, directory, options);
    }
    let trainer = prepare(&mut directory, arguments.resume, &configuration, &dataset, &data, options)?;
    directory.notices.iter().for_each(|notice| print_note(&format!("note: {notice}")));
    let text = toml::to_string(&configuration).map_err(|error| Failure::Run(error.to_string()))?;
    directory.write_configuration(&text)?;
    if let Some(critical) = &critical {
        critical.announce(&configuration.training);
    }
    print_note(&format!("run: {}", directory.folder().display()));

    let trainer = ranks::join(trainer, place, &configuration, device)?;
    let evaluation = Evaluation::new(&trainer);
    let start = Instant::now();
    let first = trainer.iteration;
    let (trainer, outcome) = train(trainer, &configuration, &directory, &dataset, &evaluation);
    let (stop_reason, indicators) = outcome?;
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
        peak_device_memory_mib: device::peak_memory_mib(device),
        indicators,
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
            print_note(&format!(
                "done: {made} iterations in {seconds:.0} s, stop reason {reason:?}, results in {}",
                directory.folder().display()
            ));
            Ok(())
        }
    }
}

/// The folder of the run, held by this process.
fn take_directory(arguments: &Arguments, configuration: &RunConfiguration) -> Result<RunDirectory, Failure> {
    match (arguments.resume, &arguments.out) {
        (true, Some(folder)) => RunDirectory::open(folder),
        (_, Some(folder)) => RunDirectory::create(folder),
        (_, None) => {
            let training = &configuration.training;
            let name = format!("mnist-{}-seed{}", configuration.model.run_name(training.case), training.seed);
            RunDirectory::create(&RunDirectory::unused(&PathBuf::from("runs").join(name)))
        }
    }
}

/// The trainer where the run's checkpoint stands, or at the start.
fn prepare(
    directory: &mut RunDirectory,
    resume: bool,
    configuration: &RunConfiguration,
    dataset: &Dataset,
    data: &Tensor,
    options: (Kind, Device),
) -> Result<Trainer, Failure> {
    if resume && !directory.checkpoint().exists() {
        directory.notices.push("the run has no checkpoint yet and starts anew".to_owned());
    }
    let checkpoint = resume.then(|| directory.checkpoint());
    let trainer = trainer_of(checkpoint.as_deref(), configuration, dataset, data, options)?;
    directory.mend(trainer.iteration, measure::Row::NAMES)?;
    Ok(trainer)
}

/// The trainer where the checkpoint, if there is one, stands; else at the start. Every rank makes its own.
fn trainer_of(
    checkpoint: Option<&Path>,
    configuration: &RunConfiguration,
    dataset: &Dataset,
    data: &Tensor,
    options: (Kind, Device),
) -> Result<Trainer, Failure> {
    let Some(path) = checkpoint.filter(|path| path.exists()) else {
        let training = configuration.training.clone();
        let potential = match configuration.model {
            Model::Smooth => Architecture::smooth_potential(data.size()[1], training.horizon),
            _ => Architecture::mnist_potential(),
        };
        let discriminator = Architecture::mnist_discriminator();
        return Ok(Trainer::new(training, potential, discriminator, data, Source::Uniform, options)?);
    };
    let trainer = Trainer::resume(path, data, Source::Uniform, options)
        .map_err(|error| resume::bad_resume(error, dataset))?;
    resume::require_same_training(&configuration.training, &trainer.configuration)?;
    Ok(trainer)
}

/// The loop: one outer step of Algorithm 1 at a time, with what is measured, drawn and saved on the way.
fn train(
    mut trainer: Trainer,
    configuration: &RunConfiguration,
    directory: &RunDirectory,
    dataset: &Dataset,
    evaluation: &Evaluation,
) -> (Trainer, Result<(StopReason, Option<measure::Row>), Failure>) {
    let bar = progress_bar(configuration.iterations, trainer.iteration);
    let due = |every: u64, iteration: u64| every > 0 && iteration.is_multiple_of(every);
    let log = |trainer: &Trainer, record: Option<StepRecord>| -> Result<measure::Row, Failure> {
        let row = trainer.team().pooled(|| evaluation.measure(trainer, record));
        directory.append_metrics(measure::Row::NAMES, &row.values())?;
        Ok(row)
    };
    let mut body = || -> Result<(StopReason, Option<measure::Row>), Failure> {
        if trainer.iteration == 0 {
            trainer.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
        }
        let mut last: Option<StepRecord> = None;
        let mut row = None;
        let mut reason = StopReason::IterationsReached;
        while trainer.iteration < configuration.iterations {
            if stop_in_any(&trainer, interrupt::came())? {
                reason = StopReason::Interrupted;
                break;
            }
            directory.beat();
            let record: StepRecord = match trainer.step() {
                Ok(record) => record,
                Err(StepError::NonFinite(NonFinite { iteration, term, .. })) => {
                    return Ok((StopReason::NonFinite { term: term.to_owned(), iteration }, None));
                }
                Err(StepError::Group(error)) => return Err(ranks::lost(&error)),
            };
            (last, row) = (Some(record), None);
            bar.inc(1);
            if due(configuration.log_every, trainer.iteration) {
                let logged = log(&trainer, last)?;
                bar.set_message(logged.summary());
                row = Some(logged);
                if let Some(threshold) = configuration.stop_hj
                    && logged.hj_residual_gauged < threshold
                {
                    if trainer.iteration < configuration.iterations {
                        stop_in_any(&trainer, true)?;
                    }
                    reason = StopReason::GaugedResidualBelow { threshold };
                    break;
                }
            }
            if due(configuration.sample_every, trainer.iteration) {
                write_samples(&trainer, directory, dataset, evaluation)?;
            }
            if due(configuration.checkpoint_every, trainer.iteration) && parameters_are_finite(&trainer) {
                trainer.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
            }
        }
        // The last iteration has its row, however short the run.
        if row.is_none() {
            let logged = directory.last_logged() == Some(trainer.iteration);
            row = Some(if logged {
                trainer.team().pooled(|| evaluation.measure(&trainer, last))
            } else {
                log(&trainer, last)?
            });
        }
        Ok((reason, row))
    };
    let outcome = body();
    bar.finish_and_clear();
    (trainer, outcome)
}

/// A rank other than 0: takes part in every step, writes nothing, and ends when rank 0 does.
fn follow(
    arguments: &Arguments,
    configuration: &RunConfiguration,
    place: (Option<&Rendezvous>, f64),
    dataset: &Dataset,
    data: &Tensor,
    options: (Kind, Device),
) -> Result<(), Failure> {
    let checkpoint = arguments.out.as_deref().filter(|_| arguments.resume).map(RunDirectory::checkpoint_in);
    let trainer = trainer_of(checkpoint.as_deref(), configuration, dataset, data, options)?;
    let mut trainer = ranks::join(trainer, place, configuration, options.1)?;
    interrupt::watch();
    while trainer.iteration < configuration.iterations {
        if stop_in_any(&trainer, interrupt::came())? {
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
    format!(
        "{} on {}, f = {}, N = {}, seed {}, iteration {}, commit {COMMIT}",
        configuration.case.name(),
        dataset.called(),
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
