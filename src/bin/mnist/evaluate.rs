//! `mnist evaluate`: the optimality indicators of a checkpoint, each with its standard error.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proxflow::command::{COMMIT, Failure, print_note, print_text, write_json};
use proxflow::dataset::{Dataset, resolve};
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::device::{DeviceChoice, device_name, keep_freed_memory};
use proxflow_gpu::flow;
use proxflow_gpu::indicators::{self, Estimate, FlowIndicators};
use proxflow_gpu::network::Network;
use proxflow_gpu::random::{Stream, StreamLabel, place as place_on};
use proxflow_gpu::team::Team;
use proxflow_io::output::Outputs;
use proxflow_reference::ProximalParameters;
use proxflow_reference::checkpoint::MOST_STEPS;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::convert::{load_model, tensor_of};
use crate::options::{Common, DataArguments, prepare_device};
use crate::training::ranks;
use crate::{exact, memory, neighbours};

/// Options of `mnist evaluate`.
#[derive(Args, Clone)]
#[command(
    after_help = "Example:\n  mnist evaluate --checkpoint runs/first/checkpoint.safetensors --steps 5,40,320 --samples 500 --json -"
)]
pub struct Arguments {
    /// Checkpoint in the format of a run directory
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Numbers of Euler steps; the largest is the reference of the step-size deviation
    #[arg(long, value_delimiter = ',', default_values_t = [5, 40, 320])]
    steps: Vec<usize>,
    /// Source samples
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// Also certify the divergence of generated and of held-out digits to the training digits, W1 to held-out digits, and the distance
    /// to the optimum
    #[arg(long)]
    exact: bool,
    /// Size of the random training subset that --exact and the nearest digits are taken from
    #[arg(long, default_value_t = 6000)]
    train_size: usize,
    /// Arithmetic of the indicators
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    precision: Precision,
    /// Root seed of the source samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Under torchrun or srun: seconds after which ranks that do not answer end the command
    #[arg(long, value_name = "SECONDS", default_value_t = ranks::TIMEOUT)]
    timeout: f64,
    /// Pieces of the samples that threads and ranks share; equal pieces give equal numbers, bit for bit on the CPU [default: 4, or one per thread of all ranks]
    #[arg(long, value_name = "COUNT")]
    pieces: Option<usize>,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    common: Common,
}

/// Element kind of the evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    F64,
}

/// Evaluates and prints; `--json` writes the report.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    let outputs = Outputs::new().input("--checkpoint", Some(&arguments.checkpoint));
    outputs.json(arguments.common.json.as_deref()).check()?;
    check(&arguments)?;
    let device =
        prepare_device(arguments.common.device.unwrap_or(DeviceChoice::Auto), arguments.common.threads)?;
    keep_freed_memory();
    if device == Device::Mps && arguments.precision == Precision::F64 {
        return Err(Failure::bad_input("precision", "f64 on mps", "f32, or --device cpu"));
    }
    let kind = if arguments.precision == Precision::F64 { Kind::Double } else { Kind::Float };
    let place = ranks::place(arguments.timeout)?;
    let model = load_model(&arguments.checkpoint, (kind, device))?;
    let dataset = if ranks::writes(place.as_ref()) { dataset(&arguments)? } else { None };
    let dimension = model.potential.architecture().dimension();
    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let [low, high] = model.source;
    let x0 = place_on(&stream.uniform(arguments.samples as i64, dimension, low, high), (kind, device));

    let threads = arguments.common.threads;
    let pieces = || ranks::pieces(arguments.samples, threads, place.as_ref(), device);
    let pieces = arguments.pieces.unwrap_or_else(pieces);
    let team = ranks::team((place.as_ref(), arguments.timeout), threads, pieces, device)?;
    let (found, broken) = measure(&arguments, &model, &x0, &team)?;
    if team.rank() > 0 {
        // Rank 0 finds the same and says it.
        return Ok(());
    }
    team.pooled(|| report(&arguments, &model, (&x0, &mut stream), found, broken, dataset.as_ref(), &team))
}

