//! Pictures of flows between point clouds: panels of points, paths and level sets, animated PNG, one page with everything.

mod animation;
mod images;
mod levels;
mod page;
mod panel;
mod plane;

pub use self::animation::write_animation;
pub use self::images::image_grid;
pub use self::levels::{Grid, level_lines};
pub use self::page::{Page, Section};
pub use self::panel::{BLUE, DATA, GENERATED, Layer, Panel, SOURCE, Sheet, encode_png};
pub use self::plane::{Plane, Window};

use ndarray::ArrayView2;
use rayon::prelude::*;

/// For every row of `rows (n, d)` the index of the nearest of `others (m, d)`, `m >= 1`, and its distance; the first of equal ones.
///
/// ```
/// use ndarray::array;
/// let found = proxflow::pictures::nearest(array![[0.0], [5.0]].view(), array![[1.0], [4.5]].view());
/// assert_eq!(found, [(0, 1.0), (1, 0.5)]);
/// ```
pub fn nearest(rows: ArrayView2<'_, f64>, others: ArrayView2<'_, f64>) -> Vec<(usize, f64)> {
    let columns = others.ncols();
    let flat: Vec<f64> = others.iter().copied().collect();
    (0..rows.nrows())
        .into_par_iter()
        .map(|i| {
            let x: Vec<f64> = rows.row(i).to_vec();
            let mut best = (0, f64::INFINITY);
            for (j, z) in flat.chunks_exact(columns.max(1)).enumerate() {
                let square: f64 = x.iter().zip(z).map(|(a, b)| (a - b) * (a - b)).sum();
                if square < best.1 {
                    best = (j, square);
                }
            }
            (best.0, best.1.sqrt())
        })
        .collect()
}
