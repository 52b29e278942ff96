//! `torus uniqueness`: Theorem 4.2 made visible. Runs the experiments of `proxflow_reference::torus::uniqueness`, prints the
//! table, and writes tables, fields and pictures to `--out`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array2;
use serde::Serialize;

use proxflow::array_file::write_array;
use proxflow::command::{COMMIT, Failure, write_atomically, write_json};
use proxflow_reference::torus::characteristics::{PathIndicators, hopf_lax_paths, scheme_paths};
use proxflow_reference::torus::convergence::{ConvergenceTable, game_orders, scheme_orders};
use proxflow_reference::torus::energy_identity::{EnergyIdentity, Monotonicity};
use proxflow_reference::torus::exact_solutions::{ActiveLipschitzGame, ColeHopfGame, StraightLineGame};
use proxflow_reference::torus::limits::{RefinedGame, ViscosityRow};
use proxflow_reference::torus::time_solver::{TimeDependentOptions, TimeDependentProblem};
use proxflow_reference::torus::uniqueness::controls::{BlowUpRow, ControlRow, pure_divergence, run_controls};
use proxflow_reference::torus::uniqueness::{Solver, UniquenessCase, UniquenessRow, static_optimum};
use proxflow_reference::torus::{NamedDensity, TorusGrid};
use proxflow_reference::{InvalidInput, ProximalParameters};

use crate::pictures::{self, SpaceTime, SpreadDot};

/// Arguments of `torus uniqueness`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example: torus uniqueness --starts 32 --out runs/uniqueness --json -")]
pub struct UniquenessArguments {
    /// Random starts of every case (at least 2)
    #[arg(long, default_value_t = 32)]
    pub starts: usize,
    /// Certified gap asked of every solve, relative to 1 + |value| (1e-12 to 1e-4)
    #[arg(long, default_value_t = 1e-9)]
    pub tolerance: f64,
    /// Root of the random starts
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Smaller grids and no convergence study: a smoke test of a few seconds
    #[arg(long)]
    pub quick: bool,
    /// Folder for tables, fields and pictures (created)
    #[arg(long, default_value = "runs/torus-uniqueness")]
    pub out: PathBuf,
    /// Write the report as JSON to this file as well (`-`: standard output)
    #[arg(long)]
    pub json: Option<String>,
}

impl Default for UniquenessArguments {
    fn default() -> Self {
        Self {
            starts: 32,
            tolerance: 1e-9,
            seed: 0,
            quick: false,
            out: PathBuf::from("runs/torus-uniqueness"),
            json: None,
        }
    }
}

/// `report.json`.
#[derive(Debug, Serialize)]
struct Report {
    commit: &'static str,
    seed: u64,
    tolerance: f64,
    uniqueness: Vec<UniquenessRow>,
    controls: Vec<ControlRow>,
    blow_up: Vec<BlowUpRow>,
    identity: Vec<IdentityRow>,
    convergence: Vec<ConvergenceTable>,
    vanishing_viscosity: Vec<ViscosityRow>,
    trajectories: Vec<TrajectoryRow>,
    all_hold: bool,
    seconds: f64,
}

/// 3.4 and 1.7 for one pair of targets.
#[derive(Debug, Serialize)]
struct IdentityRow {
    dimension: usize,
    nodes_per_side: usize,
    targets: [String; 2],
    #[serde(flatten)]
    identity: EnergyIdentity,
    #[serde(flatten)]
    monotonicity: Monotonicity,
}

/// Straightness of recovered paths.
#[derive(Debug, Serialize)]
struct TrajectoryRow {
    source: &'static str,
    dimension: usize,
    nodes_per_side: usize,
    #[serde(flatten)]
    indicators: PathIndicators,
}

