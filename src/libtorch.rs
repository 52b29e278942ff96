//! Between arrays and libtorch's tensors, and from its errors to exit codes.

use ndarray::Array2;
use proxflow_gpu::checkpoint::CheckpointError;
use proxflow_gpu::device::DeviceChoice;
use tch::{Device, Kind, Tensor};

use crate::command::Failure;

/// Rows `(n, d)` as a host tensor in single precision.
pub fn tensor_of(rows: &Array2<f32>) -> Tensor {
    let (count, columns) = rows.dim();
    let values: Vec<f32> = rows.iter().copied().collect();
    Tensor::from_slice(&values).reshape([count as i64, columns as i64])
}

/// Rows of a tensor `(n, d)` on the host in double precision.
pub fn rows_of(rows: &Tensor) -> Array2<f64> {
    let size = rows.size();
    let (count, columns) = (size[0] as usize, size[1] as usize);
    let host = rows.detach().to_device(Device::Cpu).to_kind(Kind::Double).contiguous();
    let mut found = Array2::zeros((count, columns));
    if let Some(values) = found.as_slice_mut() {
        host.copy_data(values, count * columns);
    }
    found
}

/// A checkpoint that cannot be used is bad input.
pub fn bad_checkpoint(error: CheckpointError) -> Failure {
    Failure::BadInput(error.to_string())
}

/// Resolves the device and sets the number of threads, 1 to 1024.
pub fn prepare_device(choice: DeviceChoice, threads: Option<usize>) -> Result<Device, Failure> {
    if let Some(count) = threads {
        if count == 0 || count > 1024 {
            return Err(Failure::bad_input("threads", count, "1..=1024"));
        }
        tch::set_num_threads(count as i32);
    }
    Ok(choice.resolve()?)
}
