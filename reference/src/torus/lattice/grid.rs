//! The periodic grid: `N^d` nodes `x_i = i / N` of the unit torus `[0,1)^d`, geodesic metric.
//!
//! A *density* is an [`ArrayD`] of shape `(N, ..., N)` holding **node masses** that sum to 1; node `i` owns the cell
//! of side `h = 1/N` centred at `x_i`, so the Lebesgue density there is `mass * N^d`. A *potential* is an array of
//! the same shape holding node values.

use ndarray::{ArrayD, IxDyn};
use serde::{Deserialize, Serialize};

use crate::specification::InvalidInput;

/// `N^d` nodes on the unit torus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TorusGrid {
    /// Dimension `d`, one of 1, 2, 3.
    pub dimension: usize,
    /// Nodes per side `N >= 2`.
    pub nodes_per_side: usize,
}

impl TorusGrid {
    /// Checks `d` in 1..=3, `N >= 2` and `N^d <= 2^26` (half a gigabyte for each array of node values).
    pub fn new(dimension: usize, nodes_per_side: usize) -> Result<Self, InvalidInput> {
        if !(1..=3).contains(&dimension) {
            return Err(InvalidInput::new("dimension", dimension, "1, 2 or 3"));
        }
        let limit = match dimension {
            1 => 1 << 26,
            2 => 1 << 13,
            _ => 256,
        };
        if !(2..=limit).contains(&nodes_per_side) {
            return Err(InvalidInput::new("grid", nodes_per_side, format!("2 to {limit} nodes per side")));
        }
        Ok(Self { dimension, nodes_per_side })
    }

    /// Spacing `h = 1/N`.
    pub fn spacing(&self) -> f64 {
        1.0 / self.nodes_per_side as f64
    }

    /// Number of nodes `N^d`.
    pub fn node_count(&self) -> usize {
        self.nodes_per_side.pow(self.dimension as u32)
    }

    /// Shape `(N, ..., N)` of node arrays.
    pub fn shape(&self) -> IxDyn {
        IxDyn(&vec![self.nodes_per_side; self.dimension])
    }

    /// Coordinates in `[0,1)^d` of the node with C-order index `flat`; unused axes are 0.
    pub fn position(&self, flat: usize) -> [f64; 3] {
        self.multi_index(flat).map(|index| index as f64 * self.spacing())
    }

    /// Multi-index of the node with C-order index `flat`, the last axis fastest; unused axes are 0.
    pub fn multi_index(&self, mut flat: usize) -> [usize; 3] {
        let mut index = [0; 3];
        for axis in (0..self.dimension).rev() {
            index[axis] = flat % self.nodes_per_side;
            flat /= self.nodes_per_side;
        }
        index
    }

    /// C-order index of a multi-index whose entries may lie outside `0..N` (they wrap).
    pub fn flat_index(&self, index: [isize; 3]) -> usize {
        let n = self.nodes_per_side as isize;
        (0..self.dimension).fold(0, |flat, axis| flat * n + index[axis].rem_euclid(n)) as usize
    }

    /// Squared geodesic distance between two points of the torus (any real coordinates).
    pub fn squared_distance(&self, x: [f64; 3], y: [f64; 3]) -> f64 {
        (0..self.dimension).map(|axis| geodesic_difference(x[axis] - y[axis]).powi(2)).sum()
    }

    /// Geodesic distance of every node from the origin, the table behind every translation-invariant cost.
    pub fn distance_from_origin(&self) -> ArrayD<f64> {
        self.tabulate(|x| self.squared_distance(x, [0.0; 3]).sqrt())
    }

    /// `f` at every node.
    pub fn tabulate(&self, f: impl Fn([f64; 3]) -> f64) -> ArrayD<f64> {
        let values = (0..self.node_count()).map(|flat| f(self.position(flat))).collect();
        ArrayD::from_shape_vec(self.shape(), values).expect("one value for each node")
    }

    /// `f` at every node as a list in C order; `f` sees the `d` coordinates.
    pub fn sample(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        (0..self.node_count()).map(|flat| f(&self.position(flat)[..self.dimension])).collect()
    }

    /// Distance in memory between neighbours along `axis`.
    pub fn stride(&self, axis: usize) -> usize {
        self.nodes_per_side.pow((self.dimension - 1 - axis) as u32)
    }

    /// [`InvalidInput`] unless the list `values` holds one finite number for each node.
    pub fn require_values(&self, name: &str, values: &[f64]) -> Result<(), InvalidInput> {
        if values.len() != self.node_count() {
            return Err(InvalidInput::new(name, format!("{} values", values.len()), self.node_count()));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(InvalidInput::new(name, value, "finite values")),
            None => Ok(()),
        }
    }

