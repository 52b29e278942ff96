//! Passes along the lines of the last axis, and the rotation that brings the next axis there.

use rayon::prelude::*;

use super::grid::TorusGrid;

/// Applies `transform(workspace, line, out)` to every line of the last axis, in parallel; each task has a workspace of its own.
pub(crate) fn transform_lines<W>(
    grid: &TorusGrid,
    input: &[f64],
    output: &mut [f64],
    workspace: impl Fn() -> W + Sync + Send,
    transform: impl Fn(&mut W, &[f64], &mut [f64]) + Sync,
) {
    let n = grid.nodes_per_side;
    let block = n * LINES_PER_TASK;
    output.par_chunks_mut(block).zip(input.par_chunks(block)).for_each_init(
        workspace,
        |workspace, (out_block, block)| {
            for (out, line) in out_block.chunks_mut(n).zip(block.chunks(n)) {
                transform(workspace, line, out);
            }
        },
    );
}

/// Lines handled by one parallel task: enough work to outweigh the hand-over, few enough to balance.
pub(crate) const LINES_PER_TASK: usize = 16;

/// Moves the last axis to the front: `d` of these restore the order. `output` has the length of `input`.
pub(crate) fn rotate_axes(input: &[f64], n: usize, output: &mut [f64]) {
    let rows = input.len() / n;
    // Tiles keep both the reads and the writes of a transpose within the first-level cache.
    const TILE: usize = 32;
    output.par_chunks_mut(rows * TILE).enumerate().for_each(|(block, out)| {
        let first = block * TILE;
        let columns = out.len() / rows;
        for row_tile in (0..rows).step_by(TILE) {
            let row_end = (row_tile + TILE).min(rows);
            for column in 0..columns {
                for row in row_tile..row_end {
                    out[column * rows + row] = input[row * n + first + column];
                }
            }
        }
    });
}

/// The inverse of [`rotate_axes`]: moves the first axis to the back.
pub(crate) fn rotate_axes_back(input: &[f64], n: usize, output: &mut [f64]) {
    rotate_axes(input, input.len() / n, output);
}
