//! `.npy` and `.npz` arrays of float64 or float32: the exchange format of every command.
//!
//! Reading refuses, in one line that names the file, what was found and what is allowed: a missing file, another element
//! type, a shape that does not fit, a truncated or overlong file, NaN and infinities. Writing is atomic.

use std::io::{Cursor, Read};
use std::path::Path;

use ndarray::{Array1, Array2, Array3, ArrayBase, ArrayD, Data, Dimension, Ix1, Ix2, Ix3, RawData};
use ndarray_npy::{NpzWriter, ReadNpyExt, WriteNpyExt};

use crate::command::{Failure, write_atomically};

const ELEMENTS: &str = "float64 or float32";

/// Reads an array of any shape. `path` is `FILE.npy`, `FILE.npz` with a single array, or `FILE.npz:NAME`.
pub fn read_array(path: &str) -> Result<ArrayD<f64>, Failure> {
    let (file, name) = match path.split_once(".npz:") {
        Some((stem, name)) => (format!("{stem}.npz"), Some(name)),
        None => (path.to_string(), None),
    };
    let bytes = std::fs::read(&file).map_err(|error| Failure::bad_input(path, error, "a readable file"))?;
    let array = if file.ends_with(".npz") {
        parse_npy(path, &extract_member(path, bytes, name)?)?
    } else {
        parse_npy(path, &bytes)?
    };
    if let Some((index, value)) = array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        let place = format!("{value} at {:?}", index.slice());
        return Err(Failure::bad_input(path, place, "finite numbers"));
    }
    Ok(array)
}

/// Reads points `(n, d)` with `n, d >= 1`.
pub fn read_points(path: &str) -> Result<Array2<f64>, Failure> {
    let array = read_array(path)?;
    let shape = format!("shape {:?}", array.shape());
    if array.is_empty() {
        return Err(Failure::bad_input(path, shape, "(n, d) with n, d >= 1"));
    }
    array.into_dimensionality::<Ix2>().map_err(|_| Failure::bad_input(path, shape, "(n, d), one row a point"))
}

/// Reads trajectories `(N + 1, n, d)`: the positions of n samples at N + 1 >= 2 times.
pub fn read_trajectories(path: &str) -> Result<Array3<f64>, Failure> {
    let array = read_array(path)?;
    let refused = Failure::bad_input(
        path,
        format!("shape {:?}", array.shape()),
        "(N + 1, n, d), times by samples by coordinates, N >= 1",
    );
    match array.into_dimensionality::<Ix3>() {
        Ok(positions) if !positions.is_empty() && positions.len_of(ndarray::Axis(0)) >= 2 => Ok(positions),
        _ => Err(refused),
    }
}

/// Reads a vector `(n)` with `n >= 1`.
pub fn read_vector(path: &str) -> Result<Array1<f64>, Failure> {
    let array = read_array(path)?;
    let shape = format!("shape {:?}", array.shape());
    if array.is_empty() {
        return Err(Failure::bad_input(path, shape, "(n) with n >= 1"));
    }
    array.into_dimensionality::<Ix1>().map_err(|_| Failure::bad_input(path, shape, "(n), one number an atom"))
}

/// Reads `n` weights of a probability measure: `(n)`, non-negative, sum 1 within 1e-5, returned with sum 1.
pub fn read_weights(path: &str, atoms: usize) -> Result<Vec<f64>, Failure> {
    let weights = read_vector(path)?;
    Ok(proxflow_reference::divergence::probability_weights(path, weights.as_slice(), atoms)?)
}

/// Writes one array to `path` as float64 `.npy`, atomically.
pub fn write_array<S, D>(path: &Path, array: &ArrayBase<S, D>) -> Result<(), Failure>
where
    S: Data<Elem = f64> + RawData,
    D: Dimension,
{
    let mut bytes = Vec::new();
    array.write_npy(&mut bytes).map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
    write_atomically(path, &bytes)
}

/// Writes named arrays to `path` as float64 `.npz`, atomically.
pub fn write_arrays(path: &Path, arrays: &[(&str, ArrayD<f64>)]) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
    let mut archive = NpzWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        archive.add_array(*name, array).map_err(|error| failed(&error))?;
    }
    let bytes = archive.finish().map_err(|error| failed(&error))?.into_inner();
    write_atomically(path, &bytes)
}

