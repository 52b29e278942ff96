//! Nearest-neighbour tables of the periodic lattice `(i_1, .., i_d) / n`, flattened in C order.

use crate::specification::InvalidInput;

/// Neighbour tables of the unit torus `[0, 1)^d` with `n` nodes per side and spacing `h = 1/n`.
///
/// A field is a slice of `n^d` values in C order (the last coordinate runs fastest).
#[derive(Debug, Clone)]
pub struct Stencil {
    dimension: usize,
    nodes_per_side: usize,
    /// `forward[axis * nodes + i]` is the node after `i` along `axis`.
    forward: Vec<u32>,
    /// `backward[axis * nodes + i]` is the node before `i` along `axis`.
    backward: Vec<u32>,
}

impl Stencil {
    /// Tables for `dimension` in 1..=3 and `nodes_per_side >= 4`; anything else is [`InvalidInput`].
    pub fn new(dimension: usize, nodes_per_side: usize) -> Result<Self, InvalidInput> {
        if !(1..=3).contains(&dimension) {
            return Err(InvalidInput::new("dimension", dimension, "1, 2 or 3"));
        }
        if nodes_per_side < 4 {
            return Err(InvalidInput::new("nodes_per_side", nodes_per_side, ">= 4"));
        }
        let nodes = nodes_per_side.pow(dimension as u32);
        let mut forward = vec![0; dimension * nodes];
        let mut backward = vec![0; dimension * nodes];
        for axis in 0..dimension {
            let stride = nodes_per_side.pow((dimension - 1 - axis) as u32);
            for i in 0..nodes {
                let coordinate = (i / stride) % nodes_per_side;
                let line_start = i - coordinate * stride;
                forward[axis * nodes + i] = (line_start + (coordinate + 1) % nodes_per_side * stride) as u32;
                backward[axis * nodes + i] =
                    (line_start + (coordinate + nodes_per_side - 1) % nodes_per_side * stride) as u32;
            }
        }
        Ok(Self { dimension, nodes_per_side, forward, backward })
    }

    /// Space dimension `d`.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Nodes per side `n`.
    pub fn nodes_per_side(&self) -> usize {
        self.nodes_per_side
    }

    /// Number of nodes `n^d`.
    pub fn nodes(&self) -> usize {
        self.nodes_per_side.pow(self.dimension as u32)
    }

    /// Spacing `h = 1/n`.
    pub fn spacing(&self) -> f64 {
        1.0 / self.nodes_per_side as f64
    }

    /// The nodes that follow each node along `axis`.
    pub fn forward(&self, axis: usize) -> &[u32] {
        &self.forward[axis * self.nodes()..(axis + 1) * self.nodes()]
    }

    /// The nodes that precede each node along `axis`.
    pub fn backward(&self, axis: usize) -> &[u32] {
        &self.backward[axis * self.nodes()..(axis + 1) * self.nodes()]
    }

    /// Distance in memory between neighbours along `axis`.
    pub fn stride(&self, axis: usize) -> usize {
        self.nodes_per_side.pow((self.dimension - 1 - axis) as u32)
    }

    /// Coordinates of node `i`, each in `[0, 1)`.
    pub fn coordinates(&self, i: usize) -> Vec<f64> {
        (0..self.dimension)
            .map(|axis| ((i / self.stride(axis)) % self.nodes_per_side) as f64 * self.spacing())
            .collect()
    }

    /// `f` at every node.
    pub fn sample(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        (0..self.nodes()).map(|i| f(&self.coordinates(i))).collect()
    }

    /// [`InvalidInput`] unless `values` holds one finite number per node.
    pub fn require_field(&self, name: &str, values: &[f64]) -> Result<(), InvalidInput> {
        if values.len() != self.nodes() {
            return Err(InvalidInput::new(name, format!("{} values", values.len()), self.nodes()));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(InvalidInput::new(name, value, "finite values")),
            None => Ok(()),
        }
    }

    /// [`InvalidInput`] unless `weights` is non-negative with sum 1 to `1e-9`.
    pub fn require_density(&self, name: &str, weights: &[f64]) -> Result<(), InvalidInput> {
        self.require_field(name, weights)?;
        if let Some(weight) = weights.iter().find(|weight| **weight < 0.0) {
            return Err(InvalidInput::new(name, weight, "non-negative weights"));
        }
        let mass: f64 = weights.iter().sum();
        if (mass - 1.0).abs() > 1e-9 {
            return Err(InvalidInput::new(name, format!("mass {mass}"), "mass 1"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forward_then_backward_returns_to_the_node_on_every_axis() {
        for dimension in 1..=3 {
            let stencil = Stencil::new(dimension, 5).unwrap();
            for axis in 0..dimension {
                for i in 0..stencil.nodes() {
                    assert_eq!(stencil.backward(axis)[stencil.forward(axis)[i] as usize] as usize, i);
                }
            }
        }
        assert_eq!(Stencil::new(2, 5).unwrap().forward(0)[21], 1);
        assert_eq!(Stencil::new(2, 5).unwrap().forward(1)[4], 0);
    }

    #[test]
    fn bad_shapes_and_densities_are_named() {
        assert_eq!(Stencil::new(4, 8).unwrap_err().field, "dimension");
        assert_eq!(Stencil::new(1, 3).unwrap_err().field, "nodes_per_side");
        let stencil = Stencil::new(1, 4).unwrap();
        assert!(stencil.require_density("source", &[0.5, 0.5, 0.5, -0.5]).is_err());
        assert!(stencil.require_density("source", &[0.5, 0.5, 0.5, 0.0]).is_err());
        assert!(stencil.require_density("source", &[f64::NAN, 0.5, 0.5, 0.0]).is_err());
        assert!(stencil.require_density("source", &[0.5, 0.25, 0.25]).is_err());
        assert!(stencil.require_density("source", &[0.5, 0.25, 0.25, 0.0]).is_ok());
    }
}
