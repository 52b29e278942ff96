//! A user's own data: `(n, d)` arrays, images `(n, h, w)`, IDX files or a named target; split, standardised, checked before any work.

mod standardisation;

use std::path::Path;

use ndarray::{Array2, Axis, Ix2, Ix3, s};
use proxflow_reference::InvalidInput;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use self::standardisation::{Standardisation, Standardise};
use crate::array::{ArrayPath, read_array};
use crate::command::Failure;
use crate::dataset::{SIDE, idx};
use crate::targets::Target;

/// Rows at least: two to train on and two held out.
pub const FEWEST_ROWS: usize = 4;
/// Rows at most without `--rows`, which takes a random subset of so many.
pub const MOST_ROWS: usize = 100_000;
/// Coordinates at most: a dense network's first layer and the oracle's distances are of this size.
pub const MOST_COLUMNS: usize = 4096;
/// Streams of the root seed that no other part of the program uses: draws of a named target, choice and split of rows.
const TARGET_STREAM: u64 = 101;
const SPLIT_STREAM: u64 = 102;

/// Points with what is known of them.
#[derive(Debug, Clone)]
pub struct Table {
    /// `(n, d)`, in the file's own units.
    pub rows: Array2<f64>,
    /// Height and width where a row is an image.
    pub image: Option<[usize; 2]>,
    /// The law, where it is a named one.
    pub target: Option<Target>,
}

impl Table {
    /// Draws `count` points of the target called `text`, or reads the file of that name: `.npy`, `.npz`, `.safetensors` with `(n, d)` or
    /// `(n, h, w)`, or images in the IDX format. Refused in one line: numbers that are not finite, fewer than [`FEWEST_ROWS`] rows, no
    /// columns or more than [`MOST_COLUMNS`], more than [`MOST_ROWS`] rows unless `rows` takes a random subset.
    pub fn load(text: &str, rows: Option<usize>, seed: u64) -> Result<Self, Failure> {
        let is_file = Path::new(text).exists() || ArrayPath::from(text).member.is_some();
        let mut table = match text.parse::<Target>() {
            Ok(target) => {
                let count = rows.unwrap_or(DRAWN_ROWS);
                require_rows("rows", count)?;
                let rows = target.sample(count, &mut generator(seed, TARGET_STREAM));
                return Ok(Self { rows, image: None, target: Some(target) });
            }
            Err(error) if !is_file => {
                let allowed = format!("a file (n, d) or (n, h, w), or one of {}", error.allowed);
                return Err(Failure::bad_input("data", format!("{text}: no such file"), allowed));
            }
            Err(_) => Self::read(text)?,
        };
        let (count, columns) = table.rows.dim();
        if columns == 0 || columns > MOST_COLUMNS {
            let value = format!("{columns} columns");
            return Err(Failure::bad_input(text, value, format!("1 to {MOST_COLUMNS} columns")));
        }
        if count < FEWEST_ROWS {
            return Err(Failure::bad_input(
                text,
                format!("{count} rows"),
                format!("at least {FEWEST_ROWS} rows"),
            ));
        }
        match rows {
            Some(wanted) if wanted < FEWEST_ROWS || wanted > count => {
                return Err(Failure::bad_input(
                    "rows",
                    wanted,
                    format!("{FEWEST_ROWS} to {count}, the rows of {text}"),
                ));
            }
            Some(wanted) => {
                let chosen =
                    rand::seq::index::sample(&mut generator(seed, SPLIT_STREAM), count, wanted).into_vec();
                table.rows = table.rows.select(Axis(0), &chosen);
            }
            None => {}
        }
        require_rows(text, table.rows.nrows())?;
        Ok(table)
    }

    fn read(text: &str) -> Result<Self, Failure> {
        let name = text.to_ascii_lowercase();
        if name.contains("ubyte") || name.ends_with(".idx") || name.ends_with(".gz") {
            let pixels =
                idx::read_images(Path::new(text)).map_err(|error| Failure::BadInput(error.to_string()))?;
            return Ok(Self { rows: pixels.mapv(f64::from), image: Some([SIDE, SIDE]), target: None });
        }
        let array = read_array(&ArrayPath::from(text))?;
        let shape = array.shape().to_vec();
        let refused =
            || InvalidInput::new(text, format!("shape {shape:?}"), "(n, d), or (n, h, w) for images");
        match shape.as_slice() {
            [_, _] => {
                let rows = array.into_dimensionality::<Ix2>().map_err(|_| refused())?;
                Ok(Self { rows, image: None, target: None })
            }
            &[count, height, width] => {
                let images = array.into_dimensionality::<Ix3>().map_err(|_| refused())?;
                let rows = images.to_shape((count, height * width)).map_err(|_| refused())?.into_owned();
                Ok(Self { rows, image: Some([height, width]), target: None })
            }
            _ => Err(refused().into()),
        }
    }

