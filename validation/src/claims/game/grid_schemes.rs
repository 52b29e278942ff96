//! The monotone scheme and its adjoint (notation 3.5).

use proxflow_reference::ProximalParameters;
use proxflow_reference::torus::experiments::convergence::scheme_orders;
use proxflow_reference::torus::exact_solutions::{ExactSolution, ParabolicWell, StraightLineGame};
use proxflow_reference::torus::time_solver::{HamiltonJacobiScheme, HamiltonianSign};
use proxflow_reference::torus::TorusGrid;
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{largest, normalised, smallest};
use proxflow_io::plot::Plot;

const SUMS: Basis = Basis::Rounding("sums of side^2 terms of order one");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "grid_schemes",
    statement: "The continuity scheme that is the exact adjoint of the linearised Hamilton-Jacobi scheme keeps mass and \
                positivity and the duality of the game; both converge at first order, kinks included.",
    equations: &[(19, 21)],
    notation: &["3.5"],
    quantities: &[
        Quantity {
            name: "adjointness",
            what: "|<S' u, m> - <u, S'^T m>| / nodes of random fields in two dimensions",
            bound: Bound::AtMost(1e-12),
            basis: SUMS,
        },
        Quantity {
            name: "mass",
            what: "largest |mass - 1| along the flow of the adjoint scheme",
            bound: Bound::AtMost(1e-12),
            basis: SUMS,
        },
        Quantity {
            name: "positivity",
            what: "least weight along the flow",
            bound: Bound::AtLeast(0.0),
            basis: Basis::Exact("a convex combination of weights under the step restriction"),
        },
        Quantity {
            name: "duality",
            what: "|E_rho0 U(.,0) - E_rhoT phi - kinetic energy of the flow|",
            bound: Bound::AtMost(1e-12),
            basis: SUMS,
        },
        Quantity {
            name: "Hamilton-Jacobi residual",
            what: "largest |residual| of the scheme's own solution",
            bound: Bound::AtMost(1e-12),
            basis: SUMS,
        },
        Quantity {
            name: "order",
            what: "order of both schemes on 32, 64, 128 and 256 nodes: a smooth closed form, and U of a kinked one",
            bound: Bound::AtLeast(0.85),
            basis: Basis::Discretisation("first order less what four grids leave of the next term"),
        },
    ],
    removals: &[
        Removal {
            name: "adjoint",
            what: "the direct linearised scheme in its place",
            breaks: &["adjointness", "mass"],
        },
        Removal {
            name: "optimal velocity",
            what: "the flow follows the potentials of another terminal cost",
            breaks: &["duality"],
        },
        Removal { name: "sign of the Hamiltonian", what: "in the residual", breaks: &["Hamilton-Jacobi residual"] },
        Removal { name: "consistency", what: "the schemes run with half of lambda", breaks: &["order"] },
    ],
    measure,
};

/// A closed form whose schemes are told another lambda.
struct Inconsistent<'a>(&'a dyn ExactSolution);

impl ExactSolution for Inconsistent<'_> {
    fn parameters(&self) -> ProximalParameters {
        let parameters = self.0.parameters();
        ProximalParameters { lambda: 0.5 * parameters.lambda, ..parameters }
    }

    fn viscosity(&self) -> f64 {
        self.0.viscosity()
    }

    fn potential(&self, x: &[f64], t: f64) -> f64 {
        self.0.potential(x, t)
    }

    fn density(&self, x: &[f64], t: f64) -> f64 {
        self.0.density(x, t)
    }
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("grid_schemes");
    let side = setting.choose(16, 64);
    let scheme = HamiltonJacobiScheme::new(TorusGrid::new(2, side)?, 0.6, 0.3, 0.0, 1.0)?;
    let grid = scheme.neighbours();
    let nodes = grid.node_count();
    let mut random = || -> Vec<f64> { (0..nodes).map(|_| generator.random::<f64>()).collect() };
    let mut cost = || -> Vec<f64> { random().iter().map(|u| 0.5 * u * grid.spacing()).collect() };
    let (terminal, other) = (cost(), cost());
    let (direction, field) = (random(), random());
    let source = normalised(random());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let adjoint = |next: &[f64], weights: &[f64]| {
        if mechanism.lacks("adjoint") {
            scheme.linearised_step(next, weights)
        } else {
            scheme.adjoint_step(next, weights)
        }
    };
    let pairing = dot(&scheme.linearised_step(&terminal, &direction), &field)
        - dot(&direction, &adjoint(&terminal, &field));

    let values = scheme.solve(&terminal);
    let mut weights = vec![source.clone()];
    for next in &values[1..] {
        weights.push(adjoint(next, &weights[weights.len() - 1]));
    }
    let mass = largest(weights.iter().map(|w| (w.iter().sum::<f64>() - 1.0).abs()));
    let followed = if mechanism.lacks("optimal velocity") { scheme.solve(&other) } else { values.clone() };
    let flow = scheme.flow(&followed, &source);
    let duality =
        dot(&source, &values[0]) - dot(&flow.weights[scheme.steps()], &terminal) - flow.kinetic_energy;
    let sign = if mechanism.lacks("sign of the Hamiltonian") {
        HamiltonianSign::Flipped
    } else {
        HamiltonianSign::Equation
    };
    let mut measured = Measured::new();
    measured
        .record("adjointness", pairing.abs() / nodes as f64)
        .record("mass", mass)
        .record("positivity", smallest(weights.iter().chain(&flow.weights).flatten().copied()))
        .record("duality", duality.abs())
        .record("Hamilton-Jacobi residual", scheme.residual(&values, sign));

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
    let orders = |name: &str, solution: &dyn ExactSolution| {
        if mechanism.lacks("consistency") {
            scheme_orders(name, &Inconsistent(solution), 1, &grids)
        } else {
            scheme_orders(name, solution, 1, &grids)
        }
    };
    let smooth = orders("smooth", &StraightLineGame::example())?;
    let [kinked, _] = orders("kinked", &well)?;
    for table in smooth.into_iter().chain([kinked]) {
        measured.record_case("order", table.name.clone(), table.order);
        plot = plot.line(
            table.name.clone(),
            table.nodes_per_side.iter().zip(&table.errors).map(|(n, e)| (*n as f64, *e)).collect(),
        );
    }
    measured.plot(plot);
    Ok(measured)
}
