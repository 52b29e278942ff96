//! The Huber cost: the middle point of the combined proximal eliminated (notation 2.2).

use proxflow_reference::ProximalParameters;
use proxflow_reference::transport::cost::PointwiseCost;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::largest;
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "huber_cost",
    statement: "min_y {lambda |x - y|^2 / (2T) + L |y - z|} is the Huber function of r = |x - z| with its kink at \
                r = L T / lambda: quadratic (mass reaches the data) before, linear (W1 carries the rest) beyond.",
    equations: &[(10, 10)],
    notation: &["2.2"],
    measured: "the cost against golden-section minimisation over y, at 200 distances on both sides of the kink; speed of \
               the recovered path against L / lambda",
    bound: "1e-12 relative: rounding; a minimum is found to the square of the resolution of its argument",
    control: "lambda halved; Lipschitz cap dropped (quadratic throughout); kinetic term dropped (linear throughout)",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let parameters = ProximalParameters::new(0.8, 0.5, 1.5)?;
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let kink = parameters.kink();
    let distances: Vec<f64> = (1..=setting.choose(200, 5000))
        .map(|k| 3.0 * kink * k as f64 / setting.choose(200.0, 5000.0))
        .collect();
    let exact = |r: f64| minimum(|y| lambda * y * y / (2.0 * horizon) + lipschitz * (r - y), 0.0, r);
    let cost = |p: ProximalParameters, r: f64| PointwiseCost::Huber(p).of_squared_distance(r * r);
    let error = |wrong: &dyn Fn(f64) -> f64| {
        largest(distances.iter().map(|r| (wrong(*r) - exact(*r)).abs() / (1.0 + exact(*r))))
    };
    let halved = ProximalParameters { lambda: 0.5 * lambda, ..parameters };
    let speeds = distances.iter().map(|r| r * (kink / r).min(1.0) / horizon);
    let basis = || Basis::Rounding("a dozen operations; the minimum is flat in y".into());
    let bound = Bound::AtMost(1e-12);
    let mut finding = Finding::new();
    finding
        .measure("largest relative |Huber - minimum over y|", error(&|r| cost(parameters, r)), bound, basis())
        .measure("largest speed lambda / L - 1", largest(speeds) * lambda / lipschitz - 1.0, bound, basis())
        .control("lambda halved", error(&|r| cost(halved, r)), bound, basis())
        .control("Lipschitz cap dropped", error(&|r| lambda * r * r / (2.0 * horizon)), bound, basis())
        .control("kinetic term dropped", error(&|r| lipschitz * r), bound, basis())
        .plot(
            Plot::new(
                "Cost of the combined proximal",
                "r",
                "c(r)",
                "Quadratic up to the kink L T / lambda = 2.4, then linear.",
            )
            .line("Huber", distances.iter().map(|r| (*r, cost(parameters, *r))).collect())
            .line("minimum over y", distances.iter().step_by(8).map(|r| (*r, exact(*r))).collect())
            .line("quadratic", distances.iter().map(|r| (*r, lambda * r * r / (2.0 * horizon))).collect()),
        );
    Ok(finding)
}

/// Minimum of a convex function on `[a, b]` by golden-section search.
fn minimum(f: impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let mut least = f(a).min(f(b));
    for _ in 0..120 {
        let (c, d) = (b - ratio * (b - a), a + ratio * (b - a));
        least = least.min(f(c)).min(f(d));
        if f(c) <= f(d) { b = d } else { a = c }
    }
    least
}