    /// [`InvalidInput`] unless the list `weights` is non-negative with sum 1 to `1e-9`.
    pub fn require_weights(&self, name: &str, weights: &[f64]) -> Result<(), InvalidInput> {
        self.require_values(name, weights)?;
        if let Some(weight) = weights.iter().find(|weight| **weight < 0.0) {
            return Err(InvalidInput::new(name, weight, "non-negative weights"));
        }
        let mass: f64 = weights.iter().sum();
        if (mass - 1.0).abs() > 1e-9 {
            return Err(InvalidInput::new(name, format!("mass {mass}"), "mass 1"));
        }
        Ok(())
    }

    /// Checks that `values` has the grid's shape and finite entries; `field` names it in the error.
    pub fn require_potential(&self, field: &str, values: &ArrayD<f64>) -> Result<(), InvalidInput> {
        self.require_shape(field, values)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(flat) => Err(InvalidInput::new(
                format!("{field}[{flat}]"),
                values.iter().nth(flat).copied().unwrap_or(f64::NAN),
                "finite values",
            )),
            None => Ok(()),
        }
    }

    /// Checks shape, finite non-negative entries and positive total; returns the masses scaled to sum to 1.
    pub fn require_density(&self, field: &str, values: &ArrayD<f64>) -> Result<ArrayD<f64>, InvalidInput> {
        self.require_potential(field, values)?;
        if let Some((flat, value)) = values.iter().enumerate().find(|(_, value)| **value < 0.0) {
            return Err(InvalidInput::new(format!("{field}[{flat}]"), value, "masses >= 0"));
        }
        let total = values.sum();
        if !(total.is_finite() && total > 0.0) {
            return Err(InvalidInput::new(format!("{field} (total mass)"), total, "finite and > 0"));
        }
        Ok(values.mapv(|value| value / total).as_standard_layout().into_owned())
    }

    fn require_shape(&self, field: &str, values: &ArrayD<f64>) -> Result<(), InvalidInput> {
        if values.ndim() == self.dimension && values.shape().iter().all(|side| *side == self.nodes_per_side) {
            Ok(())
        } else {
            Err(InvalidInput::new(
                format!("{field} (shape)"),
                format!("{:?}", values.shape()),
                format!("{} axes of {} nodes", self.dimension, self.nodes_per_side),
            ))
        }
    }
}

/// The representative of `difference` modulo 1 in `[-1/2, 1/2]`.
pub fn geodesic_difference(difference: f64) -> f64 {
    difference - difference.round()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn distances_are_geodesic_and_symmetric() {
        let grid = TorusGrid::new(2, 8).unwrap();
        let (x, y) = ([0.05, 0.95, 0.0], [0.95, 0.05, 0.0]);
        assert!((grid.squared_distance(x, y) - 0.02).abs() < 1e-15); // rounding
        assert_eq!(grid.squared_distance(x, y), grid.squared_distance(y, x));
        let farthest = grid.distance_from_origin().fold(0.0_f64, |a, b| a.max(*b));
        assert_eq!(farthest, 0.5_f64.sqrt());
    }

    #[test]
    fn flat_and_multi_indices_are_inverse_and_wrap() {
        let grid = TorusGrid::new(3, 5).unwrap();
        for flat in 0..grid.node_count() {
            let index = grid.multi_index(flat).map(|i| i as isize);
            assert_eq!(grid.flat_index(index), flat);
            assert_eq!(grid.flat_index([index[0] - 5, index[1] + 10, index[2]]), flat);
        }
    }

    #[test]
    fn bad_grids_and_densities_name_the_fault() {
        assert!(TorusGrid::new(4, 8).unwrap_err().to_string().contains("dimension"));
        assert!(TorusGrid::new(1, 1).unwrap_err().to_string().contains("grid"));
        let grid = TorusGrid::new(1, 4).unwrap();
        let density = |values: Vec<f64>| ArrayD::from_shape_vec(IxDyn(&[values.len()]), values).unwrap();
        for bad in [vec![1.0; 3], vec![0.0; 4], vec![1.0, -1.0, 1.0, 1.0], vec![f64::NAN; 4]] {
            assert!(grid.require_density("source", &density(bad)).is_err());
        }
        let scaled = grid.require_density("source", &density(vec![0.0, 1.0, 2.0, 1.0])).unwrap();
        assert_eq!(scaled.sum(), 1.0);
    }
    #[test]
    fn lists_of_weights_are_checked() {
        let grid = TorusGrid::new(1, 4).unwrap();
        for bad in
            [vec![0.5, 0.5, 0.5, -0.5], vec![0.5, 0.5, 0.5, 0.0], vec![f64::NAN; 4], vec![0.5, 0.25, 0.25]]
        {
            assert!(grid.require_weights("source", &bad).is_err(), "{bad:?}");
        }
        assert!(grid.require_weights("source", &[0.5, 0.25, 0.25, 0.0]).is_ok());
        assert_eq!(TorusGrid::new(2, 4).unwrap().sample(|x| x[0] + 10.0 * x[1])[6], 0.25 + 5.0);
    }
}
