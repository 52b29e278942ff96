//! The table that `torus uniqueness` prints.

use std::fmt::Write as _;

use proxflow_reference::torus::experiments::convergence::fitted_exponent;
use proxflow_reference::torus::experiments::uniqueness::Verdict;

use super::report::{Report, solver_name, verdict};

/// The table that the command prints.
pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Uniqueness (Theorem 4.2): largest pairwise distances over random starts");
    let _ = writeln!(
        text,
        "{:>2} {:>4} {:10} {:11} {:>6} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9}  <= 10 tol",
        "d", "n", "target", "solver", "starts", "gap tol", "gap", "starts by", "U(.,0)", "rho(T)", "v"
    );
    for row in &report.uniqueness {
        let _ = writeln!(
            text,
            "{:>2} {:>4} {:10} {:11} {:>6} {:>9.1e} {:>9.1e} {:>9.1e} | {:>9.1e} {:>9.1e} {:>9.1e}  {}",
            row.dimension,
            row.nodes_per_side,
            row.target,
            solver_name(row.solver),
            row.starts,
            row.gap_tolerance,
            row.largest_gap,
            row.start_spread,
            row.spread.potential,
            row.spread.density,
            row.spread.velocity,
            verdict(row.verdict)
        );
    }
    if report.uniqueness.iter().any(|row| row.verdict == Verdict::Uncertified) {
        let _ = writeln!(
            text,
            "no certificate: the ascent ran out of its budget (Lipschitz cap active, or empty target nodes), or ten times its gap\n\
             exceeds J*: the bounds are valid, but single out no solution"
        );
    }
    let _ = writeln!(text, "\nNegative controls (3.6): each must exceed 100 x the allowance");
    for row in &report.controls {
        let _ = writeln!(
            text,
            "{:28} {:28} {:>9.2e} / {:.0e}  {}  {}",
            row.name,
            row.compared,
            row.spread,
            row.allowance,
            if row.fails { "not unique, as it must" } else { "UNEXPECTEDLY UNIQUE" },
            row.detail
        );
    }
    let _ = writeln!(
        text,
        "\nIdentity 3.4 between different targets: left | scheme's right side (rounding) | integral (order h); and 1.7"
    );
    for row in &report.identity {
        let _ = writeln!(
            text,
            "{}-D n={:<4} {:.8} | {:.8} (diff {:.0e}) | {:.8}   1.7: {:.8} = {:.8} + {:.8}",
            row.dimension,
            row.nodes_per_side,
            row.identity.left,
            row.identity.discrete_right,
            (row.identity.left - row.identity.discrete_right).abs(),
            row.identity.integral_right,
            row.monotonicity.bracket,
            row.monotonicity.first_gap,
            row.monotonicity.second_gap
        );
    }
    let _ = writeln!(text, "\nMeasured orders");
    for table in &report.convergence {
        let errors: Vec<String> = table.errors.iter().map(|error| format!("{error:.1e}")).collect();
        let _ = writeln!(
            text,
            "{:52} n = {:?}: {}  order {:.2} (theory {})",
            table.name,
            table.nodes_per_side,
            errors.join(" "),
            table.order,
            table.theory
        );
    }
    let _ = writeln!(text, "\nVanishing viscosity, distance from s = 0: J*, U(.,0), rho(T)");
    for row in &report.vanishing_viscosity {
        let _ = writeln!(
            text,
            "s = {:<8} {:.2e} {:.2e} {:.2e}",
            row.viscosity, row.value, row.potential, row.density
        );
    }
    let (s, u): (Vec<f64>, Vec<f64>) =
        report.vanishing_viscosity.iter().map(|row| (row.viscosity, row.potential)).unzip();
    let _ = writeln!(text, "order in s of U(.,0): {:.2} (theory: s ln(1/s))", fitted_exponent(&s, &u));
    let _ = writeln!(text, "\nTrajectories: excess length, acceleration, bend");
    for row in &report.trajectories {
        let i = &row.indicators;
        let _ = writeln!(
            text,
            "{}-D n={:<4} {:24} {:.1e} {:.1e} {:.1e} ({} paths)",
            row.dimension, row.nodes_per_side, row.source, i.excess_length, i.acceleration, i.bend, i.paths
        );
    }
    let _ = writeln!(text, "\n{:.0} s", report.seconds);
    text
}
