//! Fields of several numbers for each node, stored line by line: all values of component 0 on the first line of the last axis,
//! then those of component 1, ... Kernels over them run along contiguous memory.

use rayon::prelude::*;

use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::LINES_PER_TASK;
use crate::torus::lattice::neighbours::around;

/// A neighbour along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Behind,
    Ahead,
}

impl Side {
    fn opposite(self) -> Self {
        match self {
            Self::Behind => Self::Ahead,
            Self::Ahead => Self::Behind,
        }
    }
}

/// The mean over a node and, along every axis that names a side, its neighbour there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mean {
    pub sides: [Option<Side>; 3],
}

impl Mean {
    /// The adjoint mean.
    pub(crate) fn transposed(self) -> Self {
        Self { sides: self.sides.map(|side| side.map(Side::opposite)) }
    }

    /// `out <- out + scale * mean` on one line; `row(l)` are the values on line `l`.
    pub(crate) fn add<'a>(
        &self,
        grid: &TorusGrid,
        line: usize,
        row: impl Fn(usize) -> &'a [f64],
        scale: f64,
        out: &mut [f64],
    ) {
        let last = grid.dimension - 1;
        let mut lines = [line; 4];
        let mut count = 1;
        for (axis, side) in self.sides[..last].iter().enumerate() {
            let Some(side) = side else { continue };
            for k in 0..count {
                lines[count + k] = neighbour_line(grid, lines[k], axis, *side);
            }
            count *= 2;
        }
        let terms = count * if self.sides[last].is_some() { 2 } else { 1 };
        let factor = scale / terms as f64;
        for line in &lines[..count] {
            let row = row(*line);
            add_shifted(row, None, factor, out);
            if let Some(side) = self.sides[last] {
                add_shifted(row, Some(side), factor, out);
            }
        }
    }
}

/// The line beside `line` along an axis other than the last.
pub(crate) fn neighbour_line(grid: &TorusGrid, line: usize, axis: usize, side: Side) -> usize {
    let n = grid.nodes_per_side;
    around(grid, line * n)[axis][usize::from(side == Side::Ahead)] / n
}

/// `out_j <- out_j + factor * (value of j, or of its neighbour along the line)`.
pub(crate) fn add_shifted(row: &[f64], side: Option<Side>, factor: f64, out: &mut [f64]) {
    let last = row.len() - 1;
    let add = |out: &mut [f64], row: &[f64]| {
        out.iter_mut().zip(row).for_each(|(out, value)| *out += factor * value);
    };
    match side {
        None => add(out, row),
        Some(Side::Ahead) => {
            add(&mut out[..last], &row[1..]);
            out[last] += factor * row[0];
        }
        Some(Side::Behind) => {
            add(&mut out[1..], &row[..last]);
            out[0] += factor * row[last];
        }
    }
}

/// Calls `visit(line, block)` for every line in parallel, `field` holding `size` numbers for each node.
pub(crate) fn for_each_line(
    grid: &TorusGrid,
    field: &mut [f64],
    size: usize,
    visit: impl Fn(usize, &mut [f64]) + Sync,
) {
    let blocks = field.par_chunks_mut(grid.nodes_per_side * size).with_min_len(LINES_PER_TASK);
    blocks.enumerate().for_each(|(line, block)| visit(line, block));
}

/// `sum over lines of value(line, scratch row)`, the lines in order.
pub(crate) fn sum_over_lines(grid: &TorusGrid, value: impl Fn(usize, &mut [f64]) -> f64 + Sync) -> f64 {
    let n = grid.nodes_per_side;
    let lines = (0..grid.node_count() / n).into_par_iter().with_min_len(LINES_PER_TASK);
    let sums: Vec<f64> = lines.map_init(|| vec![0.0; n], |row, line| value(line, row)).collect();
    sums.iter().sum()
}
