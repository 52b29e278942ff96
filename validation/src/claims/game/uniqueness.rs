//! Theorem 4.2: the game on the torus has one solution \[34\]-\[38\].

use proxflow_reference::torus::experiments::convergence::{l1_distance, sup_distance_modulo_constant};
use proxflow_reference::torus::exact_solutions::normalised;
use proxflow_reference::torus::experiments::controls::flipped_coupling;
use proxflow_reference::torus::TorusGrid;
use proxflow_reference::torus::time_solver::{
    Start, TimeDependentOptions, TimeDependentProblem, TimeDependentSolution,
};
use proxflow_reference::{DivergenceKind, ProximalParameters};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use proxflow_io::plot::Plot;

const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

/// Relative gap at which every solver stops.
const TOLERANCE: f64 = 1e-9;

const CONVEX: Basis =
    Basis::Rounding("strong convexity turns a certified gap into a squared distance; times 10");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "uniqueness",
    statement: "With both proximals the backward-forward system on the torus has a unique solution: solvers started anywhere \
                agree in U (modulo constants on the support) and rho (Theorem 4.2).",
    equations: &[(38, 38)],
    notation: &["3.4", "3.6"],
    quantities: &[
        Quantity {
            name: "certified gap",
            what: "(upper - lower) / (1 + J*) from random admissible starts, for a smooth and for a singular target on the circle",
            bound: Bound::AtMost(TOLERANCE),
            basis: Basis::Requirement("the tolerance that the solver is asked for"),
        },
        Quantity {
            name: "spread of U",
            what: "sup distance modulo constants of U(., 0) from that of the first start, on the source's support, over the square \
                   root of 1e-9 (1 + J*)",
            bound: Bound::AtMost(10.0),
            basis: CONVEX,
        },
        Quantity {
            name: "spread of rho",
            what: "L1 distance of rho(T) from that of the first start, over the square root of 1e-9 (1 + J*)",
            bound: Bound::AtMost(10.0),
            basis: CONVEX,
        },
        Quantity {
            name: "pairing",
            what: "int (phi_1 - phi_2) d(rho_1(T) - rho_2(T)) of two sources with a common target",
            bound: Bound::AtLeast(-4e-9),
            basis: Basis::Exact("Lemma 4.1 with a common target; certified gaps 1e-9"),
        },
    ],
    removals: &[
        Removal {
            name: "convergence",
            what: "the solver stops at a relative gap of 1e-2",
            breaks: &["certified gap"],
        },
        Removal {
            name: "common target",
            what: "every start solves for a target of its own",
            breaks: &["spread of U", "spread of rho", "pairing"],
        },
        Removal {
            name: "sign of the coupling",
            what: "U(., T) = -phi*[rho_T], crowds attract: a damped iteration of the flipped system from random starts",
            breaks: &["spread of rho"],
        },
    ],
    measure,
};

/// The circle with its source and the parameters of the game.
struct Circle {
    grid: TorusGrid,
    source: Vec<f64>,
    parameters: ProximalParameters,
}

impl Circle {
    fn bump(&self, centre: f64, width: f64) -> Vec<f64> {
        bump(&self.grid, centre, width)
    }

    fn game(&self, source: &[f64], target: &[f64]) -> Result<TimeDependentProblem, CheckError> {
        let (source, target) = (source.to_vec(), target.to_vec());
        Ok(TimeDependentProblem::new(self.grid, self.parameters, 0.0, KL, source, target)?)
    }

    /// A random Fourier series of slope below L / 2.
    fn start(&self, generator: &mut ChaCha8Rng) -> Vec<f64> {
        let waves: Vec<[f64; 2]> =
            (0..4).map(|_| [generator.random::<f64>() - 0.5, generator.random()]).collect();
        self.grid.sample(|x| {
            waves
                .iter()
                .enumerate()
                .map(|(k, [a, phase])| {
                    let frequency = std::f64::consts::TAU * (k + 1) as f64;
                    0.25 * a * (frequency * x[0] + std::f64::consts::TAU * phase).sin() / frequency
                })
                .sum()
        })
    }
}

