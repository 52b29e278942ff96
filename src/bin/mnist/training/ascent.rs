//! `mnist train --model hopf-lax` and `exact`: prototypes, ascent of their heights, certificate, run directory.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ndarray::ArrayView2;
use proxflow::command::{COMMIT, Failure, print_note, write_atomically, write_json};
use proxflow::dataset::Dataset;
use proxflow::run_directory::RunDirectory;
use proxflow::{curves, picture};
use proxflow_gpu::ascent::{AscentRecord, HeightAscent, PopulationBounds};
use proxflow_gpu::checkpoint::AscentRun;
use proxflow_gpu::device::{LIBTORCH_VERSION, device_name};
use proxflow_gpu::flow;
use proxflow_gpu::indicators::to_host;
use proxflow_gpu::quantisation::Quantisation;
use proxflow_gpu::random::{Stream, StreamLabel, place};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::convert::bad_checkpoint;
use crate::training::configuration::Arguments;
use crate::training::critical::Critical;
use crate::training::interrupt;
use crate::training::measure;
use crate::training::model::Model;
use crate::training::resume;
use crate::training::run_configuration::RunConfiguration;

/// Batches of 1000 fresh noise samples behind the final certificate, and behind each row of `metrics.csv`.
const CERTIFICATE_BATCHES: usize = 100;
const LOG_BATCHES: usize = 10;
/// Columns of `metrics.csv`: `J*` is at least `dual` and this flow's J at most `excess` more.
const NAMES: &[&str] = &["iteration", "dual", "dual_stderr", "excess", "excess_stderr", "imbalance"];
/// Rounds of Lloyd's alternation; the distortion of 500 prototypes of digits falls by less than 1e-3 a round from here on.
const LLOYD_ROUNDS: usize = 30;
/// Standard errors by which the reported interval is widened: 99.7 %.
const WIDENING: f64 = 3.0;

/// `report.json`.
#[derive(Serialize)]
struct Report<'a> {
    model: Model,
    dataset: &'static str,
    dataset_origin: &'a str,
    seed: u64,
    commit: &'static str,
    version: &'static str,
    libtorch: &'static str,
    device: String,
    threads: i32,
    configuration: &'a RunConfiguration,
    critical_lipschitz: Option<Critical>,
    prototypes: i64,
    /// W1 between the training digits and the prototypes: the target that is solved exactly differs from the digits by so much.
    distortion: f64,
    iterations: u64,
    stop_reason: &'static str,
    seconds: f64,
    peak_memory_mib: Option<f64>,
    /// J* of the problem with the prototypes as data, and J of this flow.
    population: PopulationBounds,
    /// Both lie here, widened by three standard errors.
    interval: [f64; 2],
    samples_are: &'static str,
}

