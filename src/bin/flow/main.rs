//! `flow`: trains and certifies the combined W1/W2 proximal flow on a user's own data.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "torch")]
mod advice;
#[cfg(feature = "torch")]
mod cases;
#[cfg(feature = "torch")]
mod certificate;
#[cfg(feature = "torch")]
mod cli;
#[cfg(feature = "torch")]
mod configuration;
#[cfg(feature = "torch")]
mod evaluate;
#[cfg(feature = "torch")]
mod learner;
#[cfg(feature = "torch")]
mod measure;
#[cfg(feature = "torch")]
mod plot;
#[cfg(feature = "torch")]
mod problem;
#[cfg(feature = "torch")]
mod run;
#[cfg(feature = "torch")]
mod sample;
#[cfg(feature = "torch")]
mod train;
#[cfg(feature = "torch")]
mod transport;

#[cfg(feature = "torch")]
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("flow", cli::run())
}

#[cfg(not(feature = "torch"))]
fn main() -> std::process::ExitCode {
    use proxflow::command::{Failure, exit_code};
    let line = "built without libtorch; build with the default feature `torch`";
    exit_code("flow", Err(Failure::Run(line.to_owned())))
}
