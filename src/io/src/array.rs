//! Arrays in files: the one reader and writer of every command.
//!
//! [`ArrayFile`] reads `.npy` files, members of `.npz` archives and tensors of safetensors files, whatever real element type,
//! byte order and memory order they have, as f64 in row order: what `numpy.load` reads without pickle is read equal or
//! refused in one line that names the file, what was found and what is allowed. Sizes are checked against the file's length,
//! [`memory::ARRAY_LIMIT`](crate::memory::ARRAY_LIMIT) and the memory at hand before anything is allocated.

mod element;
mod file;
mod npy;
mod write;

use ndarray::{Array1, Array2, Array3, Dimension, Ix1, Ix2, Ix3};
use proxflow_reference::InvalidInput;

pub use file::{ArrayFile, ArrayPath, read_bytes, read_finite as read_array, require_finite};
pub use write::{Column, write_array, write_arrays, write_columns};

/// Points `(n, d)` with `n, d >= 1`, finite.
pub fn read_points(path: &ArrayPath) -> Result<Array2<f64>, InvalidInput> {
    shaped::<Ix2>(path, "(n, d) with n, d >= 1, one row a point")
}

/// A vector `(n)` with `n >= 1`, finite.
pub fn read_vector(path: &ArrayPath) -> Result<Array1<f64>, InvalidInput> {
    shaped::<Ix1>(path, "(n) with n >= 1")
}

/// Positions `(N + 1, n, d)` of n samples at N + 1 >= 2 times, finite.
pub fn read_trajectories(path: &ArrayPath) -> Result<Array3<f64>, InvalidInput> {
    let allowed = "(N + 1, n, d), times by samples by coordinates, N >= 1";
    let positions = shaped::<Ix3>(path, allowed)?;
    if positions.len_of(ndarray::Axis(0)) < 2 {
        return Err(InvalidInput::new(path, format!("shape {:?}", positions.shape()), allowed));
    }
    Ok(positions)
}

/// `n` weights of a probability measure: `(n)`, non-negative, sum 1 within 1e-5, as they stand in the file.
pub fn read_weights(path: &ArrayPath, atoms: usize) -> Result<Vec<f64>, InvalidInput> {
    let weights = read_vector(path)?;
    proxflow_reference::divergence::probability_weights(&path.to_string(), weights.as_slice(), atoms)?;
    Ok(weights.to_vec())
}

/// `n` weights up to a factor, counts for example: `(n)`, non-negative, some of them positive, as they stand in the file.
pub fn read_counts(path: &ArrayPath, atoms: usize) -> Result<Vec<f64>, InvalidInput> {
    let counts = read_vector(path)?;
    if let Some((index, value)) = counts.indexed_iter().find(|(_, value)| **value < 0.0) {
        return Err(InvalidInput::new(path, format!("{value} at [{index}]"), "numbers >= 0"));
    }
    if counts.iter().all(|count| *count <= 0.0) {
        return Err(InvalidInput::new(path, "weights that are all zero", "a positive sum"));
    }
    if counts.len() != atoms {
        let allowed = format!("{atoms} weights, one per atom");
        return Err(InvalidInput::new(path, format!("{} weights", counts.len()), allowed));
    }
    Ok(counts.to_vec())
}

fn shaped<D: Dimension>(path: &ArrayPath, allowed: &str) -> Result<ndarray::Array<f64, D>, InvalidInput> {
    let array = read_array(path)?;
    let refused = InvalidInput::new(path, format!("shape {:?}", array.shape()), allowed);
    match array.into_dimensionality::<D>() {
        Ok(array) if !array.is_empty() => Ok(array),
        _ => Err(refused),
    }
}

#[cfg(test)]
mod tests;
