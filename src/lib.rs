//! proxflow: generative flows by combined Wasserstein-1 and Wasserstein-2 proximals, verified.
//!
//! This root library holds what the commands on libtorch share; the mathematics lives in the packages
//! [`proxflow_reference`] (the exact f64 oracle), `proxflow_gpu` (libtorch) and [`proxflow_validation`], files and messages in
//! [`proxflow_io`].

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod curves;
pub mod dataset;
#[cfg(feature = "torch")]
pub mod libtorch;
pub mod own_data;
pub mod picture;
pub mod pictures;
pub mod run_configuration;
pub mod run_directory;
pub mod source_law;
pub mod targets;

pub use proxflow_io::array;

/// Exit codes, one-line errors, outputs: [`proxflow_io::command`] and the commit of this build.
pub mod command {
    pub use proxflow_io::command::*;

    /// The commit the program was built from, `unknown` outside a checkout.
    pub const COMMIT: &str = env!("PROXFLOW_COMMIT");
}