/// Trains and leaves everything in the run directory.
pub fn run(
    arguments: &Arguments,
    configuration: &RunConfiguration,
    dataset: &Dataset,
    data: &Tensor,
    critical: Option<Critical>,
    mut directory: RunDirectory,
    options: (Kind, Device),
) -> Result<(), Failure> {
    let start = Instant::now();
    let data = place(data, options);
    let mut run = prepare(&mut directory, arguments.resume, configuration, dataset, &data, options)?;
    directory.notices.iter().for_each(|notice| print_note(&format!("note: {notice}")));
    let text = toml::to_string(configuration).map_err(|error| Failure::Run(error.to_string()))?;
    directory.write_configuration(&text)?;
    if let Some(critical) = &critical {
        critical.announce(&configuration.training);
    }
    print_note(&format!("run: {}", directory.folder().display()));

    let first = run.ascent.iteration;
    let (stop_reason, ended) = ascend(&mut run, configuration, &directory, dataset, &data, options);
    ended?;
    let spinner = ProgressBar::new_spinner();
    spinner.set_message("bounds on J* from fresh noise");
    // Noise that no step and no row has seen.
    let mut fresh = Stream::new(run.configuration.seed, StreamLabel::Certificate);
    let population = run.ascent.certify((0..CERTIFICATE_BATCHES).map(|_| {
        spinner.tick();
        draw(&run, &mut fresh, 1000, options)
    }));
    spinner.finish_and_clear();
    run.save(&directory.checkpoint(), &data).map_err(bad_checkpoint)?;
    let caption = caption(&run, configuration, dataset);
    write_samples(&run, &directory, &caption, options)?;
    if directory.metrics().exists() {
        curves::draw(&directory.metrics(), &directory.curves(), &title(&run, configuration, dataset))?;
    }
    let report = Report {
        model: configuration.model,
        dataset: dataset.name,
        dataset_origin: &dataset.origin,
        seed: run.configuration.seed,
        commit: COMMIT,
        version: env!("CARGO_PKG_VERSION"),
        libtorch: LIBTORCH_VERSION,
        device: device_name(options.1),
        threads: tch::get_num_threads(),
        configuration,
        critical_lipschitz: critical,
        prototypes: run.ascent.prototypes(),
        distortion: run.distortion,
        iterations: run.ascent.iteration,
        stop_reason,
        seconds: start.elapsed().as_secs_f64(),
        peak_memory_mib: measure::peak_memory_mib(),
        population,
        interval: population.interval(WIDENING),
        samples_are: samples_are(configuration.model),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&directory.report(), text.as_bytes())?;
    if let Some(target) = &arguments.common.json {
        write_json(target, &report)?;
    }
    let [lower, upper] = report.interval;
    print_note(&format!(
        "done: {} iterations in {:.0} s; J* and this flow's J, prototypes as data, in [{lower:.5}, {upper:.5}] (3 standard errors); \
         every sample: {}; results in {}",
        run.ascent.iteration.saturating_sub(first),
        report.seconds,
        report.samples_are,
        directory.folder().display()
    ));
    Ok(())
}

/// Where the run's checkpoint stands, or the prototypes with their first heights.
fn prepare(
    directory: &mut RunDirectory,
    resume: bool,
    configuration: &RunConfiguration,
    dataset: &Dataset,
    data: &Tensor,
    options: (Kind, Device),
) -> Result<AscentRun, Failure> {
    let training = &configuration.training;
    let run = if resume && directory.checkpoint().exists() {
        let run = AscentRun::resume(&directory.checkpoint(), data, options)
            .map_err(|error| resume::bad_resume(error, dataset))?;
        resume::require_same_training(training, &run.configuration)?;
        run
    } else {
        if resume {
            directory.notices.push("the run has no checkpoint yet and starts anew".to_owned());
        }
        let quantisation = match configuration.model {
            Model::Exact => Quantisation::whole(data),
            _ => {
                let mut stream = Stream::new(training.seed, StreamLabel::PotentialInit);
                Quantisation::medians(data, configuration.prototypes as i64, LLOYD_ROUNDS, &mut stream)
            }
        };
        AscentRun {
            ascent: HeightAscent::new(&quantisation, AscentRun::cost(training), training.source)?,
            configuration: training.clone(),
            distortion: quantisation.distortion,
            noise: Stream::new(training.seed, StreamLabel::Noise),
        }
    };
    directory.mend(run.ascent.iteration, NAMES)?;
    Ok(run)
}

fn draw(run: &AscentRun, stream: &mut Stream, count: usize, options: (Kind, Device)) -> Tensor {
    let [low, high] = run.configuration.source;
    place(&stream.uniform(count as i64, run.ascent.dimension(), low, high), options)
}

