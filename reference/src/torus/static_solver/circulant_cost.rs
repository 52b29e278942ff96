//! The cost between the nodes of a circle, `c_ij = c(j - i)`: one period of numbers, read as rows.

use crate::specification::InvalidInput;
use crate::transport::GroundCost;

/// `c_ij = table[(j - rows_i) mod N]` for the sources `rows` and every node `j` as a target; memory O(N) instead of O(N^2),
/// so that passes over the cost stay in cache.
#[derive(Debug, Clone)]
pub(super) struct CirculantCost {
    /// The period twice: row `i` is the stretch of length `N` that starts at `N - i`.
    doubled: Vec<f64>,
    rows: Vec<usize>,
}

impl CirculantCost {
    /// `table[k]` is the finite cost of the displacement `k`; `rows` are node indices below `N`.
    pub(super) fn new(table: &[f64], rows: Vec<usize>) -> Result<Self, InvalidInput> {
        if let Some(value) = table.iter().find(|value| !value.is_finite()) {
            return Err(InvalidInput::new("cost", value, "finite"));
        }
        Ok(Self { doubled: table.repeat(2), rows })
    }

    fn period(&self) -> usize {
        self.doubled.len() / 2
    }
}

impl GroundCost for CirculantCost {
    fn sources(&self) -> usize {
        self.rows.len()
    }

    fn targets(&self) -> usize {
        self.period()
    }

    fn entry(&self, i: usize, j: usize) -> f64 {
        self.doubled[self.period() - self.rows[i] + j]
    }

    fn fill_range(&self, i: usize, start: usize, out: &mut [f64]) {
        let first = self.period() - self.rows[i] + start;
        out.copy_from_slice(&self.doubled[first..][..out.len()]);
    }

    fn row(&self, i: usize) -> Option<&[f64]> {
        let period = self.period();
        Some(&self.doubled[period - self.rows[i]..][..period])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::Options;
    use crate::specification::DivergenceKind;
    use crate::transport::{DenseCost, semi_relaxed_transport};
    use ndarray::Array2;

    #[test]
    fn rows_are_the_table_turned_and_the_transport_is_that_of_the_matrix() {
        let n = 24;
        let table: Vec<f64> = (0..n).map(|k| (k.min(n - k) as f64).powi(2) + 0.01 * k as f64).collect();
        let rows: Vec<usize> = (0..n).filter(|i| i % 5 != 0).collect();
        let cost = CirculantCost::new(&table, rows.clone()).unwrap();
        let matrix = Array2::from_shape_fn((rows.len(), n), |(i, j)| table[(j + n - rows[i]) % n]);
        let mut part = vec![0.0; 7];
        for i in 0..rows.len() {
            assert_eq!(cost.row(i).unwrap(), matrix.row(i).as_slice().unwrap());
            cost.fill_range(i, 11, &mut part);
            assert_eq!(part, matrix.row(i).as_slice().unwrap()[11..18]);
            assert_eq!(cost.entry(i, 3), matrix[[i, 3]]);
        }
        let p = vec![1.0 / rows.len() as f64; rows.len()];
        let q: Vec<f64> = (0..n).map(|j| (j + 1) as f64 / (n * (n + 1) / 2) as f64).collect();
        let solve = |cost: &dyn GroundCost| {
            let kind = DivergenceKind::KullbackLeibler;
            semi_relaxed_transport(cost, &p, &q, kind, &Options::default()).unwrap().upper
        };
        assert_eq!(solve(&cost), solve(&DenseCost::new(matrix).unwrap()));
    }
}
