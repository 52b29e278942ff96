//! Training: options and configuration, the critical constant, Algorithm 1 or the ascent of heights, ranks.

pub mod ascent;
pub mod configuration;
pub mod critical;
pub mod interrupt;
pub mod measure;
pub mod model;
pub mod ranks;
pub mod resume;
pub mod run_configuration;
pub mod train;
