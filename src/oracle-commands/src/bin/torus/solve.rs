//! `torus solve`: one game, one solver, certified bounds.

use std::fs;
use std::time::Instant;

use serde::Serialize;

use proxflow_io::array::{ArrayPath, read_array, write_array};
use proxflow_io::command::{Failure, print_text, write_json};
use proxflow_io::memory;
use proxflow_io::output::{Outputs, require_own_report};
use proxflow_oracle_commands::COMMIT;
use proxflow_reference::torus::time_solver::{HamiltonianSign, TimeDependentOptions, TimeDependentProblem};
use proxflow_reference::torus::{
    BoundedProblem, DualOptions, MiddlePoint, NamedDensity, TorusGrid, TorusProblem, TorusSolution, hopf_lax,
    solve_dual, solve_static,
};
use proxflow_reference::{InvalidInput, ProximalParameters};
use proxflow_reference::{Options, Termination};

use crate::arguments::{SolveArguments, SolverName, check_ranges, refuse_ignored};
use crate::{limits, solve_pictures};

/// Node fields that a solve keeps at least.
const FIELDS: u64 = 16;

/// What `--out` holds.
const FILES: [&str; 7] = [
    "potential.npy",
    "initial-potential.npy",
    "terminal-density.npy",
    "intermediate.npy",
    "report.json",
    "densities.png",
    "potential.png",
];

/// The contract's keys and more.
#[derive(Debug, Serialize)]
struct Report {
    commit: &'static str,
    solver: SolverName,
    /// `nodes`: the node problem. `hat-spread`: the continuum problem between the densities that spread each node's mass over
    /// its hat function; `lower` then holds for the node problem too, and `upper + node_excess` bounds it from above.
    /// `scheme`: the discrete game of the time-dependent scheme.
    bounded: BoundedProblem,
    /// `lower` and the numbers below it are null when `termination` is `failed`: then there is no certificate.
    lower: f64,
    upper: f64,
    gap: f64,
    relative_gap: f64,
    /// The gap that this run was asked for, and whether it got it; null: as far as the grid allows.
    tolerance: Option<f64>,
    tolerance_met: Option<bool>,
    /// What rounding may have moved the bounds by.
    rounding: f64,
    /// How far the node value can lie above `upper`, O(h); absent where the bounds are of the node problem itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    node_excess: Option<f64>,
    /// pde: largest residual of the Hamilton-Jacobi scheme. null for static and dual, which have no time steps.
    hj_residual: Option<f64>,
    /// pde: largest residual of the continuity scheme. null for static and dual, whose plans move mass along straight lines.
    continuity_residual: Option<f64>,
    /// static, dual: `max |S_{T/2} S_{T/2} phi - S_T phi| / T`, the defect of the Hopf-Lax semigroup on nodes (O(h^2) on smooth
    /// data). null for pde.
    semigroup_defect: Option<f64>,
    mass_error: f64,
    seconds: f64,
    kinetic_cost: f64,
    lipschitz_cost: f64,
    divergence: f64,
    /// The bounds of the node problem hold for the Huber cost (middle point anywhere) after lowering `lower` by this; absent
    /// where the bounds are of another problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    huber_excess: Option<f64>,
    termination: Termination,
    iterations: usize,
}

/// The gap that the dual solver works towards when none is asked for.
const WORKED_TOWARDS: f64 = 1e-3;

/// The gap that the other solvers must meet when none is asked for.
const DEFAULT_TOLERANCE: f64 = 1e-4;

