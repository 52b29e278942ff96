//! The mean-field game on the flat torus `[0,1)^d`: grid, densities, Hopf-Lax, and its independent solvers.
//!
//! Read in this order: [`grid`], [`densities`], [`envelope`] (one line), [`hopf_lax`] (all axes), [`lipschitz`].

pub mod densities;
pub mod dual_solver;
pub mod envelope;
pub mod grid;
pub mod hopf_lax;
pub mod lipschitz;
mod newton_direction;
pub mod problem;
mod smooth_dual;
pub mod spectral;
mod transfer;
mod vector;

pub use densities::NamedDensity;
pub use dual_solver::{DualOptions, solve_dual};
pub use grid::TorusGrid;
pub use hopf_lax::{hopf_lax, hopf_lax_map};
pub use lipschitz::lipschitz_envelope;
pub use problem::{Termination, TorusProblem, TorusSolution};
