//! Mean-field game on the torus.

pub mod continuity;
pub mod convergence;
pub mod energy_identity;
pub mod exact_solutions;
pub mod hamilton_jacobi;
pub mod implicit_diffusion;
pub mod lipschitz_barrier;
pub mod stencil;
pub mod time_solver;
pub mod value_curvature;
