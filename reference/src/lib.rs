//! The oracle of proxflow: every quantity of arXiv:2407.11901 computed exactly in f64 on the CPU, with a certificate.
//!
//! Nothing here sees torch, so that `proxflow-validation` can test the trained flow against an independent program.

// Links LAPACK and the BLAS behind it.
#[cfg(feature = "lapack")]
use ndarray_linalg as _;

pub mod certificate;
pub mod checkpoint;
pub mod divergence;
pub mod flow;
pub mod measure;
pub mod network;
pub mod observer;
pub mod options;
mod positive_definite;
pub mod proximal;
pub mod specification;
pub mod torus;
pub mod trajectory;
pub mod transport;

pub use certificate::{Bounds, Certified, Termination};
pub use divergence::Divergence;
pub use measure::Measure;
pub use observer::{Observer, Progress};
pub use options::{Options, SingularMass};
pub use specification::{DivergenceKind, InvalidInput, ProximalParameters};