/// Solves, prints one line, writes what was asked for. Bounds that are no certificate, and a gap above the tolerance, are a failed
/// run (exit code 1).
pub fn run(arguments: &SolveArguments) -> Result<(), Failure> {
    let grid = TorusGrid::new(arguments.dimension, arguments.grid)?;
    refuse_ignored(arguments)?;
    check_ranges(arguments)?;
    limits::check(arguments, &grid)?;
    memory::require("grid", "the fields of a solve", (grid.node_count() as u64).checked_mul(8 * FIELDS))?;
    let parameters = ProximalParameters::new(arguments.lipschitz, arguments.lambda, arguments.horizon)?;
    let problem = TorusProblem::new(
        grid,
        &density("source", &arguments.source, &grid)?,
        &density("target", &arguments.target, &grid)?,
        parameters,
        arguments.f,
    )?;
    // After the inputs are read: a refusal leaves no folder behind.
    check_outputs(arguments)?;
    let (solution, residuals) = solve(arguments, &problem)?;
    let tolerance = asked(arguments);
    // Rounding may leave a gap on values near zero: the tolerance is relative to 1 + |value| there.
    let met = |tolerance: f64| solution.relative_gap() <= tolerance || solution.gap() <= 1e-10;
    let failed = solution.termination == Termination::Failed;
    let report = Report {
        commit: COMMIT,
        solver: arguments.solver,
        bounded: solution.bounded,
        lower: solution.lower,
        upper: solution.upper,
        gap: solution.gap(),
        relative_gap: solution.relative_gap(),
        tolerance,
        tolerance_met: tolerance.map(|tolerance| !failed && met(tolerance)),
        rounding: solution.rounding(),
        node_excess: (solution.bounded == BoundedProblem::HatSpread)
            .then(|| problem.node_excess(solution.upper)),
        hj_residual: residuals.hamilton_jacobi,
        continuity_residual: residuals.continuity,
        semigroup_defect: residuals.semigroup,
        mass_error: solution.mass_error(),
        seconds: solution.seconds,
        kinetic_cost: solution.kinetic_cost,
        lipschitz_cost: solution.lipschitz_cost,
        divergence: solution.divergence,
        huber_excess: (solution.bounded == BoundedProblem::Nodes).then(|| problem.huber_excess()),
        termination: solution.termination,
        iterations: solution.iterations,
    };
    if !failed {
        write_fields(arguments, &problem, &solution, &report)?;
    }
    match &arguments.json {
        Some(target) => write_json(target, &report)?,
        None if failed => {}
        None => print_text(&format!(
            "value of the {} in [{:.10}, {:.10}], gap {:.3e} (relative {:.1e}), {} iterations, {:.2} s\n",
            described(report.bounded),
            report.lower,
            report.upper,
            report.gap,
            report.relative_gap,
            report.iterations,
            report.seconds
        ))?,
    }
    if failed {
        let text = "no certificate: overflow or rounding destroyed the bounds at these parameters, so none are given";
        return Err(Failure::Run(text.into()));
    }
    match tolerance {
        Some(tolerance) if !met(tolerance) => Err(Failure::Run(format!(
            "relative gap {:.2e} is above --tolerance {:.2e} (the bounds are valid; {})",
            report.relative_gap,
            tolerance,
            match (arguments.solver, solution.termination) {
                (SolverName::Pde, Termination::IterationLimit) => "its Newton steps ran out",
                (SolverName::Pde | SolverName::Static, _) => "rounding allows no smaller one",
                (SolverName::Dual, Termination::Stalled) => "a finer grid lowers it",
                (SolverName::Dual, _) =>
                    "the iteration budget ran out; grids up to 48^2 or N = 4096 solve exactly with --solver static",
            }
        ))),
        _ => Ok(()),
    }
}

/// The gap without which the run fails; none for the dual solver unless one is given.
fn asked(arguments: &SolveArguments) -> Option<f64> {
    match arguments.solver {
        SolverName::Dual => arguments.tolerance,
        SolverName::Static | SolverName::Pde => Some(arguments.tolerance.unwrap_or(DEFAULT_TOLERANCE)),
    }
}

/// Arrays, report and pictures.
fn write_fields(
    arguments: &SolveArguments,
    problem: &TorusProblem,
    solution: &TorusSolution,
    report: &Report,
) -> Result<(), Failure> {
    if let Some(path) = &arguments.potential {
        write_array(path, &solution.terminal_potential)?;
    }
    if let Some(path) = &arguments.density {
        write_array(path, &solution.terminal_density)?;
    }
    let Some(folder) = &arguments.out else { return Ok(()) };
    write_array(&folder.join("potential.npy"), &solution.terminal_potential)?;
    write_array(&folder.join("initial-potential.npy"), &solution.initial_potential)?;
    write_array(&folder.join("terminal-density.npy"), &solution.terminal_density)?;
    write_array(&folder.join("intermediate.npy"), &solution.intermediate)?;
    write_json(&folder.join("report.json").display().to_string(), report)?;
    let caption = format!(
        "{} to {}, N = {}, L = {}, lambda = {}, T = {}; commit {COMMIT}",
        arguments.source,
        arguments.target,
        arguments.grid,
        arguments.lipschitz,
        arguments.lambda,
        arguments.horizon
    );
    solve_pictures::draw(folder, problem, solution, &caption)
}

