//! What several test files share.

use std::io::Write;

/// Says that a test is skipped, past the capture of the test harness, which hides what a passing test prints.
pub fn skipped(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: {reason}");
}
