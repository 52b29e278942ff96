//! The oracle of proxflow: every quantity of arXiv:2407.11901 computed exactly in f64 on the CPU, with a certificate.
//!
//! Nothing here sees torch, so that `proxflow-validation` can test the trained flow against an independent program.

// Links LAPACK and the BLAS that ndarray calls.
use ndarray_linalg as _;

pub mod checkpoint;
pub mod divergence;
pub mod flow;
pub mod network;
pub mod proximal;
pub mod specification;
pub mod torus;
pub mod trajectory;
pub mod transport;

pub use specification::{DivergenceKind, InvalidInput, ProximalParameters};