/// The bytes of one `.npy` member of an archive.
fn extract_member(path: &str, bytes: Vec<u8>, name: Option<&str>) -> Result<Vec<u8>, Failure> {
    let broken = |error: zip::result::ZipError| Failure::bad_input(path, error, "a .npz archive");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let names: Vec<String> =
        archive.file_names().map(|name| name.trim_end_matches(".npy").to_string()).collect();
    let index = match (name, names.len()) {
        (None, 1) => Some(0),
        (None, _) => None,
        (Some(name), _) => names.iter().position(|member| member == name),
    };
    let Some(index) = index else {
        let value = name.map_or(format!("{} arrays", names.len()), |name| format!("array {name}"));
        let mut sorted = names.clone();
        sorted.sort();
        return Err(Failure::bad_input(
            path,
            value,
            format!("FILE.npz:NAME, NAME one of {}", sorted.join(", ")),
        ));
    };
    let mut member = archive.by_index(index).map_err(broken)?;
    let mut content = Vec::new();
    member.read_to_end(&mut content).map_err(|error| Failure::bad_input(path, error, "a .npz archive"))?;
    Ok(content)
}

fn parse_npy(path: &str, bytes: &[u8]) -> Result<ArrayD<f64>, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::bad_input(path, error, "a .npy file");
    let header = Header::parse(bytes).ok_or_else(|| broken(&"no .npy header"))?;
    let element = header.element;
    let width = match element {
        "<f8" | ">f8" => 8,
        "<f4" | ">f4" => 4,
        _ => return Err(Failure::bad_input(path, format!("element type {element}"), ELEMENTS)),
    };
    // Checked before any allocation: a damaged header may claim any shape.
    let expected = header.shape.iter().try_fold(width, |size: usize, n| size.checked_mul(*n));
    if expected != Some(header.data_bytes) {
        let value = format!("{} bytes of data", header.data_bytes);
        return Err(Failure::bad_input(path, value, format!("shape {:?} of {element}", header.shape)));
    }
    if width == 8 {
        ArrayD::<f64>::read_npy(bytes).map_err(|error| broken(&error))
    } else {
        Ok(ArrayD::<f32>::read_npy(bytes).map_err(|error| broken(&error))?.mapv(f64::from))
    }
}

/// What the header of a `.npy` file says, as far as the size check needs it.
struct Header<'a> {
    element: &'a str,
    shape: Vec<usize>,
    data_bytes: usize,
}

impl<'a> Header<'a> {
    /// Magic, version, length of the dictionary (two bytes in version 1, four later), dictionary, data.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"\x93NUMPY")?;
        let (start, length) = match rest.first()? {
            1 => (4, usize::from(u16::from_le_bytes(rest.get(2..4)?.try_into().ok()?))),
            _ => (6, u32::from_le_bytes(rest.get(2..6)?.try_into().ok()?) as usize),
        };
        let end = start + length;
        let dictionary = std::str::from_utf8(rest.get(start..end)?).ok()?;
        let after = |key: &str| dictionary.split_once(key).map(|(_, text)| text);
        let element = after("'descr': '")?.split('\'').next()?;
        let shape = after("'shape': (")?.split(')').next()?;
        let shape: Option<Vec<usize>> =
            shape.split(',').map(str::trim).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect();
        Some(Self { element, shape: shape?, data_bytes: rest.len() - end })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::{Array3, array};

    use super::*;

    fn line(outcome: Result<impl Sized, Failure>) -> String {
        match outcome {
            Ok(_) => panic!("bad input was accepted"),
            Err(failure @ Failure::BadInput(_)) => failure.to_string(),
            Err(Failure::Run(line)) => panic!("bad input reported as a failed run: {line}"),
        }
    }

