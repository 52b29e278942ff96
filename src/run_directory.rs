//! The folder of one training run: `config.toml`, `metrics.csv`, a TensorBoard event file, `curves.svg`, `samples-*.png`,
//! `checkpoint.safetensors`, `report.json`; and `run.lock` while a process works on it.
//!
//! A process may be killed at any moment. What counts is the checkpoint, which is replaced whole or not at all; everything else is
//! brought back to it when the run is continued: see [`RunDirectory::mend`].

mod events;
mod lock;
mod metrics;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::events::EventFile;
use self::lock::RunLock;
use self::metrics::Metrics;
pub use self::metrics::{Mended, mended};
use proxflow_io::output::Outputs;

use crate::command::{Failure, write_atomically};

/// A run's folder, held by this process alone.
#[derive(Debug)]
pub struct RunDirectory {
    folder: PathBuf,
    lock: RunLock,
    /// What was found and put right, one sentence each, to be shown to the user.
    pub notices: Vec<String>,
}

/// How the `config.toml` of a run begins; a file without it was not written by one.
const MARK: &str = "# Resolved configuration of a run; ";

/// The rest of its first line.
const HINT: &str = "the same command with `--out FOLDER --resume` continues it.";

impl RunDirectory {
    /// `outputs` that may be none of the files of the run in `folder`, which `option` names: they are refused before the work.
    pub fn keep_from(outputs: Outputs, option: &str, folder: &Path) -> Outputs {
        FILES.iter().fold(outputs, |outputs, name| outputs.input(option, Some(&folder.join(name))))
    }

    /// Refuses, before the work, a `--json` that is a file of the run in `folder` or that cannot be written; one that lies in a folder
    /// yet to be made is judged by its name.
    pub fn check_json(json: Option<&str>, folder: Option<&Path>) -> Result<(), Failure> {
        let path = json.filter(|target| *target != "-").map(Path::new);
        let (Some(path), Some(folder)) = (path, folder) else { return Outputs::new().json(json).check() };
        if path.parent() != Some(folder) || folder.exists() {
            return Self::keep_from(Outputs::new(), "--out", folder).json(json).check();
        }
        match path.file_name().filter(|name| FILES.iter().any(|own| own == name)) {
            Some(_) => {
                let value = format!("{}, a file of the run", path.display());
                Err(Failure::bad_input("--json", value, "another file"))
            }
            None => Ok(()),
        }
    }

    /// Takes a folder for a new run. A folder that holds a run already is refused, so that nothing is lost; one whose run was
    /// killed before its first checkpoint holds nothing and is taken.
    pub fn create(folder: &Path) -> Result<Self, Failure> {
        Self::require_unused(folder)?;
        let directory = Self::hold(folder)?;
        Self::require_unused(folder)?;
        Ok(directory)
    }

    /// Checks that [`Self::create`] would not refuse the folder for what it holds.
    pub fn require_unused(folder: &Path) -> Result<(), Failure> {
        let held =
            folder.join(CHECKPOINT).exists() || (folder.join(CONFIGURATION).exists() && !marked(folder));
        let allowed = "a folder without a run, or --resume to continue this one";
        match held {
            true => Err(Failure::bad_input("out", format!("{} (holds a run)", folder.display()), allowed)),
            false => Ok(()),
        }
    }

