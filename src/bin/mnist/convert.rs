//! From the library's types to libtorch's, and from its errors to exit codes.

use proxflow::command::Failure;
use proxflow::dataset::Images;
use proxflow_gpu::checkpoint::CheckpointError;
use tch::Tensor;

/// Pixels as a host tensor `(n, 784)`.
pub fn tensor_of(images: &Images) -> Result<Tensor, Failure> {
    let (rows, columns) = images.pixels.dim();
    let pixels = images.pixels.as_standard_layout();
    let slice = pixels.as_slice().ok_or_else(|| Failure::Run("images are not contiguous".to_owned()))?;
    Ok(Tensor::from_slice(slice).reshape([rows as i64, columns as i64]))
}

/// A checkpoint that cannot be used is bad input.
pub fn bad_checkpoint(error: CheckpointError) -> Failure {
    Failure::BadInput(error.to_string())
}
