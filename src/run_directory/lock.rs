//! One process a run: `run.lock` names the process and the machine that work on the folder.
//!
//! On one machine the operating system decides: the file is locked for as long as the process lives, so a lock whose process was
//! killed is free by itself. Between machines, where that does not reach everywhere, the file's time is a sign of life.

use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::command::Failure;

/// A sign of life is given at most this often.
const BEAT: Duration = Duration::from_secs(15);
/// A process on another machine that gave none for this long has ended.
const SILENCE: Duration = Duration::from_secs(300);

/// The lock of a run, released when dropped.
#[derive(Debug)]
pub(super) struct RunLock {
    path: PathBuf,
    file: File,
    beaten: Cell<Instant>,
}

/// Who holds a lock.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder {
    process: u32,
    host: String,
}

impl Holder {
    fn own() -> Self {
        Self { process: std::process::id(), host: gethostname::gethostname().to_string_lossy().into_owned() }
    }

    /// Whether the process runs on this machine, where the system tells.
    fn lives_here(&self) -> bool {
        self.host == Self::own().host
            && self.process != std::process::id()
            && Path::new("/proc").join(self.process.to_string()).exists()
    }
}

impl RunLock {
    /// Takes the lock of `folder`, with a word when it was left behind by a process that has ended; refuses one that is held.
    pub(super) fn acquire(folder: &Path) -> Result<(Self, Option<String>), Failure> {
        let path = folder.join("run.lock");
        let failed = |error: std::io::Error| {
            Failure::bad_input("out", format!("{}: {error}", path.display()), "a writable lock file")
        };
        let refused = |by: &str| {
            let allowed = "one process a run: wait for its end, or stop it";
            Failure::bad_input("out", format!("{} (in use by {by})", folder.display()), allowed)
        };
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed)?;
            let held = match file.try_lock() {
                Ok(()) => Some(true),
                Err(TryLockError::WouldBlock) => None,
                // A file system without locks: the process number decides.
                Err(TryLockError::Error(_)) => Some(false),
            };
            let holder = read(&mut file);
            let name = |holder: &Holder| format!("process {} on {}", holder.process, holder.host);
            let Some(locked) = held else {
                return Err(refused(&holder.as_ref().map_or("another process".to_owned(), name)));
            };
            if locked && !is_at(&file, &path) {
                continue; // Its last holder has just removed it.
            }
            if let Some(holder) = &holder {
                let age =
                    file.metadata().and_then(|m| m.modified()).map_err(failed)?.elapsed().unwrap_or_default();
                let elsewhere = holder.host != Holder::own().host && !holder.host.is_empty();
                if elsewhere && age < SILENCE {
                    return Err(refused(&format!("{}, {} s ago", name(holder), age.as_secs())));
                }
                if !locked && holder.lives_here() {
                    return Err(refused(&name(holder)));
                }
            }
            let own =
                serde_json::to_string(&Holder::own()).map_err(|error| Failure::Run(error.to_string()))?;
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(own.as_bytes()))
                .map_err(failed)?;
            let notice =
                holder.map(|holder| format!("the lock of {}, which has ended, is taken over", name(&holder)));
            return Ok((Self { path, file, beaten: Cell::new(Instant::now()) }, notice));
        }
    }

    /// Sets the file's time to now.
    pub(super) fn beat(&self) {
        if self.beaten.get().elapsed() >= BEAT {
            self.beaten.set(Instant::now());
            // A missed sign of life costs nothing.
            let _ = self.file.set_modified(SystemTime::now());
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether the open `file` is still the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let same = |a: std::fs::Metadata, b: std::fs::Metadata| a.ino() == b.ino() && a.dev() == b.dev();
        file.metadata().and_then(|a| Ok(same(a, std::fs::metadata(path)?))).unwrap_or(false)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn leave(folder: &Path, host: &str) -> PathBuf {
        let path = folder.join("run.lock");
        let holder = Holder { process: 4_000_000_000, host: host.to_owned() };
        std::fs::write(&path, serde_json::to_string(&holder).unwrap()).unwrap();
        path
    }

    #[test]
    fn a_held_lock_is_refused_with_its_process_and_a_released_one_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (lock, notice) = RunLock::acquire(folder.path()).unwrap();
        assert_eq!(notice, None);
        let error = RunLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {} on ", std::process::id())), "{error}");
        drop(lock);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        RunLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_left_behind_is_taken_over_and_damaged_ones_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = leave(folder.path(), &Holder::own().host);
        let (lock, notice) = RunLock::acquire(folder.path()).unwrap();
        assert!(notice.unwrap().contains("process 4000000000"));
        drop(lock);
        std::fs::write(&path, [0xff; 5000]).unwrap();
        RunLock::acquire(folder.path()).unwrap();
    }

    #[test]
    fn a_lock_of_another_machine_holds_until_its_signs_of_life_stop() {
        let folder = tempfile::tempdir().unwrap();
        let path = leave(folder.path(), "elsewhere");
        let error = RunLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(error.contains("4000000000 on elsewhere"), "{error}");
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - 2 * SILENCE).unwrap();
        drop(file);
        RunLock::acquire(folder.path()).unwrap();
    }
}
