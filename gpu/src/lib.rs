//! The libtorch implementation of the combined W1/W2 proximal flow of arXiv:2407.11901.
//!
//! The flow moves noise `x_0` by `x' = -grad_x U(x, t) / lambda` so that `x_T` resembles the data. A discriminator `phi` measures
//! the Lipschitz-regularised f-divergence of `x_T` to the data (the W1 proximal), and the kinetic energy of the paths is penalised (the W2
//! proximal): `min_U max_phi E phi(x_T) - Lambda(phi) + lambda E int |v|^2 / 2 dt`, phi L-Lipschitz. Symbols are those of docs/notation.md.
//!
//! Read in this order: [`architecture`] and [`network`] (what U and phi are), [`polyphase`] and [`linearisation`] (their local
//! linear maps, and exact parameter gradients from them), [`flow`] \[39\], [`divergence`] (Lambda and its gradient), [`objective`] \[40-42\], [`train`]
//! (Algorithm 1) with [`schedule`] (learning rates over a run) and [`team`] (threads and processes that share a batch; [`distributed`]), [`indicators`] (what is measured), [`checkpoint`].
//!
//! Flows that solve the Hamilton-Jacobi equation by construction: [`hopf_lax`] (the potential and its slopes), [`quantisation`] (where its
//! prototypes come from), [`ascent`] (its heights, by concave ascent), [`population`] (what that proves over all noise).
//!
//! From `proxflow-reference` this package takes specification types only, never numerics: the oracle judges it.
#![warn(clippy::print_stdout, clippy::print_stderr)]
#![cfg(feature = "torch")]
pub mod checkpoint;
pub mod device;
pub mod distributed;
pub mod divergence;
pub mod flow;
mod host;
pub mod indicators;
mod networks;
pub mod objective;
pub mod random;
pub mod team;
mod training;

pub use networks::{architecture, hopf_lax, linearisation, network, polyphase, quantisation, slope};
pub(crate) use networks::{convolution, derivatives, winners};
pub use training::{adam, ascent, configuration, population, schedule, train};