fn bump(grid: &TorusGrid, centre: f64, width: f64) -> Vec<f64> {
    normalised(grid.sample(|x| {
        let r = (std::f64::consts::PI * (x[0] - centre)).sin() / std::f64::consts::PI;
        (-r * r / (2.0 * width * width)).exp() + 1e-6
    }))
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("uniqueness");
    let (nodes, starts) = setting.choose((48, 4), (128, 32));
    let grid = TorusGrid::new(1, nodes)?;
    let source = bump(&grid, 0.3, 0.1);
    let circle = Circle { grid, source, parameters: ProximalParameters::new(1.0, 1.0, 0.25)? };
    let smooth = circle.bump(0.6, 0.12);
    // Two point masses: a target of dimension zero.
    let mut singular = vec![0.0; nodes];
    singular[nodes / 2] = 0.6;
    singular[(3 * nodes) / 4] = 0.4;

    let tolerance = if mechanism.lacks("convergence") { 1e-2 } else { TOLERANCE };
    let options = |start: Start| TimeDependentOptions { start, tolerance, ..TimeDependentOptions::default() };
    let mut measured = Measured::new();
    for (name, target) in [("smooth target", &smooth), ("singular target", &singular)] {
        let first = circle.game(&circle.source, target)?.solve(&options(Start::Zero))?;
        let unit = (TOLERANCE * (1.0 + first.upper)).sqrt();
        measured.record_case("certified gap", name, first.gap() / (1.0 + first.upper));
        if mechanism.lacks("sign of the coupling") {
            let flipped = flipped_coupling(TorusGrid::new(1, nodes)?, starts, TOLERANCE, setting.seed)?;
            measured.record_case("spread of rho", "flipped system", flipped.spread / unit);
            continue;
        }
        for k in 0..starts {
            let start = Start::Potential(circle.start(&mut generator));
            let own = circle.bump(0.6 + 0.05 * (k + 1) as f64, 0.12);
            let target = if mechanism.lacks("common target") { &own } else { target };
            let other = circle.game(&circle.source, target)?.solve(&options(start))?;
            let charged: Vec<usize> = (0..nodes).filter(|i| circle.source[*i] * nodes as f64 > 0.01).collect();
            let on = |s: &TimeDependentSolution| -> Vec<f64> {
                charged.iter().map(|i| s.potentials[0][*i]).collect()
            };
            let case = format!("{name}, start {}", k + 1);
            measured
                .record_case("certified gap", &case, other.gap() / (1.0 + other.upper))
                .record_case("spread of U", &case, sup_distance_modulo_constant(&on(&other), &on(&first)) / unit)
                .record_case("spread of rho", &case, l1_distance(other.generated(), first.generated()) / unit);
        }
    }
    measured.record("pairing", pairing(&circle, &smooth, mechanism)?);
    if mechanism.is_intact() {
        measured.plot(picture(&circle, &smooth)?);
    }
    Ok(measured)
}

/// The pairing of two sources with a common target, positive; that of two targets with a common source is negative (3.4).
fn pairing(circle: &Circle, target: &[f64], mechanism: Mechanism) -> Result<f64, CheckError> {
    let other = circle.bump(0.45, 0.08);
    let second = if mechanism.lacks("common target") {
        circle.game(&circle.source, &other)?
    } else {
        circle.game(&other, target)?
    };
    let options = TimeDependentOptions::default();
    let solved = [circle.game(&circle.source, target)?.solve(&options)?, second.solve(&options)?];
    let potentials = solved[0].terminal_potential().iter().zip(solved[1].terminal_potential());
    let densities = solved[0].generated().iter().zip(solved[1].generated());
    Ok(potentials.zip(densities).map(|((u, v), (p, q))| (u - v) * (p - q)).sum())
}

fn picture(circle: &Circle, target: &[f64]) -> Result<Plot, CheckError> {
    let solution = circle.game(&circle.source, target)?.solve(&TimeDependentOptions::default())?;
    let nodes = circle.grid.node_count() as f64;
    let densities =
        |weights: &[f64]| weights.iter().enumerate().map(|(i, w)| (i as f64 / nodes, w * nodes)).collect();
    Ok(Plot::new(
        "The game with a smooth target",
        "x",
        "density",
        "rho_T lies between source and target; eta* reaches closer.",
    )
    .line("source", densities(&circle.source))
    .line("rho_T", densities(solution.generated()))
    .line("eta*", densities(&solution.intermediate))
    .line("target", densities(target)))
}
