//! The mean-field game on the flat torus `[0,1)^d`: grid, densities, Hopf-Lax, and its independent solvers.
//!
//! Read in this order: [`grid`], [`densities`], [`envelope`] (one line), [`mod@hopf_lax`] (all axes), [`lipschitz`].
//! Static: [`problem`], [`static_solver`], [`dual_solver`] and its parts: `smooth_dual`, `newton_direction`, `ascent`, `level`;
//! under an active Lipschitz cap `line_fields`, `control_slopes`, `slope_cap`, `beckmann`, `slope_repair`, `line_rearrangement`,
//! `continuum_bounds`, `capped_ascent`.
//! In time: [`stencil`], [`hamilton_jacobi`], [`continuity`] (its adjoint), [`time_solver`], [`energy_identity`].

mod ascent;
mod beckmann;
mod capped_ascent;
pub mod characteristics;
mod circulant_cost;
pub mod continuity;
mod continuum_bounds;
mod control_slopes;
pub mod convergence;
pub mod densities;
pub mod dual_solver;
pub mod energy_identity;
pub mod envelope;
pub mod exact_solutions;
pub mod grid;
pub mod hamilton_jacobi;
pub mod hopf_lax;
pub mod implicit_diffusion;
mod level;
pub mod limits;
mod line_fields;
mod line_rearrangement;
pub mod lipschitz;
pub mod lipschitz_barrier;
mod neighbours;
mod newton_direction;
pub mod problem;
mod slope_cap;
mod slope_repair;
mod smooth_dual;
pub mod spectral;
pub mod static_solver;
pub mod stencil;
pub mod time_solver;
mod transfer;
pub mod uniqueness;
pub mod value_curvature;
mod vector;

pub use densities::NamedDensity;
pub use dual_solver::{AscentStep, DualOptions, solve_dual, solve_dual_observed};
pub use grid::TorusGrid;
pub use hopf_lax::{hopf_lax, hopf_lax_map};
pub use lipschitz::lipschitz_envelope;
pub use problem::{BoundedProblem, Termination, TorusProblem, TorusSolution};
pub use static_solver::{MiddlePoint, Move, StaticSolution, solve_static};
