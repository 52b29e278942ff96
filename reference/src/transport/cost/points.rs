//! Costs between two sets of points, computed when asked for.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::pointwise::PointwiseCost;
use super::{DenseCost, GroundCost};
use crate::observer::{Stopped, Watch};
use crate::specification::InvalidInput;
use crate::transport::distance::{LANES, PackedPoints};

/// Sources whose distances are computed at a time: with four, arithmetic and not loading takes the time.
const GROUP: usize = 4;

/// Sources that pass over one tile of targets while it is in cache.
const PANEL: usize = 8 * GROUP;

/// A [`PointwiseCost`] between points `x` `(n, d)` and `z` `(m, d)`, computed when asked for; memory `(n + m) d`.
#[derive(Debug, Clone)]
pub struct PointCost {
    cost: PointwiseCost,
    /// The points are kept in this unit of length, a power of two: 1 unless squares of distances leave the range of f64.
    unit: f64,
    diagonal: f64,
    sources: Array2<f64>,
    targets: PackedPoints,
}

impl PointCost {
    /// `x` has shape `(n, d)` and `z` shape `(m, d)`; both non-empty with finite coordinates, so close together that squared
    /// distances and costs are finite.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::{GroundCost, PointCost, PointwiseCost};
    /// let (x, z) = (array![[0.0, 0.0]], array![[3.0, 4.0]]);
    /// assert_eq!(PointCost::new(PointwiseCost::SquaredDistance, x.view(), z.view())?.entry(0, 0), 25.0);
    /// assert!(PointCost::new(PointwiseCost::Distance, x.view(), array![[3.0]].view()).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(
        cost: PointwiseCost,
        x: ArrayView2<'_, f64>,
        z: ArrayView2<'_, f64>,
    ) -> Result<Self, InvalidInput> {
        cost.check()?;
        for (name, points) in [("sources", &x), ("targets", &z)] {
            if points.is_empty() {
                return Err(InvalidInput::new(
                    name,
                    format!("{:?}", points.dim()),
                    "at least one point and dimension",
                ));
            }
            if let Some(((i, k), value)) = points.indexed_iter().find(|(_, value)| !value.is_finite()) {
                return Err(InvalidInput::new(format!("{name}[{i}, {k}]"), value, "finite"));
            }
        }
        if x.ncols() != z.ncols() {
            return Err(InvalidInput::new(
                "dimension of targets",
                z.ncols(),
                format!("{}, as sources", x.ncols()),
            ));
        }
        let (unit, diagonal) = unit_and_diagonal(x, z);
        let largest = if unit == 1.0 {
            cost.of_squared_distance(diagonal * diagonal)
        } else {
            cost.of_distance(diagonal)
        };
        if !largest.is_finite() {
            let value = format!("so far apart that costs reach {largest}");
            return Err(InvalidInput::new("coordinates", value, "distances and costs below 1.8e308"));
        }
        let (sources, targets) = if unit == 1.0 {
            (x.as_standard_layout().into_owned(), PackedPoints::new(z))
        } else {
            (x.mapv(|x| x / unit), PackedPoints::new(z.mapv(|z| z / unit).view()))
        };
        let sources =
            if sources.is_standard_layout() { sources } else { sources.as_standard_layout().into_owned() };
        Ok(Self { cost, unit, diagonal, sources, targets })
    }

    /// The unit of length of the points: 1 unless squares of distances leave the range of f64.
    pub(crate) fn unit(&self) -> f64 {
        self.unit
    }

    /// The diagonal of the box around both point sets: no distance is longer.
    pub(crate) fn diagonal(&self) -> f64 {
        self.diagonal
    }

    /// Computes all entries once, in parallel; memory `8 n m` bytes.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::transport::{PointCost, PointwiseCost};
    /// let (x, z) = (array![[0.0, 0.0]], array![[3.0, 4.0], [0.0, 1.0]]);
    /// let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view())?;
    /// assert_eq!(cost.into_dense().matrix(), array![[5.0, 1.0]]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn into_dense(self) -> DenseCost {
        self.into_dense_watched(&mut Watch::new(None)).expect("nobody stops it")
    }

    fn into_dense_watched(self, watch: &mut Watch<'_>) -> Result<DenseCost, Stopped> {
        let (n, m) = (self.sources(), self.targets());
        let mut values = vec![0.0; n * m];
        watch.in_pieces(n.div_ceil(GROUP), |groups| {
            let first = groups.start * GROUP;
            let rows = &mut values[first * m..(groups.end * GROUP).min(n) * m];
            rows.par_chunks_mut(PANEL * m)
                .enumerate()
                .for_each(|(panel, rows)| self.fill_panel(first + panel * PANEL, rows));
        })?;
        let matrix = Array2::from_shape_vec((n, m), values).expect("n m values were allocated");
        Ok(DenseCost { matrix, forbids: false, enclosure: self.enclosure() })
    }

    /// Fills whole rows from source `first` on, a tile of targets at a time: a tile stays in cache while all rows of the panel
    /// pass over it.
    fn fill_panel(&self, first: usize, rows: &mut [f64]) {
        let m = self.targets.count();
        let tile = self.targets.tile();
        for start in (0..m).step_by(tile.max(1)) {
            let end = (start + tile).min(m);
            for (group, rows) in rows.chunks_mut(GROUP * m).enumerate() {
                let i = first + GROUP * group;
                let mut out = rows.chunks_exact_mut(m).map(|row| &mut row[start..end]);
                if let (Some(a), Some(b), Some(c), Some(d)) = (out.next(), out.next(), out.next(), out.next())
                {
                    let points = [0, 1, 2, 3].map(|k| self.source(i + k));
                    self.targets.squared_distances_of_four(start, points, [a, b, c, d]);
                } else {
                    for (k, row) in rows.chunks_exact_mut(m).enumerate() {
                        self.targets.squared_distances(start, [self.source(i + k)], [&mut row[start..end]]);
                    }
                }
            }
        }
        rows.iter_mut().for_each(|value| *value = self.of_squared_distance(*value));
    }

    /// The dense cost when it needs at most `bytes` (see [`DENSE_COST_BYTES`](super::DENSE_COST_BYTES)), else this cost computed on the fly.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::transport::{PointCost, PointwiseCost};
    /// let x = array![[0.0], [1.0]];
    /// let cost = PointCost::new(PointwiseCost::SquaredDistance, x.view(), x.view())?;
    /// assert!(cost.clone().within_memory(32).row(0).is_some() && cost.within_memory(31).row(0).is_none());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn within_memory(self, bytes: usize) -> Box<dyn GroundCost> {
        self.within_memory_watched(bytes, &mut Watch::new(None)).expect("nobody stops it")
    }

    pub(crate) fn within_memory_watched(
        self,
        bytes: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Box<dyn GroundCost>, Stopped> {
        let needed = self.sources().saturating_mul(self.targets()).saturating_mul(size_of::<f64>());
        Ok(if needed <= bytes { Box::new(self.into_dense_watched(watch)?) } else { Box::new(self) })
    }

    /// The cost of a squared distance in units.
    fn of_squared_distance(&self, squared: f64) -> f64 {
        if self.unit == 1.0 {
            self.cost.of_squared_distance(squared)
        } else {
            self.cost.of_distance(self.unit * squared.sqrt())
        }
    }

    fn source(&self, i: usize) -> &[f64] {
        let d = self.sources.ncols();
        &self.sources.as_slice().expect("standard layout is kept since the constructor")[i * d..][..d]
    }
}

