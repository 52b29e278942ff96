//! How large a grid each solver takes, decided before anything is allocated.

use proxflow_io::command::Failure;
use proxflow_io::memory;
use proxflow_reference::torus::TorusGrid;
use proxflow_reference::{InvalidInput, torus::MOST_STATIC_NODES, torus::time_solver::MOST_NODES};

use crate::arguments::{SolveArguments, SolverName};

/// Memory of the dual solver for each node of the grid it works on, bytes. Measured: 490 (cap inactive) and 808 (active) at 1024^2
/// (docs/records/torus.md).
const BYTES_PER_NODE: u64 = 900;

/// Refuses a grid that the chosen solver cannot hold.
pub fn check(arguments: &SolveArguments, grid: &TorusGrid) -> Result<(), Failure> {
    let nodes = grid.node_count();
    let most = match arguments.solver {
        SolverName::Static => MOST_STATIC_NODES,
        SolverName::Pde => MOST_NODES,
        SolverName::Dual => match memory::available() {
            Some(bytes) if nodes as u64 * BYTES_PER_NODE > bytes => {
                let needed = (nodes as u64 * BYTES_PER_NODE) >> 20;
                let allowed =
                    format!("a grid for which {} MiB suffice (about {needed} MiB needed)", bytes >> 20);
                return Err(InvalidInput::new("grid", described(grid), allowed).into());
            }
            _ => return Ok(()),
        },
    };
    if nodes > most {
        let solver = match arguments.solver {
            SolverName::Static => "static; --solver dual takes larger grids",
            _ => "pde; --solver dual takes larger grids",
        };
        let allowed = format!("at most {most} nodes in all with --solver {solver}");
        return Err(InvalidInput::new("grid", described(grid), allowed).into());
    }
    Ok(())
}

/// As many of `asked` refinements as memory holds.
pub fn refinements(asked: usize, grid: &TorusGrid) -> usize {
    let fits = |refinements: &usize| {
        let nodes = (grid.node_count() as u64) << (refinements * grid.dimension);
        memory::available().is_none_or(|bytes| nodes * BYTES_PER_NODE <= bytes)
    };
    (0..=asked).rev().find(fits).unwrap_or(0)
}

fn described(grid: &TorusGrid) -> String {
    format!("{}^{}", grid.nodes_per_side, grid.dimension)
}
