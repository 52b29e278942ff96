//! The mean-field game on the flat torus `[0,1)^d`: grid, densities, Hopf-Lax, and its independent solvers.
//!
//! Read in this order: [`grid`], [`densities`], [`envelope`] (one line), [`hopf_lax`] (all axes), [`lipschitz`].

pub mod densities;
pub mod envelope;
pub mod grid;
pub mod hopf_lax;
pub mod lipschitz;
pub mod problem;
pub mod spectral;

pub use densities::NamedDensity;
pub use grid::TorusGrid;
pub use hopf_lax::{hopf_lax, hopf_lax_map};
pub use lipschitz::lipschitz_envelope;
pub use problem::{Termination, TorusProblem, TorusSolution};