/// The loop, with what is measured and saved on the way; says why it ended.
fn ascend(
    run: &mut AscentRun,
    configuration: &RunConfiguration,
    directory: &RunDirectory,
    dataset: &Dataset,
    data: &Tensor,
    options: (Kind, Device),
) -> (&'static str, Result<(), Failure>) {
    let bar = progress_bar(configuration.iterations, run.ascent.iteration);
    let mut stream = Stream::new(run.configuration.seed, StreamLabel::Evaluation);
    let evaluation: Vec<Tensor> = (0..LOG_BATCHES).map(|_| draw(run, &mut stream, 1000, options)).collect();
    let due = |every: u64, iteration: u64| every > 0 && iteration.is_multiple_of(every);
    let mut body = || -> Result<&'static str, Failure> {
        while run.ascent.iteration < configuration.iterations {
            if interrupt::came() {
                return Ok("interrupted");
            }
            directory.beat();
            let mut noise = run.noise.clone();
            let x0 = draw(run, &mut noise, run.configuration.batch, options);
            let record = run.ascent.step(&x0);
            run.noise = noise;
            if !record.dual.is_finite() {
                return Err(Failure::Run(format!(
                    "stopped at iteration {}: the dual value is not finite; the last finite checkpoint is kept in {}",
                    record.iteration,
                    directory.folder().display()
                )));
            }
            bar.inc(1);
            let last = record.iteration == configuration.iterations;
            if due(configuration.log_every, record.iteration) || last {
                log(run, directory, &bar, record, &evaluation)?;
            }
            if due(configuration.sample_every, record.iteration) && !last {
                write_samples(run, directory, &caption(run, configuration, dataset), options)?;
            }
            if due(configuration.checkpoint_every, record.iteration) {
                run.save(&directory.checkpoint(), data).map_err(bad_checkpoint)?;
            }
        }
        Ok("iterations-reached")
    };
    let outcome = body();
    bar.finish_and_clear();
    match outcome {
        Ok(reason) => (reason, Ok(())),
        Err(failure) => ("non-finite", Err(failure)),
    }
}

fn log(
    run: &AscentRun,
    directory: &RunDirectory,
    bar: &ProgressBar,
    record: AscentRecord,
    evaluation: &[Tensor],
) -> Result<(), Failure> {
    let found = run.ascent.certify(evaluation.iter().map(Tensor::shallow_clone));
    let (dual, excess) = (found.dual, found.excess);
    bar.set_message(format!("J* >= {:.4}, J at most {:.4} more", dual.mean, excess.mean));
    let iteration = record.iteration as f64;
    let values = [iteration, dual.mean, dual.stderr, excess.mean, excess.stderr, record.imbalance];
    directory.append_metrics(NAMES, &values)
}

fn title(run: &AscentRun, configuration: &RunConfiguration, dataset: &Dataset) -> String {
    let training = &run.configuration;
    format!(
        "{} on {}, {} prototypes, L = {:.4}, N = {}, seed {}, iteration {}, commit {COMMIT}",
        configuration.model.name(),
        dataset.called(),
        run.ascent.prototypes(),
        training.lipschitz,
        training.steps,
        training.seed,
        run.ascent.iteration
    )
}

fn caption(run: &AscentRun, configuration: &RunConfiguration, dataset: &Dataset) -> String {
    format!("{}; every sample: {}", title(run, configuration, dataset), samples_are(configuration.model))
}

/// What the reader of a picture must know.
fn samples_are(model: Model) -> &'static str {
    match model {
        Model::Exact => {
            "training digits, with what is left of the noise where L is below the critical constant"
        }
        _ => {
            "prototypes of the training digits, with what is left of the noise where L is below the critical constant"
        }
    }
}

/// Draws 64 samples of the evaluation noise at the run's own step.
fn write_samples(
    run: &AscentRun,
    directory: &RunDirectory,
    caption: &str,
    options: (Kind, Device),
) -> Result<(), Failure> {
    let model = run.model();
    let mut stream = Stream::new(run.configuration.seed, StreamLabel::Evaluation);
    let x0 = draw(run, &mut stream, 64, options);
    let values = to_host(&flow::endpoint(&model.potential, &x0, model.flow));
    let images = ArrayView2::from_shape((64, values.len() / 64), &values)
        .map_err(|error| Failure::Run(error.to_string()))?;
    picture::write_grid(&directory.samples(run.ascent.iteration), images, 16, caption)
}

fn progress_bar(length: u64, position: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {per_sec} left {eta} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style).with_position(position);
    bar.reset_eta();
    bar
}
