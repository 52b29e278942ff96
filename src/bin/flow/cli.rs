//! The command line of `flow`.

use clap::{Parser, Subcommand};
use proxflow::command::{Failure, parse};

use crate::{cases, configuration, evaluate, plot, sample, train, transport};

/// Train and certify the combined W1/W2 proximal flow on your own data.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  flow train --data X.npy --auto --out runs/x\n  flow train --data moons --auto --out runs/moons\n  \
                  flow evaluate --run runs/moons --json -\n  flow sample --run runs/moons --count 1000 --npy samples.npy\n  \
                  flow transport --run runs/moons --points x.npy --npy y.npy\n  flow plot --run runs/moons"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Advise on the parameters, train, certify, draw.
    Train(Box<configuration::Arguments>),
    /// Measure a run: indicators with standard errors, certified gap, distances to the data.
    Evaluate(evaluate::Arguments),
    /// Draw points from a run, in the units of its data.
    Sample(sample::Arguments),
    /// Push given points forward along a run's flow, or back along its straight lines.
    Transport(transport::Arguments),
    /// Draw the pictures and the report page of a run again.
    Plot(plot::Arguments),
    /// Train the four cases w1w2, w1, w2 and none on the same data and draw them side by side.
    Cases(Box<cases::Arguments>),
}

/// Parses the command line and runs the chosen subcommand.
pub fn run() -> Result<(), Failure> {
    let cli: Cli = parse("flow");
    match cli.command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Transport(arguments) => transport::run(&arguments),
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Cases(arguments) => cases::run(&arguments),
    }
}