    /// Random training and held-out rows, `round(share n)` of the latter, two of each at least.
    pub fn split(&self, share: f64, seed: u64) -> Result<Split, Failure> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Failure::bad_input("held-out", share, "a share of the rows, between 0 and 1"));
        }
        let count = self.rows.nrows();
        let held_out = ((share * count as f64).round() as usize).clamp(2, count - 2);
        let mut order: Vec<usize> = (0..count).collect();
        let mut generator = generator(seed, SPLIT_STREAM);
        generator.set_word_pos(1 << 40);
        order.shuffle(&mut generator);
        let shuffled = self.rows.select(Axis(0), &order);
        Ok(Split {
            train: shuffled.slice(s![held_out.., ..]).to_owned(),
            held_out: shuffled.slice(s![..held_out, ..]).to_owned(),
        })
    }
}

/// Disjoint parts of a table.
#[derive(Debug, Clone)]
pub struct Split {
    /// What is trained on.
    pub train: Array2<f64>,
    /// What the flow never sees.
    pub held_out: Array2<f64>,
}

/// Points of a named target unless `--rows` says otherwise.
const DRAWN_ROWS: usize = 3000;

fn require_rows(field: &str, count: usize) -> Result<(), Failure> {
    if count > MOST_ROWS {
        let allowed = format!("at most {MOST_ROWS} rows; --rows N takes a random subset");
        return Err(Failure::bad_input(field, format!("{count} rows"), allowed));
    }
    if count < FEWEST_ROWS {
        return Err(Failure::bad_input(field, count, format!("at least {FEWEST_ROWS} rows")));
    }
    Ok(())
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::array::write_array;
    use ndarray::{Array3, ArrayD, IxDyn};

    fn line<T>(outcome: Result<T, Failure>) -> String {
        outcome.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_split_parts_the_rows_and_is_that_of_the_seed() {
        let table = Table::load("moons", Some(40), 7).unwrap();
        let split = table.split(0.25, 7).unwrap();
        assert_eq!((split.train.nrows(), split.held_out.nrows()), (30, 10));
        assert_eq!(split.train, table.split(0.25, 7).unwrap().train);
        let key =
            |row: ndarray::ArrayView1<'_, f64>| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        let mut all: Vec<_> = split.train.rows().into_iter().chain(split.held_out.rows()).map(key).collect();
        let mut own: Vec<_> = table.rows.rows().into_iter().map(key).collect();
        all.sort();
        own.sort();
        assert_eq!(all, own);
        assert!(line(table.split(1.0, 7)).contains("held-out"));
    }

    #[test]
    fn images_become_rows_and_other_shapes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let text = path.to_str().unwrap();
        write_array(&path, &Array3::from_shape_fn((5, 2, 3), |(n, y, x)| (100 * n + 10 * y + x) as f64))
            .unwrap();
        let table = Table::load(text, None, 1).unwrap();
        assert_eq!((table.rows.dim(), table.image, table.rows[[1, 4]]), ((5, 6), Some([2, 3]), 111.0));
        for shape in [vec![5], vec![2, 2, 2, 2], vec![3, 2], vec![6, 0], vec![4, MOST_COLUMNS + 1]] {
            write_array(&path, &ArrayD::<f64>::zeros(IxDyn(&shape))).unwrap();
            let error = line(Table::load(text, None, 1));
            assert!(error.contains("x.npy") && error.contains("allowed"), "{shape:?}: {error}");
        }
        write_array(&path, &Array2::<f64>::zeros((MOST_ROWS + 1, 1))).unwrap();
        assert!(line(Table::load(text, None, 1)).contains("--rows"));
        assert_eq!(Table::load(text, Some(50), 1).unwrap().rows.nrows(), 50);
        write_array(&path, &Array2::from_shape_fn((9, 2), |(i, _)| if i == 3 { f64::NAN } else { 1.0 }))
            .unwrap();
        assert!(line(Table::load(text, None, 1)).contains("NaN at [3, 0]"));
        assert!(line(Table::load("moon", None, 1)).contains("moons"));
    }
}
