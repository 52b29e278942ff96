//! The periodic grid and what moves over it: lines, neighbours, transfer between levels, FFT, fields on edges.

pub(in crate::torus) mod control_slopes;
pub(in crate::torus) mod edge_flux;
pub(in crate::torus) mod grid;
pub(in crate::torus) mod line_fields;
pub(in crate::torus) mod lines;
pub(in crate::torus) mod neighbour_table;
pub(in crate::torus) mod neighbours;
pub(in crate::torus) mod spectral;
pub(in crate::torus) mod transfer;
pub(in crate::torus) mod vector;
