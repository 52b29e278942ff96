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

#[test]
fn every_mutation_names_claims_of_the_list() {
    let mutations = proxflow_validation::document::mutations();
    assert!(mutations.len() >= 20);
    for mutation in mutations {
        assert!(!mutation.claims.is_empty(), "{}", mutation.name);
        for id in &mutation.claims {
            assert!(proxflow_validation::claims::find(id).is_some(), "{}: no claim {id}", mutation.name);
        }
    }
}

#[test]
fn the_sweep_finds_places_to_mutate_in_every_group() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/validation/sweep.py");
    let output = Command::new("python3").args([script, "--list"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts: Vec<usize> = text
        .lines()
        .filter_map(|line| line.strip_suffix(" mutants")?.split_whitespace().nth(1)?.parse().ok())
        .collect();
    assert!(counts.len() == 5 && counts.iter().all(|count| *count > 20), "{text}");
}
