//! The libtorch implementation of the combined W1/W2 proximal flow of arXiv:2407.11901.
#![cfg(feature = "torch")]
pub mod adam;
pub mod architecture;
pub mod checkpoint;
pub mod configuration;
pub mod device;
pub mod divergence;
pub mod flow;
pub mod indicators;
pub mod linearisation;
pub mod network;
pub mod objective;
pub mod polyphase;
pub mod random;
pub mod train;
