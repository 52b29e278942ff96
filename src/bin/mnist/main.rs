//! `mnist`: trains the combined W1/W2 proximal flow on images, evaluates checkpoints, draws samples, exports.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "torch")]
mod cli;
#[cfg(feature = "torch")]
mod convert;
#[cfg(feature = "torch")]
mod evaluate;
#[cfg(feature = "torch")]
mod exact;
#[cfg(feature = "torch")]
mod export;
#[cfg(feature = "torch")]
mod memory;
#[cfg(feature = "torch")]
mod neighbours;
#[cfg(feature = "torch")]
mod options;
#[cfg(feature = "torch")]
mod sample;
#[cfg(feature = "torch")]
mod training;

#[cfg(feature = "torch")]
fn main() -> std::process::ExitCode {
    proxflow::command::exit_code("mnist", cli::run())
}

#[cfg(not(feature = "torch"))]
fn main() -> std::process::ExitCode {
    use proxflow::command::{Failure, exit_code};
    let line = "built without libtorch; build with the default feature `torch`";
    exit_code("mnist", Err(Failure::Run(line.to_owned())))
}
