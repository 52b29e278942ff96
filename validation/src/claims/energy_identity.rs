//! The energy identity behind Theorem 4.2 \[34\]-\[38\] (notation 3.4), for different targets.

use proxflow_reference::ProximalParameters;
use proxflow_reference::torus::experiments::convergence::ConvergenceTable;
use proxflow_reference::torus::exact_solutions::{ExactSolution, StraightLineGame};
use proxflow_reference::torus::time_solver::HamiltonJacobiScheme;
use proxflow_reference::torus::TorusGrid;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "energy_identity",
    statement: "For any two solutions with the same rho0, int (U_1 - U_2)(rho_1 - rho_2) dx at T equals \
                -(1/(2 lambda)) int int (rho_1 + rho_2)|grad(U_1 - U_2)|^2 dx dt <= 0.",
    equations: &[(34, 37)],
    notation: &["3.4"],
    measured: "both sides, non-zero, for closed-form solutions by quadrature and for the monotone scheme on four grids",
    bound: "1e-7: fourth-order differences and Simpson's rule; for the scheme order at least 0.9 in h",
    control: "the factor 1/(2 lambda) doubled (lambda halved in one place); the sign flipped; one velocity reversed",
    check,
};

fn games() -> [StraightLineGame; 2] {
    let parameters = ProximalParameters { lipschitz: 1.0, lambda: 0.7, horizon: 0.2 };
    [0.4, -0.25].map(|slope| StraightLineGame { parameters, slope, source_amplitude: 0.6, shift: 0.2 })
}

fn check(_: &Setting) -> Result<Finding, CheckError> {
    let games = games();
    let ProximalParameters { lambda, horizon, .. } = games[0].parameters;
    let difference = |x: f64, t: f64| games[0].potential(&[x], t) - games[1].potential(&[x], t);
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
            let weight = if k == 0 || k == 2 * panels {
                1.0
            } else if k % 2 == 1 {
                4.0
            } else {
                2.0
            };
            weight * dissipation(horizon * k as f64 / (2 * panels) as f64)
        })
        .sum::<f64>()
        * horizon
        / (6 * panels) as f64;
    let right = -simpson / (2.0 * lambda);
    let reversed = integral(&|x| {
        difference(x, horizon) * (games[0].density(&[x], horizon) - games[1].density(&[-x], horizon))
    });

    let grids = [32, 64, 128, 256];
    let mut errors = Vec::new();
    let mut sides = Vec::new();
    for n in grids {
        let (left, right) = scheme_sides(&games, n)?;
        errors.push((left - right).abs() / left.abs());
        sides.push((n as f64, left, right));
    }
    let table = ConvergenceTable::new("energy identity", 1.0, &grids, errors.clone());

    let quadrature = || Basis::Discretisation("fourth-order differences at 1e-3, 32 Simpson panels".into());
    let relative = |r: f64| (left - r).abs() / left.abs();
    let bound = Bound::AtMost(1e-7);
    let mut finding = Finding::new();
    finding
        .measure("relative difference of the sides, closed form", relative(right), bound, quadrature())
        .measure(
            "left side, closed form",
            left,
            Bound::AtMost(-1e-3),
            Basis::Exact("negative: the targets differ".into()),
        )
        .measure(
            "order of the scheme's difference in h",
            table.order,
            Bound::AtLeast(0.9),
            Basis::Discretisation("first-order scheme, smooth solutions, four grids".into()),
        )
        .measure(
            "relative difference of the scheme at 256 nodes",
            errors[3],
            Bound::AtMost(0.1),
            Basis::Discretisation("first order: a tenth of the value at h = 1/256".into()),
        )
        .control("lambda halved in the right side", relative(2.0 * right), bound, quadrature())
        .control("sign flipped", relative(-right), bound, quadrature())
        .control("one velocity reversed", (reversed - right).abs() / left.abs(), bound, quadrature())
        .figure("left side", left)
        .figure("right side", right)
        .plot(
            Plot::new(
                "Energy identity of the scheme",
                "nodes",
                "relative difference of the sides",
                "Falls at first order.",
            )
            .logarithmic()
            .line("measured", sides.iter().zip(&errors).map(|(s, e)| (s.0, *e)).collect())
            .line("slope -1", sides.iter().map(|s| (s.0, errors[0] * 32.0 / s.0)).collect()),
        );
    Ok(finding)
}

/// Both sides on a grid of `n` nodes: terminal data of the games, everything else from the schemes.
fn scheme_sides(games: &[StraightLineGame; 2], n: usize) -> Result<(f64, f64), CheckError> {
    let ProximalParameters { lipschitz, lambda, horizon } = games[0].parameters;
    let scheme = HamiltonJacobiScheme::new(TorusGrid::new(1, n)?, lambda, horizon, 0.0, lipschitz)?;
    let grid = scheme.neighbours();
    let source = games[0].weights(grid, 0.0);
    let solved: Vec<_> = games
        .iter()
        .map(|game| {
            let potentials = scheme.solve(&grid.sample(|x| game.potential(x, horizon)));
            let flow = scheme.flow(&potentials, &source);
            (potentials, flow.weights)
        })
        .collect();
    let steps = scheme.steps();
    let field = |k: usize, i: usize| solved[0].0[k][i] - solved[1].0[k][i];
    let left = (0..n).map(|i| field(steps, i) * (solved[0].1[steps][i] - solved[1].1[steps][i])).sum();
    let mut right = 0.0;
    for k in 0..steps {
        for i in 0..n {
            let slope = (field(k, grid.forward(0)[i] as usize)
                - field(k, grid.backward(0)[i] as usize))
                * n as f64
                / 2.0;
            right -=
                scheme.time_step() * (solved[0].1[k][i] + solved[1].1[k][i]) * slope * slope / (2.0 * lambda);
        }
    }
    Ok((left, right))
}
