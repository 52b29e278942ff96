//! The oracle of proxflow: every quantity of arXiv:2407.11901 computed exactly in f64 on the CPU, with a certificate.
//!
//! Nothing here sees torch, so that `proxflow-validation` can test the trained flow against an independent program.

pub mod divergence;
pub mod specification;
pub mod torus;
pub mod transport;

pub use specification::{DivergenceKind, InvalidInput, ProximalParameters};
