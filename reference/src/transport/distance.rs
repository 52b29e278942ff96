//! Squared Euclidean distances by exact differences, `sum_k (x_k - z_k)^2`, blocked so that they run at vector speed.
//!
//! The expansion `|x|^2 - 2 x.z + |z|^2` loses half the digits when points are close; differences do not, and packed
//! in blocks of [`LANES`] targets they cost one subtraction and one fused multiply-add per coordinate.
//! Relative error of each value: at most `(d + 2) eps`.

use ndarray::ArrayView2;

/// Targets per block: four AVX2 registers, or eight SSE2 registers.
pub(super) const LANES: usize = 16;

/// A quarter of a second-level cache of 1 MiB.
const TILE_BYTES: usize = 256 << 10;

/// Points packed as `[block][coordinate][lane]`; the last block is padded with zeros.
#[derive(Debug, Clone)]
pub(super) struct PackedPoints {
    count: usize,
    dimension: usize,
    packed: Vec<f64>,
}

impl PackedPoints {
    /// Packs `points` of shape `(m, d)`.
    pub(super) fn new(points: ArrayView2<'_, f64>) -> Self {
        let (count, dimension) = points.dim();
        let mut packed = vec![0.0; count.div_ceil(LANES) * LANES * dimension];
        for (j, point) in points.outer_iter().enumerate() {
            let block = (j / LANES) * LANES * dimension + j % LANES;
            for (k, &coordinate) in point.iter().enumerate() {
                packed[block + k * LANES] = coordinate;
            }
        }
        Self { count, dimension, packed }
    }

    /// Number of points `m`.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// How many points of one tile fit a processor's second-level cache with room for the rows that pass over them; whole blocks.
    pub(super) fn tile(&self) -> usize {
        (TILE_BYTES / (LANES * self.dimension.max(1) * size_of::<f64>())).max(1) * LANES
    }

    /// Squared distance between `point` (length `d`) and packed point `j`.
    pub(super) fn squared_distance(&self, point: &[f64], j: usize) -> f64 {
        let block = (j / LANES) * LANES * self.dimension + j % LANES;
        let difference = |k: usize| point[k] - self.packed[block + k * LANES];
        (0..self.dimension).map(|k| difference(k) * difference(k)).sum()
    }

