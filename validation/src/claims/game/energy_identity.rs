//! The energy identity behind Theorem 4.2 \[34\]-\[38\] (notation 3.4), for different targets.

use proxflow_reference::ProximalParameters;
use proxflow_reference::torus::experiments::convergence::ConvergenceTable;
use proxflow_reference::torus::exact_solutions::{ExactSolution, StraightLineGame};
use proxflow_reference::torus::time_solver::HamiltonJacobiScheme;
use proxflow_reference::torus::{NeighbourTable, TorusGrid};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use proxflow_io::plot::Plot;

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "energy_identity",
    statement: "For any two solutions with the same rho0, int (U_1 - U_2)(rho_1 - rho_2) dx at T equals \
                -(1/(2 lambda)) int int (rho_1 + rho_2)|grad(U_1 - U_2)|^2 dx dt <= 0.",
    equations: &[(34, 37)],
    notation: &["3.4"],
    quantities: &[
        Quantity {
            name: "identity",
            what: "|left - right| / |left| of two closed-form solutions with different targets, by quadrature",
            bound: Bound::AtMost(1e-7),
            basis: Basis::Discretisation("fourth-order differences at 1e-3, 32 Simpson panels"),
        },
        Quantity {
            name: "left side",
            what: "of the closed forms: the identity is not 0 = 0",
            bound: Bound::AtMost(-1e-3),
            basis: Basis::Requirement("far from rounding"),
        },
        Quantity {
            name: "order of the scheme",
            what: "in h of |left - right| / |left| of the monotone scheme on 32, 64, 128 and 256 nodes",
            bound: Bound::AtLeast(0.9),
            basis: Basis::Discretisation("first-order scheme, smooth solutions, four grids"),
        },
        Quantity {
            name: "identity of the scheme",
            what: "|left - right| / |left| at 256 nodes",
            bound: Bound::AtMost(4e-3),
            basis: Basis::Discretisation("C h with C = 1 at h = 1/256"),
        },
    ],
    removals: &[
        Removal {
            name: "common lambda",
            what: "the second pair solves the system with half of lambda",
            breaks: &["identity", "order of the scheme", "identity of the scheme"],
        },
        Removal {
            name: "common source",
            what: "the second density starts elsewhere",
            breaks: &["identity", "order of the scheme", "identity of the scheme"],
        },
        Removal {
            name: "Hamilton-Jacobi",
            what: "the second potential keeps its terminal values for all times",
            breaks: &["identity", "order of the scheme", "identity of the scheme"],
        },
        Removal {
            name: "difference of the targets",
            what: "both solutions nearly the same",
            breaks: &["left side"],
        },
    ],
    measure,
};

fn games(mechanism: Mechanism) -> [StraightLineGame; 2] {
    let parameters = ProximalParameters { lipschitz: 1.0, lambda: 0.7, horizon: 0.2 };
    let first = StraightLineGame { parameters, slope: 0.4, source_amplitude: 0.6, shift: 0.2 };
    let mut second = StraightLineGame { slope: -0.25, ..first.clone() };
    if mechanism.lacks("common lambda") {
        second.parameters.lambda *= 0.5;
    }
    if mechanism.lacks("common source") {
        second.shift += 0.3;
    }
    if mechanism.lacks("difference of the targets") {
        second.slope = 0.39;
    }
    [first, second]
}

