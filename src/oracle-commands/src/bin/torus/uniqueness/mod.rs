//! `torus uniqueness`: Theorem 4.2 made visible. Runs the experiments of `proxflow_reference::torus::experiments::uniqueness`, prints the
//! table, and writes tables, fields and pictures to `--out`.

mod experiments;
mod fields;
mod report;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use proxflow_io::command::{Failure, print_aside, print_text, write_json};
use proxflow_io::output::{Outputs, require_own_report};
use proxflow_oracle_commands::COMMIT;
use proxflow_reference::torus::TorusGrid;
use proxflow_reference::torus::experiments::controls::{pure_divergence, run_controls};
use proxflow_reference::torus::experiments::uniqueness::Verdict;

use self::report::Report;

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

/// Runs everything; fails (exit code 1) when a case is not unique, a case is left without a certificate, or a control passes.
pub fn run(arguments: &UniquenessArguments) -> Result<(), Failure> {
    check(arguments)?;
    let clock = Instant::now();
    let cases = experiments::cases(arguments)?;
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
    let identity = experiments::identities(arguments.quick)?;
    step("orders");
    let (mut convergence, vanishing_viscosity) = experiments::orders(arguments.quick)?;
    convergence.extend(experiments::identity_orders(&identity));
    step("trajectories and pictures");
    let trajectories = fields::write(arguments)?;
    bar.finish_and_clear();
    let all_hold =
        uniqueness.iter().all(|row| row.verdict == Verdict::Holds) && controls.iter().all(|row| row.fails);
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
    report::write(arguments, &report)?;
    let table = table::table(&report);
    if arguments.json.as_deref() == Some("-") {
        print_aside(&table);
    } else {
        print_text(&table)?;
    }
    if let Some(target) = &arguments.json {
        write_json(target, &report)?;
    }
    if all_hold {
        Ok(())
    } else {
        Err(Failure::Run(
            "a case is not unique or not certified, or a control is unique (see the table)".into(),
        ))
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
    require_own_report(
        &arguments.out.join("report.json"),
        &["uniqueness", "controls"],
        "--out in a folder of its own",
    )?;
    tempfile::tempfile_in(&arguments.out).map(drop).map_err(failed)?;
    Outputs::new().json(arguments.json.as_deref()).check()
}
