//! Experiments on the game: uniqueness and its negative controls, measured orders, limits, the energy identity, characteristics.

pub mod characteristics;
pub mod controls;
pub mod convergence;
pub mod energy_identity;
pub mod limits;
pub mod uniqueness;
