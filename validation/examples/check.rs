//! Runs the claims named on the command line (all without names); exit 1 when one fails. Used by `mutations.py`.
use std::process::ExitCode;

use proxflow_validation::{Setting, Verdict, claims};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut failed = false;
    for claim in claims::all().into_iter().filter(|c| names.is_empty() || names.iter().any(|n| n == c.id)) {
        let outcome = claim.run(&Setting::from_environment());
        println!("{:24} {:6.1} s  {:?}\n{}", outcome.id, outcome.seconds, outcome.verdict, outcome.finding);
        failed |= matches!(outcome.verdict, Verdict::Fails(_));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
