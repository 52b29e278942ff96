//! f-divergences and their Lipschitz regularisation (notation 1.1-1.7).
//!
//! Read in this order: [`generator`] (the functions `f`), [`cumulant`] (`Lambda`, the dual of the divergence in the
//! first argument).

pub mod cumulant;
mod family;
pub mod generator;

pub use cumulant::{Cumulant, generalised_cumulant};
pub use generator::Generator;
