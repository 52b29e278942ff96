//! Level sets of a function on a grid of the plane: linear interpolation along the edges of the grid.

use super::plane::Window;

/// Values of a function at the centres of `side x side` squares of a window, rows from below.
#[derive(Debug, Clone)]
pub struct Grid {
    /// The window.
    pub window: Window,
    /// Squares per side.
    pub side: usize,
    /// `side^2` values.
    pub values: Vec<f64>,
}

impl Grid {
    /// Centre of square `(column, row)`.
    pub fn centre(window: Window, side: usize, column: usize, row: usize) -> (f64, f64) {
        let at = |[low, high]: [f64; 2], k: usize| low + (high - low) * (k as f64 + 0.5) / side as f64;
        (at(window.x, column), at(window.y, row))
    }

    /// `count` levels between the 1st and the 99th hundredth of the values, equally spaced.
    pub fn levels(&self, count: usize) -> Vec<f64> {
        let mut sorted: Vec<f64> = self.values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return Vec::new() };
        let (low, high) = (sorted[last / 100], sorted[last - last / 100]);
        (1..=count).map(|k| low + (high - low) * k as f64 / (count + 1) as f64).collect()
    }
}

/// The segments of `{ value = level }`, two per square at most.
///
/// ```
/// use proxflow::pictures::{Grid, Window, level_lines};
/// let window = Window { x: [0.0, 2.0], y: [0.0, 2.0] };
/// // Values 0 on the left, 1 on the right: half-way lies a vertical line.
/// let grid = Grid { window, side: 2, values: vec![0.0, 1.0, 0.0, 1.0] };
/// assert_eq!(level_lines(&grid, 0.5), [[(1.0, 0.5), (1.0, 1.5)]]);
/// ```
pub fn level_lines(grid: &Grid, level: f64) -> Vec<[(f64, f64); 2]> {
    let (side, mut lines) = (grid.side, Vec::new());
    let value = |column: usize, row: usize| grid.values[row * side + column];
    let place = |column: usize, row: usize| Grid::centre(grid.window, side, column, row);
    for row in 0..side.saturating_sub(1) {
        for column in 0..side.saturating_sub(1) {
            // Counter-clockwise from below.
            let corners = [(column, row), (column + 1, row), (column + 1, row + 1), (column, row + 1)];
            let mut crossings = Vec::new();
            for k in 0..4 {
                let (a, b) = (corners[k], corners[(k + 1) % 4]);
                let (u, v) = (value(a.0, a.1), value(b.0, b.1));
                if (u < level) != (v < level) {
                    let part = (level - u) / (v - u);
                    let (p, q) = (place(a.0, a.1), place(b.0, b.1));
                    crossings.push((p.0 + part * (q.0 - p.0), p.1 + part * (q.1 - p.1)));
                }
            }
            lines.extend(crossings.chunks_exact(2).map(|pair| [pair[0], pair[1]]));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_set_of_a_distance_is_a_circle() {
        let window = Window { x: [-2.0, 2.0], y: [-2.0, 2.0] };
        let side = 80;
        let values = (0..side * side)
            .map(|k| {
                let (x, y) = Grid::centre(window, side, k % side, k / side);
                x.hypot(y)
            })
            .collect();
        let grid = Grid { window, side, values };
        let lines = level_lines(&grid, 1.0);
        let length: f64 = lines.iter().map(|[a, b]| (a.0 - b.0).hypot(a.1 - b.1)).sum();
        assert!((length / std::f64::consts::TAU - 1.0).abs() < 1e-3, "{length}");
        // Linear interpolation on squares of width 0.05 misses a circle of radius 1 by at most 0.05^2 / 8.
        assert!(lines.iter().flatten().all(|p| (p.0.hypot(p.1) - 1.0).abs() < 0.05 * 0.05 / 2.0));
        assert!(level_lines(&grid, 9.0).is_empty());
        assert!(grid.levels(3).windows(2).all(|pair| pair[0] < pair[1]));
    }
}
