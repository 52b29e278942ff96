//! The libtorch implementation of the combined W1/W2 proximal flow of arXiv:2407.11901.
#![cfg(feature = "torch")]
