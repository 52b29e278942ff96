//! Writing arrays: float64 `.npy`, and `.npz` archives that numpy and scipy read.

use std::io::{Cursor, Write};
use std::path::Path;

use ndarray::{Array1, ArrayBase, ArrayD, Data, Dimension, RawData};
use ndarray_npy::WriteNpyExt;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::command::Failure;
use crate::output::write_atomically;

/// One named member of an archive.
pub enum Column {
    /// float64 of any shape.
    Real(ArrayD<f64>),
    /// int64, one axis.
    Whole(Vec<i64>),
    /// ASCII text without a shape, as `numpy.bytes_`.
    Text(&'static str),
}

/// Writes one array to `path` as float64 `.npy`, atomically.
pub fn write_array<S, D>(path: &Path, array: &ArrayBase<S, D>) -> Result<(), Failure>
where
    S: Data<Elem = f64> + RawData,
    D: Dimension,
{
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(|error| failed(path, &error))?;
    write_atomically(path, &bytes)
}

/// Writes named arrays to `path` as float64 `.npz`, atomically.
pub fn write_arrays(path: &Path, arrays: &[(&str, ArrayD<f64>)]) -> Result<(), Failure> {
    let columns = arrays.iter().map(|(name, array)| (*name, Column::Real(array.clone())));
    write_columns(path, &columns.collect::<Vec<_>>())
}

/// Writes named members to `path` as `.npz`, atomically; equal members give equal bytes.
pub fn write_columns(path: &Path, columns: &[(&str, Column)]) -> Result<(), Failure> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .large_file(true);
    for (name, column) in columns {
        let bytes = column.to_npy().map_err(|error| failed(path, &error))?;
        archive.start_file(format!("{name}.npy"), options).map_err(|error| failed(path, &error))?;
        archive.write_all(&bytes).map_err(|error| failed(path, &error))?;
    }
    let bytes = archive.finish().map_err(|error| failed(path, &error))?.into_inner();
    write_atomically(path, &bytes)
}

impl Column {
    fn to_npy(&self) -> Result<Vec<u8>, ndarray_npy::WriteNpyError> {
        let mut bytes = Vec::new();
        match self {
            Self::Real(array) => array.write_npy(&mut bytes)?,
            Self::Whole(values) => Array1::from(values.clone()).write_npy(&mut bytes)?,
            Self::Text(text) => {
                let header =
                    format!("{{'descr': '|S{}', 'fortran_order': False, 'shape': (), }}", text.len());
                // Magic, version, length and header fill a multiple of 64 bytes.
                let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
                bytes.extend(b"\x93NUMPY\x01\x00");
                bytes.extend((padded as u16).to_le_bytes());
                bytes.extend(format!("{header:<width$}\n", width = padded - 1).bytes());
                bytes.extend(text.bytes());
            }
        }
        Ok(bytes)
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Run(format!("{}: {error}", path.display()))
}
