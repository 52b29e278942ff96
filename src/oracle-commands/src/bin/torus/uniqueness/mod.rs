//! `torus uniqueness`: Theorem 4.2 made visible. Runs the experiments of `proxflow_reference::torus::experiments::uniqueness`, prints the
//! table, and writes tables, fields and pictures to `--out`.

mod arguments;
mod experiments;
mod fields;
mod report;
mod table;

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use proxflow_io::command::{Failure, print_aside, print_text, write_json};
use proxflow_oracle_commands::COMMIT;
use proxflow_reference::torus::TorusGrid;
use proxflow_reference::torus::experiments::controls::{pure_divergence, run_controls};
use proxflow_reference::torus::experiments::uniqueness::Verdict;

pub use self::arguments::UniquenessArguments;
use self::report::Report;

/// Runs everything; fails (exit code 1) when a case is not unique, a case is left without a certificate, or a control passes.
pub fn run(arguments: &UniquenessArguments) -> Result<(), Failure> {
    arguments.check()?;
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
