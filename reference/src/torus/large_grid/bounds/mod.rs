//! Two-sided bounds of the continuum game, and the repair of potentials that break the cap.

pub(super) mod continuum_bounds;
pub(super) mod slope_repair;
