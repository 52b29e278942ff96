//! The oracle of proxflow: every quantity of arXiv:2407.11901 computed exactly in f64 on the CPU, with a certificate.
//!
//! # The problem
//!
//! Between two weighted point sets, a source `rho0` and data `pi`, the combined Wasserstein-1/Wasserstein-2 proximal is
//!
//! ```text
//! J* = inf_rho { lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi) },     D_f^L(P|Q) = inf_eta { D_f(eta|Q) + L W1(P, eta) }
//! ```
//!
//! with the kinetic weight `lambda`, the horizon `T`, the Lipschitz constant `L` and an f-divergence `D_f`. Its optimiser is a
//! generative flow with straight paths of constant speed. Everything here reduces to one problem, *semi-relaxed optimal
//! transport* `min_{G >= 0, G 1 = p} <c, G> + D_f(G^T 1|q)`, which is solved exactly and bounded from both sides by any plan
//! `G` and any potential `psi`: no value is ever reported without that interval.
//!
//! # An example
//!
//! ```
//! use ndarray::array;
//! use proxflow_reference::proximal::combined_proximal;
//! use proxflow_reference::transport::{Order, wasserstein};
//! use proxflow_reference::{Divergence, DivergenceKind, Measure, Options, ProximalParameters};
//!
//! let source = Measure::uniform(array![[0.0, 0.0], [1.0, 0.0]])?;
//! let data = Measure::new(array![[0.0, 1.0], [3.0, 0.0], [3.0, 1.0]], vec![0.5, 0.25, 0.25])?;
//!
//! // The divergence that a discriminator of slope at most L = 1 sees, between its bounds.
//! let divergence = Divergence::kl().lipschitz(1.0).between(&source, &data)?;
//! assert!(divergence.lower <= divergence.upper + 1e-15 && divergence.is_converged());
//!
//! // The optimal flow, its kinetic energy, where it ends; derivatives in all positions and weights.
//! let parameters = ProximalParameters::new(1.0, 0.5, 2.0)?; // L, lambda, T
//! let optimum = combined_proximal(&source, &data, DivergenceKind::KullbackLeibler, parameters, &Options::new())?;
//! assert!(optimum.upper <= divergence.upper + 1e-12); // standing still is one flow
//! let halfway = optimum.positions(1.0)?;
//! assert_eq!(halfway.ncols(), 2);
//! let gradients = optimum.gradients(&source, &data)?;
//! assert_eq!(gradients.model.dim(), (2, 2));
//!
//! // Exact Wasserstein distances, in two threads.
//! let w1 = wasserstein(&source, &data, Order::One, &Options::new().threads(2))?;
//! assert!(divergence.upper <= w1.upper + 1e-12); // D_f^L <= L W1
//! # Ok::<(), proxflow_reference::InvalidInput>(())
//! ```
//!
//! # Notation
//!
//! | symbol | here |
//! |---|---|
//! | `P = sum_i p_i delta_{x_i}` model or source, `Q = sum_j q_j delta_{z_j}` data | [`Measure`], points `(n, d)`, weights of sum 1 |
//! | `f`, `f*`, `f'(inf)` | [`divergence::Generator`], named by [`DivergenceKind`] |
//! | `D_f(P\|Q)`, `D_f^L(P\|Q)` | [`Divergence::between`], [`Divergence::lipschitz`] |
//! | `Lambda_q(psi) = inf_nu { nu + E_q f*(psi - nu) }` | [`divergence::Cumulant`] |
//! | `G` plan, `phi`, `psi` potentials, `eta` intermediate measure | `plan`, `source_potential`, `potential`, `intermediate` |
//! | `lambda`, `T`, `L` | [`ProximalParameters`] |
//! | `U(., 0)`, `U(., T) = phi` | `initial_potential`, `potential` of [`proximal::OptimalFlow`] |
//!
//! # Order of reading
//!
//! [`measure`], [`certificate`], [`options`] and [`observer`] (what goes in and what comes out); [`divergence`] (generators,
//! `Lambda`, `D_f^L`); [`transport`] (costs, bounds, the solvers); [`gradient`]; [`proximal`] (the flow, the gap of a given
//! flow, the critical Lipschitz constant); [`rigorous`] (bounds as theorems); [`trajectory`], [`flow`], [`network`]
//! (indicators of sampled flows and networks, without torch); [`torus`] (the mean-field game on periodic grids).
//!
//! Nothing here sees torch, so that `proxflow-validation` can test the trained flow against an independent program. Bad
//! input is an [`InvalidInput`] that names field, value and what is allowed; a numerical outcome is a [`Termination`].
//! Without the default feature `lapack` no BLAS is linked: only closed forms between Gaussian laws are missing then.

#![warn(clippy::print_stdout, clippy::print_stderr)]

// Links LAPACK and the BLAS behind it.
#[cfg(feature = "lapack")]
use ndarray_linalg as _;

pub mod certificate;
pub mod checkpoint;
pub mod divergence;
pub mod flow;
pub mod gradient;
pub mod measure;
pub mod network;
pub mod observer;
pub mod options;
mod positive_definite;
pub mod proximal;
pub mod rigorous;
pub mod specification;
pub mod torus;
pub mod trajectory;
pub mod transport;

pub use certificate::{Bounds, Certified, Termination};
pub use divergence::Divergence;
pub use gradient::Gradients;
pub use measure::Measure;
pub use observer::{Observer, Progress};
pub use options::{Options, SingularMass};
pub use specification::{DivergenceKind, InvalidInput, ProximalParameters};