/// A unit of length in which squared distances between the points neither over- nor underflow, and the diagonal of the box
/// around them: no distance is larger.
fn unit_and_diagonal(x: ArrayView2<'_, f64>, z: ArrayView2<'_, f64>) -> (f64, f64) {
    let (mut low, mut high) = (x.row(0).to_vec(), x.row(0).to_vec());
    for point in x.outer_iter().chain(z.outer_iter()) {
        for ((low, high), &coordinate) in low.iter_mut().zip(&mut high).zip(point) {
            (*low, *high) = (low.min(coordinate), high.max(coordinate));
        }
    }
    let sides = || low.iter().zip(&high).map(|(low, high)| high - low);
    let longest = sides().fold(0.0, f64::max);
    let unit = power_of_two_unit(longest);
    let diagonal = unit * sides().map(|side| (side / unit) * (side / unit)).sum::<f64>().sqrt();
    (unit, diagonal)
}

/// 1 for lengths whose squares are safe, else the power of two next to `length`.
pub(crate) fn power_of_two_unit(length: f64) -> f64 {
    if length == 0.0 || (1e-140..1e140).contains(&length) || !length.is_finite() {
        return 1.0;
    }
    length.log2().floor().clamp(-1022.0, 1022.0).exp2()
}

impl GroundCost for PointCost {
    fn sources(&self) -> usize {
        self.sources.nrows()
    }

    fn targets(&self) -> usize {
        self.targets.count()
    }

    fn entry(&self, i: usize, j: usize) -> f64 {
        self.of_squared_distance(self.targets.squared_distance(self.source(i), j))
    }

    fn rounding(&self) -> f64 {
        // Sums of d squares, fused or not.
        2.0 * (self.sources.ncols() + 4) as f64 * f64::EPSILON
    }

    fn enclosure(&self) -> (f64, f64) {
        // Differences, squares, sums of positive terms, a root and the few operations of the cost each round by 2^-53.
        let d = self.sources.ncols() as f64;
        let relative = (d + 16.0) * (-52f64).exp2();
        // Squares below the smallest double: at most d 2^-1074 under the root.
        let lost = self.unit * d.sqrt() * (-536f64).exp2();
        let absolute = match self.cost {
            PointwiseCost::Lipschitz { lipschitz } => lipschitz * lost,
            PointwiseCost::Huber(parameters) => parameters.lipschitz * lost,
            PointwiseCost::Distance => lost,
            PointwiseCost::SquaredDistance => d * self.unit * self.unit * (-1000f64).exp2(),
        };
        (relative, absolute + f64::MIN_POSITIVE)
    }

