//! The exact operators of the game: parabola envelope of one line, Hopf-Lax over all axes, Lipschitz envelope.

pub(in crate::torus) mod envelope;
pub(in crate::torus) mod hopf_lax;
pub(in crate::torus) mod lipschitz;
