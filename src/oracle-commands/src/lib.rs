//! What `certify` and `torus` share beyond `proxflow_io`. Nothing here links libtorch.

pub mod illustration;

/// The commit the program was built from, `unknown` outside a checkout.
pub const COMMIT: &str = env!("PROXFLOW_COMMIT");