/// Runs everything; fails (exit code 1) when a case is not unique or a control passes.
pub fn run(arguments: &UniquenessArguments) -> Result<(), Failure> {
    check(arguments)?;
    let clock = Instant::now();
    let cases = cases(arguments)?;
    let bar = ProgressBar::new(cases.len() as u64 + 5);
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}]")
            .unwrap_or(ProgressStyle::default_bar()),
    );
    let mut uniqueness = Vec::new();
    for case in &cases {
        bar.set_message(format!(
            "{}-D n = {} to {}",
            case.grid.dimension, case.grid.nodes_per_side, case.target
        ));
        uniqueness.push(case.run()?);
        bar.inc(1);
    }
    let step = |message: &'static str| {
        bar.set_message(message);
        bar.inc(1);
    };
    step("negative controls");
    let control_nodes = if arguments.quick { 30 } else { 40 };
    let controls = run_controls(control_nodes, arguments.starts, arguments.tolerance, arguments.seed)?;
    let (_, blow_up) = pure_divergence(TorusGrid::new(1, control_nodes)?, arguments.tolerance)?;
    step("identity 3.4");
    let identity = identities(arguments.quick)?;
    step("orders");
    let (convergence, vanishing_viscosity) = orders(arguments.quick)?;
    step("trajectories and pictures");
    let trajectories = fields_and_pictures(arguments)?;
    bar.finish_and_clear();
    let all_hold = uniqueness.iter().all(|row| row.holds) && controls.iter().all(|row| row.fails);
    let report = Report {
        commit: COMMIT,
        seed: arguments.seed,
        tolerance: arguments.tolerance,
        uniqueness,
        controls,
        blow_up,
        identity,
        convergence,
        vanishing_viscosity,
        trajectories,
        all_hold,
        seconds: clock.elapsed().as_secs_f64(),
    };
    write_report(arguments, &report)?;
    let table = table(&report);
    if arguments.json.as_deref() == Some("-") {
        eprint!("{table}")
    } else {
        print!("{table}")
    }
    if let Some(target) = &arguments.json {
        write_json(target, &report)?;
    }
    if all_hold {
        Ok(())
    } else {
        Err(Failure::Run("a case is not unique, or a control is (see the table)".into()))
    }
}

fn check(arguments: &UniquenessArguments) -> Result<(), Failure> {
    if arguments.starts < 2 {
        return Err(Failure::bad_input("starts", arguments.starts, ">= 2"));
    }
    if !(1e-12..=1e-4).contains(&arguments.tolerance) {
        return Err(Failure::bad_input("tolerance", arguments.tolerance, "1e-12 to 1e-4"));
    }
    let failed = |error: std::io::Error| {
        Failure::bad_input("out", format!("{} ({error})", arguments.out.display()), "a writable folder")
    };
    fs::create_dir_all(&arguments.out).map_err(failed)?;
    tempfile::tempfile_in(&arguments.out).map(drop).map_err(failed)
}

fn parameters() -> Result<ProximalParameters, InvalidInput> {
    ProximalParameters::new(1.0, 1.0, 0.25)
}

fn cases(arguments: &UniquenessArguments) -> Result<Vec<UniquenessCase>, InvalidInput> {
    let mut cases = Vec::new();
    let grids: &[(usize, &[usize])] =
        if arguments.quick { &[(1, &[24]), (2, &[6])] } else { &[(1, &[32, 64, 128]), (2, &[8, 12, 16])] };
    for (dimension, sides) in grids {
        let singular = if *dimension == 1 { NamedDensity::Points } else { NamedDensity::Circle };
        for target in [NamedDensity::TwoBumps, singular] {
            for solver in [
                Solver::TimeDependent { viscosity: 0.0 },
                Solver::TimeDependent { viscosity: 0.01 },
                Solver::Static,
            ] {
                for (level, side) in sides.iter().enumerate() {
                    // The viscous Newton matrix is the dearest: its finest grid is left out.
                    if level == 2 && solver == (Solver::TimeDependent { viscosity: 0.01 }) {
                        continue;
                    }
                    cases.push(UniquenessCase {
                        grid: TorusGrid::new(*dimension, *side)?,
                        source: NamedDensity::Bump,
                        target,
                        parameters: parameters()?,
                        solver,
                        starts: arguments.starts,
                        tolerance: arguments.tolerance,
                        seed: arguments.seed,
                    });
                }
            }
        }
    }
    Ok(cases)
}

fn identities(quick: bool) -> Result<Vec<IdentityRow>, InvalidInput> {
    let grids: &[(usize, usize)] =
        if quick { &[(1, 24)] } else { &[(1, 32), (1, 64), (1, 128), (2, 8), (2, 12), (2, 16)] };
    let targets = [NamedDensity::TwoBumps, NamedDensity::Mixture];
    grids
        .iter()
        .map(|(dimension, side)| {
            let game = |target: NamedDensity| {
                let refined = RefinedGame {
                    dimension: *dimension,
                    source: NamedDensity::Bump,
                    target,
                    parameters: parameters()?,
                };
                TimeDependentProblem::from_torus(&refined.on(*side)?, 0.0)
            };
            let (first, second) = (game(targets[0])?, game(targets[1])?);
            let options = TimeDependentOptions::default();
            let (solution_1, solution_2) = (first.solve(&options)?, second.solve(&options)?);
            Ok(IdentityRow {
                dimension: *dimension,
                nodes_per_side: *side,
                targets: targets.map(|target| target.to_string()),
                identity: EnergyIdentity::between(first.scheme(), &solution_1, &solution_2)?,
                monotonicity: Monotonicity::between(
                    &first,
                    solution_1.generated(),
                    solution_2.generated(),
                    1e-10,
                )?,
            })
        })
        .collect()
}