    #[test]
    fn arrays_round_trip_through_npy_and_npz() {
        let folder = tempfile::tempdir().unwrap();
        let points = array![[0.1, -2.0], [3.5, 1e-300], [5.0, 6.0]];
        let file = folder.path().join("points.npy");
        write_array(&file, &points).unwrap();
        assert_eq!(read_points(file.to_str().unwrap()).unwrap(), points);
        // A transposed view is written in Fortran order and read back the same.
        write_array(&file, &points.t()).unwrap();
        assert_eq!(read_points(file.to_str().unwrap()).unwrap(), points.t());

        let archive = folder.path().join("both.npz");
        let vector = array![0.25, 0.75];
        write_arrays(
            &archive,
            &[("points", points.clone().into_dyn()), ("weights", vector.clone().into_dyn())],
        )
        .unwrap();
        let name = archive.to_str().unwrap();
        assert_eq!(read_points(&format!("{name}:points")).unwrap(), points);
        assert_eq!(read_weights(&format!("{name}:weights"), 2).unwrap(), vector.to_vec());
        let message = line(read_array(name));
        assert!(message.contains("2 arrays") && message.contains("points, weights"), "{message}");
        assert!(line(read_array(&format!("{name}:other"))).contains("array other"));
    }

    #[test]
    fn single_precision_is_widened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("single.npy");
        ndarray_npy::write_npy(&file, &array![[0.1f32, 2.0]]).unwrap();
        assert_eq!(read_points(file.to_str().unwrap()).unwrap(), array![[f64::from(0.1f32), 2.0]]);
    }

    #[test]
    fn bad_files_are_named_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        ndarray_npy::write_npy(path("cube.npy"), &Array3::<f64>::zeros((2, 2, 2))).unwrap();
        ndarray_npy::write_npy(path("empty.npy"), &Array2::<f64>::zeros((0, 3))).unwrap();
        ndarray_npy::write_npy(path("bytes.npy"), &array![[1u8, 2]]).unwrap();
        ndarray_npy::write_npy(path("nan.npy"), &array![[0.0, f64::NAN]]).unwrap();
        ndarray_npy::write_npy(path("weights.npy"), &array![0.5, 0.6]).unwrap();
        ndarray_npy::write_npy(path("negative.npy"), &array![1.5, -0.5]).unwrap();
        std::fs::write(path("text.npy"), "1 2 3").unwrap();
        std::fs::write(path("text.npz"), "1 2 3").unwrap();
        let mut whole = std::fs::read(path("nan.npy")).unwrap();
        whole.pop();
        std::fs::write(path("short.npy"), &whole).unwrap();
        whole.extend([0; 9]);
        std::fs::write(path("long.npy"), &whole).unwrap();
        // A header that claims 8 TB must not be believed.
        let dictionary = b"{'descr': '<f8', 'fortran_order': False, 'shape': (999999, 999999), }\n";
        let mut claimed = b"\x93NUMPY\x01\x00".to_vec();
        claimed.extend((dictionary.len() as u16).to_le_bytes());
        claimed.extend(dictionary);
        std::fs::write(path("claimed.npy"), &claimed).unwrap();

        for (name, fragments) in [
            ("missing.npy", vec!["missing.npy", "readable"]),
            ("cube.npy", vec!["cube.npy", "[2, 2, 2]", "(n, d)"]),
            ("empty.npy", vec!["[0, 3]"]),
            ("bytes.npy", vec!["u1", "float64 or float32"]),
            ("nan.npy", vec!["NaN at [0, 1]", "finite"]),
            ("text.npy", vec!["text.npy"]),
            ("text.npz", vec!["archive"]),
            ("short.npy", vec!["15 bytes", "[1, 2]"]),
            ("long.npy", vec!["24 bytes", "[1, 2]"]),
            ("claimed.npy", vec!["0 bytes", "999999"]),
        ] {
            let message = line(read_points(&path(name)));
            assert!(!message.contains('\n'));
            for fragment in fragments {
                assert!(message.contains(fragment), "{name}: {message}");
            }
        }
        ndarray_npy::write_npy(path("still.npy"), &Array3::<f64>::zeros((1, 2, 2))).unwrap();
        assert_eq!(read_trajectories(&path("cube.npy")).unwrap().dim(), (2, 2, 2));
        for name in ["still.npy", "empty.npy", "weights.npy"] {
            assert!(line(read_trajectories(&path(name))).contains("(N + 1, n, d)"), "{name}");
        }
        assert!(line(read_weights(&path("weights.npy"), 2)).contains("1.1"));
        assert!(line(read_weights(&path("weights.npy"), 3)).contains("3 weights"));
        assert!(line(read_weights(&path("negative.npy"), 2)).contains("-0.5"));
    }
}
