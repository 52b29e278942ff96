//! Gaussian-smoothed measures on uniform grids in one and two dimensions, for the blow-up statements of notation 1.8.
//!
//! Log-densities throughout: at bandwidth s the ratio of two smoothed densities reaches `exp(r^2 / 2 s^2)`, far beyond f64.

use ndarray::{Array2, ArrayView1, ArrayView2};

use super::exact::probability_weights;
use super::generator::Generator;
use crate::measure::check_points;
use crate::specification::{DivergenceKind, InvalidInput};

/// How a coordinate behaves at the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The ends are glued: the kernel is summed over its periodic images.
    Periodic,
    /// The kernel is cut at the ends and the density renormalised.
    Interval,
}

/// `n^d` cell centres of the cube `[low, high)^d`, `d` = 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UniformGrid {
    dimension: usize,
    cells: usize,
    low: f64,
    high: f64,
    boundary: Boundary,
}

impl UniformGrid {
    /// `cells` per axis on `[low, high)^dimension`; `dimension` 1 or 2.
    ///
    /// ```
    /// # use proxflow_reference::divergence::{Boundary, UniformGrid};
    /// assert_eq!(UniformGrid::new(2, 3, 0.0, 1.0, Boundary::Periodic)?.centres().dim(), (9, 2));
    /// assert!(UniformGrid::new(3, 3, 0.0, 1.0, Boundary::Periodic).is_err());
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(
        dimension: usize,
        cells: usize,
        low: f64,
        high: f64,
        boundary: Boundary,
    ) -> Result<Self, InvalidInput> {
        if !(1..=2).contains(&dimension) {
            return Err(InvalidInput::new("dimension", dimension, "1 or 2"));
        }
        if cells == 0 {
            return Err(InvalidInput::new("cells", cells, "at least 1"));
        }
        if !(low.is_finite() && high.is_finite() && low < high) {
            return Err(InvalidInput::new("interval", format!("[{low}, {high})"), "finite, low < high"));
        }
        Ok(Self { dimension, cells, low, high, boundary })
    }

    /// Width `h` of a cell.
    ///
    /// ```
    /// # use proxflow_reference::divergence::{Boundary, UniformGrid};
    /// assert_eq!(UniformGrid::new(1, 8, -1.0, 3.0, Boundary::Interval)?.spacing(), 0.5);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn spacing(&self) -> f64 {
        (self.high - self.low) / self.cells as f64
    }

    /// The cell centres `(cells^d, d)`, first axis slowest.
    ///
    /// ```
    /// # use proxflow_reference::divergence::{Boundary, UniformGrid};
    /// let centres = UniformGrid::new(2, 2, 0.0, 2.0, Boundary::Periodic)?.centres();
    /// assert_eq!(centres, ndarray::array![[0.5, 0.5], [0.5, 1.5], [1.5, 0.5], [1.5, 1.5]]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn centres(&self) -> Array2<f64> {
        let (n, h) = (self.cells, self.spacing());
        Array2::from_shape_fn((n.pow(self.dimension as u32), self.dimension), |(cell, axis)| {
            let index = if axis + 1 == self.dimension { cell % n } else { cell / n };
            self.low + (index as f64 + 0.5) * h
        })
    }

    /// Logarithm of the unnormalised Gaussian kernel along one axis; on a circle the sum over the images within eight
    /// bandwidths, at least the nearest three.
    fn axis_log_kernel(&self, difference: f64, bandwidth: f64) -> f64 {
        let exponent = |r: f64| -0.5 * (r / bandwidth) * (r / bandwidth);
        match self.boundary {
            Boundary::Interval => exponent(difference),
            Boundary::Periodic => {
                let length = self.high - self.low;
                let nearest = difference - length * (difference / length).round();
                let images = (8.0 * bandwidth / length).ceil().max(1.0) as i64;
                log_sum_exp((-images..=images).map(|k| exponent(nearest + k as f64 * length)))
            }
        }
    }
}

/// A probability measure on the cells of a [`UniformGrid`], by the logarithms of its masses.
#[derive(Debug, Clone)]
pub struct GridMeasure {
    grid: UniformGrid,
    log_masses: Vec<f64>,
}

