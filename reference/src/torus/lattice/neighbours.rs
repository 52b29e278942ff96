//! Loops over the nodes of the torus with their nearest neighbours along each axis, line by line and in parallel.

use rayon::prelude::*;

use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::LINES_PER_TASK;

/// For each axis the C-order indices of the neighbours behind and ahead.
pub(crate) type Around = [[usize; 2]; 3];

/// Calls `visit(node, neighbours, value)` for every node, `values` holding one entry for each.
pub(crate) fn for_each_node<T: Send>(
    grid: &TorusGrid,
    values: &mut [T],
    visit: impl Fn(usize, &Around, &mut T) + Sync,
) {
    for_each_record(grid, values, 1, |node, around, record| visit(node, around, &mut record[0]));
}

/// The neighbours of one node.
pub(crate) fn around(grid: &TorusGrid, node: usize) -> Around {
    let n = grid.nodes_per_side;
    let mut around = [[node; 2]; 3];
    let mut stride = 1;
    for axis in (0..grid.dimension).rev() {
        let index = node / stride % n;
        let back = if index == 0 { node + (n - 1) * stride } else { node - stride };
        let ahead = if index + 1 == n { node - (n - 1) * stride } else { node + stride };
        around[axis] = [back, ahead];
        stride *= n;
    }
    around
}

/// Calls `visit(node, neighbours, record)` for every node, `out` holding `size` entries for each.
fn for_each_record<T: Send>(
    grid: &TorusGrid,
    out: &mut [T],
    size: usize,
    visit: impl Fn(usize, &Around, &mut [T]) + Sync,
) {
    let (n, last) = (grid.nodes_per_side, grid.dimension - 1);
    out.par_chunks_mut(n * size).with_min_len(LINES_PER_TASK).enumerate().for_each(|(line, records)| {
        let first = line * n;
        let line_start = around(grid, first);
        for (column, record) in records.chunks_mut(size).enumerate() {
            let node = first + column;
            let mut here = line_start;
            for side in &mut here[..last] {
                side[0] += column;
                side[1] += column;
            }
            here[last] = [
                if column == 0 { first + n - 1 } else { node - 1 },
                if column + 1 == n { first } else { node + 1 },
            ];
            visit(node, &here, record);
        }
    });
}
