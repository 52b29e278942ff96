//! The Wasserstein distances `W1` and `W2` between weighted points of `R^d`, with bounds.

use std::time::Instant;

use super::balanced::{BalancedPlan, BalancedTransport, solve_balanced};
use super::cost::{GroundCost, PointCost, PointwiseCost};
use super::potential::TransportPotential;
use crate::certificate::{Bounds, Certified, Sign, Termination};
use crate::gradient::{self, Gradients};
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
    ///
    /// ```
    /// # use proxflow_reference::transport::Order;
    /// assert_eq!((Order::One.cost().of_distance(3.0), Order::Two.cost().of_distance(3.0)), (3.0, 9.0));
    /// ```
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

impl WassersteinPlan {
    /// The Kantorovich potential of `W_k^k` on all of R^d, `phi(y) = min_j (|y - z_j|^k + psi_j)`, for the `q` that was solved for.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{Order, wasserstein};
    /// # use proxflow_reference::{Measure, Options};
    /// # let (p, q) = (Measure::uniform(array![[0.0], [1.0]])?, Measure::uniform(array![[2.0], [5.0]])?);
    /// let found = wasserstein(&p, &q, Order::Two, &Options::new())?;
    /// let at_sources = found.potential(&q).values(p.points())?;
    /// for (phi, exact) in at_sources.iter().zip(&found.transport.source_potential) {
    ///     assert!((phi - exact).abs() < 1e-12);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn potential(&self, q: &Measure) -> TransportPotential {
        let offsets = self.transport.target_potential.clone();
        TransportPotential::from_parts(self.order.cost(), q.points().to_owned(), offsets, f64::INFINITY)
    }

    /// The derivatives of `W_k^k` (not of its root) in positions and weights of both measures, which must be those that were
    /// solved for (see [`crate::gradient`]).
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::{Measure, Options};
    /// use proxflow_reference::transport::{Order, wasserstein};
    /// let (p, q) = (Measure::uniform(array![[3.0]])?, Measure::uniform(array![[1.0]])?);
    /// let found = wasserstein(&p, &q, Order::Two, &Options::new())?;
    /// assert_eq!(found.gradients(&p, &q)?.model[[0, 0]], 4.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn gradients(&self, p: &Measure, q: &Measure) -> Result<Gradients, InvalidInput> {
        let solved = &self.transport;
        gradient::require_sizes(p, q, (solved.source_potential.len(), solved.target_potential.len()))?;
        let plan = solved.plan.iter().map(|&(i, j, mass)| (i as usize, j as usize, mass));
        let (model, data) = gradient::in_positions(self.order.cost(), plan, p.points(), q.points());
        let (model_weights, data_weights) = solved.weight_gradients(p.weights(), q.weights())?;
        Ok(Gradients { model, data, model_weights, data_weights })
    }
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
/// let mut plan = found.transport.plan.clone();
/// plan.sort_by_key(|arc| arc.0);
/// assert_eq!(plan, [(0, 0, 0.5), (1, 1, 0.5)]);
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
    // Squares of distances may leave the range of f64 though the distances do not.
    let unit = PointCost::new(PointwiseCost::Distance, p.points(), q.points())?.unit();
    let (x, z) = (p.points().mapv(|x| x / unit), q.points().mapv(|z| z / unit));
    let cost = PointCost::new(order.cost(), x.view(), z.view())?;
    let transport = options.in_pool(|| {
        let watch = &mut options.watch();
        // A stop while the costs are computed stops the solver at its first look, too.
        let cost: Box<dyn GroundCost> =
            match cost.clone().within_memory_watched(options.dense_cost_bytes, watch) {
                Ok(cost) => cost,
                Err(_) => Box::new(cost),
            };
        let given = [p.given_weights(), q.given_weights()];
        solve_balanced(cost.as_ref(), [p.weights(), q.weights()], given, options, watch, Sign::NonNegative)
    })??;
    let root = |squared: f64| if squared < 0.0 { squared } else { squared.sqrt() };
    let outwards = |bounds: Bounds| match options.rigorous {
        true => Bounds { lower: bounds.lower.next_down().max(0.0), upper: bounds.upper.next_up() },
        false => bounds,
    };
    let bounds = match (transport.termination, order) {
        (Termination::Failed, _) => Bounds::UNKNOWN,
        (_, Order::One) => Bounds { lower: unit * transport.lower, upper: unit * transport.upper },
        (_, Order::Two) => {
            outwards(Bounds { lower: unit * root(transport.lower), upper: unit * root(transport.upper) })
        }
    };
    let transport = if unit == 1.0 { transport } else { in_units(transport, order, unit) };
    Ok(Certified {
        lower: bounds.lower,
        upper: bounds.upper,
        termination: transport.termination,
        seconds: clock.elapsed().as_secs_f64(),
        solution: WassersteinPlan { order, transport },
    })
}

/// The transport problem in the given unit of length, told in length 1.
fn in_units(mut transport: BalancedTransport, order: Order, unit: f64) -> BalancedTransport {
    let scaled = |value: f64| match order {
        Order::One => unit * value,
        Order::Two => unit * (unit * value),
    };
    (transport.lower, transport.upper) = (scaled(transport.lower), scaled(transport.upper));
    let BalancedPlan { source_potential, target_potential, .. } = &mut transport.solution;
    source_potential.iter_mut().chain(target_potential).for_each(|value| *value = scaled(*value));
    transport
}
