//! What must be true of every row, whatever it is.

use std::path::Path;

use crate::hostile::makers;
use crate::hostile::matrix::{Row, Sink};
use crate::hostile::run::{LONGEST, Outcome};

/// The longest message, in characters.
const LONGEST_LINE: usize = 300;

/// `Err` says what is wrong.
pub fn check(row: &Row, outcome: &Outcome, place: &Path) -> Result<(), String> {
    let error = String::from_utf8_lossy(&outcome.error).into_owned();
    let output = String::from_utf8_lossy(&outcome.output).into_owned();
    let said = error.chars().take(600).collect::<String>();
    let refuse = |what: String| Err(format!("{what}; standard error: {said}"));
    let Some(code) = outcome.code else {
        return refuse(format!("killed or longer than {LONGEST:?} ({:?})", outcome.elapsed));
    };
    if !row.exits.contains(&code) {
        return refuse(format!("exit {code} instead of {:?}", row.exits));
    }
    if error.contains("panicked") || error.contains("RUST_BACKTRACE") {
        return refuse("a panic".into());
    }
    if code == 0 {
        // Help and the list of claims explain what `inf` means.
        if row.sink == Sink::Pipe && !row.arguments.iter().any(|word| word == "--help" || word == "--list") {
            numbers(&output)?;
        }
    } else if row.errors == Sink::Pipe {
        line(row, &error, code).or_else(refuse)?;
    }
    let noise = error.lines().any(|line| !is_remark(line));
    if row.sink == Sink::Broken && noise && code == 0 {
        return refuse("noise about a reader that has gone".into());
    }
    makers::unchanged(place).or_else(refuse)?;
    left_behind(place, code).or_else(refuse)
}

/// How lines begin that say something of inputs and progress.
const REMARKS: [&str; 11] = [
    "data: ",
    "note: ",
    "run: ",
    "done: ",
    "model_",
    "fenchel_young ",
    "oracle, ",
    "critical L ",
    "advised ",
    "over all noise: ",
    "held-out batch: ",
];

/// What a command says of its inputs and of its progress.
fn is_remark(line: &str) -> bool {
    REMARKS.iter().any(|start| line.starts_with(start))
}

/// One printable line of at most 300 characters that starts with the program's name and says what is wrong.
fn line(row: &Row, error: &str, code: i32) -> Result<(), String> {
    let lines: Vec<&str> = error.lines().filter(|line| !is_remark(line)).collect();
    let [line] = lines.as_slice() else { return Err(format!("{} lines", lines.len())) };
    if !line.starts_with(&format!("{}: ", row.program)) {
        return Err("the line does not start with the program's name".into());
    }
    if line.chars().count() > LONGEST_LINE {
        return Err(format!("{} characters", line.chars().count()));
    }
    if line.chars().any(char::is_control) {
        return Err("control characters".into());
    }
    if code == 2 && !(line.contains("allowed: ") || line.contains("--help")) {
        return Err("what is allowed is not said".into());
    }
    match row.words.iter().find(|word| !line.contains(word.as_str())) {
        Some(word) => Err(format!("does not name '{word}'")),
        None => Ok(()),
    }
}

/// No NaN or infinity among the numbers of a success; bounds in order where there are any.
fn numbers(output: &str) -> Result<(), String> {
    for word in output.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))) {
        if matches!(word.trim_start_matches(['-', '+']).to_lowercase().as_str(), "nan" | "inf" | "infinity") {
            return Err(format!(
                "prints {word} as a number: {}",
                output.chars().take(300).collect::<String>()
            ));
        }
    }
    let Ok(report) = serde_json::from_str::<serde_json::Value>(output) else { return Ok(()) };
    let (Some(lower), Some(upper)) = (report.get("lower"), report.get("upper")) else { return Ok(()) };
    match (lower.as_f64(), upper.as_f64()) {
        (Some(lower), Some(upper)) if lower <= upper + 1e-9 * (1.0 + upper.abs()) => Ok(()),
        _ => Err(format!("bounds {lower}, {upper} with exit 0")),
    }
}

/// A refusal writes nothing, and nobody leaves temporary files.
fn left_behind(place: &Path, code: i32) -> Result<(), String> {
    for entry in std::fs::read_dir(place).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name().to_string_lossy().into_owned();
        if name == "in" || name == "kept" {
            continue;
        }
        if code == 2 || name.contains(".partial") || name.starts_with(".tmp") {
            return Err(format!("leaves {name} behind"));
        }
    }
    Ok(())
}
