//! Outputs: checked together before the work, written so that nothing is lost.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::command::Failure;

/// The files that one command reads and writes, each with the option that names it.
///
/// [`check`](Self::check) refuses, before any work: an output that is an input; two outputs that are one file; a folder, a
/// read-only file, a link to nothing; a folder that takes no files; a file of another command that nobody told this one to
/// replace.
#[derive(Debug, Default)]
pub struct Outputs {
    inputs: Vec<(String, PathBuf)>,
    outputs: Vec<(String, PathBuf)>,
}

impl Outputs {
    /// Nothing to read or write yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file that the command reads.
    pub fn input(mut self, option: &str, path: Option<&Path>) -> Self {
        self.inputs.extend(path.map(|path| (option.to_owned(), path.to_owned())));
        self
    }

    /// A file that an option tells the command to write.
    pub fn output(mut self, option: &str, path: Option<&Path>) -> Self {
        self.outputs.extend(path.map(|path| (option.to_owned(), path.to_owned())));
        self
    }

    /// The target of `--json`: a file unless it is `-`.
    pub fn json(self, target: Option<&str>) -> Self {
        let file = target.filter(|target| *target != "-").map(Path::new);
        self.output("--json", file)
    }

    /// Refuses what cannot or must not be written.
    pub fn check(&self) -> Result<(), Failure> {
        for (k, (option, path)) in self.outputs.iter().enumerate() {
            require_writable(option, path)?;
            let place = Place::of(path);
            if let Some((input, _)) = self.inputs.iter().find(|(_, other)| place.is(&Place::of(other))) {
                let value = format!("{}, which {input} reads", path.display());
                return Err(Failure::bad_input(option, value, "a file that is not an input"));
            }
            if let Some((other, _)) = self.outputs[..k].iter().find(|(_, other)| place.is(&Place::of(other)))
            {
                let value = format!("{}, named for two outputs, {other} and {option}", path.display());
                return Err(Failure::bad_input(option, value, "a file for each output"));
            }
        }
        Ok(())
    }
}

/// Refuses to replace `path`, which no option names, unless it is absent or a JSON object with the `keys` of this command's
/// own reports. `remedy` says how to write elsewhere.
pub fn require_own_report(path: &Path, keys: &[&str], remedy: &str) -> Result<(), Failure> {
    let Ok(found) = path.metadata() else { return Ok(()) };
    let own = found.is_file()
        && std::fs::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
            .is_some_and(|value| keys.iter().all(|key| value.get(key).is_some()));
    if own {
        return require_writable("output", path);
    }
    let value = format!("{}, a file of another command, would be replaced", path.display());
    Err(Failure::bad_input("output", value, remedy))
}

/// Refuses, before the work, a `folder` in which no file can be written: one that exists, or the nearest above it that does.
pub fn require_folder(option: &str, folder: &Path) -> Result<(), Failure> {
    let nearest = folder.ancestors().find(|path| path.symlink_metadata().is_ok());
    let nearest = nearest.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match tempfile::tempfile_in(nearest) {
        Ok(_) => Ok(()),
        Err(error) => {
            let value = format!("{} ({error})", folder.display());
            Err(Failure::bad_input(option, value, "a folder that can be made and written to"))
        }
    }
}

fn require_writable(option: &str, path: &Path) -> Result<(), Failure> {
    let refuse = |value: &dyn std::fmt::Display, allowed: &str| {
        Err(Failure::bad_input(format!("{option}: cannot write {}", path.display()), value, allowed))
    };
    if path.as_os_str().is_empty() {
        return refuse(&"an empty name", "a file");
    }
    match path.metadata() {
        Ok(found) if found.is_dir() => return refuse(&"a folder", "a file"),
        Ok(found) if found.is_file() && found.permissions().readonly() => {
            return refuse(&"read-only", "a file that can be written to");
        }
        Ok(found) if !found.is_file() => {
            // A device or pipe is written into; opening a pipe here would wait for its reader.
            return match File::options().write(true).open(path) {
                _ if !is_device(&found) => Ok(()),
                Ok(_) => Ok(()),
                Err(error) => refuse(&error, "a device that can be written to"),
            };
        }
        Ok(_) => {}
        Err(_) if path.is_symlink() => return refuse(&"a link to nothing", "a file, or a link to one"),
        Err(_) => {}
    }
    match tempfile::NamedTempFile::new_in(folder_of(&resolved(path))) {
        Ok(_) => Ok(()),
        Err(error) => refuse(&error, "a folder that can be written to"),
    }
}

