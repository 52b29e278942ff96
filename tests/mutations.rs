//! The mutation script breaks the code by replacing exact texts: each must still stand, once, where the script looks for it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn every_mutation_still_finds_the_text_it_replaces() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/validation/mutations.py");
    let output = Command::new("python3").args([script, "--list"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).lines().count() >= 20);
}
