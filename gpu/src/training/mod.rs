//! How U and phi are found.

pub mod adam;
pub mod ascent;
pub mod configuration;
pub mod population;
pub mod schedule;
pub mod train;
