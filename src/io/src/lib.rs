//! What every command shares, without libtorch: arrays in files, outputs, exit codes and messages, plots.
//!
//! [`mod@array`] and [`recording`] read inputs, [`output`] guards and writes outputs, [`command`] turns outcomes into exit codes and
//! lines, [`plot`] draws, [`indicator`] and [`number`] say what
//! is written, [`memory`] says how large things may be.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod array;
pub mod command;
pub mod indicator;
pub mod memory;
pub mod message;
pub mod number;
pub mod options;
pub mod output;
pub mod plot;
pub mod recording;
