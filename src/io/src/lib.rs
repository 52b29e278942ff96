//! What every command shares, without libtorch: arrays in files, outputs, exit codes and messages, plots.

pub mod array_file;
pub mod command;
pub mod plot;
