//! What U and phi are, and their derivatives.

pub mod architecture;
pub(crate) mod convolution;
pub(crate) mod derivatives;
pub mod hopf_lax;
pub mod linearisation;
pub mod network;
pub mod polyphase;
pub mod quantisation;
pub mod slope;
pub(crate) mod winners;
