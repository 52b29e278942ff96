//! `flow train`: advice, training with the certified gap beside it, report, pictures.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use proxflow::command::{COMMIT, Failure, print_aside, print_note, write_atomically, write_json};
use proxflow::libtorch::prepare_device;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::ascent::PopulationBounds;
use proxflow_gpu::device::{DeviceChoice, LIBTORCH_VERSION, device_name, keep_freed_memory};
use proxflow_gpu::random::{Stream, StreamLabel};
use proxflow_io::number::brief;
use serde::Serialize;
use tch::{Device, Kind};

use crate::advice::{self, Advice};
use crate::certificate::{Gap, HeldOut};
use crate::configuration::{Arguments, ModelChoice, RunConfiguration, resolve};
use crate::learner::Learner;
use crate::measure::{Row, measure};
use crate::plot;
use crate::problem::{Frame, Problem};

/// Batches of 1000 fresh source points behind a row of `metrics.csv`, and behind the report.
const LOG_BATCHES: usize = 20;
const REPORT_BATCHES: usize = 600;
/// Standard errors by which bounds over all noise are moved outwards: 99.7 %.
const WIDENING: f64 = 3.0;

/// Why a run ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
enum StopReason {
    IterationsReached,
    GapBelow { threshold: f64 },
    Interrupted,
    NonFinite { term: String },
}

/// What is certified over all noise, the training points (or their prototypes) as data.
#[derive(Debug, Clone, Copy, Serialize)]
struct Population {
    /// Mean and standard error of both ends.
    bounds: PopulationBounds,
    /// `J*` and this flow's J both lie here, widened by three standard errors.
    interval: [f64; 2],
    /// `(J - J*)/J*` is at most this.
    relative: f64,
}

/// `report.json`.
#[derive(Serialize)]
struct Report<'a> {
    model: ModelChoice,
    case: &'static str,
    data: &'a Frame,
    standardisation: String,
    seed: u64,
    commit: &'static str,
    version: &'static str,
    libtorch: &'static str,
    device: String,
    threads: i32,
    configuration: &'a RunConfiguration,
    advice: Option<&'a Advice>,
    iterations: u64,
    stop_reason: StopReason,
    seconds: f64,
    prototypes: Option<i64>,
    /// W1 between the training points and the prototypes, in the flow's units.
    distortion: Option<f64>,
    population: Option<Population>,
    held_out: Option<Gap>,
    indicators: Option<Row>,
    samples_are: &'static str,
}

