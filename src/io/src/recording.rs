//! Recorded simulations from anybody's program: positions, and what else an archive says about them.

use std::path::Path;

use ndarray::{Array2, Array3, ArrayD, Dimension, Ix1, Ix2, Ix3};
use proxflow_reference::InvalidInput;

use crate::array::{ArrayFile, ArrayPath, require_finite};

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

/// Finite entries of the shape that `D` and `shape` name.
fn checked<D: Dimension>(
    path: &Path,
    name: &str,
    array: ArrayD<f64>,
    shape: &str,
) -> Result<ndarray::Array<f64, D>, InvalidInput> {
    let found = format!("shape {:?}", array.shape());
    if array.ndim() == D::NDIM.unwrap_or(array.ndim()) && !array.is_empty() {
        let field =
            if name.is_empty() { path.display().to_string() } else { format!("{}: {name}", path.display()) };
        require_finite(&field, &array)?;
        if let Ok(array) = array.into_dimensionality::<D>() {
            return Ok(array);
        }
        return Err(refused(path, name, found, shape));
    }
    let allowed = if array.is_empty() { format!("{shape}, none of them 0") } else { shape.to_owned() };
    Err(refused(path, name, found, &allowed))
}

/// One simulation from a single array (positions alone), or from an archive (see [`KEYS`]; a single array of any name counts
/// as `trajectories`, and `FILE:NAME` takes that one alone). Shapes and entries are checked, an array of another name is
/// refused.
pub fn read_trajectories(path: &ArrayPath) -> Result<Recorded, InvalidInput> {
    let mut file = ArrayFile::open(&path.file)?;
    let file_path = path.file.as_path();
    let names = file.names();
    let alone = match (&path.member, names.as_slice()) {
        (Some(name), _) if names.contains(name) && file.is_archive() => Some(name.clone()),
        (Some(name), _) => {
            return Err(refused(file_path, name, "missing", &format!("one of {}", names.join(", "))));
        }
        (None, [name]) if !KEYS.iter().any(|(key, _)| key == name) => Some(name.clone()),
        (None, _) => None,
    };
    let nothing = |positions| Recorded {
        positions,
        times: None,
        gradients: None,
        time_derivatives: None,
        critic_gradients: None,
    };
    if let Some(name) = alone {
        return consistent(
            file_path,
            nothing(checked::<Ix3>(file_path, &name, file.read(&name)?, KEYS[0].1)?),
        );
    }
    if let Some(name) = names.iter().find(|name| !KEYS.iter().any(|(key, _)| key == name)) {
        let known = KEYS.map(|(key, _)| key).join(", ");
        return Err(refused(file_path, name, "unknown name", &format!("arrays named {known}")));
    }
    if !names.iter().any(|name| name == KEYS[0].0) {
        let found = if names.is_empty() { "an empty archive".into() } else { names.join(", ") };
        return Err(refused(file_path, KEYS[0].0, format!("missing among {found}"), KEYS[0].1));
    }
    let mut read = |key: usize| -> Result<Option<ArrayD<f64>>, InvalidInput> {
        names.iter().find(|name| *name == KEYS[key].0).map(|name| file.read(name)).transpose()
    };
    let positions = read(0)?.ok_or_else(|| refused(file_path, KEYS[0].0, "missing", KEYS[0].1))?;
    let mut recorded = nothing(checked::<Ix3>(file_path, KEYS[0].0, positions, KEYS[0].1)?);
    if let Some(array) = read(1)? {
        recorded.times = Some(checked::<Ix1>(file_path, KEYS[1].0, array, KEYS[1].1)?.to_vec());
    }
    recorded.gradients =
        read(2)?.map(|array| checked::<Ix3>(file_path, KEYS[2].0, array, KEYS[2].1)).transpose()?;
    recorded.time_derivatives =
        read(3)?.map(|array| checked::<Ix2>(file_path, KEYS[3].0, array, KEYS[3].1)).transpose()?;
    recorded.critic_gradients =
        read(4)?.map(|array| checked::<Ix2>(file_path, KEYS[4].0, array, KEYS[4].1)).transpose()?;
    consistent(file_path, recorded)
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
    use crate::array::read_points;
    use ndarray::{ShapeBuilder, array};
    use std::fs::File;

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
        let recorded = read_trajectories(&path.as_path().into()).unwrap();
        assert_eq!((recorded.positions[[2, 1, 0]], recorded.times.unwrap()), (3.0, vec![0.0, 1.0, 4.0]));
        let path = folder.path().join("paths.npy");
        let mut fortran = Array3::<f64>::zeros((3, 2, 1).f());
        fortran.assign(&paths().mapv(f64::from));
        fortran.write_npy(File::create(&path).unwrap()).unwrap();
        assert_eq!(read_trajectories(&path.as_path().into()).unwrap().positions, paths().mapv(f64::from));
        assert!(read_points(&path.as_path().into()).is_err(), "three dimensions are not points");
        assert!(read_points(&folder.path().join("absent.npy").as_path().into()).is_err());
    }

    #[test]
    fn faults_of_an_archive_are_named() {
        type Fill = fn(&mut NpzWriter<File>) -> Result<(), ndarray_npy::WriteNpzError>;
        let cases: [(Fill, &str); 8] = [
            (|w| w.add_array("times", &array![0.0, 1.0]), "trajectories: missing"),
            (|w| w.add_array("trajectories", &array![[0.0, 1.0]]), "shape [1, 2]"),
            (
                |w| w.add_array("trajectories", &paths().mapv(|x| if x > 2.0 { f32::NAN } else { x })),
                "NaN at [2, 1, 0]",
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
            let error = read_trajectories(&path.as_path().into()).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains('\n'), "{error} should say {named}");
        }
    }
}
