//! Optimal paths are straight lines at constant speed, so the Euler flow does not depend on its step \[22\]-\[29\].

use ndarray::{Array2, s};
use proxflow_reference::flow::{ClosedForm, Flow};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use proxflow_io::plot::Plot;

const STEPS: Basis = Basis::Rounding("64 steps of order-one terms");
const ROUNDING: Bound = Bound::AtMost(1e-12);

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "straight_lines",
    statement: "The flow of an exact potential moves every sample on a straight line at constant speed; its endpoints \
                do not depend on the step, and its Hamilton-Jacobi residual vanishes.",
    equations: &[(22, 29), (39, 39), (43, 43)],
    notation: &["3.3", "5"],
    quantities: &[
        Quantity {
            name: "straightness",
            what: "E[length / distance] - 1 of the Euler flow with 64 steps of two Hopf-Lax potentials in R^3, of a quadratic and \
                   of a conical terminal cost",
            bound: ROUNDING,
            basis: STEPS,
        },
        Quantity { name: "energy ratio", what: "kinetic / displacement energy - 1", bound: ROUNDING, basis: STEPS },
        Quantity { name: "acceleration", what: "E|v' - v| / E|v|", bound: ROUNDING, basis: STEPS },
        Quantity {
            name: "step-size deviation",
            what: "endpoints of 5 and of 17 steps against 64",
            bound: ROUNDING,
            basis: STEPS,
        },
        Quantity {
            name: "Hamilton-Jacobi residual",
            what: "E sum h |dU/dt - |grad U|^2/(2 lambda)| / (lambda K)",
            bound: ROUNDING,
            basis: STEPS,
        },
        Quantity {
            name: "kinetic energy",
            what: "|E sum h |grad U(x_k, t_k)|^2 / (2 lambda^2) / K - 1|, K from the positions alone",
            bound: ROUNDING,
            basis: STEPS,
        },
    ],
    removals: &[
        Removal {
            name: "time feature",
            what: "the potential frozen at t = 0",
            breaks: &["acceleration", "energy ratio", "step-size deviation", "Hamilton-Jacobi residual"],
        },
        Removal {
            name: "gradient structure",
            what: "a rotation added to the gradient: no potential has it",
            breaks: &["straightness", "acceleration", "step-size deviation"],
        },
        Removal {
            name: "sign of the Hamiltonian",
            what: "recorded dU/dt with flipped sign",
            breaks: &["Hamilton-Jacobi residual"],
        },
        Removal {
            name: "place of the velocity",
            what: "grad U at (x_{k+1}, t_k), as the released code takes it",
            breaks: &["kinetic energy"],
        },
    ],
    measure,
};

const LAMBDA: f64 = 0.4;
const HORIZON: f64 = 2.0;
const LIPSCHITZ: f64 = 0.7;

type Derivative = fn(&[f64], f64, &mut [f64]) -> f64;

/// U = lambda |x|^2 / (2 (1 + T - t)), the Hopf-Lax solution of phi(y) = lambda |y|^2 / 2.
fn quadratic(x: &[f64], t: f64, gradient: &mut [f64]) -> f64 {
    let remaining = 1.0 + HORIZON - t;
    let square: f64 = x.iter().map(|x| x * x).sum();
    for (g, x) in gradient.iter_mut().zip(x) {
        *g = LAMBDA * x / remaining;
    }
    LAMBDA * square / (2.0 * remaining * remaining)
}

/// U = L |x| - L^2 (T - t) / (2 lambda) beyond |x| = L (T - t) / lambda: the Hopf-Lax solution of phi(y) = L |y|.
fn conical(x: &[f64], _: f64, gradient: &mut [f64]) -> f64 {
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    for (g, x) in gradient.iter_mut().zip(x) {
        *g = LIPSCHITZ * x / norm;
    }
    LIPSCHITZ * LIPSCHITZ / (2.0 * LAMBDA)
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut measured = Measured::new();
    let mut generator = setting.stream("straight_lines");
    let samples = setting.choose(64, 1024);
    // Norms of at least 5 keep the conical case outside its kink L T / lambda = 3.5.
    let start = Array2::from_shape_simple_fn((samples, 3), || 5.0 + generator.random::<f64>());
    let mut plot =
        Plot::new("Speed along the first path", "t", "|v|", "Constant: each path keeps its own speed.");
    for (name, exact) in [("quadratic", quadratic as Derivative), ("conical", conical)] {
        let potential = |x: &[f64], t: f64, gradient: &mut [f64]| {
            let frozen = mechanism.lacks("time feature");
            let rate = exact(x, if frozen { 0.0 } else { t }, gradient);
            if mechanism.lacks("gradient structure") {
                gradient[0] -= 0.1 * LAMBDA * x[1];
                gradient[1] += 0.1 * LAMBDA * x[0];
            }
            if frozen { 0.0 } else { rate }
        };
        let simulate = |steps| Flow::simulate(&ClosedForm(potential), start.view(), HORIZON, steps, LAMBDA);
        let finest = simulate(64)?;
        let paths = finest.trajectories()?;
        measured
            .record_case("straightness", name, paths.straightness().value - 1.0)
            .record_case("energy ratio", name, paths.energy_ratio().value - 1.0)
            .record_case("acceleration", name, paths.acceleration().value);
        for steps in [5, 17] {
            let deviation = simulate(steps)?.trajectories()?.step_size_deviation(&paths)?.value;
            measured.record_case("step-size deviation", format!("{name}, {steps} steps"), deviation);
        }
        let sign = if mechanism.lacks("sign of the Hamiltonian") { -1.0 } else { 1.0 };
        let rates = sign * &finest.time_derivatives.slice(s![..64, ..]);
        let gradients = finest.gradients.slice(s![..64, .., ..]);
        let residual = paths.hamilton_jacobi(rates.view(), gradients, LAMBDA)?;
        let late = usize::from(mechanism.lacks("place of the velocity"));
        let energy = energy(&finest, potential, late);
        measured
            .record_case("Hamilton-Jacobi residual", name, residual.relative.value)
            .record_case("kinetic energy", name, (energy / paths.kinetic_energy().value - 1.0).abs());
        let speeds = (0..64)
            .map(|k| {
                let step = &paths.at(k + 1) - &paths.at(k);
                let row = step.row(0);
                (finest.times[k], row.dot(&row).sqrt() * 64.0 / HORIZON)
            })
            .collect();
        plot = plot.line(name, speeds);
    }
    measured.plot(plot);
    Ok(measured)
}

/// `E sum_k h |grad U(x_{k + late}, t_k) / lambda|^2 / 2`.
fn energy(flow: &Flow, potential: impl Fn(&[f64], f64, &mut [f64]) -> f64, late: usize) -> f64 {
    let samples = flow.positions.shape()[1];
    let mut sum = 0.0;
    for (k, pair) in flow.times.windows(2).enumerate() {
        for i in 0..samples {
            let x = flow.positions.slice(s![k + late, i, ..]).to_vec();
            let mut gradient = vec![0.0; x.len()];
            potential(&x, pair[0], &mut gradient);
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            sum += (pair[1] - pair[0]) * square / (2.0 * LAMBDA * LAMBDA);
        }
    }
    sum / samples as f64
}
