//! `torus`: the mean-field game on the torus. See `torus --help`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod limits;
mod pictures;
mod solve;
mod solve_pictures;
mod uniqueness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use proxflow_io::command::{exit_code, parse};

/// The mean-field game on the torus: solvers and uniqueness experiments.
#[derive(Debug, Parser)]
#[command(name = "torus", version, after_help = "Example: torus uniqueness --out runs/uniqueness")]
struct Torus {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Uniqueness experiments (Theorem 4.2) and their negative controls; the default
    Uniqueness(uniqueness::UniquenessArguments),
    /// Solve one game with certified bounds
    Solve(Box<arguments::SolveArguments>),
}

fn main() -> ExitCode {
    let outcome = match parse::<Torus>("torus").command {
        Some(Command::Uniqueness(arguments)) => uniqueness::run(&arguments),
        Some(Command::Solve(arguments)) => solve::run(&arguments),
        None => uniqueness::run(&uniqueness::UniquenessArguments::default()),
    };
    exit_code("torus", outcome)
}
