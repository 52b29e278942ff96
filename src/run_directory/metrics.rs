//! `metrics.csv`: one row of numbers per measured iteration, the iteration first.

use std::fs;
use std::path::PathBuf;

use crate::command::{Failure, write_atomically};

/// Declares `Row`, one row of `metrics.csv`: its columns in order, each an `f64` with its documentation.
#[macro_export]
macro_rules! metrics_row {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One row of `metrics.csv`.
        #[derive(Debug, Clone, Copy, serde::Serialize)]
        pub struct Row { $($(#[$doc])* pub $name: f64,)* }

        impl Row {
            /// Column names.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Values in the order of the names.
            pub fn values(&self) -> Vec<f64> {
                vec![$(self.$name),*]
            }
        }
    };
}

/// The table at a path.
pub(super) struct Metrics {
    path: PathBuf,
}

impl Metrics {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Appends one row, writing the header first when the file is new or empty.
    pub(super) fn append(&self, names: &[&str], values: &[f64]) -> Result<(), Failure> {
        use std::io::Write;
        let failed = |error: std::io::Error| {
            Failure::bad_input(self.path.display(), error, "a writable file with free space")
        };
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.path).map_err(failed)?;
        let empty = file.metadata().map_err(failed)?.len() == 0;
        let mut text = if empty { names.join(",") + "\n" } else { String::new() };
        let cells: Vec<String> = values.iter().map(|value| format!("{value}")).collect();
        text += &(cells.join(",") + "\n");
        file.write_all(text.as_bytes()).map_err(failed)
    }

    /// The iteration of the last row.
    pub(super) fn last_iteration(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.path).ok()?;
        text.lines().last().and_then(cells).map(|values| values[0] as u64)
    }

    /// Keeps the whole rows up to `iteration` in increasing order; says what was dropped. A table with other columns is put aside.
    pub(super) fn mend(&self, iteration: u64, names: &[&str]) -> Result<Option<String>, Failure> {
        let Ok(bytes) = fs::read(&self.path) else { return Ok(None) };
        let Some(Mended { kept, cut, beyond }) = mended(&bytes, iteration, names) else {
            let aside = self.path.with_file_name(format!("metrics-until-{iteration}.csv"));
            fs::rename(&self.path, &aside)
                .map_err(|error| Failure::bad_input(aside.display(), error, "a writable file"))?;
            return Ok(Some(format!("metrics.csv has other columns and is kept as {}", aside.display())));
        };
        if kept.as_bytes() == bytes {
            return Ok(None);
        }
        write_atomically(&self.path, kept.as_bytes())?;
        Ok(Some(format!(
            "metrics.csv is brought back to iteration {iteration} of the checkpoint: {beyond} rows beyond it and {cut} damaged ones dropped"
        )))
    }
}

/// What [`mended`] leaves of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The header and the rows that are kept.
    pub kept: String,
    /// Rows that are no rows of numbers, or cut.
    pub cut: usize,
    /// Rows after the iteration, or not after the row before them.
    pub beyond: usize,
}

/// The header of `names` and the whole rows of numbers up to `iteration`, in increasing order; `None` for a table with other columns.
///
/// ```
/// use proxflow::run_directory::mended;
/// let found = mended(b"iteration,loss\n0,0.5\n20,0.4\n40,0.", 20, &["iteration", "loss"]).expect("its columns");
/// assert_eq!((found.kept.as_str(), found.cut, found.beyond), ("iteration,loss\n0,0.5\n20,0.4\n", 1, 0));
/// assert_eq!(mended(b"step,loss\n", 20, &["iteration", "loss"]), None);
/// ```
pub fn mended(bytes: &[u8], iteration: u64, names: &[&str]) -> Option<Mended> {
    let text = String::from_utf8_lossy(bytes);
    let header = names.join(",");
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or("");
    if first.trim_end() != header && !header.starts_with(first) {
        return None;
    }
    let (mut mended, mut last) = (Mended { kept: header + "\n", cut: 0, beyond: 0 }, None);
    for line in lines {
        // A line without its end was cut, and one with more after the last number than that is none that was written here.
        let row = line.strip_suffix('\n').map(|row| row.strip_suffix('\r').unwrap_or(row));
        match row.and_then(cells).filter(|values| values.len() == names.len()) {
            Some(values) if values[0] > iteration as f64 || Some(values[0]) <= last => mended.beyond += 1,
            // A row without an iteration has no place.
            Some(values) if values[0].is_nan() => mended.cut += 1,
            Some(values) => {
                last = Some(values[0]);
                mended.kept += row.unwrap_or_default();
                mended.kept.push('\n');
            }
            None => mended.cut += 1,
        }
    }
    Some(mended)
}

/// The numbers of a row, when all its cells are numbers.
fn cells(line: &str) -> Option<Vec<f64>> {
    line.split(',').map(|cell| cell.parse().ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["iteration", "loss"];

    fn table() -> (tempfile::TempDir, Metrics) {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(folder.path().join("metrics.csv"));
        for iteration in [0.0, 20.0, 40.0] {
            metrics.append(&NAMES, &[iteration, 0.5]).unwrap();
        }
        (folder, metrics)
    }

    #[test]
    fn metrics_are_brought_back_to_the_checkpoint() {
        let (_folder, metrics) = table();
        let notice = metrics.mend(20, &NAMES).unwrap().unwrap();
        assert!(notice.contains("1 rows beyond"), "{notice}");
        assert_eq!(fs::read_to_string(&metrics.path).unwrap(), "iteration,loss\n0,0.5\n20,0.5\n");
        assert_eq!(metrics.mend(20, &NAMES).unwrap(), None);
        assert_eq!(metrics.last_iteration(), Some(20));
    }

    #[test]
    fn a_table_cut_anywhere_is_mended_and_continued() {
        let (_folder, metrics) = table();
        let whole = fs::read(&metrics.path).unwrap();
        for end in 0..whole.len() {
            fs::write(&metrics.path, &whole[..end]).unwrap();
            metrics.mend(40, &NAMES).unwrap();
            metrics.append(&NAMES, &[60.0, 0.25]).unwrap();
            let text = fs::read_to_string(&metrics.path).unwrap();
            assert!(text.starts_with("iteration,loss\n") && text.ends_with("\n60,0.25\n"), "{end}: {text}");
            let rows: Vec<_> = text.lines().skip(1).map(|line| cells(line).unwrap()).collect();
            assert!(rows.iter().all(|row| row.len() == 2) && rows.len() <= 4, "{end}: {text}");
        }
    }

    #[test]
    fn returns_within_a_row_damage_it_and_one_at_its_end_does_not() {
        let found = mended(b"iteration,loss\r\n0,0.5\r\n20,0.4\x0c\r\r\n40,0.3\n", 60, &NAMES).unwrap();
        assert_eq!((found.kept.as_str(), found.cut), ("iteration,loss\n0,0.5\n40,0.3\n", 1));
    }

    #[test]
    fn doubled_rows_are_dropped_and_other_columns_put_aside() {
        let (folder, metrics) = table();
        metrics.append(&NAMES, &[20.0, 0.75]).unwrap();
        assert!(metrics.mend(40, &NAMES).unwrap().is_some());
        assert_eq!(metrics.last_iteration(), Some(40));
        assert!(metrics.mend(40, &["iteration", "cost"]).unwrap().unwrap().contains("other columns"));
        assert!(folder.path().join("metrics-until-40.csv").exists() && !metrics.path.exists());
    }
}
