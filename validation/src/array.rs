//! Arrays from `.npy` and `.npz` files as numpy writes them: single or double precision, C or Fortran order.

use std::fs::File;
use std::path::Path;

use ndarray::{Array2, Array3, ArrayD, Dimension, Ix1, Ix2, Ix3, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpyExt, ReadNpzError};
use proxflow_reference::InvalidInput;

/// What a `.npy` or `.npz` file says about one simulation, for `times = N + 1`.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// `x_k`, shape `(times, samples, d)`; `trajectories` in an archive.
    pub positions: Array3<f64>,
    /// `t_k`, `times` entries; `times` in an archive.
    pub times: Option<Vec<f64>>,
    /// `grad_x U(x_k, t_k)`, shape `(times, samples, d)`; `gradients` in an archive.
    pub gradients: Option<Array3<f64>>,
    /// `dU/dt (x_k, t_k)`, shape `(times, samples)`; `time_derivatives` in an archive.
    pub time_derivatives: Option<Array2<f64>>,
    /// `grad phi(x_N)`, shape `(samples, d)`; `critic_gradients` in an archive.
    pub critic_gradients: Option<Array2<f64>>,
}

/// Names of the arrays in an archive, with their shapes.
pub const KEYS: [(&str, &str); 5] = [
    ("trajectories", "(times, samples, d)"),
    ("times", "(times,)"),
    ("gradients", "(times, samples, d)"),
    ("time_derivatives", "(times, samples)"),
    ("critic_gradients", "(samples, d)"),
];

fn refused(path: &Path, array: &str, value: impl std::fmt::Display, allowed: &str) -> InvalidInput {
    let field =
        if array.is_empty() { path.display().to_string() } else { format!("{}: {array}", path.display()) };
    InvalidInput::new(field, value, allowed)
}

fn open(path: &Path) -> Result<File, InvalidInput> {
    File::open(path).map_err(|error| refused(path, "", error, "a readable file"))
}

/// Finite entries of the shape that `D` and `shape` name.
fn checked<D: Dimension>(
    path: &Path,
    name: &str,
    array: ArrayD<f64>,
    shape: &str,
) -> Result<ndarray::Array<f64, D>, InvalidInput> {
    let found = format!("shape {:?}", array.shape());
    let array = array.into_dimensionality::<D>().map_err(|_| refused(path, name, &found, shape))?;
    if array.is_empty() {
        return Err(refused(path, name, found, &format!("{shape}, none of them 0")));
    }
    match array.indexed_iter().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => Err(refused(path, name, format!("{value} at {index:?}"), "finite entries")),
        None => Ok(array),
    }
}

/// Points `(n, d)` from a `.npy` file of float32 or float64; non-finite entries are refused.
pub fn read_points(path: &Path) -> Result<Array2<f64>, InvalidInput> {
    checked::<Ix2>(path, "", read_npy(path)?, "(n, d)")
}

/// What is wrong with an array, in numpy's words.
fn fault(error: ReadNpyError) -> String {
    match error {
        ReadNpyError::WrongDescriptor(found) => format!("dtype {found}"),
        other => other.to_string(),
    }
}

fn read_npy(path: &Path) -> Result<ArrayD<f64>, InvalidInput> {
    let double = ArrayD::<f64>::read_npy(open(path)?);
    double.or_else(|error| match ArrayD::<f32>::read_npy(open(path)?) {
        Ok(array) => Ok(array.mapv(f64::from)),
        Err(_) => Err(refused(path, "", error, "a .npy file of float32 or float64")),
    })
}

