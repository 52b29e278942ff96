//! Theorem 4.2: the game on the torus has one solution \[34\]-\[38\].

use proxflow_reference::{DivergenceKind, ProximalParameters};
use proxflow_reference::torus::experiments::convergence::{l1_distance, sup_distance_modulo_constant};
use proxflow_reference::torus::exact_solutions::normalised;
use proxflow_reference::torus::TorusGrid;
use proxflow_reference::torus::time_solver::{
    Start, TimeDependentOptions, TimeDependentProblem, TimeDependentSolution,
};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::largest;
use crate::report::plot::Plot;

const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

pub(super) const CLAIM: Claim = Claim {
    id: "uniqueness",
    statement: "With both proximals the backward-forward system on the torus has a unique solution: solvers started anywhere \
                agree in U (modulo constants on the support) and rho (Theorem 4.2).",
    equations: &[(38, 38)],
    notation: &["3.4", "3.6"],
    measured: "distance between solutions from random admissible starts, for a smooth and for a singular target, U at time 0 on \
               the source's support and rho at T; certified gaps; the pairing of 1.7 of two targets",
    bound: "10 times the square root of the certified gap 1e-9 (1 + J*): strong convexity turns a gap into a squared distance",
    control: "terminal coupling with flipped sign (the pairing turns negative); no kinetic term (two flows of equal terminal \
              cost far apart)",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("uniqueness");
    let (nodes, starts) = setting.choose((48, 4), (128, 32));
    let parameters = ProximalParameters::new(1.0, 1.0, 0.25)?;
    let grid = TorusGrid::new(1, nodes)?;
    let bump = |centre: f64, width: f64| {
        normalised(grid.sample(|x| {
            let r = (std::f64::consts::PI * (x[0] - centre)).sin() / std::f64::consts::PI;
            (-r * r / (2.0 * width * width)).exp() + 1e-6
        }))
    };
    let source = bump(0.3, 0.1);
    let smooth = bump(0.6, 0.12);
    // Two point masses: a target of dimension zero.
    let mut singular = vec![0.0; nodes];
    singular[nodes / 2] = 0.6;
    singular[(3 * nodes) / 4] = 0.4;

    let solve = |target: &[f64], start: Start| -> Result<TimeDependentSolution, CheckError> {
        let problem =
            TimeDependentProblem::new(grid, parameters, 0.0, KL, source.clone(), target.to_vec())?;
        Ok(problem.solve(&TimeDependentOptions { start, ..TimeDependentOptions::default() })?)
    };
    let mut finding = Finding::new();
    let mut solutions = Vec::new();
    for (name, target) in [("smooth target", &smooth), ("singular target", &singular)] {
        let first = solve(target, Start::Zero)?;
        let tolerance = 10.0 * (1e-9 * (1.0 + first.upper)).sqrt();
        let (mut potential, mut density, mut gaps) =
            (vec![], vec![], vec![first.gap() / (1.0 + first.upper)]);
        for _ in 0..starts {
            // Random Fourier series of slope below L / 2.
            let waves: Vec<[f64; 2]> =
                (0..4).map(|_| [generator.random::<f64>() - 0.5, generator.random()]).collect();
            let start = grid.sample(|x| {
                waves
                    .iter()
                    .enumerate()
                    .map(|(k, [a, phase])| {
                        let frequency = std::f64::consts::TAU * (k + 1) as f64;
                        0.25 * a * (frequency * x[0] + std::f64::consts::TAU * phase).sin() / frequency
                    })
                    .sum()
            });
            let other = solve(target, Start::Potential(start))?;
            let charged: Vec<usize> = (0..nodes).filter(|i| source[*i] * nodes as f64 > 0.01).collect();
            let on = |s: &TimeDependentSolution| -> Vec<f64> {
                charged.iter().map(|i| s.potentials[0][*i]).collect()
            };
            potential.push(sup_distance_modulo_constant(&on(&other), &on(&first)));
            density.push(l1_distance(other.generated(), first.generated()));
            gaps.push(other.gap() / (1.0 + other.upper));
        }
        let convex =
            || Basis::Rounding("certified gap 1e-9 (1 + J*); distance is its square root, times 10".into());
        finding
            .measure(
                format!("largest certified gap / (1 + J*), {name}"),
                largest(gaps),
                Bound::AtMost(1e-9),
                convex(),
            )
            .measure(
                format!("spread of U(., 0), {name}"),
                largest(potential),
                Bound::AtMost(tolerance),
                convex(),
            )
            .measure(
                format!("spread of rho(T), {name}"),
                largest(density),
                Bound::AtMost(tolerance),
                convex(),
            );
        solutions.push(first);
    }
    // The pairing of 1.7 with a common source and different targets is negative by 3.4, with a common target positive;
    // the flipped coupling exchanges the two, and nothing then forces the solutions together.
    let other_source = bump(0.45, 0.08);
    let common = TimeDependentProblem::new(grid, parameters, 0.0, KL, other_source, smooth.clone())?
        .solve(&TimeDependentOptions::default())?;
    let pairing: f64 = (0..nodes)
        .map(|i| {
            let phi = solutions[0].terminal_potential()[i] - common.terminal_potential()[i];
            phi * (solutions[0].generated()[i] - common.generated()[i])
        })
        .sum();
    let sign = || Basis::Exact("Lemma 4.1 with a common target; certified gaps 1e-9".into());
    finding
        .measure("pairing of two sources with a common target", pairing, Bound::AtLeast(-4e-9), sign())
        .control("terminal coupling with flipped sign: pairing", -pairing, Bound::AtLeast(-4e-9), sign());
    // Without the kinetic term a flow may run once round the torus: same rho_T, same terminal cost, another velocity.
    let direct = solutions[0].kinetic_energy;
    let round = 0.5 * parameters.lambda / parameters.horizon;
    finding.control(
        "no kinetic term: two flows of equal terminal cost, difference of their velocities' energies",
        round - direct,
        Bound::AtMost(1e-3),
        Basis::Exact(
            "adding one turn to every path costs lambda / (2 T) at least and changes no endpoint".into(),
        ),
    );
    let at_nodes =
        |values: &[f64]| values.iter().enumerate().map(|(i, v)| (i as f64 / nodes as f64, *v)).collect();
    let densities = |weights: &[f64]| at_nodes(&weights.iter().map(|w| w * nodes as f64).collect::<Vec<_>>());
    finding.plot(
        Plot::new(
            "The game with a smooth target",
            "x",
            "density",
            "rho_T lies between source and target; eta* reaches closer.",
        )
        .line("source", densities(&source))
        .line("rho_T", densities(solutions[0].generated()))
        .line("eta*", densities(&solutions[0].intermediate))
        .line("target", densities(&smooth)),
    );
    Ok(finding)
}
