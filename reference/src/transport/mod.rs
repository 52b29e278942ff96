//! Transport problems with certificates: ground costs, semi-relaxed transport, exact balanced transport.
//!
//! Read in this order: [`cost`] (what is paid), [`certificate`] (how a value is bounded from both sides, independently
//! of any solver), [`semi_relaxed`] (the problem and its loop), then its parts `law` (tree constants), `links` and
//! `forest` (the active set), `pricing`, `start`; `balanced` (network simplex) with `basis` and `stretches`, [`mod@wasserstein`], [`mod@line`], [`circle`].

mod balanced;
pub mod certificate;
pub mod circle;
pub mod cost;
mod distance;
mod forest;
mod law;
pub mod line;
mod links;
pub(crate) mod potential;
mod pricing;
pub mod semi_relaxed;
mod start;
pub mod wasserstein;

pub use balanced::{BalancedPlan, BalancedTransport, balanced_transport};
pub use cost::{DenseCost, GroundCost, PointCost, PointwiseCost};
pub use potential::{PotentialGradient, TransportPotential};
pub use semi_relaxed::{SemiRelaxedPlan, SemiRelaxedTransport, semi_relaxed_transport};
pub use wasserstein::{Order, WassersteinDistance, WassersteinPlan, wasserstein};