    fn fill_range(&self, i: usize, start: usize, out: &mut [f64]) {
        if start.is_multiple_of(LANES) {
            self.targets.squared_distances(start, [self.source(i)], [&mut *out]);
            out.iter_mut().for_each(|value| *value = self.of_squared_distance(*value));
        } else {
            out.iter_mut().enumerate().for_each(|(k, value)| *value = self.entry(i, start + k));
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_dense_cost_of_many_tiles_has_the_digits_of_its_rows() {
        // 37 sources are groups of four and one more; 150 targets in 300 dimensions are two tiles.
        let value = |(i, k): (usize, usize)| ((i * 7919 + k * 104_729) % 1009) as f64 / 1009.0;
        let (x, z) = (Array2::from_shape_fn((37, 300), value), Array2::from_shape_fn((150, 300), value));
        let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).expect("finite points");
        assert!(cost.targets.tile() < 150);
        let dense = cost.clone().into_dense();
        for (i, row) in dense.matrix().outer_iter().enumerate() {
            let mut found = vec![0.0; 150];
            cost.fill_row(i, &mut found);
            assert_eq!(row.to_vec(), found);
        }
    }

    #[test]
    fn dense_and_on_the_fly_costs_agree() {
        let x = array![[0.0, 1.0], [2.0, -1.0], [0.5, 0.5]];
        let z = array![[1.0, 1.0], [2.0, -1.0]];
        let lazy = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).expect("valid");
        let dense = lazy.clone().into_dense();
        let mut row = [0.0; 2];
        for i in 0..3 {
            lazy.fill_row(i, &mut row);
            for j in 0..2 {
                assert!((dense.entry(i, j) - lazy.entry(i, j)).abs() < 1e-15);
                assert_eq!(dense.entry(i, j), row[j]);
            }
        }
        assert_eq!(dense.entry(1, 1), 0.0);
    }

    #[test]
    fn bad_points_and_parameters_are_named() {
        let x = array![[0.0], [f64::NAN]];
        let z = array![[0.0, 1.0]];
        let error = PointCost::new(PointwiseCost::Distance, x.view(), x.view()).expect_err("NaN");
        assert!(error.to_string().contains("sources[1, 0]"), "{error}");
        let error =
            PointCost::new(PointwiseCost::Distance, z.view(), array![[1.0]].view()).expect_err("dimension");
        assert!(error.to_string().contains("dimension"), "{error}");
        let negative = PointwiseCost::Lipschitz { lipschitz: -1.0 };
        assert!(PointCost::new(negative, z.view(), z.view()).is_err());
        assert!(DenseCost::new(array![[f64::INFINITY]]).is_err());
        let far = array![[1e200, 0.0]];
        let error = PointCost::new(PointwiseCost::SquaredDistance, z.view(), far.view())
            .expect_err("squares overflow");
        assert!(error.to_string().contains("coordinates"), "{error}");
        let steep = PointwiseCost::Lipschitz { lipschitz: 1e308 };
        assert!(PointCost::new(steep, z.view(), array![[0.0, 9.0]].view()).is_err());
    }

    #[test]
    fn distances_keep_their_digits_at_every_scale() {
        let x = Array2::from_shape_fn((3, 2), |(i, k)| 0.3 + (i + 2 * k) as f64);
        let z = Array2::from_shape_fn((4, 2), |(i, k)| 0.7 * (i * k) as f64 - 1.0);
        let ordinary = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).expect("valid");
        for exponent in [-1000, -700, -300, 0, 300, 700, 1000] {
            let scale = f64::from(exponent).exp2();
            let (x, z) = (x.mapv(|v| v * scale), z.mapv(|v| v * scale));
            let lipschitz = PointwiseCost::Lipschitz { lipschitz: 1.0 / scale };
            let cost = PointCost::new(lipschitz, x.view(), z.view()).expect("valid");
            let dense = cost.clone().into_dense();
            for (i, j) in [(0, 0), (1, 3), (2, 2)] {
                let expected = ordinary.entry(i, j);
                assert!((cost.entry(i, j) / expected - 1.0).abs() < 1e-15, "2^{exponent}");
                assert!((dense.entry(i, j) / expected - 1.0).abs() < 1e-15, "2^{exponent}");
            }
        }
    }

    #[test]
    fn costs_are_kept_in_memory_up_to_the_stated_size() {
        let x = Array2::from_shape_fn((3, 2), |(i, k)| (i + k) as f64);
        let z = Array2::from_shape_fn((5, 2), |(i, k)| (i * k) as f64);
        let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).expect("valid");
        assert!(cost.clone().within_memory(8 * 15).row(0).is_some());
        let lazy = cost.within_memory(8 * 15 - 1);
        assert!(lazy.row(0).is_none() && lazy.sources() == 3 && lazy.targets() == 5);
    }
}
