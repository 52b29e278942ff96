//! The file: safetensors written atomically, read with every fault named.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proxflow_reference::InvalidInput;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};

use crate::random::place;

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is missing, truncated, or holds something else.
    #[error("checkpoint {path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor or a metadata entry is at fault.
    #[error("checkpoint {path}: {source}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Field, value and allowed range.
        source: InvalidInput,
    },
}

/// Serialises to a temporary file in the same folder and renames it, so that a kill or a full disk loses nothing.
pub(super) fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: HashMap<String, String>,
) -> Result<(), CheckpointError> {
    use std::io::Write;
    let failed = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
    let mut buffers = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if tensor.isfinite().all().int64_value(&[]) == 0 {
            return Err(failed(format!("not written: {name} is not finite")));
        }
        let dtype = if tensor.kind() == Kind::Double { Dtype::F64 } else { Dtype::F32 };
        let host = tensor.to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0_u8; host.numel() * if dtype == Dtype::F64 { 8 } else { 4 }];
        host.f_copy_data_u8(&mut bytes, host.numel()).map_err(|error| failed(error.to_string()))?;
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        buffers.push((name, dtype, shape, bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| failed(error.to_string()))?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| failed(error.to_string()))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |error: std::io::Error| failed(format!("cannot be written: {error}"));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    std::fs::read(path).map_err(|error| CheckpointError::File {
        path: path.to_owned(),
        reason: format!("cannot be read: {error}"),
    })
}

pub(super) fn parse<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<(SafeTensors<'a>, HashMap<String, String>), CheckpointError> {
    let failed = |error: safetensors::SafeTensorError| CheckpointError::File {
        path: path.to_owned(),
        reason: format!("not a whole safetensors file: {error:?}"),
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(failed)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok((SafeTensors::deserialize(bytes).map_err(failed)?, metadata))
}

/// One tensor: present, of the right shape, f32 or f64, finite.
pub(super) fn take(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: Option<&[i64]>,
    options: (Kind, Device),
) -> Result<Tensor, InvalidInput> {
    let view = tensors
        .tensor(name)
        .map_err(|_| InvalidInput::new(name, "missing", format!("a tensor {:?}", shape.unwrap_or(&[]))))?;
    let found: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
    if shape.is_some_and(|shape| shape != found) {
        return Err(InvalidInput::new(
            name,
            format!("shape {found:?}"),
            format!("shape {:?}", shape.unwrap_or(&[])),
        ));
    }
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        other => return Err(InvalidInput::new(name, format!("{other:?}"), "F32 or F64")),
    };
    let tensor = Tensor::f_from_data_size(view.data(), &found, kind)
        .map_err(|error| InvalidInput::new(name, error, "readable data"))?;
    let bad = tensor.numel() as i64 - tensor.isfinite().sum(Kind::Int64).int64_value(&[]);
    if bad > 0 {
        return Err(InvalidInput::new(
            name,
            format!("{bad} values that are NaN or infinite"),
            "finite values",
        ));
    }
    Ok(place(&tensor, options))
}
