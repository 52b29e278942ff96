//! The file: written atomically, read with every fault named before anything is allocated by what the file claims.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::HALF_PRECISION;
use proxflow_reference::checkpoint::container::{Container, Part};
use safetensors::tensor::Dtype;
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

/// No checkpoint is larger, in bytes.
const LARGEST_FILE: u64 = 8 << 30;

/// Serialises to a temporary file in the same folder and renames it, so that a kill or a full disk loses nothing. Equal tensors and
/// metadata give byte-identical files.
pub(super) fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    let failed = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
    let mut container = Container::new(BTreeMap::new(), metadata);
    for (name, tensor) in tensors {
        let part = part_of(name, tensor).map_err(failed)?;
        container.tensors.insert(name.clone(), part);
    }
    let bytes = container.serialise().map_err(|error| failed(error.to_string()))?;
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

fn part_of(name: &str, tensor: &Tensor) -> Result<Part<'static>, String> {
    if tensor.isfinite().all().int64_value(&[]) == 0 {
        return Err(format!("not written: {name} is not finite"));
    }
    let (dtype, width) = if tensor.kind() == Kind::Double { (Dtype::F64, 8) } else { (Dtype::F32, 4) };
    let host = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0_u8; host.numel() * width];
    host.f_copy_data_u8(&mut bytes, host.numel()).map_err(|error| error.to_string())?;
    let shape = tensor.size().iter().map(|&n| n as usize).collect();
    Ok(Part { dtype, shape, bytes: Cow::Owned(bytes) })
}

/// The bytes of a regular file of at most [`LARGEST_FILE`] bytes.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let failed = |reason: String| CheckpointError::File {
        path: path.to_owned(),
        reason: format!("{reason} (allowed: a regular file of at most {LARGEST_FILE} bytes)"),
    };
    let io = |error: std::io::Error| failed(format!("cannot be read: {error}"));
    // Before it is opened: a named pipe without a writer would be waited for.
    let length = std::fs::metadata(path).map_err(io)?;
    if length.is_dir() {
        return Err(failed("cannot be read: a folder".to_owned()));
    }
    if !length.is_file() {
        return Err(failed("cannot be read: not a regular file".to_owned()));
    }
    if length.len() > LARGEST_FILE {
        return Err(failed(format!("{} bytes", length.len())));
    }
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::with_capacity(length.len() as usize);
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Container<'a>, CheckpointError> {
    Container::parse(bytes).map_err(|source| match source.field.as_str() {
        "checkpoint" => CheckpointError::File {
            path: path.to_owned(),
            reason: format!("{} (allowed: a whole safetensors file)", source.value),
        },
        _ => CheckpointError::Content { path: path.to_owned(), source },
    })
}

/// One tensor: present, of the right shape, of a real element type, finite.
pub(super) fn take(
    container: &Container<'_>,
    name: &str,
    shape: &[i64],
    options: (Kind, Device),
) -> Result<Tensor, InvalidInput> {
    let part = container
        .tensors
        .get(name)
        .ok_or_else(|| InvalidInput::new(name, "missing", format!("a tensor {shape:?}")))?;
    let found: Vec<i64> = part.shape.iter().map(|&n| n as i64).collect();
    if shape != found {
        return Err(InvalidInput::new(name, format!("shape {found:?}"), format!("shape {shape:?}")));
    }
    let kind = match part.dtype {
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        other => return Err(InvalidInput::new(name, format!("{other:?}"), "F16, BF16, F32 or F64")),
    };
    let tensor = Tensor::f_from_data_size(&part.bytes, &found, kind)
        .map_err(|error| InvalidInput::new(name, error, "readable data"))?;
    let bad = tensor.numel() as i64 - tensor.isfinite().sum(Kind::Int64).int64_value(&[]);
    if bad > 0 {
        let value = format!("{bad} values that are NaN or infinite");
        return Err(InvalidInput::new(name, value, "finite values"));
    }
    let placed = place(&tensor, options);
    if placed.isfinite().all().int64_value(&[]) == 0 {
        let value = format!("values beyond {:?}", options.0);
        return Err(InvalidInput::new(name, value, "values that the computation can hold"));
    }
    Ok(placed)
}

/// The reader's own words with one on half precision, for the tensors of `names`.
pub(super) fn notices(container: &Container<'_>) -> Vec<String> {
    let half = |part: &Part<'_>| matches!(part.dtype, Dtype::F16 | Dtype::BF16);
    let mut notices = container.notices.clone();
    if container.tensors.values().any(half) {
        notices.push(HALF_PRECISION.to_owned());
    }
    notices
}
