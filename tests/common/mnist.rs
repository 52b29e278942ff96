//! The `mnist` command run from a test.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the command.
pub fn mnist(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mnist")).args(arguments).output().unwrap()
}

/// The JSON that a successful run prints.
pub fn json(arguments: &[&str]) -> Value {
    let output = mnist(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must be refused: exit code 2 and one line on standard error that contains `expected`.
pub fn refused(arguments: &[&str], expected: &str) {
    let output = mnist(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("data: ")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(expected), "{text}");
}

/// Tensor bytes of a checkpoint, by name.
pub fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut found: Vec<_> =
        parsed.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
    found.sort();
    found
}
