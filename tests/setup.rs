//! The set-up script: re-running it on a machine that is set up does nothing, and `doctor` names every part.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Output};

fn setup(action: &str) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup.py");
    Command::new("python3").args([script, action]).env_remove("LIBTORCH").output().unwrap()
}

#[test]
fn running_the_set_up_again_does_nothing() {
    if !std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.libtorch")).exists() {
        common::skipped(
            "running_the_set_up_again_does_nothing",
            "libtorch was not provisioned by `make setup`",
        );
        return;
    }
    let output = setup("install");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn doctor_names_every_part() {
    let text = String::from_utf8(setup("doctor").stdout).unwrap();
    for part in ["toolchain", "libtorch", "LAPACK", "device", "data set"] {
        assert!(text.lines().any(|line| line.starts_with(part)), "{part} in {text}");
    }
}