    /// Takes the folder of a run to be continued, which no other process may be working on.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Self::require_run(folder)?;
        Self::hold(folder)
    }

    /// Checks that the folder holds a run: its configuration with a checkpoint, or a configuration written by a run that was killed before its first one.
    pub fn require_run(folder: &Path) -> Result<(), Failure> {
        if folder.join(CONFIGURATION).exists() && (folder.join(CHECKPOINT).exists() || marked(folder)) {
            return Ok(());
        }
        let allowed = "a folder with config.toml and checkpoint.safetensors";
        Err(Failure::bad_input("out", format!("{} (no run to resume)", folder.display()), allowed))
    }

    fn hold(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            let allowed = "a writable folder with free space";
            Failure::bad_input("out", format!("{} ({error})", folder.display()), allowed)
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let (lock, notice) = RunLock::acquire(folder)?;
        let mut directory = Self { folder: folder.to_owned(), lock, notices: Vec::from_iter(notice) };
        let removed = directory.remove_unfinished().map_err(failed)?;
        if removed > 0 {
            directory.notices.push(format!("{removed} unfinished files of a killed process are removed"));
        }
        tempfile::tempfile_in(folder).map(drop).map_err(failed)?;
        Ok(directory)
    }

    /// Temporary files of atomic writes that never came to their end; nobody else writes here while the lock is held.
    fn remove_unfinished(&self) -> std::io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let random = name.to_str().and_then(|name| name.strip_prefix(".tmp")).unwrap_or("");
            let temporary = random.len() == 6 && random.chars().all(|c| c.is_ascii_alphanumeric());
            if temporary && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The first of `base`, `base-2`, `base-3`, ... that does not exist.
    pub fn unused(base: &Path) -> PathBuf {
        let name = base.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        std::iter::once(base.to_owned())
            .chain((2..).map(|number: u64| base.with_file_name(format!("{name}-{number}"))))
            .find(|path| !path.exists())
            .unwrap_or_else(|| base.to_owned())
    }

    /// Brings `metrics.csv` and the event file back to `iteration`, that of the checkpoint: rows beyond it, which a resumed run
    /// writes again, and a row that was cut off are dropped.
    pub fn mend(&mut self, iteration: u64, names: &[&str]) -> Result<(), Failure> {
        let notice = Metrics::new(self.metrics()).mend(iteration, names)?;
        self.notices.extend(notice);
        EventFile::in_folder(&self.folder).mend(iteration)
    }

    /// Appends one row to `metrics.csv` and to the event file, the header first when they are new. `values[0]` is the iteration.
    pub fn append_metrics(&self, names: &[&str], values: &[f64]) -> Result<(), Failure> {
        Metrics::new(self.metrics()).append(names, values)?;
        EventFile::in_folder(&self.folder).append(values[0] as u64, &names[1..], &values[1..])
    }

    /// The iteration of the last row of `metrics.csv`.
    pub fn last_logged(&self) -> Option<u64> {
        Metrics::new(self.metrics()).last_iteration()
    }

    /// Writes `config.toml`.
    pub fn write_configuration(&self, text: &str) -> Result<(), Failure> {
        write_atomically(&self.configuration(), format!("{MARK}{HINT}\n{text}").as_bytes())
    }

    /// A sign of life for processes on other machines that find the lock; cheap enough for every iteration.
    pub fn beat(&self) {
        self.lock.beat();
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// `config.toml`, the resolved configuration.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join(CONFIGURATION)
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
        Self::checkpoint_in(&self.folder)
    }

    /// `checkpoint.safetensors` of the run in `folder`, for a process that only reads it.
    pub fn checkpoint_in(folder: &Path) -> PathBuf {
        folder.join(CHECKPOINT)
    }

    /// `report.json`.
    pub fn report(&self) -> PathBuf {
        self.folder.join("report.json")
    }

    /// `samples-{iteration}.png`.
    pub fn samples(&self, iteration: u64) -> PathBuf {
        self.folder.join(format!("samples-{iteration:06}.png"))
    }
}

/// What a run writes under fixed names.
const FILES: [&str; 7] =
    [CONFIGURATION, CHECKPOINT, "metrics.csv", "report.json", "curves.svg", "run.lock", "data.json"];
const CONFIGURATION: &str = "config.toml";
const CHECKPOINT: &str = "checkpoint.safetensors";

fn marked(folder: &Path) -> bool {
    fs::read(folder.join(CONFIGURATION)).is_ok_and(|bytes| bytes.starts_with(MARK.as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_run_is_not_overwritten_and_an_empty_one_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(RunDirectory::open(folder.path()).is_err());
        fs::write(folder.path().join("config.toml"), "").unwrap();
        assert!(RunDirectory::create(folder.path()).is_err());
        assert!(RunDirectory::open(folder.path()).is_err());
        let base = folder.path().join("run");
        fs::create_dir(&base).unwrap();
        assert_eq!(RunDirectory::unused(&base), folder.path().join("run-2"));
    }

    #[test]
    fn a_run_killed_before_its_first_checkpoint_restarts_or_resumes_and_its_unfinished_files_go() {
        let folder = tempfile::tempdir().unwrap();
        RunDirectory::create(folder.path()).unwrap().write_configuration("seed = 1\n").unwrap();
        for name in [".tmpAb12cd", ".tmpxxxxxx"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        fs::write(folder.path().join(".tmp-mine"), "kept").unwrap();
        fs::write(folder.path().join("run.lock"), r#"{"process":1,"host":""}"#).unwrap();
        let directory = RunDirectory::open(folder.path()).unwrap();
        assert!(
            directory.notices.iter().any(|line| line.starts_with("2 unfinished")),
            "{:?}",
            directory.notices
        );
        drop(directory);
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".tmp-mine", "config.toml"]);
        assert!(RunDirectory::create(folder.path()).is_ok());
        fs::write(folder.path().join("checkpoint.safetensors"), "").unwrap();
        assert!(RunDirectory::create(folder.path()).is_err());
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
