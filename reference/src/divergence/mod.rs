//! f-divergences and their Lipschitz regularisation (notation 1.1-1.8).
//!
//! Read in this order: [`generator`] (the functions `f`), [`exact`], [`gaussian`] and [`smoothed`] (the divergences without
//! regularisation), [`cumulant`] (`Lambda`, the conjugate of the divergence in its first argument), [`potential`]
//! (discriminators on all of R^d), [`lipschitz`] (`D_f^L`).

pub mod cumulant;
pub mod exact;
mod family;
#[cfg(feature = "lapack")]
pub mod gaussian;
pub mod generator;
pub mod lipschitz;
pub mod potential;
mod regularised;
pub mod smoothed;

pub use cumulant::Cumulant;
pub(crate) use cumulant::generalised_cumulant;
pub use exact::{f_divergence, f_divergence_of_atoms, probability_weights};
#[cfg(feature = "lapack")]
pub use gaussian::Gaussian;
pub use generator::Generator;
pub use lipschitz::{Divergence, LipschitzDivergence, LipschitzOptimum, LipschitzRegularisedDivergence};
pub use potential::LipschitzPotential;

pub use crate::transport::PotentialGradient;
pub(crate) use regularised::regularised_transport;
pub use smoothed::{Boundary, GridMeasure, UniformGrid};
