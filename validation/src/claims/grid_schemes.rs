//! The monotone scheme and its adjoint (notation 3.5).

use proxflow_reference::ProximalParameters;
use proxflow_reference::torus::experiments::convergence::scheme_orders;
use proxflow_reference::torus::exact_solutions::{ParabolicWell, StraightLineGame};
use proxflow_reference::torus::time_solver::{HamiltonJacobiScheme, HamiltonianSign};
use proxflow_reference::torus::TorusGrid;
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{largest, normalised, smallest};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "grid_schemes",
    statement: "The continuity scheme that is the exact adjoint of the linearised Hamilton-Jacobi scheme keeps mass and \
                positivity and the duality of the game; both converge at first order, kinks included.",
    equations: &[(19, 21)],
    notation: &["3.5"],
    measured: "adjointness, mass, least weight, U(.,0) against terminal cost plus kinetic energy on random fields in two \
               dimensions; orders on four grids for a smooth and a kinked closed form",
    bound: "1e-12: rounding; order at least 0.85 (first-order scheme, four grids)",
    control: "residual with flipped Hamiltonian; the direct scheme in the place of the adjoint; lambda halved in the energy",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("grid_schemes");
    let side = setting.choose(16, 64);
    let scheme = HamiltonJacobiScheme::new(TorusGrid::new(2, side)?, 0.6, 0.3, 0.0, 1.0)?;
    let grid = scheme.neighbours();
    let nodes = grid.node_count();
    let mut random = || -> Vec<f64> { (0..nodes).map(|_| generator.random::<f64>()).collect() };
    let terminal: Vec<f64> = random().iter().map(|u| 0.5 * u * grid.spacing()).collect();
    let (direction, field) = (random(), random());
    let source = normalised(random());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let adjoint = (dot(&scheme.linearised_step(&terminal, &direction), &field)
        - dot(&direction, &scheme.adjoint_step(&terminal, &field)))
    .abs();
    let direct = (dot(&scheme.linearised_step(&terminal, &direction), &field)
        - dot(&direction, &scheme.linearised_step(&terminal, &field)))
    .abs();
    let values = scheme.solve(&terminal);
    let flow = scheme.flow(&values, &source);
    let mass = largest(flow.weights.iter().map(|w| (w.iter().sum::<f64>() - 1.0).abs()));
    let least = smallest(flow.weights.iter().flatten().copied());
    let end = &flow.weights[scheme.steps()];
    let duality = |energy: f64| (dot(&source, &values[0]) - dot(end, &terminal) - energy).abs();

    let rounding = || Basis::Rounding("sums of side^2 terms of order one".into());
    let bound = Bound::AtMost(1e-12);
    let mut finding = Finding::new();
    finding
        .measure("|<S' u, m> - <u, S'^T m>| / nodes", adjoint / nodes as f64, bound, rounding())
        .measure("largest |mass - 1|", mass, bound, rounding())
        .measure(
            "least weight",
            least,
            Bound::AtLeast(0.0),
            Basis::Exact("positivity under the step restriction".into()),
        )
        .measure("|E U(.,0) - E phi - kinetic energy|", duality(flow.kinetic_energy), bound, rounding())
        .measure(
            "Hamilton-Jacobi residual",
            scheme.residual(&values, HamiltonianSign::Equation),
            bound,
            rounding(),
        )
        .control("direct scheme in the place of its adjoint", direct / nodes as f64, bound, rounding())
        .control("lambda halved in the energy", duality(0.5 * flow.kinetic_energy), bound, rounding())
        .control(
            "Hamiltonian with flipped sign",
            scheme.residual(&values, HamiltonianSign::Flipped),
            bound,
            rounding(),
        );

    let grids = [32, 64, 128, 256];
    let well =
        ParabolicWell { parameters: ProximalParameters::new(1.0, 1.0, 0.25)?, stiffness: 1.5, centre: 0.4 };
    let mut plot = Plot::new(
        "Errors of the schemes",
        "nodes",
        "error",
        "First order where U is smooth, no better at kinks.",
    )
    .logarithmic();
    let smooth = scheme_orders("smooth", &StraightLineGame::example(), 1, &grids)?;
    let [kinked, _] = scheme_orders("kinked", &well, 1, &grids)?;
    for table in smooth.into_iter().chain([kinked]) {
        finding.measure(
            format!("order, {}", table.name),
            table.order,
            Bound::AtLeast(0.85),
            Basis::Discretisation("first order less what four grids leave of the next term".into()),
        );
        plot = plot.line(
            table.name.clone(),
            table.nodes_per_side.iter().zip(&table.errors).map(|(n, e)| (*n as f64, *e)).collect(),
        );
    }
    finding.plot(plot);
    Ok(finding)
}