/// The indicators at every number of steps, by all ranks; and what is not finite in the finest flow.
fn measure(
    arguments: &Arguments,
    model: &Model,
    x0: &Tensor,
    team: &Team,
) -> Result<(Vec<FlowIndicators>, Option<String>), Failure> {
    team.check_batch(arguments.samples)?;
    let mut digest = Sha256::new();
    digest.update(format!("{:?} {:?} {}", model.flow, arguments.steps, team.pieces()));
    let parameters = model.potential.parameters().iter().chain(model.discriminator.parameters());
    parameters.chain([x0]).flat_map(indicators::to_host).for_each(|value| digest.update(value.to_le_bytes()));
    ranks::require_agreement(team.agree_on(digest))?;

    let finest = arguments.steps.iter().copied().max().unwrap_or(model.flow.steps);
    let rows = |tensor: &Tensor| -> Vec<Tensor> {
        let parts = team.parts(arguments.samples).into_iter();
        parts.map(|rows| tensor.narrow(0, rows.start as i64, rows.len() as i64)).collect()
    };
    let networks = || (model.potential.share(), model.discriminator.share());
    let inputs = rows(x0).into_iter().map(|x0| (networks().0, x0)).collect();
    let flow = model.flow.with_steps(finest);
    let ends = team.each(arguments.samples, inputs, |part, (potential, x0): (Network, Tensor)| {
        flow::finite_endpoint_part(&potential, &x0, flow, part)
    });
    let reference = ends.map_err(|error| ranks::lost(&error))?.swap_remove(0);
    let broken = reference
        .as_ref()
        .err()
        .map(|step| format!("the flow of {finest} steps is not finite at step {step}: the weights overflow"));
    let evaluate = |&steps: &usize| {
        let reference = reference.as_ref().ok().filter(|_| steps != finest);
        let ends = reference
            .map_or_else(Vec::new, rows)
            .into_iter()
            .map(Some)
            .chain(std::iter::repeat_with(|| None));
        let inputs = rows(x0).into_iter().zip(ends).map(|rows| (networks(), rows)).collect();
        let flow = model.flow.with_steps(steps);
        let found = team.each(arguments.samples, inputs, |part, ((potential, critic), (x0, end))| {
            let (potential, critic): (Network, Network) = (potential, critic);
            let (x0, end): (Tensor, Option<Tensor>) = (x0, end);
            indicators::evaluate_part(&potential, &critic, (&x0, end.as_ref()), flow, part)
        });
        found.map(|mut parts| parts.swap_remove(0)).map_err(|error| ranks::lost(&error))
    };
    Ok((arguments.steps.iter().map(evaluate).collect::<Result<_, _>>()?, broken))
}

/// What rank 0 adds to the indicators, prints and writes.
fn report(
    arguments: &Arguments,
    model: &Model,
    (x0, stream): (&Tensor, &mut Stream),
    found: Vec<FlowIndicators>,
    broken: Option<String>,
    dataset: Option<&Dataset>,
    team: &Team,
) -> Result<(), Failure> {
    let (kind, device) = model.potential.options();
    if let Some(reason) = broken.or_else(|| overflow(&found, model)) {
        if let Some(target) = &arguments.common.json {
            write_json(
                target,
                &json!({ "status": "failed", "reason": reason, "checkpoint": arguments.checkpoint, "commit": COMMIT }),
            )?;
        }
        return Err(Failure::Run(format!("{}: {reason}", arguments.checkpoint.display())));
    }
    // The step size the model was trained with, when it was asked for.
    let own = found.iter().find(|entry| entry.steps == model.flow.steps).unwrap_or(&found[0]);

    let mut report = Map::new();
    report.insert("status".to_owned(), json!("done"));
    report.insert("steps".to_owned(), json!(found));
    insert(&mut report, "terminal_residual", own.terminal_residual);
    insert(&mut report, "critic_slope_mean", own.critic_slope);
    report.insert("critic_slope_max".to_owned(), json!(own.critic_slope_max));
    let released = indicators::evaluate_released(&model.potential, &model.discriminator, x0, model.flow);
    report.insert(
        "released_definitions".to_owned(),
        json!({ "steps": model.flow.steps, "kinetic_energy": released.kinetic_energy,
            "hj_residual": released.hj_residual, "terminal_residual": released.terminal_residual }),
    );
    if let Some(dataset) = dataset {
        let images = dataset.test.training_subset(arguments.samples, arguments.seed);
        let digits = place_on(&tensor_of(&images)?, (kind, device));
        let rows = digits.size()[0].min(arguments.samples as i64);
        let u = place_on(&stream.uniform(rows, 1, 0.0, 1.0), (kind, device));
        let between = &digits * &u + own.endpoints.narrow(0, 0, rows) * (1.0 - u);
        for (name, points) in [("critic_slope_data", &digits), ("critic_slope_between", &between)] {
            let (mean, max) = indicators::slope_statistics(&model.discriminator, points);
            insert(&mut report, &format!("{name}_mean"), mean);
            report.insert(format!("{name}_max"), json!(max));
        }
    }
    if let Some(dataset) = dataset {
        let subset = [arguments.train_size as u64, arguments.seed];
        let (potential, flow) = (&model.potential, model.flow);
        let found = neighbours::compare(x0, &own.endpoints, potential, flow, dataset, subset)?;
        report.insert("nearest_digits".to_owned(), found);
    }
    if let (true, Some(dataset)) = (arguments.exact, dataset) {
        let generated = exact::Generated {
            start: exact::points(x0, arguments.samples)?,
            end: exact::points(&own.endpoints, arguments.samples)?,
            kinetic_energy: own.kinetic_energy.mean,
            parameters: ProximalParameters::new(model.lipschitz, model.flow.lambda, model.flow.horizon)?,
        };
        let value = exact::compare(generated, dataset, arguments.train_size, arguments.seed)?;
        report.insert("exact".to_owned(), value);
    }
    report.insert("checkpoint".to_owned(), json!(arguments.checkpoint));
    report.insert("samples".to_owned(), json!(arguments.samples));
    report.insert("precision".to_owned(), json!(if kind == Kind::Double { "f64" } else { "f32" }));
    report.insert("seed".to_owned(), json!(arguments.seed));
    report.insert("commit".to_owned(), json!(COMMIT));
    report.insert("device".to_owned(), json!(device_name(device)));
    report.insert("processes".to_owned(), json!(team.size()));
    report.insert("pieces".to_owned(), json!(team.pieces()));
    if let Some(dataset) = dataset {
        report.insert("dataset".to_owned(), json!(dataset.name));
    }

    if arguments.common.json.as_deref() != Some("-") {
        print_table(&found, &report)?;
    }
    match &arguments.common.json {
        Some(target) => write_json(target, &report),
        None => Ok(()),
    }
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    arguments.data.check()?;
    if let Some(steps) = arguments.steps.iter().find(|steps| !(1..=MOST_STEPS).contains(steps)) {
        return Err(Failure::bad_input(
            "steps",
            steps,
            format!("numbers in 1..={MOST_STEPS}, separated by commas"),
        ));
    }
    if arguments.samples < 2 {
        return Err(Failure::bad_input("samples", arguments.samples, ">= 2"));
    }
    if arguments.train_size == 0 {
        return Err(Failure::bad_input("train-size", 0, ">= 1"));
    }
    if arguments.pieces.is_some_and(|pieces| pieces == 0) {
        return Err(Failure::bad_input("pieces", 0, ">= 1"));
    }
    memory::require("samples", arguments.samples, memory::SAMPLE)?;
    memory::require("train-size", arguments.train_size, memory::IMAGE)?;
    if arguments.exact {
        // The matrix of costs between samples and training images, in double precision, with its work space.
        memory::require("train-size", arguments.train_size, 32 * arguments.samples as u64)?;
    }
    Ok(())
}

