//! Fourier multipliers on the periodic grid: the inverse of `a - b Laplacian` that preconditions the dual ascent (the
//! Sobolev metric of the back-and-forth method, Jacobs and Leger, Numer. Math. 146, 2020), and heat smoothing.
//!
//! Real-input transforms along the last axis, complex transforms along the others with the axes rotated in between,
//! so that every transform reads contiguous memory: O(N^d log N).

use std::f64::consts::PI;
use std::sync::Arc;

use ndarray::ArrayD;
use rayon::prelude::*;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner, num_complex::Complex64};

use crate::torus::lattice::grid::TorusGrid;

/// Plans and scratch memory for one grid.
pub struct SpectralSolver {
    grid: TorusGrid,
    forward_real: Arc<dyn RealToComplex<f64>>,
    inverse_real: Arc<dyn ComplexToReal<f64>>,
    forward: Arc<dyn Fft<f64>>,
    inverse: Arc<dyn Fft<f64>>,
    spectrum: Vec<Complex64>,
    rotated: Vec<Complex64>,
}

impl SpectralSolver {
    /// Plans the transforms of `grid`; holds two complex arrays of half the node count.
    pub fn new(grid: TorusGrid) -> Self {
        let n = grid.nodes_per_side;
        let mut real = RealFftPlanner::new();
        let mut complex = FftPlanner::new();
        let size = grid.node_count() / n * (n / 2 + 1);
        let spectral = if grid.dimension == 1 { 0 } else { size };
        Self {
            grid,
            forward_real: real.plan_fft_forward(n),
            inverse_real: real.plan_fft_inverse(n),
            forward: complex.plan_fft_forward(n),
            inverse: complex.plan_fft_inverse(n),
            spectrum: vec![Complex64::default(); size],
            rotated: vec![Complex64::default(); spectral],
        }
    }

    /// `values <- F^-1 [ multiplier(k^2) F values ]`, where `k^2` is the eigenvalue of minus the three-point (per
    /// axis) Laplacian, `sum_axis (2 N sin(pi k / N))^2`; it tends to `(2 pi |k|)^2`.
    pub fn apply(&mut self, values: &mut [f64], multiplier: impl Fn(f64) -> f64 + Sync) {
        let (n, dimension) = (self.grid.nodes_per_side, self.grid.dimension);
        let half = n / 2 + 1;
        let forward_real = &self.forward_real;
        values.par_chunks_mut(n * 8).zip(self.spectrum.par_chunks_mut(half * 8)).for_each_init(
            || forward_real.make_scratch_vec(),
            |scratch, (lines, spectra)| {
                for (line, spectrum) in lines.chunks_mut(n).zip(spectra.chunks_mut(half)) {
                    forward_real
                        .process_with_scratch(line, spectrum, scratch)
                        .expect("buffers have the planned lengths");
                }
            },
        );
        // Shape (..., half) -> after each rotation the axis to transform is last; `half` ends up in front.
        let mut last = half;
        for _ in 1..dimension {
            rotate(&self.spectrum, last, &mut self.rotated);
            std::mem::swap(&mut self.spectrum, &mut self.rotated);
            last = n;
            transform_lines(&self.forward, &mut self.spectrum, n);
        }
        self.multiply(multiplier);
        for axis in 1..dimension {
            transform_lines(&self.inverse, &mut self.spectrum, n);
            let rows = if axis + 1 == dimension { half } else { n };
            rotate(&self.spectrum, self.spectrum.len() / rows, &mut self.rotated);
            std::mem::swap(&mut self.spectrum, &mut self.rotated);
        }
        let inverse_real = &self.inverse_real;
        values.par_chunks_mut(n * 8).zip(self.spectrum.par_chunks_mut(half * 8)).for_each_init(
            || inverse_real.make_scratch_vec(),
            |scratch, (lines, spectra)| {
                for (line, spectrum) in lines.chunks_mut(n).zip(spectra.chunks_mut(half)) {
                    // The first and last coefficients of a real line are real; rounding may have left a trace.
                    spectrum[0].im = 0.0;
                    if n % 2 == 0 {
                        spectrum[half - 1].im = 0.0;
                    }
                    inverse_real
                        .process_with_scratch(spectrum, line, scratch)
                        .expect("buffers have the planned lengths");
                }
            },
        );
    }

