//! The active Lipschitz cap: its augmented Lagrangian and the ascent under it.

pub(super) mod capped_ascent;
pub(super) mod slope_cap;
