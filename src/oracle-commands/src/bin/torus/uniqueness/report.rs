//! `report.json`, the tables and the pictures of `torus uniqueness`.

use std::fmt::Write as _;

use serde::Serialize;

use proxflow_io::command::{Failure, write_atomically};
use proxflow_oracle_commands::COMMIT;
use proxflow_reference::torus::experiments::characteristics::PathIndicators;
use proxflow_reference::torus::experiments::controls::{BlowUpRow, ControlRow};
use proxflow_reference::torus::experiments::convergence::ConvergenceTable;
use proxflow_reference::torus::experiments::energy_identity::{EnergyIdentity, Monotonicity};
use proxflow_reference::torus::experiments::limits::ViscosityRow;
use proxflow_reference::torus::experiments::uniqueness::{Solver, UniquenessRow, Verdict};

use super::UniquenessArguments;
use crate::pictures::convergence::convergence;
use crate::pictures::spreads::{RowKind, SpreadRow, spreads};

/// `report.json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) commit: &'static str,
    pub(super) seed: u64,
    pub(super) tolerance: f64,
    pub(super) uniqueness: Vec<UniquenessRow>,
    pub(super) controls: Vec<ControlRow>,
    pub(super) blow_up: Vec<BlowUpRow>,
    pub(super) identity: Vec<IdentityRow>,
    pub(super) convergence: Vec<ConvergenceTable>,
    pub(super) vanishing_viscosity: Vec<ViscosityRow>,
    pub(super) trajectories: Vec<TrajectoryRow>,
    pub(super) all_hold: bool,
    pub(super) seconds: f64,
}

/// 3.4 and 1.7 for one pair of targets.
#[derive(Debug, Serialize)]
pub(super) struct IdentityRow {
    pub(super) dimension: usize,
    pub(super) nodes_per_side: usize,
    pub(super) targets: [String; 2],
    #[serde(flatten)]
    pub(super) identity: EnergyIdentity,
    #[serde(flatten)]
    pub(super) monotonicity: Monotonicity,
}

/// Straightness of recovered paths.
#[derive(Debug, Serialize)]
pub(super) struct TrajectoryRow {
    pub(super) source: &'static str,
    pub(super) dimension: usize,
    pub(super) nodes_per_side: usize,
    #[serde(flatten)]
    pub(super) indicators: PathIndicators,
}

/// Writes `report.json`, tables as `.csv`, and the pictures drawn from them.
pub(super) fn write(arguments: &UniquenessArguments, report: &Report) -> Result<(), Failure> {
    let folder = &arguments.out;
    let json = serde_json::to_string_pretty(report).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    write_atomically(&folder.join("report.json"), json.as_bytes())?;
    let mut csv = String::from(
        "dimension,nodes_per_side,target,solver,starts,gap_tolerance,largest_gap,start_spread,potential,density,velocity,verdict\n",
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
            verdict(row.verdict)
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
    convergence(
        &folder.join("convergence.svg"),
        &report.convergence,
        &format!("Measured orders, commit {COMMIT}"),
    )?;
    let cases = report.uniqueness.iter().map(|row| SpreadRow {
        label: format!(
            "{}-D n={} {} {}",
            row.dimension,
            row.nodes_per_side,
            row.target,
            solver_name(row.solver)
        ),
        starts: (row.start_spread > 0.0).then_some(row.start_spread),
        spreads: vec![row.spread.potential, row.spread.density, row.spread.velocity],
        allowance: 10.0 * row.gap_tolerance,
        kind: match row.verdict {
            Verdict::Uncertified => RowKind::Uncertified,
            Verdict::Holds | Verdict::Fails => RowKind::Case,
        },
    });
    let controls = report.controls.iter().map(|row| SpreadRow {
        label: format!("control: {}", row.name),
        starts: None,
        spreads: vec![row.spread],
        allowance: row.allowance,
        kind: RowKind::Control,
    });
    let caption = format!(
        "Largest distance between solutions from {} random starts, and negative controls; seed {}, commit {COMMIT}",
        arguments.starts, report.seed
    );
    spreads(&folder.join("uniqueness.svg"), &cases.chain(controls).collect::<Vec<_>>(), &caption)
}

/// The solver as the table and the picture call it.
pub(super) fn solver_name(solver: Solver) -> String {
    match solver {
        Solver::TimeDependent { viscosity } => format!("pde s={viscosity}"),
        Solver::Static => "static".into(),
        Solver::LargeGrid => "large-grid".into(),
    }
}

/// The verdict as the table and `uniqueness.csv` call it.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Fails => "FAILS",
        Verdict::Uncertified => "no certificate",
    }
}