impl GridMeasure {
    /// `sum_i w_i N(a_i, bandwidth^2)` sampled at the cell centres and normalised to mass 1: `atoms` `(n, d)`, weights default to
    /// uniform. For `bandwidth` above about one cell the sampling error is that of the midpoint rule on a smooth periodic
    /// function (below 1e-8 at one cell and a half); below, this is the law of the sampled kernel itself.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid};
    /// let grid = UniformGrid::new(1, 8, 0.0, 1.0, Boundary::Periodic)?;
    /// let law = GridMeasure::smoothed(grid, array![[0.3]].view(), None, 0.2)?;
    /// let moved = GridMeasure::smoothed(grid, array![[0.3 + grid.spacing()]].view(), None, 0.2)?;
    /// // One cell further on the circle, every mass is its neighbour's.
    /// for k in 0..8 {
    ///     assert!((moved.masses()[(k + 1) % 8] - law.masses()[k]).abs() < 1e-14);
    /// }
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn smoothed(
        grid: UniformGrid,
        atoms: ArrayView2<f64>,
        weights: Option<&[f64]>,
        bandwidth: f64,
    ) -> Result<Self, InvalidInput> {
        check_points("atoms", atoms)?;
        if atoms.ncols() != grid.dimension {
            let value = format!("dimension {}", atoms.ncols());
            return Err(InvalidInput::new(
                "atoms",
                value,
                format!("dimension {} of the grid", grid.dimension),
            ));
        }
        InvalidInput::require_positive("bandwidth", bandwidth)?;
        let weights = probability_weights("weights", weights, atoms.nrows())?;
        let log_density = |centre: ArrayView1<f64>| {
            log_sum_exp(atoms.outer_iter().zip(&weights).map(|(atom, weight)| {
                let kernel: f64 =
                    (0..grid.dimension).map(|k| grid.axis_log_kernel(centre[k] - atom[k], bandwidth)).sum();
                weight.ln() + kernel
            }))
        };
        Ok(Self::normalised(grid, grid.centres().outer_iter().map(log_density).collect()))
    }

    fn normalised(grid: UniformGrid, mut log_masses: Vec<f64>) -> Self {
        let total = log_sum_exp(log_masses.iter().copied());
        log_masses.iter_mut().for_each(|mass| *mass -= total);
        Self { grid, log_masses }
    }

    /// The grid.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid};
    /// let grid = UniformGrid::new(1, 4, 0.0, 1.0, Boundary::Interval)?;
    /// assert_eq!(GridMeasure::smoothed(grid, array![[0.5]].view(), None, 0.1)?.grid(), &grid);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn grid(&self) -> &UniformGrid {
        &self.grid
    }

    /// The cell masses, sum 1; masses below 1e-308 are 0.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid};
    /// let grid = UniformGrid::new(1, 4, 0.0, 4.0, Boundary::Interval)?;
    /// let law = GridMeasure::smoothed(grid, array![[0.5]].view(), None, 0.01)?;
    /// assert!((law.masses().iter().sum::<f64>() - 1.0).abs() < 1e-15);
    /// assert_eq!(law.masses()[3], 0.0); // e^{-45000}
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn masses(&self) -> Vec<f64> {
        self.log_masses.iter().map(|mass| mass.exp()).collect()
    }

    /// The logarithms of the cell masses.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid};
    /// let grid = UniformGrid::new(1, 4, 0.0, 4.0, Boundary::Interval)?;
    /// let law = GridMeasure::smoothed(grid, array![[0.5]].view(), None, 0.01)?;
    /// // -r^2/(2 s^2) three cells away, far below what a mass can hold.
    /// assert!((law.log_masses()[3] - law.log_masses()[0] + 45000.0).abs() < 1e-9);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn log_masses(&self) -> &[f64] {
        &self.log_masses
    }

    /// `D_f(self|other)` of the two cell-mass vectors; finite for KL wherever f64 holds the sum, because the ratio of masses is
    /// kept as a difference of logarithms.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid};
    /// # use proxflow_reference::DivergenceKind;
    /// let grid = UniformGrid::new(1, 400, -12.0, 12.0, Boundary::Interval)?;
    /// let at = |mean: f64| GridMeasure::smoothed(grid, array![[mean]].view(), None, 1.0);
    /// // Between normal laws of the same variance: (m_1 - m_2)^2/(2 s^2).
    /// let value = at(0.4)?.f_divergence(&at(-0.1)?, DivergenceKind::KullbackLeibler)?;
    /// assert!((value - 0.125).abs() < 1e-12);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn f_divergence(&self, other: &Self, kind: DivergenceKind) -> Result<f64, InvalidInput> {
        let generator = Generator::new(kind)?;
        if self.grid != other.grid {
            return Err(InvalidInput::new("other", format!("{:?}", other.grid), "the same grid"));
        }
        let pairs = self.log_masses.iter().zip(&other.log_masses);
        Ok(match kind {
            DivergenceKind::KullbackLeibler => pairs.map(|(p, q)| weighted_difference(*p, *q)).sum(),
            DivergenceKind::ReverseKullbackLeibler => pairs.map(|(p, q)| weighted_difference(*q, *p)).sum(),
            _ => pairs.map(|(p, q)| generator.perspective(p.exp(), q.exp())).sum(),
        })
    }
}

