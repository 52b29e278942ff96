//! The folder of one training run: `config.toml`, `metrics.csv`, `curves.svg`, `samples-*.png`, `checkpoint.safetensors`, `report.json`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Failure, write_atomically};

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    folder: PathBuf,
}

impl RunDirectory {
    /// Creates a folder for a new run. A folder that holds a run already is refused, so that nothing is lost.
    pub fn create(folder: &Path) -> Result<Self, Failure> {
        let directory = Self { folder: folder.to_owned() };
        if directory.configuration().exists() || directory.checkpoint().exists() {
            let allowed = "a folder without a run, or --resume to continue this one";
            return Err(Failure::bad_input("out", format!("{} (holds a run)", folder.display()), allowed));
        }
        directory.check_writable()?;
        Ok(directory)
    }

    /// Opens the folder of a run to be continued.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let directory = Self { folder: folder.to_owned() };
        if !directory.checkpoint().exists() || !directory.configuration().exists() {
            let allowed = "a folder with config.toml and checkpoint.safetensors";
            return Err(Failure::bad_input(
                "out",
                format!("{} (no run to resume)", folder.display()),
                allowed,
            ));
        }
        directory.check_writable()?;
        Ok(directory)
    }

    /// The first of `base`, `base-2`, `base-3`, ... that does not exist.
    pub fn unused(base: &Path) -> PathBuf {
        let name = base.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        std::iter::once(base.to_owned())
            .chain((2..).map(|number: u64| base.with_file_name(format!("{name}-{number}"))))
            .find(|path| !path.exists())
            .unwrap_or_else(|| base.to_owned())
    }

    fn check_writable(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::bad_input(
                "out",
                format!("{} ({error})", self.folder.display()),
                "a writable folder with free space",
            )
        };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        tempfile::tempfile_in(&self.folder).map(drop).map_err(failed)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `config.toml`, the resolved configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// `metrics.csv`.
    pub fn metrics(&self) -> PathBuf {
        self.folder.join("metrics.csv")
    }

    /// `curves.svg`.
    pub fn curves(&self) -> PathBuf {
        self.folder.join("curves.svg")
    }

    /// `checkpoint.safetensors`.
    pub fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint.safetensors")
    }

    /// `report.json`.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report.json")
    }

    /// `samples-{iteration}.png`.
    pub fn samples(&self, iteration: u64) -> PathBuf {
        self.folder.join(format!("samples-{iteration:06}.png"))
    }

    /// Appends one row to `metrics.csv`, writing the header first when the file is new.
    pub fn append_metrics(&self, names: &[&str], values: &[f64]) -> Result<(), Failure> {
        use std::io::Write;
        let path = self.metrics();
        let failed = |error: std::io::Error| {
            Failure::bad_input(path.display(), error, "a writable file with free space")
        };
        let mut text = if path.exists() { String::new() } else { names.join(",") + "\n" };
        let cells: Vec<String> = values.iter().map(|value| format!("{value}")).collect();
        text += &(cells.join(",") + "\n");
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)
    }

    /// Drops rows of `metrics.csv` past `iteration`, which a resumed run will write again.
    pub fn rewind_metrics(&self, iteration: u64) -> Result<(), Failure> {
        let path = self.metrics();
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let keep = |line: &&str| {
            line.split(',')
                .next()
                .and_then(|cell| cell.parse::<f64>().ok())
                .is_none_or(|at| at <= iteration as f64)
        };
        let kept: String = text.lines().filter(keep).map(|line| format!("{line}\n")).collect();
        write_atomically(&path, kept.as_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rewound_to_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(folder.path()).unwrap();
        for iteration in [0.0, 20.0, 40.0] {
            run.append_metrics(&["iteration", "loss"], &[iteration, 0.5]).unwrap();
        }
        run.rewind_metrics(20).unwrap();
        assert_eq!(fs::read_to_string(run.metrics()).unwrap(), "iteration,loss\n0,0.5\n20,0.5\n");
    }

    #[test]
    fn a_folder_with_a_run_is_not_overwritten_and_an_empty_one_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunDirectory::open(folder.path()).is_err());
        fs::write(folder.path().join("config.toml"), "").unwrap();
        assert!(RunDirectory::create(folder.path()).is_err());
        let base = folder.path().join("run");
        fs::create_dir(&base).unwrap();
        assert_eq!(RunDirectory::unused(&base), folder.path().join("run-2"));
    }

    #[test]
    fn a_path_that_cannot_be_a_folder_is_bad_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = RunDirectory::create(&file.join("run")).unwrap_err();
        assert!(matches!(error, Failure::BadInput(_)), "{error}");
    }
}
