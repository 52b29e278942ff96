//! Mean-field game on the torus.

pub mod continuity;
pub mod hamilton_jacobi;
pub mod implicit_diffusion;
pub mod stencil;
