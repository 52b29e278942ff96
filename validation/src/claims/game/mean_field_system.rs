//! The mean-field game: Hamilton-Jacobi backwards, continuity forwards \[17\]-\[21\].

use proxflow_reference::torus::exact_solutions::{ColeHopfGame, ExactSolution, StraightLineGame};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{largest, smallest};

const DIFFERENCES: Basis =
    Basis::Discretisation("C h^4 at h = 1e-3 (2.9e-6 measured at 2e-3, 16 times less here), and eps / h^2");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "mean_field_system",
    statement: "The optimality conditions are -dU/dt - s Lap U + |grad U|^2/(2 lambda) = 0 and \
                d rho/dt - s Lap rho - div(rho grad U/lambda) = 0 with v = -grad U/lambda.",
    equations: &[(17, 21)],
    notation: &["3.1"],
    quantities: &[
        Quantity {
            name: "Hamilton-Jacobi residual",
            what: "largest over random points of two closed-form solutions in two dimensions (Cole-Hopf with viscosity, straight \
                   characteristics without), by fourth-order differences",
            bound: Bound::AtMost(1e-6),
            basis: DIFFERENCES,
        },
        Quantity {
            name: "continuity residual",
            what: "the same for the densities",
            bound: Bound::AtMost(1e-6),
            basis: DIFFERENCES,
        },
    ],
    removals: &[
        Removal {
            name: "sign of the Hamiltonian",
            what: "-|grad U|^2/(2 lambda)",
            breaks: &["Hamilton-Jacobi residual"],
        },
        Removal {
            name: "value of lambda",
            what: "halved in both equations",
            breaks: &["Hamilton-Jacobi residual", "continuity residual"],
        },
        Removal { name: "sign of the velocity", what: "v = grad U/lambda", breaks: &["continuity residual"] },
        Removal {
            name: "viscosity",
            what: "s = 0 in both equations",
            breaks: &["Hamilton-Jacobi residual", "continuity residual"],
        },
    ],
    measure,
};

/// Fourth-order first and second central differences of `f` at 0.
fn differences(f: impl Fn(f64) -> f64) -> [f64; 2] {
    let h = 1e-3;
    let [a, b, c, d, e] = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|k: f64| f(k * h));
    [(a - 8.0 * b + 8.0 * d - e) / (12.0 * h), (-a + 16.0 * b - 30.0 * c + 16.0 * d - e) / (12.0 * h * h)]
}

/// Residuals of Hamilton-Jacobi and of continuity at one point of space and time.
fn residuals(game: &dyn ExactSolution, x: [f64; 2], t: f64, mechanism: Mechanism) -> [f64; 2] {
    let lambda = game.parameters().lambda * if mechanism.lacks("value of lambda") { 0.5 } else { 1.0 };
    let viscosity = if mechanism.lacks("viscosity") { 0.0 } else { game.viscosity() };
    let hamiltonian = if mechanism.lacks("sign of the Hamiltonian") { -1.0 } else { 1.0 };
    let velocity = if mechanism.lacks("sign of the velocity") { 1.0 } else { -1.0 };
    let along = |f: &dyn Fn(&[f64], f64) -> f64, axis: usize| {
        differences(|e| {
            let mut y = x;
            y[axis] += e;
            f(&y, t)
        })
    };
    let potential = |y: &[f64], t: f64| game.potential(y, t);
    let density = |y: &[f64], t: f64| game.density(y, t);
    let [time_u, _] = differences(|e| potential(&x, t + e));
    let [time_rho, _] = differences(|e| density(&x, t + e));
    let u = [0, 1].map(|axis| along(&potential, axis));
    let rho = [0, 1].map(|axis| along(&density, axis));
    let square: f64 = u.iter().map(|d| d[0] * d[0]).sum();
    let laplacian = |d: &[[f64; 2]; 2]| d[0][1] + d[1][1];
    let divergence: f64 = (0..2).map(|k| rho[k][0] * u[k][0]).sum::<f64>() + density(&x, t) * laplacian(&u);
    [
        (-time_u - viscosity * laplacian(&u) + hamiltonian * square / (2.0 * lambda)).abs(),
        (time_rho - viscosity * laplacian(&rho) + velocity * divergence / lambda).abs(),
    ]
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("mean_field_system");
    let mut measured = Measured::new();
    let games: [(&str, Box<dyn ExactSolution>); 2] = [
        ("Cole-Hopf", Box::new(ColeHopfGame::example())),
        ("straight characteristics", Box::new(StraightLineGame::example())),
    ];
    for (name, game) in games {
        let horizon = game.parameters().horizon;
        let points: Vec<([f64; 2], f64)> = (0..setting.choose(50, 2000))
            .map(|_| {
                ([generator.random(), generator.random()], horizon * (0.05 + 0.9 * generator.random::<f64>()))
            })
            .collect();
        let found: Vec<[f64; 2]> =
            points.iter().map(|(x, t)| residuals(game.as_ref(), *x, *t, mechanism)).collect();
        measured
            .record_case("Hamilton-Jacobi residual", name, largest(found.iter().map(|r| r[0])))
            .record_case("continuity residual", name, largest(found.iter().map(|r| r[1])))
            .figure(
                format!("least density, {name}"),
                smallest(points.iter().map(|(x, t)| game.density(x, *t))),
            );
    }
    Ok(measured)
}
