//! Optimal paths are straight lines at constant speed, so the Euler flow does not depend on its step \[22\]-\[29\].

use ndarray::{Array2, s};
use proxflow_reference::flow::{ClosedForm, Flow};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "straight_lines",
    statement: "The flow of an exact potential moves every sample on a straight line at constant speed; its endpoints \
                do not depend on the step, and its Hamilton-Jacobi residual vanishes.",
    equations: &[(22, 29), (39, 39), (43, 43)],
    notation: &["3.3", "5"],
    measured: "straightness, acceleration, step-size deviation (5 and 17 steps against 64) and Hamilton-Jacobi residual \
               of the Euler flow of Hopf-Lax potentials of a quadratic and of a conical terminal cost in dimension 3",
    bound: "1e-12: rounding of 64 steps",
    control: "the potential frozen at t = 0 (the time feature dropped): accelerating paths, residual and step dependence; \
              the sign of the Hamiltonian flipped: residual; energy taken at (x_{k+1}, t_k)",
    check,
};

const LAMBDA: f64 = 0.4;
const HORIZON: f64 = 2.0;

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

const LIPSCHITZ: f64 = 0.7;

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut finding = Finding::new();
    let mut generator = setting.stream("straight_lines");
    let samples = setting.choose(64, 1024);
    // Norms of at least 5 keep the conical case outside its kink L T / lambda = 3.5.
    let start = Array2::from_shape_simple_fn((samples, 3), || 5.0 + generator.random::<f64>());
    let rounding = || Basis::Rounding("64 steps of order-one terms".into());
    let bound = Bound::AtMost(1e-12);
    let mut plot = Plot::new(
        "Speed along the first path",
        "t",
        "|v|",
        "Constant for exact potentials; the control, whose potential ignores time, slows down.",
    );
    type Derivative = fn(&[f64], f64, &mut [f64]) -> f64;
    let frozen: Derivative = |x, _, gradient| {
        quadratic(x, 0.0, gradient);
        0.0
    };
    for (name, potential, exact) in [
        ("quadratic", quadratic as Derivative, true),
        ("conical", conical, true),
        ("time dropped", frozen, false),
    ] {
        let simulate = |steps| Flow::simulate(&ClosedForm(potential), start.view(), HORIZON, steps, LAMBDA);
        let finest = simulate(64)?;
        let reference = finest.trajectories()?;
        let mut record = |quantity: &str, value: f64| {
            let quantity = format!("{quantity}, {name}");
            if exact {
                finding.measure(quantity, value, bound, rounding());
            } else {
                finding.control(quantity, value, bound, rounding());
            }
        };
        record("acceleration", reference.acceleration().value);
        for steps in [5, 17] {
            let flow = simulate(steps)?;
            let deviation = flow.trajectories()?.step_size_deviation(&reference)?.value;
            record(&format!("deviation of {steps} steps from 64"), deviation);
        }
        let residual = reference.hamilton_jacobi(
            finest.time_derivatives.slice(s![..64, ..]),
            finest.gradients.slice(s![..64, .., ..]),
            LAMBDA,
        )?;
        record("relative Hamilton-Jacobi residual", residual.relative.value);
        if exact {
            let quantity = format!("straightness - 1, {name}");
            finding.measure(quantity, reference.straightness().value - 1.0, bound, rounding());
            let flipped = residual.sign_flipped.value;
            finding.control(format!("sign of the Hamiltonian flipped, {name}"), flipped, bound, rounding());
            // The released code takes the velocity at (x_{k+1}, t_k); on the quadratic it is another one.
            if name == "quadratic" {
                finding.control(
                    "energy taken at (x_{k+1}, t_k)",
                    (shifted_energy(&finest, potential) / reference.kinetic_energy().value - 1.0).abs(),
                    bound,
                    rounding(),
                );
            }
            let right = reference.energy_ratio().value - 1.0;
            finding.measure(format!("kinetic / displacement energy - 1, {name}"), right, bound, rounding());
        }
        let speeds = (0..64)
            .map(|k| {
                let step = &reference.at(k + 1) - &reference.at(k);
                let row = step.row(0);
                (finest.times[k], row.dot(&row).sqrt() * 64.0 / HORIZON)
            })
            .collect();
        plot = plot.line(name, speeds);
    }
    finding.plot(plot);
    Ok(finding)
}

/// `E sum_k h |grad U(x_{k+1}, t_k) / lambda|^2 / 2`: the released code's energy.
fn shifted_energy(flow: &Flow, potential: fn(&[f64], f64, &mut [f64]) -> f64) -> f64 {
    let steps = flow.times.len() - 1;
    let samples = flow.positions.shape()[1];
    let mut sum = 0.0;
    for k in 0..steps {
        for i in 0..samples {
            let x = flow.positions.slice(s![k + 1, i, ..]).to_vec();
            let mut gradient = vec![0.0; x.len()];
            potential(&x, flow.times[k], &mut gradient);
            let square: f64 = gradient.iter().map(|g| g * g).sum();
            sum += (flow.times[k + 1] - flow.times[k]) * square / (2.0 * LAMBDA * LAMBDA);
        }
    }
    sum / samples as f64
}