/// One simulation from `.npy` (positions alone) or `.npz` (see [`KEYS`]; a single array of any name counts as
/// `trajectories`). Shapes and entries are checked, an array of another name is refused.
pub fn read_trajectories(path: &Path) -> Result<Recorded, InvalidInput> {
    if path.extension().is_none_or(|extension| extension != "npz") {
        let positions = checked::<Ix3>(path, "", read_npy(path)?, KEYS[0].1)?;
        return consistent(
            path,
            Recorded {
                positions,
                times: None,
                gradients: None,
                time_derivatives: None,
                critic_gradients: None,
            },
        );
    }
    let unreadable =
        |error: &dyn std::fmt::Display| refused(path, "", error, "an .npz archive as numpy.savez writes it");
    let mut archive = NpzReader::new(open(path)?).map_err(|error| unreadable(&error))?;
    let names = archive.names().map_err(|error| unreadable(&error))?;
    let labels: Vec<String> = names.iter().map(|name| name.trim_end_matches(".npy").to_owned()).collect();
    let known = || KEYS.map(|(key, _)| key).join(", ");
    let alone = labels.len() == 1 && !KEYS.iter().any(|(key, _)| *key == labels[0]);
    if let Some(label) = labels.iter().find(|label| !alone && !KEYS.iter().any(|(key, _)| key == label)) {
        return Err(refused(path, label, "unknown name", &format!("arrays named {}", known())));
    }
    let mut read = |key: &str| -> Result<Option<ArrayD<f64>>, InvalidInput> {
        let Some(index) = labels.iter().position(|label| label == key || (alone && key == KEYS[0].0)) else {
            return Ok(None);
        };
        let name = &names[index];
        // Times are often whole numbers.
        let whole = key == "times";
        archive
            .by_name::<OwnedRepr<f64>, IxDyn>(name)
            .or_else(|_| archive.by_name::<OwnedRepr<f32>, IxDyn>(name).map(|array| array.mapv(f64::from)))
            .or_else(|error| match archive.by_name::<OwnedRepr<i64>, IxDyn>(name) {
                Ok(array) if whole => Ok(array.mapv(|value| value as f64)),
                _ => Err(error),
            })
            .map(Some)
            .map_err(|error| match error {
                ReadNpzError::Npy(error) => refused(path, key, fault(error), "float32 or float64"),
                other => refused(path, key, other, "float32 or float64"),
            })
    };
    let arrays = KEYS.map(|(key, _)| read(key));
    let [positions, times, gradients, time_derivatives, critic_gradients] = arrays;
    let positions = positions?.ok_or_else(|| {
        let found = if labels.is_empty() { "an empty archive".into() } else { labels.join(", ") };
        refused(path, "trajectories", format!("missing among {found}"), KEYS[0].1)
    })?;
    let check = |index: usize| (KEYS[index].0, KEYS[index].1);
    let of_dimension_3 = |index, array| checked::<Ix3>(path, check(index).0, array, check(index).1);
    let of_dimension_2 = |index, array| checked::<Ix2>(path, check(index).0, array, check(index).1);
    let recorded = Recorded {
        positions: of_dimension_3(0, positions)?,
        times: times?
            .map(|array| checked::<Ix1>(path, "times", array, KEYS[1].1))
            .transpose()?
            .map(|t| t.to_vec()),
        gradients: gradients?.map(|array| of_dimension_3(2, array)).transpose()?,
        time_derivatives: time_derivatives?.map(|array| of_dimension_2(3, array)).transpose()?,
        critic_gradients: critic_gradients?.map(|array| of_dimension_2(4, array)).transpose()?,
    };
    consistent(path, recorded)
}

