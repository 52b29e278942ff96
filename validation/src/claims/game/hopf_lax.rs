//! The value function by Hopf-Lax, a semigroup, and the game as one concave problem (notation 3.2).

use proxflow_reference::transport::cost::PointwiseCost;
use proxflow_reference::{DivergenceKind, ProximalParameters};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{Measure, huber_transport, largest, mcshane};
use proxflow_io::plot::Plot;

const L: f64 = 0.7;
const LAMBDA: f64 = 1.0;
const T: f64 = 1.0;
/// The points y of the brute force: 40001 on [-8, 8].
const NODES: usize = 40_001;
const SPACING: f64 = 16.0 / (NODES - 1) as f64;
/// Every twentieth of them for the intermediate points of the semigroup.
const STRIDE: usize = 20;
/// A minimum at a cone of phi (slopes up to 2 L to either side) or at a smooth point (curvature lambda / time), half a spacing
/// off the grid, for the whole time T.
const OFF_GRID: f64 = L * SPACING + LAMBDA / T * SPACING * SPACING / 8.0;
/// Both sides off the grid, and the intermediate point half a coarse spacing off: U(., T/2) is semi-concave with 2 lambda / T,
/// so there the minimum is smooth with curvature at most 4 lambda / T.
const OFF_GRID_TWICE: f64 = 3.0 * OFF_GRID
    + 4.0 * LAMBDA / T * (STRIDE * STRIDE) as f64 * SPACING * SPACING / 8.0;

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "hopf_lax",
    statement: "U(x,t) = min_y {phi(y) + lambda |x - y|^2 / (2 (T - t))} is a semigroup that solves Hamilton-Jacobi, and the \
                game is the concave problem max over Lip_L of E_rho0 U(.,0) - Lambda_pi(phi), with J* as its value.",
    equations: &[(17, 18), (20, 20)],
    notation: &["3.2"],
    quantities: &[
        Quantity {
            name: "closed transform",
            what: "largest |U(x,0) by brute force over 40001 points y - min_j {Huber(x - z_j) + psi_j}|, phi the potential of a \
                   solved proximal on the line",
            bound: Bound::AtMost(OFF_GRID),
            basis: Basis::Discretisation(
                "L h + lambda h^2 / (8 T) at spacing h = 4e-4 of y: a minimum at a cone or a smooth point half a spacing away",
            ),
        },
        Quantity {
            name: "semigroup",
            what: "largest |two steps of T/2 - one of T|",
            bound: Bound::AtMost(OFF_GRID_TWICE),
            basis: Basis::Discretisation(
                "three minima off the grid of y as above, and lambda H^2 / (2 T) for the spacing H = 8e-3 in between",
            ),
        },
        Quantity {
            name: "value",
            what: "|E U(.,0) - Lambda(phi) - J*| by the closed transform",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Rounding("certified tolerance 1e-11 (1 + J*)"),
        },
    ],
    removals: &[
        Removal {
            name: "value of lambda",
            what: "halved in the closed transform",
            breaks: &["closed transform", "value"],
        },
        Removal {
            name: "Lipschitz cap",
            what: "2 L in the closed transform",
            breaks: &["closed transform", "value"],
        },
        Removal {
            name: "sign of phi",
            what: "-psi in the closed transform and in Lambda",
            breaks: &["closed transform", "value"],
        },
        Removal { name: "half steps", what: "each of the two steps takes the time T", breaks: &["semigroup"] },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("hopf_lax");
    let n = setting.choose(30, 200);
    let source = Measure::random(&mut generator, n, 1, 0.0);
    let data = Measure::random(&mut generator, n, 1, 1.5);
    let parameters = ProximalParameters::new(L, LAMBDA, T)?;
    let solution = huber_transport(&source, &data, DivergenceKind::KullbackLeibler, parameters)?;
    let phi = |y: f64| mcshane(ndarray::aview1(&[y]), data.points.view(), &solution.potential, L);

    let grid: Vec<f64> = (0..NODES).map(|k| -8.0 + SPACING * k as f64).collect();
    let terminal: Vec<f64> = grid.iter().map(|y| phi(*y)).collect();
    let step = |nodes: &[f64], values: &[f64], x: f64, time: f64| {
        nodes
            .iter()
            .zip(values)
            .map(|(y, v)| v + LAMBDA * (x - y).powi(2) / (2.0 * time))
            .fold(f64::INFINITY, f64::min)
    };
    let used = ProximalParameters {
        lipschitz: if mechanism.lacks("Lipschitz cap") { 2.0 * L } else { L },
        lambda: if mechanism.lacks("value of lambda") { 0.5 * LAMBDA } else { LAMBDA },
        horizon: T,
    };
    let sign = if mechanism.lacks("sign of phi") { -1.0 } else { 1.0 };
    let closed = |x: f64| {
        let cost = PointwiseCost::Huber(used);
        let atoms = data.points.column(0).into_iter().zip(&solution.potential);
        atoms
            .map(|(z, psi)| cost.of_squared_distance((x - z).powi(2)) + sign * psi)
            .fold(f64::INFINITY, f64::min)
    };
    let points: Vec<f64> = source.points.column(0).to_vec();
    let brute: Vec<f64> = points.iter().map(|x| step(&grid, &terminal, *x, T)).collect();

    let half = if mechanism.lacks("half steps") { T } else { 0.5 * T };
    let coarse: Vec<f64> = grid.iter().step_by(STRIDE).copied().collect();
    let middle: Vec<f64> = coarse.iter().map(|y| step(&grid, &terminal, *y, half)).collect();
    let twice = points.iter().zip(&brute).take(8).map(|(x, once)| (step(&coarse, &middle, *x, half) - once).abs());

    let log_mean_exp = data.mean(|z| (sign * phi(z[0])).exp()).ln();
    let value = source.mean(|x| closed(x[0])) - log_mean_exp;
    let mut measured = Measured::new();
    measured
        .record("closed transform", largest(points.iter().zip(&brute).map(|(x, u)| (u - closed(*x)).abs())))
        .record("semigroup", largest(twice))
        .record("value", (value - solution.upper).abs());
    if mechanism.is_intact() {
        let row = |time: f64| {
            grid.iter().step_by(100).map(|x| (*x, step(&grid, &terminal, *x, time))).collect()
        };
        measured.plot(
            Plot::new(
                "Hopf-Lax value function",
                "x",
                "U",
                "phi has cones at data atoms; U is smooth below and keeps the slope L.",
            )
            .line("phi = U(., T)", grid.iter().zip(&terminal).step_by(100).map(|(x, v)| (*x, *v)).collect())
            .line("U(., T/2)", row(0.5 * T))
            .line("U(., 0)", row(T)),
        );
    }
    Ok(measured)
}
