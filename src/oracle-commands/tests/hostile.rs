//! Hostile inputs, options, outputs and streams for `certify` and `torus`: more than a thousand rows, each a process of its own.
//!
//! The data and the harness are in `tests/hostile` of the workspace.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

#[path = "../../../tests/hostile/mod.rs"]
mod hostile;

use hostile::matrix::{Row, product, single};

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../../../tests/hostile/data/", $name, ".tsv"))
    };
}

fn rows() -> Vec<Row> {
    [
        product("arrays", data!("slots"), data!("arrays")),
        product("values", data!("options"), data!("values")),
        product("outputs", data!("output_options"), data!("outputs")),
        single("lines", data!("lines")),
    ]
    .concat()
}

#[test]
fn every_hostile_row_ends_as_the_data_says() {
    let rows = rows();
    assert!(rows.len() >= 1000, "{} rows", rows.len());
    hostile::run::run(
        &rows,
        &[("certify", env!("CARGO_BIN_EXE_certify")), ("torus", env!("CARGO_BIN_EXE_torus"))],
        6,
        &|_| {},
    );
}

#[test]
fn the_check_notices_a_wrong_exit_a_missing_word_and_a_changed_input() {
    let row = |text: &str| single("control", text).remove(0);
    let fails = |row: Row| {
        let programs = [("certify", env!("CARGO_BIN_EXE_certify")), ("sh", "/bin/sh")];
        std::panic::catch_unwind(|| hostile::run::run(&[row], &programs, 6, &|_| {})).is_err()
    };
    assert!(fails(row("certify --version\t2\t")));
    assert!(fails(row("certify nonsense\t2\tother word")));
    assert!(fails(row("sh -c echo\\snan\t0\t")));
    assert!(fails(row("sh -c rm\\skept/x.npy\t0\t")));
    assert!(fails(row("sh -c echo\\sx\\s>>in/p.npy\t0\t")));
    assert!(fails(row("sh -c echo\\ssh:\\sallowed:\\sx\\s>&2;>left;exit\\s2\t2\t")));
    assert!(fails(row("sh -c kill\\s-6\\s$$\t1\t")));
    assert!(!fails(row("certify --version\t0\t")));
}
