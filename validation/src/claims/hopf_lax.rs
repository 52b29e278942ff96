//! The value function by Hopf-Lax, a semigroup, and the game as one concave problem (notation 3.2).

use proxflow_reference::{DivergenceKind, ProximalParameters};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{Measure, huber_transport, largest, mcshane};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "hopf_lax",
    statement: "U(x,t) = min_y {phi(y) + lambda |x - y|^2 / (2 (T - t))} is a semigroup that solves Hamilton-Jacobi, and the \
                game is the concave problem max over Lip_L of E_rho0 U(.,0) - Lambda_pi(phi), with J* as its value.",
    equations: &[(17, 18), (20, 20)],
    notation: &["3.2"],
    measured: "on the line, phi the potential of a solved proximal: U by brute force over 40001 points y against the closed \
               transform min_j {Huber(x - z_j) + psi_j}; two half steps against one; E U(.,0) - Lambda(phi) against J*",
    bound: "discretisation of y: L h^2-order, 1e-6; the value to 1e-10 by the closed transform",
    control: "lambda halved in the kernel; phi with flipped sign; the Lipschitz cap doubled",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("hopf_lax");
    let n = setting.choose(30, 200);
    let source = Measure::random(&mut generator, n, 1, 0.0);
    let data = Measure::random(&mut generator, n, 1, 1.5);
    let parameters = ProximalParameters::new(0.7, 1.0, 1.0)?;
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let solution = huber_transport(&source, &data, DivergenceKind::KullbackLeibler, parameters)?;
    let psi = &solution.potential;
    let phi = |y: f64, slope: f64| mcshane(ndarray::aview1(&[y]), data.points.view(), psi, slope);

    let nodes = 40_001;
    let grid: Vec<f64> = (0..nodes).map(|k| -8.0 + 16.0 * k as f64 / (nodes - 1) as f64).collect();
    let terminal: Vec<f64> = grid.iter().map(|y| phi(*y, lipschitz)).collect();
    let step = |values: &[f64], x: f64, time: f64, lambda: f64| {
        grid.iter()
            .zip(values)
            .map(|(y, v)| v + lambda * (x - y).powi(2) / (2.0 * time))
            .fold(f64::INFINITY, f64::min)
    };
    let closed = |x: f64, p: ProximalParameters, psi: &[f64]| {
        let cost = proxflow_reference::transport::cost::PointwiseCost::Huber(p);
        data.points
            .column(0)
            .iter()
            .zip(psi)
            .map(|(z, psi)| cost.of_squared_distance((x - z).powi(2)) + psi)
            .fold(f64::INFINITY, f64::min)
    };
    let points: Vec<f64> = source.points.column(0).to_vec();
    let against = |values: &[f64], lambda: f64| {
        largest(
            points.iter().map(|x| (step(values, *x, horizon, lambda) - closed(*x, parameters, psi)).abs()),
        )
    };
    // The semigroup on a coarser set of intermediate points: an upper bound, equal up to the spacing squared.
    let coarse: Vec<usize> = (0..nodes).step_by(20).collect();
    let middle: Vec<f64> = coarse.iter().map(|k| step(&terminal, grid[*k], 0.5 * horizon, lambda)).collect();
    let twice = |x: f64| {
        coarse
            .iter()
            .zip(&middle)
            .map(|(k, v)| v + lambda * (x - grid[*k]).powi(2) / horizon)
            .fold(f64::INFINITY, f64::min)
    };
    let semigroup =
        largest(points.iter().take(8).map(|x| (twice(*x) - step(&terminal, *x, horizon, lambda)).abs()));
    let log_mean_exp = |slope: f64| data.mean(|z| phi(z[0], slope).exp()).ln();
    let value = |p: ProximalParameters, sign: f64| {
        let signed: Vec<f64> = psi.iter().map(|v| sign * v).collect();
        source.mean(|x| closed(x[0], p, &signed)) - sign * log_mean_exp(lipschitz)
    };
    let doubled = ProximalParameters { lipschitz: 2.0 * lipschitz, ..parameters };
    let halved = ProximalParameters { lambda: 0.5 * lambda, ..parameters };

    let spacing = || {
        Basis::Discretisation(
            "spacing 4e-4 of y: kinks of phi cost at most L h / 2 off the grid, 2 h^2 elsewhere".into(),
        )
    };
    let rounding = || Basis::Rounding("certified tolerance 1e-11".into());
    // y may sit at an atom z_j between nodes: error at most 2 L h = 6e-4 there, h^2 = 1e-7 elsewhere.
    let grid_bound = Bound::AtMost(2.0 * lipschitz * 4e-4);
    let bound = Bound::AtMost(1e-10);
    let mut finding = Finding::new();
    finding
        .measure("largest |brute force - closed transform|", against(&terminal, lambda), grid_bound, spacing())
        .measure("largest |two half steps - one|", semigroup, Bound::AtMost(1e-3), Basis::Discretisation(
            "intermediate spacing h = 8e-3: 2 lambda h^2 / T at smooth points, one order more slack for kinks".into(),
        ))
        .measure("|E U(.,0) - Lambda(phi) - J*|", (value(parameters, 1.0) - solution.upper).abs(), bound, rounding())
        .control("lambda halved in the kernel", against(&terminal, 0.5 * lambda), grid_bound, spacing())
        .control("lambda halved in the value", (value(halved, 1.0) - solution.upper).abs(), bound, rounding())
        .control("Lipschitz cap doubled in the value", (value(doubled, 1.0) - solution.upper).abs(), bound, rounding())
        .control("phi with flipped sign", (value(parameters, -1.0) - solution.upper).abs(), bound, rounding());
    let row = |time: f64| grid.iter().step_by(100).map(|x| (*x, step(&terminal, *x, time, lambda))).collect();
    finding.plot(
        Plot::new(
            "Hopf-Lax value function",
            "x",
            "U",
            "phi has cones at data atoms; U is smooth below and keeps the slope L.",
        )
        .line("phi = U(., T)", grid.iter().zip(&terminal).step_by(100).map(|(x, v)| (*x, *v)).collect())
        .line("U(., T/2)", row(0.5 * horizon))
        .line("U(., 0)", row(horizon)),
    );
    Ok(finding)
}
