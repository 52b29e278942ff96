//! The Huber cost: the middle point of the combined proximal eliminated (notation 2.2).

use proxflow_reference::ProximalParameters;
use proxflow_reference::transport::cost::PointwiseCost;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{golden_section, largest};
use proxflow_io::plot::Plot;

const OPERATIONS: Basis = Basis::Rounding("a dozen operations; the minimum is flat in y");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "huber_cost",
    statement: "min_y {lambda |x - y|^2 / (2T) + L |y - z|} is the Huber function of r = |x - z| with its kink at \
                r = L T / lambda: quadratic (mass reaches the data) before, linear (W1 carries the rest) beyond.",
    equations: &[(10, 10)],
    notation: &["2.2"],
    quantities: &[
        Quantity {
            name: "cost",
            what: "largest |c(r) - minimum over y| / (1 + c(r)), the minimum by golden-section search, at 200 distances on both \
                   sides of the kink",
            bound: Bound::AtMost(1e-12),
            basis: OPERATIONS,
        },
        Quantity {
            name: "speed",
            what: "largest speed of the minimising path, times lambda / L, minus 1",
            bound: Bound::AtMost(1e-12),
            basis: OPERATIONS,
        },
    ],
    removals: &[
        Removal { name: "value of lambda", what: "halved in c", breaks: &["cost", "speed"] },
        Removal { name: "Lipschitz cap", what: "L a thousand times as large in c: quadratic throughout", breaks: &["cost", "speed"] },
        Removal { name: "kinetic term", what: "c = L r: linear throughout", breaks: &["cost"] },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let stated = ProximalParameters::new(0.8, 0.5, 1.5)?;
    let ProximalParameters { lipschitz, lambda, horizon } = stated;
    let used = if mechanism.lacks("value of lambda") {
        ProximalParameters { lambda: 0.5 * lambda, ..stated }
    } else if mechanism.lacks("Lipschitz cap") {
        ProximalParameters { lipschitz: 1e3 * lipschitz, ..stated }
    } else {
        stated
    };
    let cost = if mechanism.lacks("kinetic term") {
        PointwiseCost::Lipschitz { lipschitz }
    } else {
        PointwiseCost::Huber(used)
    };
    let count = setting.choose(200, 5000);
    let distances: Vec<f64> = (1..=count).map(|k| 3.0 * stated.kink() * k as f64 / count as f64).collect();
    let exact =
        |r: f64| golden_section(|y| lambda * y * y / (2.0 * horizon) + lipschitz * (r - y), 0.0, r);
    let of = |r: f64| cost.of_squared_distance(r * r);
    let errors = distances.iter().map(|r| (of(*r) - exact(*r)).abs() / (1.0 + exact(*r)));
    let speeds = distances.iter().map(|r| r * (used.kink() / r).min(1.0) / horizon);
    let mut measured = Measured::new();
    measured
        .record("cost", largest(errors))
        .record("speed", largest(speeds) * lambda / lipschitz - 1.0)
        .plot(
            Plot::new(
                "Cost of the combined proximal",
                "r",
                "c(r)",
                "Quadratic up to the kink L T / lambda = 2.4, then linear.",
            )
            .line("Huber", distances.iter().map(|r| (*r, of(*r))).collect())
            .line("minimum over y", distances.iter().step_by(8).map(|r| (*r, exact(*r))).collect())
            .line("quadratic", distances.iter().map(|r| (*r, lambda * r * r / (2.0 * horizon))).collect()),
        );
    Ok(measured)
}
