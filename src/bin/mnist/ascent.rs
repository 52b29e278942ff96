//! `mnist train --model hopf-lax` and `exact`: prototypes, ascent of their heights, certificate, run directory.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ndarray::ArrayView2;
use proxflow::command::{COMMIT, Failure, write_atomically, write_json};
use proxflow::dataset::Dataset;
use proxflow::picture;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::ascent::{AscentRecord, HeightAscent, PopulationBounds};
use proxflow_gpu::checkpoint;
use proxflow_gpu::device::{LIBTORCH_VERSION, device_name};
use proxflow_gpu::flow::{self, FlowSpecification};
use proxflow_gpu::hopf_lax::HuberCost;
use proxflow_gpu::indicators::to_host;
use proxflow_gpu::quantisation::Quantisation;
use proxflow_gpu::random::{Stream, StreamLabel, place};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::configuration::{Arguments, RunConfiguration};
use crate::convert::bad_checkpoint;
use crate::critical::Critical;
use crate::measure;
use crate::model::Model;
use crate::train::INTERRUPTED;

/// Batches of fresh noise behind the certificate.
const CERTIFICATE_BATCHES: usize = 100;
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
    options: (Kind, Device),
) -> Result<(), Failure> {
    let training = &configuration.training;
    let (seed, source) = (training.seed, training.source);
    let name = if configuration.model == Model::Exact { "exact" } else { "hopf-lax" };
    let base = PathBuf::from("runs").join(format!("mnist-{name}-seed{seed}"));
    let directory =
        RunDirectory::create(&arguments.out.clone().unwrap_or_else(|| RunDirectory::unused(&base)))?;
    let text = toml::to_string(configuration).map_err(|error| Failure::Run(error.to_string()))?;
    write_atomically(&directory.configuration(), text.as_bytes())?;
    eprintln!("run: {}", directory.folder().display());

    let start = Instant::now();
    let data = place(data, options);
    let quantisation = match configuration.model {
        Model::Exact => Quantisation::whole(&data),
        _ => {
            let mut stream = Stream::new(seed, StreamLabel::PotentialInit);
            Quantisation::medians(&data, configuration.prototypes as i64, LLOYD_ROUNDS, &mut stream)
        }
    };
    let flow = FlowSpecification::new(training.horizon, training.steps, training.lambda)?;
    let cost = HuberCost { lambda: flow.lambda, horizon: flow.horizon, lipschitz: training.lipschitz };
    let mut ascent = HeightAscent::new(&quantisation, cost, source, configuration.iterations)?;
    let mut noise = Stream::new(seed, StreamLabel::Noise);
    let columns = data.size()[1];
    let mut draw = |count: usize| place(&noise.uniform(count as i64, columns, source[0], source[1]), options);

    let bar = progress_bar(configuration.iterations);
    while !ascent.is_finished() && !INTERRUPTED.load(Ordering::SeqCst) {
        let record = ascent.step(&draw(training.batch));
        bar.inc(1);
        let due = configuration.log_every > 0 && record.iteration.is_multiple_of(configuration.log_every);
        if due || ascent.is_finished() {
            log(&directory, &bar, record)?;
        }
    }
    bar.finish_and_clear();
    let stop_reason = if ascent.is_finished() { "iterations-reached" } else { "interrupted" };

    let spinner = ProgressBar::new_spinner();
    spinner.set_message("bounds on J* from fresh noise");
    let population = ascent.certify((0..CERTIFICATE_BATCHES).map(|_| {
        spinner.tick();
        draw(1000)
    }));
    spinner.finish_and_clear();
    let model = checkpoint::Model {
        potential: ascent.potential(),
        discriminator: ascent.discriminator(),
        flow,
        lipschitz: training.lipschitz,
        source,
    };
    model.save(&directory.checkpoint()).map_err(bad_checkpoint)?;
    let samples_are = match configuration.model {
        Model::Exact => {
            "training digits, with what is left of the noise where L is below the critical constant"
        }
        _ => {
            "prototypes of the training digits, with what is left of the noise where L is below the critical constant"
        }
    };
    let mut stream = Stream::new(seed, StreamLabel::Evaluation);
    let x0 = place(&stream.uniform(64, columns, source[0], source[1]), options);
    let values = to_host(&flow::endpoint(&model.potential, &x0, flow));
    let images = ArrayView2::from_shape((64, columns as usize), &values)
        .map_err(|error| Failure::Run(error.to_string()))?;
    let caption = format!(
        "{name} on {}, {} prototypes, L = {:.4}, N = {}, seed {seed}, commit {COMMIT}; every sample: {samples_are}",
        dataset.name,
        quantisation.prototypes.size()[0],
        training.lipschitz,
        flow.steps
    );
    picture::write_grid(&directory.samples(ascent.iteration), images, 16, &caption)?;
    let report = Report {
        model: configuration.model,
        dataset: dataset.name,
        dataset_origin: &dataset.origin,
        seed,
        commit: COMMIT,
        version: env!("CARGO_PKG_VERSION"),
        libtorch: LIBTORCH_VERSION,
        device: device_name(options.1),
        threads: tch::get_num_threads(),
        configuration,
        critical_lipschitz: critical,
        prototypes: quantisation.prototypes.size()[0],
        distortion: quantisation.distortion,
        iterations: ascent.iteration,
        stop_reason,
        seconds: start.elapsed().as_secs_f64(),
        peak_memory_mib: measure::peak_memory_mib(),
        population,
        interval: population.interval(WIDENING),
        samples_are,
    };
    let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&directory.report(), text.as_bytes())?;
    if let Some(target) = &arguments.common.json {
        write_json(target, &report)?;
    }
    let [lower, upper] = report.interval;
    eprintln!(
        "done: {} iterations in {:.0} s; J* and this flow's J, prototypes as data, in [{lower:.5}, {upper:.5}] (3 standard errors); \
         every sample: {samples_are}; results in {}",
        ascent.iteration,
        report.seconds,
        directory.folder().display()
    );
    Ok(())
}

fn log(directory: &RunDirectory, bar: &ProgressBar, record: AscentRecord) -> Result<(), Failure> {
    bar.set_message(format!("dual {:.4} imbalance {:.3}", record.dual, record.imbalance));
    directory.append_metrics(
        &["iteration", "dual", "imbalance"],
        &[record.iteration as f64, record.dual, record.imbalance],
    )
}

fn progress_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {per_sec} left {eta} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