fn orders(quick: bool) -> Result<(Vec<ConvergenceTable>, Vec<ViscosityRow>), InvalidInput> {
    let refined = |dimension, target| {
        Ok::<_, InvalidInput>(RefinedGame {
            dimension,
            source: NamedDensity::Bump,
            target,
            parameters: parameters()?,
        })
    };
    let viscosities = [0.02, 0.01, 0.005, 0.0025, 0.00125];
    if quick {
        let rows = refined(1, NamedDensity::TwoBumps)?.vanishing_viscosity(24, &viscosities)?;
        return Ok((
            scheme_orders("Cole-Hopf", &ColeHopfGame::example(), 1, &[16, 32, 64, 128])?.to_vec(),
            rows,
        ));
    }
    let (schemes, games) = ([64, 128, 256, 512], [32, 64, 96, 128]);
    let mut tables = Vec::new();
    tables.extend(scheme_orders("Cole-Hopf", &ColeHopfGame::example(), 1, &schemes)?);
    tables.extend(game_orders("Cole-Hopf", &ColeHopfGame::example(), 1, &games)?);
    tables.extend(game_orders("straight lines", &StraightLineGame::example(), 1, &games)?);
    tables.extend(game_orders("active W1", &ActiveLipschitzGame::example(), 1, &games)?);
    tables.extend(refined(1, NamedDensity::TwoBumps)?.agreement_with_static(&games)?);
    tables.extend(refined(1, NamedDensity::Points)?.agreement_with_static(&[20, 40, 80, 120])?);
    tables.extend(refined(2, NamedDensity::TwoBumps)?.agreement_with_static(&[8, 12, 16, 20])?);
    Ok((tables, refined(1, NamedDensity::TwoBumps)?.vanishing_viscosity(64, &viscosities)?))
}

/// Solves one game in each dimension, writes its fields over time, draws them, and measures the recovered paths.
fn fields_and_pictures(arguments: &UniquenessArguments) -> Result<Vec<TrajectoryRow>, Failure> {
    let sides = if arguments.quick { [32, 8] } else { [96, 20] };
    let mut rows = Vec::new();
    for (dimension, side) in [(1, sides[0]), (2, sides[1])] {
        let refined = RefinedGame {
            dimension,
            source: NamedDensity::Bump,
            target: NamedDensity::TwoBumps,
            parameters: parameters()?,
        };
        let problem = refined.on(side)?;
        let game = TimeDependentProblem::from_torus(&problem, 0.0)?;
        let scheme = game.scheme();
        let solution = game.solve(&TimeDependentOptions::default())?;
        let caption = |what: &str| {
            format!(
                "{what}: {dimension}-D, bump to two-bumps, n = {side}, L = 1, lambda = 1, T = 0.25, commit {COMMIT}"
            )
        };
        let folder = &arguments.out;
        save(folder, &format!("potential-{dimension}d.npy"), &solution.potentials)?;
        save(folder, &format!("weights-{dimension}d.npy"), &solution.flow.weights)?;
        for axis in 0..dimension {
            let velocity: Vec<Vec<f64>> =
                solution.potentials.iter().map(|field| scheme.velocity(field, axis)).collect();
            save(folder, &format!("velocity-{dimension}d-axis{axis}.npy"), &velocity)?;
        }
        let grid = problem.grid;
        let starts: Vec<[f64; 3]> = (0..grid.node_count()).map(|i| grid.position(i)).collect();
        let ProximalParameters { lambda, horizon, .. } = problem.parameters;
        let optimum = static_optimum(&problem)?;
        let exact = hopf_lax_paths(&grid, &optimum.terminal_potential, lambda, horizon, &starts, 20)?;
        let followed = scheme_paths(scheme, &solution.potentials, &starts);
        for (source, paths) in [("static, exact in space", &exact), ("time-dependent scheme", &followed)] {
            let indicators = paths.indicators(0.5 * grid.spacing());
            rows.push(TrajectoryRow { source, dimension, nodes_per_side: side, indicators });
        }
        let nodes = grid.node_count() as f64;
        let density: Vec<Vec<f64>> =
            solution.flow.weights.iter().map(|w| w.iter().map(|weight| weight * nodes).collect()).collect();
        let times: Vec<f64> = (0..=scheme.steps()).map(|n| n as f64 * scheme.time_step()).collect();
        if dimension == 1 {
            let field = SpaceTime { times: &times, values: &density };
            pictures::space_time(
                &folder.join("density-1d.svg"),
                &field,
                &caption("Density over time"),
                "rho",
            )?;
            let field = SpaceTime { times: &times, values: &solution.potentials };
            let chosen: Vec<[f64; 3]> = starts.iter().copied().step_by((side / 32).max(1)).collect();
            let lines = hopf_lax_paths(&grid, &optimum.terminal_potential, lambda, horizon, &chosen, 40)?;
            pictures::characteristics(
                &folder.join("characteristics-1d.svg"),
                &field,
                &lines,
                &caption("Characteristics over the potential"),
            )?;
        } else {
            let frames: Vec<(f64, &[f64])> =
                (0..5).map(|k| k * scheme.steps() / 4).map(|n| (times[n], density[n].as_slice())).collect();
            pictures::snapshots(
                &folder.join("density-2d.svg"),
                side,
                &frames,
                &caption("Density over time"),
            )?;
        }
    }
    Ok(rows)
}

