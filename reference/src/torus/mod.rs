//! The mean-field game on the flat torus `[0,1)^d`: its grid, densities, operators and independent solvers.
//!
//! Read in this order: [`TorusGrid`] and [`NamedDensity`] (grid and laws), [`TorusProblem`] (the game on nodes) and
//! [`TorusSolution`] (its certificate); `operators` (parabola envelope of one line, [`hopf_lax()`], [`lipschitz_envelope`]).
//! Then the solvers: [`solve_static`] (semi-relaxed transport on the nodes, exact), [`solve_dual`] (`large_grid`: one loop over
//! coarse-to-fine levels, with `ascent`, `cap` and `bounds` below it) and [`time_solver`] (the monotone scheme, its adjoint, and
//! an interior-point method). [`exact_solutions`] are what they are measured against, [`experiments`] what is done with them.

mod densities;
pub mod exact_solutions;
pub mod experiments;
mod large_grid;
mod lattice;
mod operators;
mod problem;
mod solution;
mod static_solver;
pub mod time_solver;

pub use densities::NamedDensity;
pub use large_grid::{AscentStep, AtFloor, DualOptions, solve_dual, solve_dual_observed};
pub use lattice::grid::{TorusGrid, geodesic_difference};
pub use lattice::neighbour_table::NeighbourTable;
pub use operators::hopf_lax::{hopf_lax, hopf_lax_at, hopf_lax_map};
pub use operators::lipschitz::lipschitz_envelope;
pub use problem::TorusProblem;
pub use solution::{BoundedProblem, TorusSolution};
pub use static_solver::{MOST_STATIC_NODES, MiddlePoint, Move, StaticSolution, solve_static};
