//! The neighbours of every node as tables, for the loops of the time-dependent scheme.

use std::ops::Deref;

use super::grid::TorusGrid;
use crate::specification::InvalidInput;

/// For every axis the nodes that follow and precede each node, in C order. Everything else is the grid's.
#[derive(Debug, Clone)]
pub struct NeighbourTable {
    grid: TorusGrid,
    /// `forward[axis * nodes + i]` is the node after `i` along `axis`.
    forward: Vec<u32>,
    /// `backward[axis * nodes + i]` is the node before `i` along `axis`.
    backward: Vec<u32>,
}

impl NeighbourTable {
    /// Tables for a grid of at least 4 nodes per side (on fewer, neighbours coincide); anything else is [`InvalidInput`].
    pub fn new(grid: TorusGrid) -> Result<Self, InvalidInput> {
        let n = grid.nodes_per_side;
        if n < 4 {
            return Err(InvalidInput::new("nodes_per_side", n, ">= 4"));
        }
        let nodes = grid.node_count();
        let mut forward = vec![0; grid.dimension * nodes];
        let mut backward = vec![0; grid.dimension * nodes];
        for axis in 0..grid.dimension {
            let stride = grid.stride(axis);
            for i in 0..nodes {
                let coordinate = (i / stride) % n;
                let line_start = i - coordinate * stride;
                forward[axis * nodes + i] = (line_start + (coordinate + 1) % n * stride) as u32;
                backward[axis * nodes + i] = (line_start + (coordinate + n - 1) % n * stride) as u32;
            }
        }
        Ok(Self { grid, forward, backward })
    }

    /// The nodes that follow each node along `axis`.
    pub fn forward(&self, axis: usize) -> &[u32] {
        &self.forward[axis * self.node_count()..(axis + 1) * self.node_count()]
    }

    /// The nodes that precede each node along `axis`.
    pub fn backward(&self, axis: usize) -> &[u32] {
        &self.backward[axis * self.node_count()..(axis + 1) * self.node_count()]
    }
}

impl Deref for NeighbourTable {
    type Target = TorusGrid;

    fn deref(&self) -> &TorusGrid {
        &self.grid
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn forward_then_backward_returns_to_the_node_on_every_axis() {
        let table = |dimension| NeighbourTable::new(TorusGrid::new(dimension, 5).unwrap()).unwrap();
        for dimension in 1..=3 {
            let table = table(dimension);
            for axis in 0..dimension {
                for i in 0..table.node_count() {
                    assert_eq!(table.backward(axis)[table.forward(axis)[i] as usize] as usize, i);
                }
            }
        }
        assert_eq!(table(2).forward(0)[21], 1);
        assert_eq!(table(2).forward(1)[4], 0);
        let small = NeighbourTable::new(TorusGrid::new(1, 3).unwrap());
        assert_eq!(small.unwrap_err().field, "nodes_per_side");
    }
}
