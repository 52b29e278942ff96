//! Fields over time of one game in each dimension, their pictures, and the straightness of recovered paths.

use std::path::Path;

use ndarray::Array2;

use proxflow_io::array::write_array;
use proxflow_io::command::Failure;
use proxflow_oracle_commands::COMMIT;
use proxflow_reference::Options;
use proxflow_reference::ProximalParameters;
use proxflow_reference::torus::experiments::characteristics::{hopf_lax_paths, scheme_paths};
use proxflow_reference::torus::time_solver::{TimeDependentOptions, TimeDependentProblem};
use proxflow_reference::torus::{MiddlePoint, NamedDensity, solve_static};

use super::UniquenessArguments;
use super::experiments::refined;
use super::report::TrajectoryRow;
use crate::pictures::space_time::{SpaceTime, characteristics, snapshots, space_time};

/// Solves one game in each dimension, writes its fields over time, draws them, and measures the recovered paths.
pub(super) fn write(arguments: &UniquenessArguments) -> Result<Vec<TrajectoryRow>, Failure> {
    let sides = if arguments.quick { [32, 8] } else { [96, 24] };
    let mut rows = Vec::new();
    for (dimension, side) in [(1, sides[0]), (2, sides[1])] {
        let problem = refined(dimension, NamedDensity::TwoBumps)?.on(side)?;
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
        let optimum = solve_static(&problem, MiddlePoint::Node, &Options::default())?.solution;
        let phi: Vec<f64> = optimum.terminal_potential.iter().copied().collect();
        let exact = hopf_lax_paths(&grid, &phi, lambda, horizon, &starts, 20)?;
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
            space_time(&folder.join("density-1d.svg"), &field, &caption("Density over time"), "rho")?;
            let field = SpaceTime { times: &times, values: &solution.potentials };
            let chosen: Vec<[f64; 3]> = starts.iter().copied().step_by((side / 32).max(1)).collect();
            let lines = hopf_lax_paths(&grid, &phi, lambda, horizon, &chosen, 40)?;
            characteristics(
                &folder.join("characteristics-1d.svg"),
                &field,
                &lines,
                &caption("Characteristics over the potential"),
            )?;
        } else {
            let frames: Vec<(f64, &[f64])> =
                (0..5).map(|k| k * scheme.steps() / 4).map(|n| (times[n], density[n].as_slice())).collect();
            snapshots(&folder.join("density-2d.svg"), side, &frames, &caption("Density over time"))?;
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