fn measure(_: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let games = games(mechanism);
    let ProximalParameters { lambda, horizon, .. } = games[0].parameters;
    let frozen = mechanism.lacks("Hamilton-Jacobi");
    let difference = |x: f64, t: f64| {
        games[0].potential(&[x], t) - games[1].potential(&[x], if frozen { horizon } else { t })
    };
    let gradient = |x: f64, t: f64| {
        let h = 1e-3;
        let at = |k: f64| difference(x + k * h, t);
        (at(-2.0) - 8.0 * at(-1.0) + 8.0 * at(1.0) - at(2.0)) / (12.0 * h)
    };
    // Periodic trapezoid in x converges geometrically; Simpson in t at order four.
    let nodes = 256;
    let integral =
        |f: &dyn Fn(f64) -> f64| (0..nodes).map(|i| f(i as f64 / nodes as f64)).sum::<f64>() / nodes as f64;
    let left = integral(&|x| {
        difference(x, horizon) * (games[0].density(&[x], horizon) - games[1].density(&[x], horizon))
    });
    let dissipation = |t: f64| {
        integral(&|x| (games[0].density(&[x], t) + games[1].density(&[x], t)) * gradient(x, t).powi(2))
    };
    let panels = 32;
    let simpson: f64 = (0..=2 * panels)
        .map(|k| {
            let weight = match k {
                0 => 1.0,
                _ if k == 2 * panels => 1.0,
                _ if k % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * dissipation(horizon * k as f64 / (2 * panels) as f64)
        })
        .sum::<f64>()
        * horizon
        / (6 * panels) as f64;
    let right = -simpson / (2.0 * lambda);

    let grids = [32, 64, 128, 256];
    let mut errors = Vec::new();
    for n in grids {
        let (left, right) = scheme_sides(&games, n, mechanism)?;
        errors.push((left - right).abs() / left.abs());
    }
    let table = ConvergenceTable::new("energy identity", 1.0, &grids, errors.clone());
    let measured_line = grids.iter().zip(&errors).map(|(n, error)| (*n as f64, *error)).collect();
    let first_order = grids.iter().map(|n| (*n as f64, errors[0] * 32.0 / *n as f64)).collect();
    let mut measured = Measured::new();
    measured
        .record("identity", (left - right).abs() / left.abs())
        .record("left side", left)
        .record("order of the scheme", table.order)
        .record("identity of the scheme", errors[3])
        .figure("right side", right)
        .plot(
            Plot::new(
                "Energy identity of the scheme",
                "nodes",
                "relative difference of the sides",
                "Falls at first order.",
            )
            .logarithmic()
            .line("measured", measured_line)
            .line("slope -1", first_order),
        );
    Ok(measured)
}

/// Both sides on a grid of `n` nodes: terminal data of the games, everything else from the schemes.
fn scheme_sides(
    games: &[StraightLineGame; 2],
    n: usize,
    mechanism: Mechanism,
) -> Result<(f64, f64), CheckError> {
    let ProximalParameters { lipschitz, lambda, horizon } = games[0].parameters;
    // The smaller lambda of both sets the time step, so that the two runs share their times.
    let slowest = games[0].parameters.lambda.min(games[1].parameters.lambda);
    let steps = HamiltonJacobiScheme::new(TorusGrid::new(1, n)?, slowest, horizon, 0.0, lipschitz)?.steps();
    let mut solved = Vec::new();
    for (index, game) in games.iter().enumerate() {
        let own = game.parameters.lambda;
        // Half of lambda at the same step is twice the cap at lambda: both meet the step restriction.
        let scheme =
            HamiltonJacobiScheme::new(TorusGrid::new(1, n)?, own, horizon, 0.0, lipschitz * own / slowest)?;
        if scheme.steps() != steps {
            return Err(CheckError::Run(format!("{} steps, not {steps}", scheme.steps())));
        }
        let grid = scheme.neighbours();
        let terminal = grid.sample(|x| game.potential(x, horizon));
        let potentials = if index == 1 && mechanism.lacks("Hamilton-Jacobi") {
            vec![terminal; steps + 1]
        } else {
            scheme.solve(&terminal)
        };
        let weights = scheme.flow(&potentials, &game.weights(grid, 0.0)).weights;
        solved.push((potentials, weights));
    }
    let grid = NeighbourTable::new(TorusGrid::new(1, n)?)?;
    let time_step = horizon / steps as f64;
    let field = |k: usize, i: usize| solved[0].0[k][i] - solved[1].0[k][i];
    let left = (0..n).map(|i| field(steps, i) * (solved[0].1[steps][i] - solved[1].1[steps][i])).sum();
    let mut right = 0.0;
    for k in 0..steps {
        for i in 0..n {
            let slope = (field(k, grid.forward(0)[i] as usize)
                - field(k, grid.backward(0)[i] as usize))
                * n as f64
                / 2.0;
            right -= time_step * (solved[0].1[k][i] + solved[1].1[k][i]) * slope * slope / (2.0 * lambda);
        }
    }
    Ok((left, right))
}
