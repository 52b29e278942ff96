//! `mnist sample`: images from a checkpoint, as a picture and as an array.

use std::path::PathBuf;

use clap::Args;
use ndarray::Array2;
use proxflow::array;
use proxflow::command::{COMMIT, Failure, write_json};
use proxflow::picture;
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::device::{DeviceChoice, device_name, keep_freed_memory};
use proxflow_gpu::flow;
use proxflow_gpu::indicators::to_host;
use proxflow_gpu::random::{Stream, StreamLabel, place};
use proxflow_io::output::Outputs;
use proxflow_reference::checkpoint::MOST_STEPS;
use serde_json::json;
use tch::Kind;

use crate::convert::load_model;
use crate::memory;
use crate::options::{Common, prepare_device};

/// Options of `mnist sample`.
#[derive(Args, Clone)]
#[command(
    after_help = "Example:\n  mnist sample --checkpoint runs/first/checkpoint.safetensors --count 100 --steps 5 --png samples.png --npy samples.npy"
)]
pub struct Arguments {
    /// Checkpoint in the format of a run directory
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Number of images
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Euler steps [default: those of the checkpoint]
    #[arg(long)]
    steps: Option<usize>,
    /// Picture of the first 400 images
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// Picture of the first 12 images on their way: a row a sample, a column a time, x_0 first
    #[arg(long, value_name = "FILE")]
    paths: Option<PathBuf>,
    /// All images as float64 (count, 784)
    #[arg(long, value_name = "FILE")]
    npy: Option<PathBuf>,
    /// Root seed of the source samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

/// Images in one picture at most.
const PICTURE: usize = 400;

/// Generates images.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    Outputs::new()
        .input("--checkpoint", Some(&arguments.checkpoint))
        .output("--png", arguments.png.as_deref())
        .output("--paths", arguments.paths.as_deref())
        .output("--npy", arguments.npy.as_deref())
        .json(arguments.common.json.as_deref())
        .check()?;
    if arguments.count == 0 {
        return Err(Failure::bad_input("count", 0, ">= 1"));
    }
    if arguments.png.is_none() && arguments.npy.is_none() && arguments.paths.is_none() {
        return Err(Failure::bad_input(
            "output",
            "none",
            "one or more of --png FILE, --npy FILE, --paths FILE",
        ));
    }
    memory::require("count", arguments.count, memory::IMAGE)?;
    let most = MOST_STEPS;
    if let Some(steps) = arguments.steps
        && !(1..=most).contains(&steps)
    {
        return Err(Failure::bad_input("steps", steps, format!("1..={most}")));
    }
    let device =
        prepare_device(arguments.common.device.unwrap_or(DeviceChoice::Auto), arguments.common.threads)?;
    keep_freed_memory();
    let model = load_model(&arguments.checkpoint, (Kind::Float, device))?;
    let steps = arguments.steps.unwrap_or(model.flow.steps);
    let dimension = model.potential.architecture().dimension();
    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let [low, high] = model.source;
    let mut images = Array2::<f32>::zeros((arguments.count, dimension as usize));
    for mut rows in images.axis_chunks_iter_mut(ndarray::Axis(0), 1000) {
        let count = rows.nrows();
        let x0 = place(&stream.uniform(count as i64, dimension, low, high), (Kind::Float, device));
        match flow::finite_endpoint(&model.potential, &x0, model.flow.with_steps(steps)) {
            Ok(end) => rows.iter_mut().zip(to_host(&end)).for_each(|(pixel, value)| *pixel = value),
            Err(step) => return failed(&arguments, steps, step),
        }
    }
    // The output that cannot be checked beforehand goes first: a full standard output leaves no files behind.
    if let Some(target) = &arguments.common.json {
        let report = json!({ "status": "done", "checkpoint": arguments.checkpoint, "count": arguments.count, "steps": steps,
            "seed": arguments.seed, "png": arguments.png, "npy": arguments.npy, "device": device_name(device), "commit": COMMIT });
        write_json(target, &report)?;
    }
    if let Some(path) = &arguments.paths {
        write_paths(path, &arguments, &model, steps, device)?;
    }
    if let Some(path) = &arguments.npy {
        array::write_array(path, &images.mapv(f64::from))?;
    }
    if let Some(path) = &arguments.png {
        let shown = images.slice(ndarray::s![..arguments.count.min(PICTURE), ..]);
        let columns = (shown.nrows() as f64).sqrt().ceil() as usize;
        let name = arguments.checkpoint.display();
        let caption = format!("{name}, N = {steps}, seed {}, commit {COMMIT}", arguments.seed);
        picture::write_grid(path, shown, columns, &caption)?;
    }
    Ok(())
}

/// A flow that is not finite writes nothing but its status.
fn failed(arguments: &Arguments, steps: usize, step: usize) -> Result<(), Failure> {
    let reason = format!("the flow is not finite at step {step} of {steps}: the weights overflow");
    if let Some(target) = &arguments.common.json {
        let checkpoint = &arguments.checkpoint;
        write_json(
            target,
            &json!({ "status": "failed", "reason": reason, "checkpoint": checkpoint, "steps": steps }),
        )?;
    }
    Err(Failure::Run(format!("{}: {reason}; nothing is written", arguments.checkpoint.display())))
}

/// Columns of a strip picture at most, evenly spread over the steps.
const COLUMNS: usize = 11;
/// Rows of a strip picture at most.
const ROWS: usize = 12;

/// Draws the same noise as the grid at some of its times, one row a sample.
fn write_paths(
    path: &std::path::Path,
    arguments: &Arguments,
    model: &Model,
    steps: usize,
    device: tch::Device,
) -> Result<(), Failure> {
    let dimension = model.potential.architecture().dimension();
    let rows = arguments.count.min(ROWS);
    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let [low, high] = model.source;
    // The grid draws its first 1000 images at once; a shorter draw of the same stream has the same first rows.
    let x0 = place(&stream.uniform(rows as i64, dimension, low, high), (Kind::Float, device));
    memory::require("steps", steps, (ROWS * 4 * dimension as usize) as u64)?;
    let flow = model.flow.with_steps(steps);
    let positions = flow::simulate(&model.potential, &x0, flow).positions;
    let columns = (steps + 1).min(COLUMNS);
    let times: Vec<usize> = (0..columns).map(|column| column * steps / (columns - 1)).collect();
    let hosts: Vec<Vec<f32>> = times.iter().map(|&k| to_host(&positions[k])).collect();
    let width = dimension as usize;
    let mut images = Array2::<f32>::zeros((rows * columns, width));
    for (index, mut image) in images.rows_mut().into_iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        image.iter_mut().zip(&hosts[column][row * width..]).for_each(|(pixel, value)| *pixel = *value);
    }
    let shown: Vec<String> = times.iter().map(|&k| format!("{:.2}", flow.time(k))).collect();
    let name = arguments.checkpoint.display();
    let caption =
        format!("{name}, N = {steps}, seed {}, t = {}, commit {COMMIT}", arguments.seed, shown.join(", "));
    picture::write_grid(path, images.view(), columns, &caption)
}
