//! Parallel sums over node arrays, blocked so that the result does not depend on the number of threads.

use rayon::prelude::*;

/// Entries summed by one task.
const BLOCK: usize = 1 << 13;

/// `sum_i f(a_i, b_i)`: each block left to right, then the blocks left to right.
pub(crate) fn sum_pairs(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
    let blocks: Vec<f64> = a
        .par_chunks(BLOCK)
        .zip(b.par_chunks(BLOCK))
        .map(|(a, b)| a.iter().zip(b).map(|(x, y)| f(*x, *y)).sum())
        .collect();
    blocks.iter().sum()
}

/// `sum_i a_i b_i`.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_pairs(a, b, |x, y| x * y)
}

/// `a <- a + scale b`.
pub(crate) fn add_scaled(a: &mut [f64], scale: f64, b: &[f64]) {
    update(a, b, |x, y| x + scale * y);
}

/// `a_i <- f(a_i, b_i)`.
pub(crate) fn update(a: &mut [f64], b: &[f64], f: impl Fn(f64, f64) -> f64 + Sync) {
    a.par_chunks_mut(BLOCK).zip(b.par_chunks(BLOCK)).for_each(|(a, b)| {
        for (x, y) in a.iter_mut().zip(b) {
            *x = f(*x, *y);
        }
    });
}

/// `max_i a_i`.
pub(crate) fn maximum(a: &[f64]) -> f64 {
    a.par_chunks(BLOCK)
        .map(|block| block.iter().fold(f64::NEG_INFINITY, |best, x| best.max(*x)))
        .reduce(|| f64::NEG_INFINITY, f64::max)
}

/// `KL(p|q) = sum p ln(p/q)` for masses of equal total; `+inf` where `p > 0 = q`.
pub(crate) fn kullback_leibler(p: &[f64], q: &[f64]) -> f64 {
    // `p ln(p/q) - p + q` is >= 0 entry by entry, so rounding cannot make the sum negative.
    sum_pairs(p, q, |p, q| if p > 0.0 { p * (p / q).ln() - p + q } else { q })
}
