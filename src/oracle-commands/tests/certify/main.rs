//! The `certify` command from outside: its contract of keys, files and exit codes.
#![allow(clippy::unwrap_used)]

mod common;
mod flows;
mod refusals;
mod transport;
mod values;