/// `e^a (a - b)`, 0 when `e^a` underflows.
fn weighted_difference(a: f64, b: f64) -> f64 {
    let mass = a.exp();
    if mass == 0.0 { 0.0 } else { mass * (a - b) }
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let peak = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if peak == f64::NEG_INFINITY {
        peak
    } else {
        peak + terms.map(|term| (term - peak).exp()).sum::<f64>().ln()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;
    use crate::divergence::gaussian::Gaussian;

    #[test]
    fn smoothed_atoms_reproduce_the_gaussian_closed_form() {
        let wide = UniformGrid::new(1, 4000, -12.0, 12.0, Boundary::Interval).unwrap();
        let p = GridMeasure::smoothed(wide, array![[0.4]].view(), None, 1.0).unwrap();
        let normal = |mean: f64, s: f64| Gaussian::new(array![mean].view(), array![[s * s]].view()).unwrap();
        for bandwidth in [1.0, 0.5, 0.2, 0.1, 0.05] {
            let q = GridMeasure::smoothed(wide, array![[-0.1]].view(), None, bandwidth).unwrap();
            let (exact_p, exact_q) = (normal(0.4, 1.0), normal(-0.1, bandwidth));
            // The second asks for masses that underflow: those of q weigh nothing.
            for (kind, expected) in [
                (DivergenceKind::KullbackLeibler, exact_p.kullback_leibler(&exact_q).unwrap()),
                (DivergenceKind::ReverseKullbackLeibler, exact_q.kullback_leibler(&exact_p).unwrap()),
            ] {
                let value = p.f_divergence(&q, kind).unwrap();
                // Rounding: exponents up to 12^2/(2 s^2) = 3e4 carry eps each; midpoint error below 1e-15 at s = 8 h.
                assert!(
                    (value - expected).abs() < 1e-10 * (1.0 + expected),
                    "{kind} {bandwidth}: {value} {expected}"
                );
            }
        }
    }

    #[test]
    fn the_periodic_kernel_is_invariant_under_whole_cell_shifts() {
        let grid = UniformGrid::new(2, 24, 0.0, 1.0, Boundary::Periodic).unwrap();
        let smooth = |x: f64, y: f64, s: f64| {
            GridMeasure::smoothed(grid, array![[x, y], [x + 0.25, y - 0.125]].view(), None, s).unwrap()
        };
        let h = grid.spacing();
        for kind in DivergenceKind::ALL {
            let value = smooth(0.1, 0.9, 0.2).f_divergence(&smooth(0.4, 0.2, 0.3), kind).unwrap();
            let moved = smooth(0.1 + 7.0 * h, 0.9 + 5.0 * h, 0.2)
                .f_divergence(&smooth(0.4 + 7.0 * h, 0.2 + 5.0 * h, 0.3), kind)
                .unwrap();
            assert!((value - moved).abs() < 1e-12 * (1.0 + value), "{kind}");
            assert!(value > 1e-3, "{kind}");
        }
        let masses = smooth(0.1, 0.9, 0.05).masses();
        assert!((masses.iter().sum::<f64>() - 1.0).abs() < 1e-13);
    }

    #[test]
    fn the_periodic_kernel_is_the_sum_over_all_images() {
        // An interval that starts away from zero; bandwidths from half a cell to three periods.
        let (low, high) = (-1.5, 1.0);
        let grid = UniformGrid::new(1, 20, low, high, Boundary::Periodic).unwrap();
        let atoms = array![[-1.3], [0.7]];
        for bandwidth in [0.07, 0.4, 2.5, 7.5] {
            let masses =
                GridMeasure::smoothed(grid, atoms.view(), Some(&[0.25, 0.75]), bandwidth).unwrap().masses();
            let density = |x: f64| -> f64 {
                let kernel = |r: f64| (-0.5 * (r / bandwidth).powi(2)).exp();
                let images =
                    |a: f64| (-60..=60).map(|k| kernel(x - a + f64::from(k) * (high - low))).sum::<f64>();
                0.25 * images(-1.3) + 0.75 * images(0.7)
            };
            let naive: Vec<f64> = grid.centres().iter().map(|x| density(*x)).collect();
            let total: f64 = naive.iter().sum();
            for (mass, naive) in masses.iter().zip(&naive) {
                // Images beyond eight bandwidths weigh e^-32 of the peak.
                assert!((mass - naive / total).abs() < 1e-13, "{bandwidth}: {mass} {}", naive / total);
            }
        }
    }

    #[test]
    fn grids_and_bandwidths_out_of_range_are_refused() {
        assert!(UniformGrid::new(3, 4, 0.0, 1.0, Boundary::Periodic).is_err());
        assert!(UniformGrid::new(1, 0, 0.0, 1.0, Boundary::Periodic).is_err());
        assert!(UniformGrid::new(1, 4, 1.0, 1.0, Boundary::Periodic).is_err());
        let grid = UniformGrid::new(1, 8, 0.0, 1.0, Boundary::Interval).unwrap();
        assert!(GridMeasure::smoothed(grid, array![[0.5]].view(), None, 0.0).is_err());
        assert!(GridMeasure::smoothed(grid, array![[0.5, 0.5]].view(), None, 0.1).is_err());
    }
}