/// Set by Ctrl-C; the run then writes its checkpoint and report and ends.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Trains, and leaves everything in the run directory.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let configuration = resolve(arguments)?;
    RunDirectory::check_json(arguments.json.as_deref(), arguments.out.as_deref())?;
    let _ = ctrlc::set_handler(|| {
        // The second signal does not wait for the end of the step; the last checkpoint is whole.
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
    train(arguments, configuration).map(drop)
}

/// One run with a resolved configuration; its folder.
pub fn train(arguments: &Arguments, mut configuration: RunConfiguration) -> Result<PathBuf, Failure> {
    let start = Instant::now();
    let choice: DeviceChoice = configuration.device.parse()?;
    let device = prepare_device(choice, configuration.threads)?;
    keep_freed_memory();
    let problem = Problem::load(&mut configuration)?;
    let [n, m] = problem.frame.rows;
    let standardisation = problem.frame.standardisation.in_words(problem.frame.standardise);
    print_note(&format!(
        "data: {}, {n} training and {m} held-out rows, d = {}; standardisation: {standardisation}",
        configuration.data,
        problem.dimension()
    ));
    let advice = match arguments.resume {
        true => None,
        false => {
            let mut advice = advice::advise(&problem, &configuration, arguments.lambda.is_none())?;
            if arguments.auto {
                advice::take(&mut advice, &mut configuration, arguments);
            }
            print_aside(&advice.in_words());
            Some(advice)
        }
    };
    let mut directory = directory(arguments, &configuration)?;
    let has_checkpoint = arguments.resume && directory.checkpoint().exists();
    let checkpoint = has_checkpoint.then(|| directory.checkpoint());
    let options = (Kind::Float, device);
    let mut learner = Learner::new(&problem, &configuration, checkpoint.as_deref(), options)?;
    directory.mend(learner.iteration(), Row::NAMES)?;
    directory.notices.iter().for_each(|notice| print_note(&format!("note: {notice}")));
    let text = toml::to_string(&configuration).map_err(|error| Failure::Run(error.to_string()))?;
    directory.write_configuration(&text)?;
    problem.frame.write(directory.folder())?;
    print_note(&format!("run: {}", directory.folder().display()));

    let held_out = HeldOut::new(&problem, &configuration, device)?;
    let (stop_reason, last) = steps(&mut learner, &configuration, &directory, &held_out, start)?;
    let finite = !matches!(stop_reason, StopReason::NonFinite { .. });
    if finite {
        learner.save(&directory.checkpoint())?;
    }
    let mut fresh = Stream::new(configuration.training.seed, StreamLabel::Certificate);
    let population = learner.population(REPORT_BATCHES, &mut fresh).map(Population::of);
    let prototypes = learner.prototypes();
    let report = Report {
        model: configuration.model,
        case: configuration.training.case.name(),
        data: &problem.frame,
        standardisation,
        seed: configuration.training.seed,
        commit: COMMIT,
        version: env!("CARGO_PKG_VERSION"),
        libtorch: LIBTORCH_VERSION,
        device: device_name(device),
        threads: tch::get_num_threads(),
        configuration: &configuration,
        advice: advice.as_ref(),
        iterations: learner.iteration(),
        stop_reason: stop_reason.clone(),
        seconds: start.elapsed().as_secs_f64(),
        prototypes: prototypes.map(|(count, _)| count),
        distortion: prototypes.map(|(_, distortion)| distortion),
        population,
        held_out: last.map(|(gap, _)| gap),
        indicators: last.map(|(_, row)| row),
        samples_are: samples_are(configuration.model),
    };
    let text = serde_json::to_string_pretty(&report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&directory.report(), text.as_bytes())?;
    if let Some(target) = &arguments.json {
        write_json(target, &report)?;
    }
    if let StopReason::NonFinite { term } = stop_reason {
        let folder = directory.folder().display();
        return Err(Failure::Run(format!(
            "{term} is not finite; the last finite checkpoint is kept in {folder}"
        )));
    }
    finish(arguments, &report, directory.folder(), device)?;
    Ok(directory.folder().to_owned())
}

/// Pictures, and the last lines on standard error.
fn finish(arguments: &Arguments, report: &Report<'_>, folder: &Path, device: Device) -> Result<(), Failure> {
    if !arguments.no_pictures {
        plot::draw_run(folder, device)?;
    }
    if let Some(population) = &report.population {
        let [lower, upper] = population.interval;
        print_note(&format!(
            "over all noise: J* and this flow's J in [{}, {}] (three standard errors), so (J - J*)/J* <= {} %",
            brief(lower),
            brief(upper),
            brief(100.0 * population.relative)
        ));
    }
    if let (Some(gap), Some(row)) = (&report.held_out, &report.indicators) {
        print_note(&format!(
            "held-out batch: (J - J*)/J* <= {:.1} %, of which {:.1} % would be paid by training points themselves; straightness {:.4}, \
             step-size deviation {:.4}",
            100.0 * gap.relative,
            100.0 * gap.floor,
            row.straightness,
            row.deviation
        ));
    }
    print_note(&format!(
        "done: {} steps in {:.0} s, stop reason {:?}, every sample: {}; results in {}",
        report.iterations,
        report.seconds,
        report.stop_reason,
        report.samples_are,
        folder.display()
    ));
    Ok(())
}

impl Population {
    fn of(bounds: PopulationBounds) -> Self {
        let interval = bounds.interval(WIDENING);
        Self { bounds, interval, relative: (interval[1] - interval[0]) / interval[0] }
    }
}

/// What the reader of a picture must know.
fn samples_are(model: ModelChoice) -> &'static str {
    match model {
        ModelChoice::HopfLax => {
            "a training point or prototype, or on the way to one where L is below the critical constant"
        }
        ModelChoice::Dense => "a value of a smooth map",
    }
}

