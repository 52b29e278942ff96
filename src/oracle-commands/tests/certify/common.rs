//! How the tests call `certify`, and the files they give it.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use ndarray::array;
use proxflow_io::array::write_array;
use serde_json::Value;

pub fn certify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_certify")).args(arguments).output().unwrap()
}

/// One line that starts with the program's name, and exit code 2.
pub fn bad_input(arguments: &[&str], fragments: &[&str]) {
    let output = certify(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("certify: "), "{message}");
    for fragment in fragments {
        assert!(message.contains(fragment), "{fragment} not in {message}");
    }
    assert!(output.stdout.is_empty());
}

pub struct Files {
    pub folder: tempfile::TempDir,
}

impl Files {
    /// Two small point sets with weights.
    pub fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        write_array(&files.path("x.npy"), &array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).unwrap();
        write_array(&files.path("p.npy"), &array![0.5, 0.25, 0.25]).unwrap();
        write_array(&files.path("z.npy"), &array![[3.0, 0.0], [0.0, 1.0]]).unwrap();
        write_array(&files.path("q.npy"), &array![0.4, 0.6]).unwrap();
        files
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }

    pub fn listing(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Runs a task that must succeed in silence and returns its JSON.
pub fn report(arguments: &[&str]) -> Value {
    let output = certify(&[arguments, &["--json", "-"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "progress belongs on a terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
}
