//! proxflow: generative flows by combined Wasserstein-1 and Wasserstein-2 proximals, verified.
//!
//! This root library holds what the commands share; the mathematics lives in the packages
//! [`proxflow_reference`] (the exact f64 oracle), `proxflow_gpu` (libtorch) and [`proxflow_validation`].

pub mod array_file;
pub mod axis;
pub mod command;
pub mod curves;
pub mod dataset;
pub mod illustration;
pub mod picture;
pub mod run_directory;