fn directory(arguments: &Arguments, configuration: &RunConfiguration) -> Result<RunDirectory, Failure> {
    match (arguments.resume, &arguments.out) {
        (true, Some(folder)) => RunDirectory::open(folder),
        (_, Some(folder)) => RunDirectory::create(folder),
        (_, None) => {
            let stem =
                Path::new(&configuration.data).file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let name = format!("flow-{}-seed{}", stem.unwrap_or_default(), configuration.training.seed);
            RunDirectory::create(&RunDirectory::unused(&PathBuf::from("runs").join(name)))
        }
    }
}

/// The loop: one step at a time, with what is measured and saved on the way.
fn steps(
    learner: &mut Learner,
    configuration: &RunConfiguration,
    directory: &RunDirectory,
    held_out: &HeldOut,
    start: Instant,
) -> Result<(StopReason, Option<(Gap, Row)>), Failure> {
    let bar = progress_bar(configuration.iterations, learner.iteration());
    let seed = configuration.training.seed;
    let mut last = None;
    if learner.iteration() == 0 {
        learner.save(&directory.checkpoint())?;
    }
    let mut reason = StopReason::IterationsReached;
    while learner.iteration() < configuration.iterations {
        if INTERRUPTED.load(Ordering::SeqCst) {
            reason = StopReason::Interrupted;
            break;
        }
        directory.beat();
        if let Err(term) = learner.step() {
            bar.finish_and_clear();
            return Ok((StopReason::NonFinite { term }, None));
        }
        last = None;
        bar.inc(1);
        let iteration = learner.iteration();
        if iteration.is_multiple_of(configuration.log_every) || iteration == configuration.iterations {
            let (gap, row, relative) = look(learner, held_out, seed, start)?;
            directory.append_metrics(Row::NAMES, &row.values())?;
            bar.set_message(row.summary());
            last = Some((gap, row));
            if let Some(threshold) = configuration.stop_gap
                && relative < threshold
            {
                reason = StopReason::GapBelow { threshold };
                break;
            }
        }
        if iteration.is_multiple_of(configuration.checkpoint_every) {
            learner.save(&directory.checkpoint())?;
        }
    }
    if last.is_none() {
        let (gap, row, _) = look(learner, held_out, seed, start)?;
        if directory.last_logged() != Some(learner.iteration()) {
            directory.append_metrics(Row::NAMES, &row.values())?;
        }
        last = Some((gap, row));
    }
    bar.finish_and_clear();
    Ok((reason, last))
}

/// Everything that a row holds, and the relative gap that `--stop-gap` is compared with.
fn look(
    learner: &Learner,
    held_out: &HeldOut,
    seed: u64,
    start: Instant,
) -> Result<(Gap, Row, f64), Failure> {
    let model = learner.model();
    let gap = held_out.judge(&model)?;
    let population = learner.population(LOG_BATCHES, &mut Stream::new(seed, StreamLabel::Evaluation));
    let row = measure(
        &model,
        held_out,
        &gap,
        population.as_ref(),
        learner.iteration(),
        start.elapsed().as_secs_f64(),
    );
    let relative = population.map_or(gap.relative, |bounds| Population::of(bounds).relative);
    Ok((gap, row, relative))
}

fn progress_bar(length: u64, position: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {per_sec} left {eta} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(length).with_style(style).with_position(position);
    bar.reset_eta();
    bar
}