/// Refuses outputs that cannot be written, or would replace an input or another command's report, before any work is done.
fn check_outputs(arguments: &SolveArguments) -> Result<(), Failure> {
    let law = |text: &'_ str| Some(ArrayPath::from(text).file).filter(|file| file.is_file());
    let mut outputs = Outputs::new()
        .input("--source", law(&arguments.source).as_deref())
        .input("--target", law(&arguments.target).as_deref())
        .json(arguments.json.as_deref())
        .output("--potential", arguments.potential.as_deref())
        .output("--density", arguments.density.as_deref());
    outputs.check()?;
    let Some(folder) = &arguments.out else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| {
        Failure::bad_input("--out", format!("{} ({error})", folder.display()), "a folder that can be created")
    })?;
    for name in FILES {
        outputs = outputs.output("--out", Some(&folder.join(name)));
    }
    require_own_report(&folder.join("report.json"), &["solver", "bounded"], "--out in a folder of its own")?;
    outputs.check()
}

fn described(bounded: BoundedProblem) -> &'static str {
    match bounded {
        BoundedProblem::Nodes => "node problem",
        BoundedProblem::FreeMiddle => "node problem with free middle point",
        BoundedProblem::HatSpread => "continuum problem between hat-spread densities",
        BoundedProblem::Scheme => "time-dependent scheme",
    }
}

fn density(field: &str, text: &str, grid: &TorusGrid) -> Result<ndarray::ArrayD<f64>, Failure> {
    if text.ends_with(".npy") || text.contains(".npz") || text.contains(".safetensors") {
        let masses = read_array(&text.into())?;
        let named =
            |error: InvalidInput| InvalidInput { field: format!("{} of {text}", error.field), ..error };
        return Ok(grid.require_density(field, &masses).map_err(named)?);
    }
    let named: NamedDensity =
        text.parse().map_err(|error: InvalidInput| InvalidInput { field: field.into(), ..error })?;
    Ok(named.on(grid))
}

/// What is measured of the equations, by the solvers that have them.
#[derive(Default)]
struct Residuals {
    hamilton_jacobi: Option<f64>,
    continuity: Option<f64>,
    semigroup: Option<f64>,
}

fn solve(arguments: &SolveArguments, problem: &TorusProblem) -> Result<(TorusSolution, Residuals), Failure> {
    let solution = match arguments.solver {
        SolverName::Static => solve_static(problem, MiddlePoint::Node, &Options::default())?.solution,
        SolverName::Dual => {
            let options = DualOptions {
                relative_gap: arguments.tolerance.unwrap_or(WORKED_TOWARDS),
                refinements: limits::refinements(arguments.refinements.unwrap_or(1), &problem.grid),
                ..DualOptions::default()
            };
            solve_dual(problem, &options)?
        }
        SolverName::Pde => return solve_in_time(arguments, problem),
    };
    if solution.termination == Termination::Failed {
        return Ok((solution, Residuals::default()));
    }
    let (lambda, horizon) = (arguments.lambda, arguments.horizon);
    let whole = hopf_lax(&problem.grid, &solution.terminal_potential, lambda, horizon)?;
    let half = hopf_lax(&problem.grid, &solution.terminal_potential, lambda, horizon / 2.0)?;
    let twice = hopf_lax(&problem.grid, &half, lambda, horizon / 2.0)?;
    let defect = (&twice - &whole).fold(0.0_f64, |worst, value| worst.max(value.abs())) / horizon;
    Ok((solution, Residuals { semigroup: Some(defect), ..Residuals::default() }))
}

fn solve_in_time(
    arguments: &SolveArguments,
    problem: &TorusProblem,
) -> Result<(TorusSolution, Residuals), Failure> {
    let clock = Instant::now();
    let timed = TimeDependentProblem::from_torus(problem, arguments.viscosity.unwrap_or(0.0))?;
    let asked = arguments.tolerance.unwrap_or(DEFAULT_TOLERANCE);
    let solve = |tolerance| timed.solve(&TimeDependentOptions { tolerance, ..Default::default() });
    let mut solved = solve(asked.clamp(1e-13, 1e-6))?;
    // The solver's tolerance is relative to 1 + |value|: a value near zero needs a smaller one.
    if solved.gap() > asked * solved.upper.abs() {
        solved = solve((0.5 * asked * solved.upper.abs()).clamp(1e-13, 1.0))?;
    }
    let scheme = timed.scheme();
    let residuals = Residuals {
        hamilton_jacobi: Some(scheme.residual(&solved.potentials, HamiltonianSign::Equation)),
        continuity: Some(scheme.continuity_residual(&solved.potentials, &solved.flow.weights)),
        semigroup: None,
    };
    Ok((solved.to_torus(problem, clock.elapsed().as_secs_f64()), residuals))
}
