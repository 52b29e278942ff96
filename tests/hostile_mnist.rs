//! Hostile checkpoints, configurations, options, outputs and streams for `mnist` and `validate`, as `tests/hostile` has them for the
//! commands of the oracle.
#![cfg(all(feature = "torch", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

#[path = "hostile/mod.rs"]
mod hostile;
#[path = "hostile/networks.rs"]
mod networks;

use std::path::Path;
use std::process::Command;

use hostile::matrix::{Row, product, single};

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("hostile/data/", $name, ".tsv"))
    };
}

fn rows() -> Vec<Row> {
    [
        product("networks", data!("network_slots"), data!("networks")),
        product("configurations", data!("configuration_slots"), data!("configurations")),
        product("values", data!("training_options"), data!("training_values")),
        product("trajectories", data!("validate_slots"), data!("arrays")),
        single("lines", data!("training_lines")),
    ]
    .concat()
}

/// The inputs of the oracle's commands, a run without iterations as `run`, and what is made from its checkpoint.
fn make(folder: &Path) {
    let run = folder.join("run");
    let small = [
        "--model",
        "published",
        "--dataset",
        "strokes",
        "--train-size",
        "8",
        "--batch",
        "2",
        "--iterations",
        "0",
        "--threads",
        "1",
    ];
    let output =
        Command::new(env!("CARGO_BIN_EXE_mnist")).args(small).arg("--out").arg(&run).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    networks::make(folder, &run.join("checkpoint.safetensors"));
}

#[test]
fn every_hostile_row_of_mnist_and_validate_ends_as_the_data_says() {
    let rows = rows();
    assert!(rows.len() >= 350, "{} rows", rows.len());
    let programs = [
        ("mnist", env!("CARGO_BIN_EXE_mnist")),
        ("validate", env!("CARGO_BIN_EXE_validate")),
        ("flow", env!("CARGO_BIN_EXE_flow")),
    ];
    hostile::run::run(&rows, &programs, 6, &make);
}
