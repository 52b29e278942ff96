//! The Wasserstein distances `W1` and `W2` between weighted points of `R^d`, with bounds.

use std::time::Instant;

use super::balanced::{BalancedTransport, solve_balanced};
use super::cost::{GroundCost, PointCost, PointwiseCost};
use crate::certificate::{Bounds, Certified, Sign, Termination};
use crate::measure::{Measure, check_dimensions};
use crate::options::Options;
use crate::specification::InvalidInput;

/// The order `k` of `W_k = (min_G <|x_i - z_j|^k, G>)^{1/k}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `W1`: cost `|x - z|`.
    One,
    /// `W2`: cost `|x - z|^2`.
    Two,
}

impl Order {
    /// The cost whose optimal value is `W_k^k`.
    pub fn cost(self) -> PointwiseCost {
        match self {
            Self::One => PointwiseCost::Distance,
            Self::Two => PointwiseCost::SquaredDistance,
        }
    }
}

/// The plan and the potentials that prove the bounds of a Wasserstein distance.
#[derive(Debug, Clone)]
pub struct WassersteinPlan {
    /// Which distance.
    pub order: Order,
    /// The transport problem behind it; its bounds are those of `W_k^k`.
    pub transport: BalancedTransport,
}

/// A Wasserstein distance between its bounds.
pub type WassersteinDistance = Certified<WassersteinPlan>;

/// `W1` or `W2` between two [`Measure`]s: bounds of the distance, and in `transport` plan, potentials and the bounds of
/// `W_k^k`. Rounding in the bounds of `W2^2` is about `1e-15 max |x - z|^2`, hence `1e-8` of the diameter in `W2` where it
/// vanishes. Errors: different dimensions, points so far apart that costs overflow.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{Measure, Options};
/// use proxflow_reference::transport::{Order, wasserstein};
/// let p = Measure::uniform(array![[0.0, 0.0], [1.0, 0.0]])?;
/// let q = Measure::uniform(array![[0.0, 3.0], [1.0, 4.0]])?;
/// let found = wasserstein(&p, &q, Order::Two, &Options::new())?;
/// assert!((found.upper - 12.5f64.sqrt()).abs() < 1e-15 && found.is_converged());
/// assert_eq!(found.transport.plan, [(0, 0, 0.5), (1, 1, 0.5)]);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn wasserstein(
    p: &Measure,
    q: &Measure,
    order: Order,
    options: &Options<'_>,
) -> Result<WassersteinDistance, InvalidInput> {
    options.check()?;
    check_dimensions(p.points(), q.points())?;
    let clock = Instant::now();
    let cost = PointCost::new(order.cost(), p.points(), q.points())?;
    let transport = options.in_pool(|| {
        let watch = &mut options.watch();
        // A stop while the costs are computed stops the solver at its first look, too.
        let cost: Box<dyn GroundCost> =
            match cost.clone().within_memory_watched(options.dense_cost_bytes, watch) {
                Ok(cost) => cost,
                Err(_) => Box::new(cost),
            };
        solve_balanced(cost.as_ref(), p.weights(), q.weights(), options, watch, Sign::NonNegative)
    })??;
    let root = |squared: f64| if squared < 0.0 { squared } else { squared.sqrt() };
    let bounds = match (transport.termination, order) {
        (Termination::Failed, _) => Bounds::UNKNOWN,
        (_, Order::One) => transport.bounds(),
        (_, Order::Two) => Bounds { lower: root(transport.lower), upper: root(transport.upper) },
    };
    Ok(Certified {
        lower: bounds.lower,
        upper: bounds.upper,
        termination: transport.termination,
        seconds: clock.elapsed().as_secs_f64(),
        solution: WassersteinPlan { order, transport },
    })
}