#[cfg(unix)]
fn is_device(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    found.file_type().is_char_device() || found.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_device(_: &std::fs::Metadata) -> bool {
    true
}

/// Which file a path means, so that two spellings, links and hard links of one file are told to be the same.
struct Place {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let path = resolved(path);
        let path = match (path.parent(), path.file_name()) {
            (Some(_), Some(name)) => {
                folder_of(&path).canonicalize().map_or(path.clone(), |folder| folder.join(name))
            }
            _ => path,
        };
        let identity =
            path.metadata().ok().filter(|found| found.is_file()).and_then(|found| identity(&found));
        Self { path, identity }
    }

    fn is(&self, other: &Self) -> bool {
        // Writing twice into one device loses nothing that writing once would keep.
        let device = self.path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        !device && (self.path == other.path || (self.identity.is_some() && self.identity == other.identity))
    }
}

#[cfg(unix)]
fn identity(found: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// What a link points to, the path itself otherwise.
fn resolved(path: &Path) -> PathBuf {
    if path.is_symlink() { path.canonicalize().unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes `bytes` to `path` through a temporary file in the same folder, so that a full disk or a killed process never
/// leaves a truncated file behind. A link keeps pointing where it did; a device or pipe is written into.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::bad_input(
            format!("cannot write {}", path.display()),
            error,
            "a writable path with free space",
        )
    };
    if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        let mut device = OpenOptions::new().write(true).open(path).map_err(failed)?;
        return device.write_all(bytes).and_then(|()| device.flush()).map_err(failed);
    }
    let path = &resolved(path);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let short: String = name.chars().take(40).collect();
    let mut file = tempfile::Builder::new()
        .prefix(&format!(".{short}."))
        .suffix(".partial")
        .tempfile_in(folder_of(path))
        .map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(outcome: Result<(), Failure>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn an_output_over_an_input_is_refused_under_every_name_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("x.npy");
        std::fs::write(&input, "x").unwrap();
        std::os::unix::fs::symlink(&input, folder.path().join("link.npy")).unwrap();
        std::fs::hard_link(&input, folder.path().join("hard.npy")).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["x.npy", "link.npy", "hard.npy", "sub/../x.npy"] {
            let output = folder.path().join(name);
            let text =
                line(Outputs::new().input("--data", Some(&input)).output("--out", Some(&output)).check());
            assert!(text.contains("--out") && text.contains("--data"), "{name}: {text}");
        }
        let beside = folder.path().join("y.npy");
        Outputs::new().input("--data", Some(&input)).output("--out", Some(&beside)).check().unwrap();
        assert!(!beside.exists());
    }

    #[test]
    fn two_outputs_with_one_name_are_refused_and_both_options_named() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.npy"), folder.path().join("./a.npy"));
        let text =
            line(Outputs::new().output("--plan", Some(&first)).output("--potential", Some(&second)).check());
        assert!(text.contains("--plan and --potential"), "{text}");
        Outputs::new().json(Some("-")).output("--plan", Some(&first)).check().unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_named_before_the_work() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("kept"), "kept").unwrap();
        std::fs::set_permissions(path("kept"), std::fs::Permissions::from_mode(0o444)).unwrap();
        std::os::unix::fs::symlink(path("absent"), path("dangling")).unwrap();
        for (name, words) in [
            ("kept", "read-only"),
            ("dangling", "a link to nothing"),
            ("none/x", "folder that can be written"),
            ("kept/x", "folder that can be written"),
            ("", "a folder"),
        ] {
            let text = line(Outputs::new().output("--out", Some(&path(name))).check());
            assert!(text.contains(words) && text.contains("--out"), "{name}: {text}");
        }
    }

    #[test]
    fn links_keep_pointing_and_devices_are_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(link.is_symlink() && std::fs::read(&real).unwrap() == b"new");
        write_atomically(Path::new("/dev/null"), b"gone").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
        assert!(
            write_atomically(Path::new("/dev/full"), b"x").unwrap_err().to_string().contains("/dev/full")
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file stays");
    }

    #[test]
    fn folders_are_judged_by_the_nearest_that_exists() {
        let folder = tempfile::tempdir().unwrap();
        assert!(require_folder("hub", &folder.path().join("a/b/c")).is_ok());
        assert!(require_folder("hub", folder.path()).is_ok());
        assert!(require_folder("hub", Path::new("relative")).is_ok());
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        for taken in [file.clone(), file.join("below")] {
            let error = require_folder("hub", &taken).unwrap_err().to_string();
            assert!(error.contains("hub: ") && error.contains("file"), "{error}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    }

    #[test]
    fn reports_of_other_commands_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let check = || require_own_report(&report, &["claims", "provenance"], "--out in another folder");
        check().unwrap();
        std::fs::write(&report, "{\"claims\": [], \"provenance\": {}}").unwrap();
        check().unwrap();
        for foreign in ["{\"dataset\": \"mnist\"}", "text", ""] {
            std::fs::write(&report, foreign).unwrap();
            assert!(line(check()).contains("another folder"));
        }
    }
}
