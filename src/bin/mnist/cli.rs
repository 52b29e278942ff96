//! The command line of `mnist`.

use clap::{Parser, Subcommand};
use proxflow::command::{Failure, parse};

use crate::training::{configuration, train};
use crate::{evaluate, export, sample};

/// Train the combined W1/W2 proximal flow on images (default), evaluate a checkpoint, draw samples from it or export it.
#[derive(Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  mnist --iterations 200 --out runs/first\n  mnist --out runs/first --resume --iterations 400\n  \
                  mnist evaluate --checkpoint runs/first/checkpoint.safetensors --steps 5,40,320 --samples 500 --json -\n  \
                  mnist sample --checkpoint runs/first/checkpoint.safetensors --count 100 --steps 5 --png samples.png\n  \
                  mnist export --checkpoint runs/first/checkpoint.safetensors --hub proxflow-mnist"
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
    /// Write a checkpoint for a model hub: weights, config.json, model card.
    Export(export::Arguments),
}

/// Parses the command line and runs the chosen subcommand.
pub fn run() -> Result<(), Failure> {
    let cli: Cli = parse("mnist");
    match cli.command {
        None => train::run(cli.train),
        Some(Command::Train(arguments)) => train::run(*arguments),
        Some(Command::Evaluate(arguments)) => evaluate::run(arguments),
        Some(Command::Sample(arguments)) => sample::run(arguments),
        Some(Command::Export(arguments)) => export::run(arguments),
    }
}
