//! Runs the claims named on the command line (all without names); exit 1 when one fails. Used by `mutations.py`.
use std::process::ExitCode;

use proxflow_validation::claim::number;
use proxflow_validation::{Setting, Verdict, claims};

fn main() -> ExitCode {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let mut failed = false;
    for claim in claims::all().into_iter().filter(|c| names.is_empty() || names.iter().any(|n| n == c.id)) {
        let outcome = claim.run(&Setting::from_environment());
        println!("{:24} {:6.1} s  {:?}", outcome.id, outcome.seconds, outcome.verdict);
        for m in &outcome.finding.measurements {
            let mark = if m.holds { "   " } else { "!! " };
            println!("    {mark}{} = {} ({})", m.quantity, number(m.measured), m.bound);
        }
        for control in &outcome.finding.controls {
            let mark = if control.detected { "   " } else { "!! " };
            println!("    {mark}control: {} = {}", control.mechanism, number(control.measurement.measured));
        }
        for (name, value) in &outcome.finding.figures {
            println!("       {name}: {}", number(*value));
        }
        failed |= matches!(outcome.verdict, Verdict::Fails(_));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
