//! The large-grid solver of the torus game: its bounds hold for the static solver's exact values (notation 3.2, 3.5).

use ndarray::ArrayD;
use proxflow_reference::torus::{
    BoundedProblem, DualOptions, MiddlePoint, NamedDensity, TorusGrid, TorusProblem, TorusSolution,
    solve_dual, solve_static,
};
use proxflow_reference::Options;
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use proxflow_io::plot::Plot;

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "large_grid",
    statement: "Ascent on the terminal potential brackets the game's value on any grid: the lower bound of an L-Lipschitz \
                potential and the upper bound of a feasible plan hold for the exact value, cap active or not, and their gap falls \
                with the spacing.",
    equations: &[(38, 38)],
    notation: &["3.2", "3.5"],
    quantities: &[
        Quantity {
            name: "lower bound",
            what: "its excess over the exact value of the static solver, on random Fourier densities in one and two dimensions, \
                   L far from active to active",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Exact("weak duality; the static solver is certified to 1e-11"),
        },
        Quantity {
            name: "upper bound",
            what: "the exact value's excess over it, less the stated excess of the node value where the continuum is bounded",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Exact("a feasible plan; the static solver is certified to 1e-11"),
        },
        Quantity {
            name: "slope",
            what: "the steepest of all pairs of nodes, |phi_i - phi_j| / (L |x_i - x_j|) - 1, of the potential that attains the lower bound",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Rounding("differences of potentials of size one over distances from 1/64"),
        },
        Quantity {
            name: "mass",
            what: "|sum rho_T - 1| + |sum eta - 1|",
            bound: Bound::AtMost(1e-11),
            basis: Basis::Rounding("sums over a few hundred nodes"),
        },
        Quantity {
            name: "gap",
            what: "(upper - lower) / upper from bump to mixture on the circle with 512 nodes",
            bound: Bound::AtMost(1e-3),
            basis: Basis::Requirement("a thousandth"),
        },
        Quantity {
            name: "order",
            what: "of the gap in the spacing from 64 to 512 nodes",
            bound: Bound::AtLeast(1.5),
            basis: Basis::Discretisation("second order away from kinks and the edge of the capped region, first order there"),
        },
    ],
    removals: &[
        Removal {
            name: "Lipschitz cap",
            what: "the solver is given 100 L",
            breaks: &["lower bound", "slope"],
        },
        Removal { name: "value of lambda", what: "the solver is given half of it", breaks: &["upper bound"] },
        Removal {
            name: "own target",
            what: "the solver is given the target of another instance",
            breaks: &["lower bound", "upper bound"],
        },
        Removal {
            name: "ascent",
            what: "phi = 0 on the finest grid, no step required",
            breaks: &["gap"],
        },
    ],
    measure,
};

const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

/// `exp` of a random Fourier series of frequencies at most 2.
fn random_density(grid: &TorusGrid, generator: &mut ChaCha8Rng) -> ArrayD<f64> {
    let waves: Vec<[f64; 4]> = (0..4)
        .map(|_| {
            let frequency = |g: &mut ChaCha8Rng| f64::from(g.random_range(-2..=2_i32));
            [frequency(generator), frequency(generator), generator.random(), generator.random::<f64>()]
        })
        .collect();
    grid.tabulate(|x| {
        let wave = |[k, l, phase, size]: &[f64; 4]| {
            1.5 * size * (std::f64::consts::TAU * (k * x[0] + l * x[1] + phase)).cos()
        };
        waves.iter().map(wave).sum::<f64>().exp()
    })
}

fn normalised(density: ArrayD<f64>) -> ArrayD<f64> {
    let mass = density.sum();
    density / mass
}

fn solve(problem: &TorusProblem, mechanism: Mechanism) -> Result<TorusSolution, InvalidInput> {
    let options = if mechanism.lacks("ascent") {
        DualOptions {
            relative_gap: f64::MAX,
            coarse_to_fine: false,
            iterations: 1,
            rounds: 1,
            ..DualOptions::default()
        }
    } else {
        DualOptions { relative_gap: 0.0, ..DualOptions::default() }
    };
    solve_dual(problem, &options)
}

/// `max_{i != j} |phi_i - phi_j| / |x_i - x_j|` over the nodes, with geodesic distances.
fn steepest(grid: &TorusGrid, potential: &ArrayD<f64>) -> f64 {
    let nodes: Vec<([f64; 3], f64)> =
        (0..grid.node_count()).map(|i| grid.position(i)).zip(potential.iter().copied()).collect();
    let mut slope = 0.0_f64;
    for (i, (x, phi)) in nodes.iter().enumerate() {
        for (y, psi) in &nodes[..i] {
            slope = slope.max((phi - psi).abs() / grid.squared_distance(*x, *y).sqrt());
        }
    }
    slope
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("large_grid");
    let mut measured = Measured::new();
    let repeats = setting.choose(2, 12);
    for (dimension, nodes) in [(1, 64), (2, 16)] {
        let grid = TorusGrid::new(dimension, nodes)?;
        for lipschitz in [10.0, 0.3, 0.1] {
            for repeat in 0..repeats {
                let mut density = || normalised(random_density(&grid, &mut generator));
                let (source, target, other) = (density(), density(), density());
                let parameters = ProximalParameters::new(lipschitz, 1.0, 1.0)?;
                let problem = TorusProblem::new(grid, &source, &target, parameters, KL)?;
                let exact = solve_static(&problem, MiddlePoint::Node, &Options::default())?.solution;

                let mut given = parameters;
                if mechanism.lacks("Lipschitz cap") {
                    given.lipschitz *= 100.0;
                }
                if mechanism.lacks("value of lambda") {
                    given.lambda *= 0.5;
                }
                let target = if mechanism.lacks("own target") { &other } else { &target };
                let large = solve(&TorusProblem::new(grid, &source, target, given, KL)?, mechanism)?;
                let excess = match large.bounded {
                    BoundedProblem::HatSpread => problem.node_excess(large.upper),
                    _ => 0.0,
                };
                let case = format!("{nodes}^{dimension}, L {lipschitz}, instance {}", repeat + 1);
                measured
                    .record_case("lower bound", &case, large.lower - exact.upper)
                    .record_case("upper bound", &case, exact.lower - large.upper - excess)
                    .record_case("slope", &case, steepest(&grid, &large.terminal_potential) / lipschitz - 1.0)
                    .record_case("mass", &case, large.mass_error());
            }
        }
    }
    let mut plot = Plot::new("Gap of the large-grid solver", "nodes", "upper - lower", "Falls at second order.")
        .logarithmic();
    for (name, lipschitz) in [("inactive", 10.0), ("active", 0.1)] {
        let grids = [64, 128, 256, 512];
        let mut gaps = Vec::new();
        for nodes in grids {
            let grid = TorusGrid::new(1, nodes)?;
            let (source, target) = (NamedDensity::Bump.on(&grid), NamedDensity::Mixture.on(&grid));
            let parameters = ProximalParameters::new(lipschitz, 1.0, 1.0)?;
            let solution = solve(&TorusProblem::new(grid, &source, &target, parameters, KL)?, mechanism)?;
            if nodes == 512 {
                measured.record_case("gap", name, solution.relative_gap());
            }
            gaps.push((nodes as f64, solution.gap()));
        }
        measured.record_case("order", name, (gaps[0].1 / gaps[3].1).log2() / 3.0);
        plot = plot.line(name, gaps);
    }
    measured.plot(plot);
    Ok(measured)
}
