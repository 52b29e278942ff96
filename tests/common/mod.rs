//! What several test files share; each uses some of it.
#![allow(dead_code)]

#[cfg(feature = "torch")]
pub mod mnist;

use std::io::Write;

/// Says that a test is skipped, past the capture of the test harness, which hides what a passing test prints.
pub fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
}