/// What is not finite of a flow and its networks at the ends; such a flow has no indicators. Values are looked at and not slopes
/// alone: where a piecewise linear network overflows its slopes are a finite zero.
pub fn overflow(found: &[FlowIndicators], model: &Model) -> Option<String> {
    let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
    found.iter().find_map(|entry| {
        let end = &entry.endpoints;
        let values = [model.potential.value(end, model.flow.horizon), model.discriminator.value(end, 0.0)];
        let numbers = [entry.kinetic_energy.mean, entry.hj_residual.mean, entry.critic_slope_max];
        let sound =
            finite(end) && values.iter().all(finite) && numbers.iter().all(|number| number.is_finite());
        (!sound).then(|| format!("the flow of {} steps is not finite: the weights overflow", entry.steps))
    })
}

/// With `--exact` a data set is needed; without, one that is at hand is used for the Lipschitz check and the nearest digits.
fn dataset(arguments: &Arguments) -> Result<Option<Dataset>, Failure> {
    let choice = arguments.data.dataset.as_deref().unwrap_or("auto").parse()?;
    let folder = arguments.data.data.as_deref();
    if arguments.exact || folder.is_some() || arguments.data.dataset.is_some() {
        let dataset = resolve::load(choice, folder, arguments.seed, arguments.train_size)?;
        print_note(&format!("data: {} ({})", dataset.name, dataset.origin));
        return Ok(Some(dataset));
    }
    resolve::at_hand()
}

fn insert(report: &mut Map<String, Value>, name: &str, estimate: Estimate) {
    report.insert(name.to_owned(), json!(estimate.mean));
    report.insert(format!("{name}_stderr"), json!(estimate.stderr));
}

fn print_table(found: &[FlowIndicators], report: &Map<String, Value>) -> Result<(), Failure> {
    let cell = |estimate: Estimate| format!("{:.4} +- {:.4}", estimate.mean, estimate.stderr);
    let none = || "reference".to_owned();
    let rows: [(&str, &dyn Fn(&FlowIndicators) -> String); 11] = [
        ("step h", &|entry| format!("{}", entry.step)),
        ("kinetic energy K_h", &|entry| cell(entry.kinetic_energy)),
        ("displacement energy", &|entry| cell(entry.displacement_energy)),
        ("straightness", &|entry| cell(entry.straightness)),
        ("step-size deviation", &|entry| entry.deviation.map_or_else(none, cell)),
        ("HJ residual", &|entry| cell(entry.hj_residual)),
        ("  relative to lambda K_h", &|entry| cell(entry.hj_residual_relative)),
        ("  gauged, relative", &|entry| cell(entry.hj_residual_gauged_relative)),
        ("acceleration", &|entry| cell(entry.acceleration)),
        ("terminal residual", &|entry| cell(entry.terminal_residual)),
        ("critic slope at x_N", &|entry| cell(entry.critic_slope)),
    ];
    let mut text = format!("{:28}", "steps N");
    found.iter().for_each(|entry| text += &format!("{:>24}", entry.steps));
    for (name, value) in rows {
        text += &format!("\n{name:28}");
        found.iter().for_each(|entry| text += &format!("{:>24}", value(entry)));
    }
    for name in ["nearest_digits", "exact"] {
        if let Some(found) = report.get(name) {
            text += &format!("\n{name}: {found:#}");
        }
    }
    print_text(&(text + "\n"))
}
