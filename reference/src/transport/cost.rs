//! Ground costs `c_ij` between sources `x_i` and targets `z_j`: kept in memory, or computed on the fly.
//!
//! The Huber cost of notation 2.2 is `c(r) = lambda r^2 / (2T)` for `r <= LT/lambda`, else `L r - L^2 T / (2 lambda)`.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::distance::{LANES, PackedPoints};
use crate::observer::{Stopped, Watch};
use crate::specification::{InvalidInput, ProximalParameters};

/// Largest dense cost that [`PointCost::within_memory`] keeps by default, in bytes (4096 x 65536 entries).
pub const DENSE_COST_BYTES: usize = 2 << 30;

/// The cost `c_ij` of moving a unit of mass from source `i` to target `j`: finite, any sign; `+inf` forbids the pair where a
/// solver says that it takes that.
pub trait GroundCost: Sync {
    /// Number of sources `n`.
    fn sources(&self) -> usize;

    /// Number of targets `m`.
    fn targets(&self) -> usize;

    /// One entry `c_ij`.
    fn entry(&self, i: usize, j: usize) -> f64;

    /// Writes row `i`, `out[j] = c_ij` for all `j`; the same numbers as [`GroundCost::entry`] up to rounding.
    fn fill_row(&self, i: usize, out: &mut [f64]) {
        self.fill_range(i, 0, out);
    }

    /// Writes a part of row `i`, `out[k] = c_{i, start + k}`.
    fn fill_range(&self, i: usize, start: usize, out: &mut [f64]) {
        for (k, value) in out.iter_mut().enumerate() {
            *value = self.entry(i, start + k);
        }
    }

    /// By how much, relative to its size, one entry may differ between [`Self::entry`] and the rows.
    fn rounding(&self) -> f64 {
        0.0
    }

    /// Whether some entries are `+inf`.
    fn forbids(&self) -> bool {
        false
    }

    /// Row `i` when it is in memory; `None` when it has to be computed by [`GroundCost::fill_row`].
    fn row(&self, _i: usize) -> Option<&[f64]> {
        None
    }
}

/// Row `i` of `cost`: borrowed when it is in memory, else written to `buffer` (length `m`).
pub(super) fn row_of<'a>(cost: &'a dyn GroundCost, i: usize, buffer: &'a mut [f64]) -> &'a [f64] {
    match cost.row(i) {
        Some(row) => row,
        None => {
            cost.fill_row(i, buffer);
            buffer
        }
    }
}

/// A cost matrix in memory, shape `(n, m)`.
#[derive(Debug, Clone)]
pub struct DenseCost {
    matrix: Array2<f64>,
    forbids: bool,
}

impl DenseCost {
    /// Takes a matrix of shape `(n, m)`, `n, m >= 1`, all entries finite.
    pub fn new(matrix: Array2<f64>) -> Result<Self, InvalidInput> {
        Self::checked(matrix, f64::is_finite, "finite")
    }

    /// Takes a matrix of shape `(n, m)` whose entries are finite, or `+inf` for pairs that may carry no mass.
    pub fn with_forbidden(matrix: Array2<f64>) -> Result<Self, InvalidInput> {
        let allowed = |value: f64| value.is_finite() || value == f64::INFINITY;
        Self::checked(matrix, allowed, "finite, or inf for a forbidden pair")
    }

    fn checked(
        matrix: Array2<f64>,
        is_allowed: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> Result<Self, InvalidInput> {
        if matrix.is_empty() {
            return Err(InvalidInput::new(
                "cost",
                format!("{:?}", matrix.dim()),
                "at least one row and one column",
            ));
        }
        if let Some(((i, j), value)) = matrix.indexed_iter().find(|(_, value)| !is_allowed(**value)) {
            return Err(InvalidInput::new(format!("cost[{i}, {j}]"), value, allowed));
        }
        // A matrix in rows is taken as it is: no second copy of what may fill most of the memory.
        let rows = matrix.is_standard_layout();
        let forbids = matrix.iter().any(|value| *value == f64::INFINITY);
        Ok(Self { forbids, matrix: if rows { matrix } else { matrix.as_standard_layout().into_owned() } })
    }

    /// The matrix, shape `(n, m)`.
    pub fn matrix(&self) -> ArrayView2<'_, f64> {
        self.matrix.view()
    }
}

