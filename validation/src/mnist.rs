//! MNIST images and the released curves and weights, read for the claims that need them.

use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::claim::{CheckError, Setting};

/// The first `count` images of an IDX file (`.gz` or plain) as rows of 784 values in \[0, 1\].
pub fn images(folder: &Path, name: &str, count: usize) -> Result<Array2<f64>, CheckError> {
    let compressed = folder.join(format!("{name}.gz"));
    let path = if compressed.is_file() { compressed } else { folder.join(name) };
    let failed = |error: &dyn std::fmt::Display| CheckError::Run(format!("{}: {error}", path.display()));
    let file = std::fs::File::open(&path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    let limit = (16 + 784 * count) as u64;
    if path.extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(file)
            .take(limit)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
    } else {
        file.take(limit).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    }
    if bytes.len() as u64 != limit || bytes[..4] != [0, 0, 8, 3] {
        return Err(failed(&format!("not an IDX image file with {count} images of 28x28")));
    }
    Ok(Array2::from_shape_fn((count, 784), |(i, k)| f64::from(bytes[16 + 784 * i + k]) / 255.0))
}

/// The MNIST folder, or why the claim does not apply.
pub fn folder(setting: &Setting) -> Result<PathBuf, CheckError> {
    setting.mnist.clone().ok_or_else(|| CheckError::NotApplicable("PROXFLOW_MNIST names no folder".into()))
}

/// A file of the released material, or why the claim does not apply.
pub fn released(setting: &Setting, name: &str) -> Result<PathBuf, CheckError> {
    let folder = setting.published.as_ref();
    let path = folder.map(|folder| folder.join(name)).filter(|path| path.is_file());
    path.ok_or_else(|| CheckError::NotApplicable(format!("PROXFLOW_PUBLISHED names no folder with {name}")))
}
