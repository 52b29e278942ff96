//! From the library's types to libtorch's, and from its errors to exit codes.

use std::path::Path;

use proxflow::command::{Failure, print_note};
use proxflow::dataset::{Images, PIXELS};
use proxflow_gpu::checkpoint::{CheckpointError, Model};
use tch::{Device, Kind, Tensor};

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

/// The networks of a checkpoint on images of this program's size; what the reader has to say goes to standard error.
pub fn load_model(path: &Path, options: (Kind, Device)) -> Result<Model, Failure> {
    let model = Model::load(path, options).map_err(bad_checkpoint)?;
    let dimension = model.potential.architecture().dimension();
    if dimension != PIXELS as i64 {
        let value = format!("networks on {dimension} coordinates");
        return Err(Failure::bad_input(
            format!("checkpoint {}", path.display()),
            value,
            "784, of 28x28 images",
        ));
    }
    model.notices.iter().for_each(|notice| print_note(&format!("note: {notice}")));
    Ok(model)
}