    /// Squared distances between each of `rows` and the packed points `start..start + out[r].len()`, one output row per
    /// point; `start` is a multiple of [`LANES`].
    #[allow(unsafe_code, reason = "vector instructions, after asking the processor for them")]
    pub(super) fn squared_distances<const ROWS: usize>(
        &self,
        start: usize,
        rows: [&[f64]; ROWS],
        out: [&mut [f64]; ROWS],
    ) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: both features were detected on the running processor in the line above.
            return unsafe { self.squared_distances_avx2(start, rows, out) };
        }
        self.kernel::<ROWS, false>(start, rows, out);
    }

    /// The same for four points, two at a time where the processor has no room for the sums of four.
    #[allow(unsafe_code, reason = "vector instructions, after asking the processor for them")]
    pub(super) fn squared_distances_of_four(&self, start: usize, rows: [&[f64]; 4], out: [&mut [f64]; 4]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was detected on the running processor in the line above.
            return unsafe { self.squared_distances_avx512(start, rows, out) };
        }
        let [x, y, z, w] = rows;
        let [a, b, c, d] = out;
        self.squared_distances(start, [x, y], [a, b]);
        self.squared_distances(start, [z, w], [c, d]);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    fn squared_distances_avx512(&self, start: usize, rows: [&[f64]; 4], out: [&mut [f64]; 4]) {
        self.kernel::<4, true>(start, rows, out);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn squared_distances_avx2<const ROWS: usize>(
        &self,
        start: usize,
        rows: [&[f64]; ROWS],
        out: [&mut [f64]; ROWS],
    ) {
        self.kernel::<ROWS, true>(start, rows, out);
    }

    #[inline(always)]
    fn kernel<const ROWS: usize, const FUSED: bool>(
        &self,
        start: usize,
        rows: [&[f64]; ROWS],
        mut out: [&mut [f64]; ROWS],
    ) {
        if self.dimension == 0 {
            out.iter_mut().for_each(|row| row.fill(0.0));
            return;
        }
        let length = out[0].len();
        debug_assert!(start.is_multiple_of(LANES) && start + length <= self.count);
        let packed =
            &self.packed[start * self.dimension..][..length.div_ceil(LANES) * LANES * self.dimension];
        for (block, coordinates) in packed.chunks_exact(LANES * self.dimension).enumerate() {
            let mut sums = [[0.0_f64; LANES]; ROWS];
            for (k, lanes) in coordinates.chunks_exact(LANES).enumerate() {
                for r in 0..ROWS {
                    let x = rows[r][k];
                    for lane in 0..LANES {
                        let difference = x - lanes[lane];
                        sums[r][lane] = if FUSED {
                            difference.mul_add(difference, sums[r][lane])
                        } else {
                            difference * difference + sums[r][lane]
                        };
                    }
                }
            }
            let first = block * LANES;
            let end = (first + LANES).min(length);
            for r in 0..ROWS {
                out[r][first..end].copy_from_slice(&sums[r][..end - first]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn blocked_distances_equal_the_plain_sum_of_squares() {
        for (count, dimension) in [(1, 1), (16, 3), (17, 8), (50, 131)] {
            let points =
                Array2::from_shape_fn((count, dimension), |(j, k)| ((j * 37 + k * 101) % 23) as f64 * 0.37);
            let x: Vec<f64> = (0..dimension).map(|k| (k as f64).sin()).collect();
            let y: Vec<f64> = (0..dimension).map(|k| (k as f64).cos()).collect();
            let packed = PackedPoints::new(points.view());
            let (mut a, mut b) = (vec![0.0; count], vec![0.0; count]);
            packed.squared_distances(0, [&x, &y], [&mut a, &mut b]);
            for j in 0..count {
                for (point, value) in [(&x, a[j]), (&y, b[j])] {
                    let naive: f64 = point.iter().zip(points.row(j)).map(|(u, v)| (u - v) * (u - v)).sum();
                    let rounding = (dimension + 2) as f64 * f64::EPSILON * naive;
                    assert!((value - naive).abs() <= rounding);
                    assert!((packed.squared_distance(point, j) - naive).abs() <= rounding);
                }
            }
        }
    }

    #[test]
    fn four_points_at_a_time_give_the_same_digits_as_one() {
        for (count, dimension) in [(1, 1), (33, 7), (50, 131)] {
            let value = |seed: usize| ((seed * 7919) % 1009) as f64 / 1009.0;
            let points = Array2::from_shape_fn((count, dimension), |(j, k)| value(j * dimension + k));
            let rows = [1, 2, 3, 4].map(|r| (0..dimension).map(|k| value(r * 5003 + k)).collect::<Vec<_>>());
            let packed = PackedPoints::new(points.view());
            let mut four = [(); 4].map(|()| vec![0.0; count]);
            packed.squared_distances_of_four(
                0,
                rows.each_ref().map(|row| &row[..]),
                four.each_mut().map(|out| &mut out[..]),
            );
            for (row, found) in rows.iter().zip(&four) {
                let mut one = vec![0.0; count];
                packed.squared_distances(0, [row], [&mut one]);
                assert_eq!(&one, found);
            }
        }
    }

    #[test]
    fn nearby_points_far_from_the_origin_keep_all_digits() {
        let points = Array2::from_elem((1, 2), 1e8);
        let packed = PackedPoints::new(points.view());
        let mut out = [0.0];
        packed.squared_distances(0, [&[1e8 + 0.5, 1e8]], [&mut out]);
        assert_eq!(out[0], 0.25);
    }
}