    /// Multiplies the rotated spectrum, whose layout is `(half)`, `(half, n)` or `(n, half, n)`.
    fn multiply(&mut self, multiplier: impl Fn(f64) -> f64 + Sync) {
        let (n, dimension) = (self.grid.nodes_per_side, self.grid.dimension);
        let half = n / 2 + 1;
        let eigenvalues: Vec<f64> =
            (0..n).map(|k| (2.0 * n as f64 * (PI * k as f64 / n as f64).sin()).powi(2)).collect();
        let normalisation = 1.0 / self.grid.node_count() as f64;
        let row = if dimension == 1 { half } else { n };
        self.spectrum.par_chunks_mut(row).enumerate().for_each(|(index, coefficients)| {
            let offset = match dimension {
                1 => 0.0,
                2 => eigenvalues[index],
                _ => eigenvalues[index / half] + eigenvalues[index % half],
            };
            for (coefficient, eigenvalue) in coefficients.iter_mut().zip(&eigenvalues) {
                *coefficient *= multiplier(offset + eigenvalue) * normalisation;
            }
        });
    }
}

/// `density` convolved with the heat kernel of standard deviation `bandwidth` (in the units of the unit torus); mass
/// is kept, entries that rounding pushes below 0 are set to 0.
pub fn heat_smoothed(grid: &TorusGrid, density: &ArrayD<f64>, bandwidth: f64) -> ArrayD<f64> {
    let mut values: Vec<f64> = density.iter().copied().collect();
    let total: f64 = values.iter().sum();
    SpectralSolver::new(*grid).apply(&mut values, |square| (-0.5 * bandwidth * bandwidth * square).exp());
    for value in &mut values {
        *value = value.max(0.0);
    }
    let kept: f64 = values.iter().sum();
    ArrayD::from_shape_vec(grid.shape(), values).expect("one value for each node") * (total / kept)
}

fn transform_lines(transform: &Arc<dyn Fft<f64>>, spectrum: &mut [Complex64], n: usize) {
    spectrum.par_chunks_mut(n * 8).for_each_init(
        || vec![Complex64::default(); transform.get_inplace_scratch_len()],
        |scratch, lines| transform.process_with_scratch(lines, scratch),
    );
}

/// Moves the last axis, of length `n`, to the front.
fn rotate(input: &[Complex64], n: usize, output: &mut [Complex64]) {
    const TILE: usize = 16;
    let rows = input.len() / n;
    output.par_chunks_mut(rows * TILE).enumerate().for_each(|(block, out)| {
        let first = block * TILE;
        let columns = out.len() / rows;
        for row_tile in (0..rows).step_by(TILE) {
            for column in 0..columns {
                for row in row_tile..(row_tile + TILE).min(rows) {
                    out[column * rows + row] = input[row * n + first + column];
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_multiplier_inverts_the_discrete_operator() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        for (dimension, n) in [(1, 16), (1, 15), (2, 8), (2, 9), (3, 6), (3, 5)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let field: Vec<f64> = (0..grid.node_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let (a, b) = (0.7, 0.02);
            let operator: Vec<f64> = (0..field.len())
                .map(|flat| {
                    let index = grid.multi_index(flat).map(|i| i as isize);
                    let mut laplacian = 0.0;
                    for axis in 0..dimension {
                        for shift in [-1, 1] {
                            let mut neighbour = index;
                            neighbour[axis] += shift;
                            laplacian += field[grid.flat_index(neighbour)] - field[flat];
                        }
                    }
                    a * field[flat] - b * laplacian * (n * n) as f64
                })
                .collect();
            let mut solved = operator;
            SpectralSolver::new(grid).apply(&mut solved, |square| 1.0 / (a + b * square));
            for (x, y) in solved.iter().zip(&field) {
                assert!((x - y).abs() < 1e-13, "{dimension} {n}"); // rounding
            }
        }
    }

    #[test]
    fn heat_smoothing_keeps_mass_and_gives_the_gaussian_variance() {
        let grid = TorusGrid::new(2, 128).unwrap();
        let mut density = grid.tabulate(|_| 0.0);
        density[[64, 64]] = 1.0;
        let bandwidth = 0.05;
        let smooth = heat_smoothed(&grid, &density, bandwidth);
        assert!((smooth.sum() - 1.0).abs() < 1e-13); // rounding
        let variance: f64 = smooth
            .iter()
            .enumerate()
            .map(|(flat, mass)| mass * grid.squared_distance(grid.position(flat), [0.5, 0.5, 0.0]))
            .sum();
        assert!((variance - 2.0 * bandwidth * bandwidth).abs() < 1e-10); // 10 standard deviations fit on the torus
    }
}
