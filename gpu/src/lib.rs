//! The libtorch implementation of the combined W1/W2 proximal flow of arXiv:2407.11901.
#![cfg(feature = "torch")]
pub mod adam;
pub mod architecture;
pub mod divergence;
pub mod flow;
pub mod linearisation;
pub mod network;
pub mod objective;
pub mod pooled_convolution;
pub mod random;