impl GroundCost for DenseCost {
    fn sources(&self) -> usize {
        self.matrix.nrows()
    }

    fn targets(&self) -> usize {
        self.matrix.ncols()
    }

    fn entry(&self, i: usize, j: usize) -> f64 {
        self.matrix[[i, j]]
    }

    fn fill_row(&self, i: usize, out: &mut [f64]) {
        out.copy_from_slice(&self.as_slice()[i * out.len()..][..out.len()]);
    }

    fn forbids(&self) -> bool {
        self.forbids
    }

    fn row(&self, i: usize) -> Option<&[f64]> {
        let width = self.matrix.ncols();
        Some(&self.as_slice()[i * width..][..width])
    }
}

impl DenseCost {
    fn as_slice(&self) -> &[f64] {
        self.matrix.as_slice().expect("standard layout is kept since the constructor")
    }
}

/// A cost that depends on the Euclidean distance `r = |x - z|` alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PointwiseCost {
    /// `c = L r`: the Lipschitz-regularised divergence `D_f^L` of notation 1.4.
    Lipschitz {
        /// The constant `L > 0`.
        lipschitz: f64,
    },
    /// The Huber cost of notation 2.2: the combined proximal.
    Huber(ProximalParameters),
    /// `c = r`: the first Wasserstein distance.
    Distance,
    /// `c = r^2`: the squared second Wasserstein distance.
    SquaredDistance,
}

impl PointwiseCost {
    /// The cost as a function of the squared distance `r^2 >= 0`.
    pub fn of_squared_distance(&self, squared: f64) -> f64 {
        match self {
            Self::Lipschitz { lipschitz } => lipschitz * squared.sqrt(),
            Self::Huber(parameters) => {
                let ProximalParameters { lipschitz, lambda, horizon } = *parameters;
                if squared.sqrt() <= parameters.kink() {
                    lambda / (2.0 * horizon) * squared
                } else {
                    lipschitz * (squared.sqrt() - 0.5 * parameters.kink())
                }
            }
            Self::Distance => squared.sqrt(),
            Self::SquaredDistance => squared,
        }
    }

    fn check(&self) -> Result<(), InvalidInput> {
        match self {
            Self::Lipschitz { lipschitz } => {
                InvalidInput::require_positive("lipschitz", *lipschitz).map(|_| ())
            }
            Self::Huber(p) => ProximalParameters::new(p.lipschitz, p.lambda, p.horizon).map(|_| ()),
            Self::Distance | Self::SquaredDistance => Ok(()),
        }
    }
}

/// A [`PointwiseCost`] between points `x` `(n, d)` and `z` `(m, d)`, computed when asked for; memory `(n + m) d`.
#[derive(Debug, Clone)]
pub struct PointCost {
    cost: PointwiseCost,
    sources: Array2<f64>,
    targets: PackedPoints,
}

impl PointCost {
    /// `x` has shape `(n, d)` and `z` shape `(m, d)`; both non-empty with finite coordinates, so close together that squared
    /// distances and costs are finite.
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
        let largest = cost.of_squared_distance(squared_diagonal(x, z));
        if !largest.is_finite() {
            let value = format!("so far apart that costs reach {largest}");
            return Err(InvalidInput::new("coordinates", value, "squared distances and costs below 1.8e308"));
        }
        Ok(Self { cost, sources: x.as_standard_layout().into_owned(), targets: PackedPoints::new(z) })
    }

    /// Computes all entries once, in parallel; memory `8 n m` bytes.
    pub fn into_dense(self) -> DenseCost {
        self.into_dense_watched(&mut Watch::new(None)).expect("nobody stops it")
    }

    fn into_dense_watched(self, watch: &mut Watch<'_>) -> Result<DenseCost, Stopped> {
        let (n, m) = (self.sources(), self.targets());
        let mut values = vec![0.0; n * m];
        watch.in_pieces(n.div_ceil(2), |pairs| {
            let first_pair = pairs.start;
            let piece = &mut values[2 * first_pair * m..(2 * pairs.end).min(n) * m];
            piece.par_chunks_mut(2 * m).enumerate().for_each(|(pair, rows)| {
                let i = 2 * (first_pair + pair);
                let (first, second) = rows.split_at_mut(m);
                if second.is_empty() {
                    self.fill_row(i, first);
                } else {
                    let points = [self.source(i), self.source(i + 1)];
                    self.targets.squared_distances(0, points, [&mut *first, &mut *second]);
                    rows.iter_mut().for_each(|value| *value = self.cost.of_squared_distance(*value));
                }
            });
        })?;
        let matrix = Array2::from_shape_vec((n, m), values).expect("n m values were allocated");
        Ok(DenseCost { matrix, forbids: false })
    }

    /// The dense cost when it needs at most `bytes` (see [`DENSE_COST_BYTES`]), else this cost computed on the fly.
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

    fn source(&self, i: usize) -> &[f64] {
        let d = self.sources.ncols();
        &self.sources.as_slice().expect("standard layout is kept since the constructor")[i * d..][..d]
    }
}

