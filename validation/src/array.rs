//! Arrays from `.npy` and `.npz` files, single or double precision.

use std::fs::File;
use std::path::Path;

use ndarray::{Array1, Array2, Array3, Dimension, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpyExt};
use proxflow_reference::InvalidInput;

type Owned<D> = ndarray::ArrayBase<OwnedRepr<f64>, D>;

fn unreadable(path: &Path, error: impl std::fmt::Display, allowed: &str) -> InvalidInput {
    InvalidInput::new(path.display(), error, allowed)
}

fn open(path: &Path) -> Result<File, InvalidInput> {
    File::open(path).map_err(|error| unreadable(path, error, "a readable file"))
}

fn read_npy<D: Dimension>(path: &Path, allowed: &str) -> Result<Owned<D>, InvalidInput> {
    match Owned::<D>::read_npy(open(path)?) {
        Ok(array) => Ok(array),
        Err(double) => ndarray::ArrayBase::<OwnedRepr<f32>, D>::read_npy(open(path)?)
            .map(|array| array.mapv(f64::from))
            .map_err(|_| unreadable(path, double, allowed)),
    }
}

/// Points `(n, d)` from a `.npy` file of float32 or float64; non-finite entries are refused.
pub fn read_points(path: &Path) -> Result<Array2<f64>, InvalidInput> {
    let points: Array2<f64> = read_npy(path, "a .npy file of float32 or float64, shape (n, d)")?;
    match points.iter().find(|x| !x.is_finite()) {
        Some(value) => Err(unreadable(path, value, "finite entries")),
        None => Ok(points),
    }
}

/// Trajectories `(times, samples, d)` from `.npy`, or from `.npz`: the array named `trajectories`, else the only
/// three-dimensional one, and the array `times` where there is one.
pub fn read_trajectories(path: &Path) -> Result<(Array3<f64>, Option<Vec<f64>>), InvalidInput> {
    const ALLOWED: &str = "float32 or float64 of shape (times, samples, d)";
    if path.extension().is_none_or(|extension| extension != "npz") {
        return Ok((read_npy(path, ALLOWED)?, None));
    }
    let mut archive =
        NpzReader::new(open(path)?).map_err(|error| unreadable(path, error, "a .npz archive"))?;
    let names = archive.names().map_err(|error| unreadable(path, error, "a .npz archive"))?;
    let mut three_dimensional = Vec::new();
    let mut times = None;
    for name in names {
        let label = name.trim_end_matches(".npy").to_owned();
        let array: Option<Array3<f64>> = archive.by_name(&name).ok().or_else(|| {
            archive.by_name::<OwnedRepr<f32>, _>(&name).ok().map(|a: Array3<f32>| a.mapv(f64::from))
        });
        if let Some(array) = array {
            three_dimensional.push((label, array));
        } else if label == "times" {
            let values: Option<Array1<f64>> = archive.by_name(&name).ok().or_else(|| {
                archive.by_name::<OwnedRepr<f32>, _>(&name).ok().map(|a: Array1<f32>| a.mapv(f64::from))
            });
            times = values.map(|values| values.to_vec());
        }
    }
    let named = three_dimensional.iter().position(|(label, _)| label == "trajectories");
    match (named, three_dimensional.len()) {
        (Some(index), _) => Ok((three_dimensional.swap_remove(index).1, times)),
        (None, 1) => Ok((three_dimensional.swap_remove(0).1, times)),
        (None, count) => Err(unreadable(
            path,
            format!("{count} three-dimensional arrays"),
            "one, or one named trajectories",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray_npy::{NpzWriter, WriteNpyExt};

    #[test]
    fn trajectories_are_read_from_npz_and_npy_in_both_precisions() {
        let folder = std::env::temp_dir().join(format!("proxflow-array-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let single = Array3::<f32>::from_shape_fn((3, 2, 1), |(k, i, _)| (k + i) as f32);
        let path = folder.join("paths.npz");
        let mut writer = NpzWriter::new(File::create(&path).unwrap());
        writer.add_array("x", &single).unwrap();
        writer.add_array("times", &ndarray::array![0.0, 0.25, 1.0]).unwrap();
        writer.finish().unwrap();
        let (positions, times) = read_trajectories(&path).unwrap();
        assert_eq!((positions[[2, 1, 0]], times.unwrap()[1]), (3.0, 0.25));
        let path = folder.join("paths.npy");
        single.mapv(f64::from).write_npy(File::create(&path).unwrap()).unwrap();
        assert_eq!(read_trajectories(&path).unwrap().0.shape(), [3, 2, 1]);
        assert!(read_points(&path).is_err(), "three dimensions are not points");
        assert!(read_points(&folder.join("absent.npy")).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