fn save(folder: &Path, name: &str, rows: &[Vec<f64>]) -> Result<(), Failure> {
    let values: Vec<f64> = rows.iter().flatten().copied().collect();
    let array = Array2::from_shape_vec((rows.len(), rows[0].len()), values)
        .map_err(|error| Failure::Run(error.to_string()))?;
    write_array(&folder.join(name), &array)
}

fn solver_name(solver: Solver) -> String {
    match solver {
        Solver::TimeDependent { viscosity } => format!("pde s={viscosity}"),
        Solver::Static => "static".into(),
        Solver::LargeGrid { .. } => "large-grid".into(),
    }
}

fn write_report(arguments: &UniquenessArguments, report: &Report) -> Result<(), Failure> {
    let folder = &arguments.out;
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&folder.join("report.json"), json.as_bytes())?;
    let mut csv = String::from(
        "dimension,nodes_per_side,target,solver,starts,gap_tolerance,largest_gap,start_spread,potential,density,velocity,holds\n",
    );
    for row in &report.uniqueness {
        let _ = writeln!(
            csv,
            "{},{},{},{},{},{:e},{:e},{:e},{:e},{:e},{:e},{}",
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
            row.holds
        );
    }
    write_atomically(&folder.join("uniqueness.csv"), csv.as_bytes())?;
    let mut csv = String::from("control,compared,spread,allowance,fails,detail\n");
    for row in &report.controls {
        let _ = writeln!(
            csv,
            "\"{}\",\"{}\",{:e},{:e},{},\"{}\"",
            row.name, row.compared, row.spread, row.allowance, row.fails, row.detail
        );
    }
    write_atomically(&folder.join("controls.csv"), csv.as_bytes())?;
    let mut csv = String::from("name,theory,order,nodes_per_side,error\n");
    for table in &report.convergence {
        for (side, error) in table.nodes_per_side.iter().zip(&table.errors) {
            let _ = writeln!(csv, "\"{}\",{},{},{side},{error:e}", table.name, table.theory, table.order);
        }
    }
    write_atomically(&folder.join("convergence.csv"), csv.as_bytes())?;
    pictures::convergence(
        &folder.join("convergence.svg"),
        &report.convergence,
        &format!("Measured orders, commit {COMMIT}"),
    )?;
    let cases = report.uniqueness.iter().map(|row| SpreadDot {
        label: format!(
            "{}-D n={} {} {}",
            row.dimension,
            row.nodes_per_side,
            row.target,
            solver_name(row.solver)
        ),
        spreads: vec![row.spread.potential, row.spread.density, row.spread.velocity],
        allowance: 10.0 * row.gap_tolerance,
        control: false,
    });
    let controls = report.controls.iter().map(|row| SpreadDot {
        label: format!("control: {}", row.name),
        spreads: vec![row.spread],
        allowance: row.allowance,
        control: true,
    });
    let caption = format!(
        "Spread over {} random starts (blue) and negative controls (orange), seed {}, commit {COMMIT}",
        arguments.starts, report.seed
    );
    pictures::spreads(&folder.join("uniqueness.svg"), &cases.chain(controls).collect::<Vec<_>>(), &caption)
}

/// The table that the command prints.
fn table(report: &Report) -> String {
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
            if row.holds { "holds" } else { "FAILS" }
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