/// Squared diagonal of the box around both point sets: no squared distance between them is larger.
fn squared_diagonal(x: ArrayView2<'_, f64>, z: ArrayView2<'_, f64>) -> f64 {
    let (mut low, mut high) = (x.row(0).to_vec(), x.row(0).to_vec());
    for point in x.outer_iter().chain(z.outer_iter()) {
        for ((low, high), &coordinate) in low.iter_mut().zip(&mut high).zip(point) {
            (*low, *high) = (low.min(coordinate), high.max(coordinate));
        }
    }
    low.iter().zip(&high).map(|(low, high)| (high - low) * (high - low)).sum()
}

impl GroundCost for PointCost {
    fn sources(&self) -> usize {
        self.sources.nrows()
    }

    fn targets(&self) -> usize {
        self.targets.count()
    }

    fn entry(&self, i: usize, j: usize) -> f64 {
        self.cost.of_squared_distance(self.targets.squared_distance(self.source(i), j))
    }

    fn rounding(&self) -> f64 {
        // Sums of d squares, fused or not.
        2.0 * (self.sources.ncols() + 4) as f64 * f64::EPSILON
    }

    fn fill_range(&self, i: usize, start: usize, out: &mut [f64]) {
        if start.is_multiple_of(LANES) {
            self.targets.squared_distances(start, [self.source(i)], [&mut *out]);
            out.iter_mut().for_each(|value| *value = self.cost.of_squared_distance(*value));
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
    fn huber_cost_is_continuous_with_slope_lipschitz_past_the_kink() {
        let parameters = ProximalParameters::new(2.0, 0.5, 3.0).expect("positive");
        let cost = PointwiseCost::Huber(parameters);
        let at = |r: f64| cost.of_squared_distance(r * r);
        let kink = parameters.kink();
        assert!((at(kink) - at(kink * (1.0 + 1e-12))).abs() < 1e-9);
        assert!((at(kink + 2.0) - at(kink + 1.0) - 2.0).abs() < 1e-12);
        assert!((at(1.0) - 0.5 / 6.0).abs() < 1e-15);
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
        let error =
            PointCost::new(PointwiseCost::Distance, z.view(), far.view()).expect_err("squares overflow");
        assert!(error.to_string().contains("coordinates"), "{error}");
        let steep = PointwiseCost::Lipschitz { lipschitz: 1e308 };
        assert!(PointCost::new(steep, z.view(), array![[0.0, 9.0]].view()).is_err());
    }

    #[test]
    fn costs_are_kept_in_memory_up_to_the_stated_size() {
        let x = Array2::from_shape_fn((3, 2), |(i, k)| (i + k) as f64);
        let z = Array2::from_shape_fn((5, 2), |(i, k)| (i * k) as f64);
        let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).expect("valid");
        assert!(cost.clone().within_memory(8 * 15).row(0).is_some());
        let lazy = cost.within_memory(8 * 15 - 1);
        assert!(lazy.row(0).is_none() && lazy.sources() == 3 && lazy.targets() == 5);
        assert_eq!(DENSE_COST_BYTES, 2 << 30);
    }
}