/// Whether the shapes belong together and times increase.
fn consistent(path: &Path, recorded: Recorded) -> Result<Recorded, InvalidInput> {
    let (count, samples, dimension) = recorded.positions.dim();
    if count < 2 {
        return Err(refused(path, "trajectories", format!("{count} times"), "at least 2 times"));
    }
    let expect = |name: &str, found: Option<&[usize]>, shape: &[usize]| match found {
        Some(found) if found != shape => {
            Err(refused(path, name, format!("shape {found:?}"), &format!("{shape:?}, as trajectories say")))
        }
        _ => Ok(()),
    };
    expect("times", recorded.times.as_ref().map(|times| vec![times.len()]).as_deref(), &[count])?;
    expect("gradients", recorded.gradients.as_ref().map(|g| g.shape()), &[count, samples, dimension])?;
    expect("time_derivatives", recorded.time_derivatives.as_ref().map(|g| g.shape()), &[count, samples])?;
    expect("critic_gradients", recorded.critic_gradients.as_ref().map(|g| g.shape()), &[samples, dimension])?;
    if let Some(pair) =
        recorded.times.iter().flat_map(|times| times.windows(2)).find(|pair| pair[0] >= pair[1])
    {
        return Err(refused(path, "times", format!("{} before {}", pair[0], pair[1]), "strictly increasing"));
    }
    if recorded.gradients.is_some() != recorded.time_derivatives.is_some() {
        let missing = if recorded.gradients.is_some() { "time_derivatives" } else { "gradients" };
        return Err(refused(path, missing, "missing", "gradients and time_derivatives together"));
    }
    Ok(recorded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::{ShapeBuilder, array};
    use ndarray_npy::{NpzWriter, WriteNpyExt};

    fn paths() -> Array3<f32> {
        Array3::from_shape_fn((3, 2, 1), |(k, i, _)| (k + i) as f32)
    }

    #[test]
    fn trajectories_are_read_from_npz_and_npy_in_both_precisions_and_orders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paths.npz");
        let mut writer = NpzWriter::new(File::create(&path).unwrap());
        writer.add_array("trajectories", &paths()).unwrap();
        writer.add_array("times", &array![0_i64, 1, 4]).unwrap();
        writer.finish().unwrap();
        let recorded = read_trajectories(&path).unwrap();
        assert_eq!((recorded.positions[[2, 1, 0]], recorded.times.unwrap()), (3.0, vec![0.0, 1.0, 4.0]));
        let path = folder.path().join("paths.npy");
        let mut fortran = Array3::<f64>::zeros((3, 2, 1).f());
        fortran.assign(&paths().mapv(f64::from));
        fortran.write_npy(File::create(&path).unwrap()).unwrap();
        assert_eq!(read_trajectories(&path).unwrap().positions, paths().mapv(f64::from));
        assert!(read_points(&path).is_err(), "three dimensions are not points");
        assert!(read_points(&folder.path().join("absent.npy")).is_err());
    }

    #[test]
    fn faults_of_an_archive_are_named() {
        type Fill = fn(&mut NpzWriter<File>) -> Result<(), ndarray_npy::WriteNpzError>;
        let cases: [(Fill, &str); 9] = [
            (|w| w.add_array("times", &array![0.0, 1.0]), "trajectories: missing"),
            (|w| w.add_array("trajectories", &array![[0.0, 1.0]]), "shape [1, 2]"),
            (|w| w.add_array("trajectories", &paths().mapv(|x| x as i64)), "dtype '<i8'"),
            (
                |w| w.add_array("trajectories", &paths().mapv(|x| if x > 2.0 { f32::NAN } else { x })),
                "NaN at (2, 1, 0)",
            ),
            (|w| w.add_array("trajectories", &Array3::<f32>::zeros((1, 2, 1))), "1 times"),
            (|w| w.add_array("trajectories", &paths()).and(w.add_array("x", &array![1.0])), "unknown name"),
            (
                |w| w.add_array("trajectories", &paths()).and(w.add_array("times", &array![0.0, 1.0])),
                "shape [2]",
            ),
            (
                |w| w.add_array("trajectories", &paths()).and(w.add_array("times", &array![0.0, 1.0, 1.0])),
                "increasing",
            ),
            (
                |w| w.add_array("trajectories", &paths()).and(w.add_array("gradients", &paths())),
                "time_derivatives",
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (number, (fill, named)) in cases.into_iter().enumerate() {
            let path = folder.path().join(format!("{number}.npz"));
            let mut writer = NpzWriter::new(File::create(&path).unwrap());
            fill(&mut writer).unwrap();
            writer.finish().unwrap();
            let error = read_trajectories(&path).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains('\n'), "{error} should say {named}");
        }
    }
}
