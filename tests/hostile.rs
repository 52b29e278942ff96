//! Hostile inputs, options, outputs and streams for the commands on libtorch; those of the oracle are in `src/oracle-commands`.
#![allow(clippy::unwrap_used)]
#![cfg(all(feature = "torch", target_os = "linux"))]

#[path = "hostile/mod.rs"]
mod hostile;

use hostile::matrix::{product, single};

#[test]
fn every_hostile_row_for_validate_and_mnist_ends_as_the_data_says() {
    let rows = [
        product(
            "arrays",
            include_str!("hostile/data/slots_validate.tsv"),
            include_str!("hostile/data/arrays.tsv"),
        ),
        single("lines", include_str!("hostile/data/lines_validate.tsv")),
    ]
    .concat();
    // libtorch maps much more than it uses.
    let programs = [("validate", env!("CARGO_BIN_EXE_validate")), ("mnist", env!("CARGO_BIN_EXE_mnist"))];
    hostile::run::run(&rows, &programs, 64);
}
