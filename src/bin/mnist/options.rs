//! The command line of `mnist`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use proxflow::command::{Failure, parse};
use proxflow_gpu::device::DeviceChoice;
use proxflow_reference::DivergenceKind;

use crate::{configuration, evaluate, sample, train};

/// Train the combined W1/W2 proximal flow on images (default), evaluate a checkpoint, or draw samples from it.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    allow_negative_numbers = true,
    after_help = "Examples:\n  mnist --case w1w2 --iterations 200 --out runs/first\n  mnist --out runs/first --resume --iterations 400\n  \
                  mnist evaluate --checkpoint runs/first/checkpoint.safetensors --steps 5,40,320 --samples 500 --json -\n  \
                  mnist sample --checkpoint runs/first/checkpoint.safetensors --count 100 --steps 5 --png samples.png"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: configuration::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Train (the default).
    Train(Box<configuration::Arguments>),
    /// Measure the optimality indicators of a checkpoint, each with its standard error.
    Evaluate(evaluate::Arguments),
    /// Generate images from a checkpoint.
    Sample(sample::Arguments),
}

/// Options that every subcommand has.
#[derive(Args, Clone)]
pub struct Common {
    /// Device: auto, cpu, cuda, cuda:INDEX or mps
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Threads of libtorch on the CPU [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Write the result as JSON to FILE, or to standard output for -
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
}

/// Where images come from.
#[derive(Args, Clone)]
pub struct DataArguments {
    /// Data set: auto (MNIST, else strokes), mnist, strokes
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder with the four MNIST files, .gz or plain [default: $PROXFLOW_MNIST, data/mnist, the cache, a download]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Parses a divergence name; a clap value parser.
pub fn divergence(text: &str) -> Result<DivergenceKind, String> {
    text.parse().map_err(|error: proxflow_reference::InvalidInput| error.to_string())
}

/// Parses the command line and runs the chosen subcommand.
pub fn run() -> Result<(), Failure> {
    let cli: Cli = parse("mnist");
    match cli.command {
        None => train::run(cli.train),
        Some(Command::Train(arguments)) => train::run(*arguments),
        Some(Command::Evaluate(arguments)) => evaluate::run(arguments),
        Some(Command::Sample(arguments)) => sample::run(arguments),
    }
}

/// Resolves the device and sets the number of threads.
pub fn prepare_device(choice: DeviceChoice, threads: Option<usize>) -> Result<tch::Device, Failure> {
    if let Some(count) = threads {
        if count == 0 || count > 1024 {
            return Err(Failure::bad_input("threads", count, "1..=1024"));
        }
        tch::set_num_threads(count as i32);
    }
    Ok(choice.resolve()?)
}
