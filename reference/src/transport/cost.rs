//! Ground costs `c_ij` between sources `x_i` and targets `z_j`: kept in memory, or computed on the fly.
//!
//! The Huber cost of notation 2.2 is `c(r) = lambda r^2 / (2T)` for `r <= LT/lambda`, else `L r - L^2 T / (2 lambda)`.

mod points;
mod pointwise;

use ndarray::{Array2, ArrayView2};

pub use self::points::PointCost;
pub(crate) use self::points::power_of_two_unit;
pub use self::pointwise::PointwiseCost;
use crate::specification::InvalidInput;

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

    /// `(relative, absolute)` distance of each entry from the cost of the data as given, a theorem: zero for entries that are
    /// themselves the data.
    fn enclosure(&self) -> (f64, f64) {
        (0.0, 0.0)
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
    /// See [`GroundCost::enclosure`].
    enclosure: (f64, f64),
}

impl DenseCost {
    /// Takes a matrix of shape `(n, m)`, `n, m >= 1`, all entries finite.
    ///
    /// ```
    /// use proxflow_reference::transport::{DenseCost, GroundCost};
    /// let cost = DenseCost::new(ndarray::array![[0.0, 1.0], [2.0, 3.0]])?;
    /// assert_eq!(cost.entry(1, 0), 2.0);
    /// assert!(DenseCost::new(ndarray::array![[f64::NAN]]).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(matrix: Array2<f64>) -> Result<Self, InvalidInput> {
        Self::checked(matrix, f64::is_finite, "finite")
    }

    /// Takes a matrix of shape `(n, m)` whose entries are finite, or `+inf` for pairs that may carry no mass.
    ///
    /// ```
    /// use proxflow_reference::transport::DenseCost;
    /// assert!(DenseCost::with_forbidden(ndarray::array![[0.0, f64::INFINITY]]).is_ok());
    /// assert!(DenseCost::new(ndarray::array![[0.0, f64::INFINITY]]).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
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
        Ok(Self {
            forbids,
            enclosure: (0.0, 0.0),
            matrix: if rows { matrix } else { matrix.as_standard_layout().into_owned() },
        })
    }

    /// The matrix, shape `(n, m)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::transport::DenseCost;
    /// let columns = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].reversed_axes();
    /// assert_eq!(DenseCost::new(columns)?.matrix(), array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
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

    fn enclosure(&self) -> (f64, f64) {
        self.enclosure
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
