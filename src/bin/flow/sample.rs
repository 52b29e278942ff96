//! `flow sample`: points from a run, in the units of its data.

use std::path::PathBuf;

use clap::Args;
use proxflow::array;
use proxflow::command::{COMMIT, Failure, write_json};
use proxflow::libtorch::prepare_device;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::device::{DeviceChoice, device_name};
use proxflow_gpu::random::{Stream, StreamLabel};
use proxflow_io::memory;
use proxflow_io::output::Outputs;
use proxflow_reference::checkpoint::MOST_STEPS;
use serde_json::json;

use crate::run::Run;

/// Options that every subcommand on a finished run has.
#[derive(Args, Clone)]
pub struct OnRun {
    /// Run directory of `flow train`
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Device: auto, cpu, cuda, cuda:INDEX or mps
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Threads on the CPU [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Write the result as JSON to FILE, or to standard output for -
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
}

impl OnRun {
    /// Outputs, the run's own files kept from them.
    pub fn outputs(&self) -> Outputs {
        RunDirectory::keep_from(Outputs::new(), "--run", &self.run).json(self.json.as_deref())
    }

    /// The run, with its networks on the chosen device.
    pub fn open(&self) -> Result<Run, Failure> {
        let device = prepare_device(self.device.unwrap_or(DeviceChoice::Auto), self.threads)?;
        Run::open(&self.run, device)
    }
}

/// Options of `flow sample`.
#[derive(Args, Clone)]
#[command(after_help = "Example:\n  flow sample --run runs/moons --count 1000 --npy samples.npy")]
pub struct Arguments {
    #[command(flatten)]
    on: OnRun,
    /// Number of points
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// Euler steps [default: those of the run]
    #[arg(long)]
    steps: Option<usize>,
    /// Root seed of the source points
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The points as float64 (count, d), images as (count, h, w)
    #[arg(long, value_name = "FILE.npy")]
    npy: PathBuf,
}

/// `steps` as given, or the run's own, within range.
pub fn steps(given: Option<usize>, run: &Run) -> Result<usize, Failure> {
    match given {
        Some(steps) if !(1..=MOST_STEPS).contains(&steps) => {
            Err(Failure::bad_input("steps", steps, format!("1..={MOST_STEPS}")))
        }
        other => Ok(other.unwrap_or(run.model.flow.steps)),
    }
}

/// Draws and writes.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.on.outputs().output("--npy", Some(&arguments.npy)).check()?;
    if arguments.count == 0 {
        return Err(Failure::bad_input("count", 0, ">= 1"));
    }
    let run = arguments.on.open()?;
    let steps = steps(arguments.steps, &run)?;
    let bytes = (arguments.count as u64).checked_mul(32 * run.dimension() as u64);
    memory::require("count", &arguments.count.to_string(), bytes)?;
    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let noise = run.source.draw(arguments.count, run.dimension(), stream.generator()).mapv(f64::from);
    let points = run.frame.standardisation.undo(run.forward(noise.view(), steps)?.view());
    match run.frame.image {
        Some([height, width]) => {
            let images =
                points.to_shape((arguments.count, height, width)).map_err(|e| Failure::Run(e.to_string()))?;
            array::write_array(&arguments.npy, &images)?;
        }
        None => array::write_array(&arguments.npy, &points)?,
    }
    match &arguments.on.json {
        Some(target) => write_json(
            target,
            &json!({ "status": "done", "run": arguments.on.run, "count": arguments.count, "steps": steps, "seed": arguments.seed,
                "npy": arguments.npy, "device": device_name(run.model.potential.options().1), "commit": COMMIT }),
        ),
        None => Ok(()),
    }
}
