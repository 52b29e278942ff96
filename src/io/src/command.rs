//! What every command shares: exit codes, one-line errors, standard output, JSON.
//!
//! Exit 0 on success, 2 with one clear line for bad input, 1 for a run that failed.

use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use proxflow_reference::InvalidInput;

use crate::message::{LONGEST, one_line, part};
pub use crate::output::write_atomically;

/// Why a command ends without success; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// The input is at fault: exit code 2.
    BadInput(String),
    /// The run itself failed: exit code 1.
    Run(String),
}

impl Failure {
    /// Bad input: names the field, its value and the allowed range.
    pub fn bad_input(field: impl fmt::Display, value: impl fmt::Display, allowed: impl fmt::Display) -> Self {
        InvalidInput::new(field, value, allowed).into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::BadInput(line) | Self::Run(line)) = self;
        formatter.write_str(&one_line(line, LONGEST))
    }
}

impl From<InvalidInput> for Failure {
    fn from(InvalidInput { field, value, allowed }: InvalidInput) -> Self {
        Self::BadInput(InvalidInput::new(part(&field), part(&value), part(&allowed)).to_string())
    }
}

/// Parses the command line; an unusable one is a single line on standard error and exit code 2, `--help` exits with 0.
///
/// `-1` after an option is its value, which the option's own range judges, not an unknown option.
pub fn parse<T: clap::Parser>(name: &str) -> T {
    T::try_parse_from(with_negative_numbers(std::env::args_os())).unwrap_or_else(|error| {
        if error.use_stderr() {
            print_error(&format!("{name}: {} (see {name} --help)", usage(&error)));
            std::process::exit(2);
        }
        if std::io::stdout().is_terminal() {
            error.exit();
        }
        let outcome = print_text(&error.render().to_string());
        if let Err(failure) = &outcome {
            print_error(&format!("{name}: {failure}"));
        }
        std::process::exit(if outcome.is_ok() { 0 } else { 2 });
    })
}

/// `--lambda -1` as `--lambda=-1`: else the parser takes every negative number but the plainest for an unknown option.
fn with_negative_numbers(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let text = |argument: &OsString| argument.to_str().unwrap_or_default().to_owned();
    let negative = |argument: &str| argument.starts_with('-') && argument.parse::<f64>().is_ok();
    let option = |argument: &str| {
        argument.starts_with('-') && !argument.trim_matches('-').is_empty() && !argument.contains('=')
    };
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        match joined.last_mut() {
            Some(last) if negative(&text(&argument)) && option(&text(last)) => {
                last.push("=");
                last.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// The first paragraph of an error of the argument parser, with the range where the standard library's words lack it.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let line = lines.join(" ");
    let mut line = line.trim_start_matches("error: ").to_owned();
    for (words, allowed) in [
        ("invalid float literal", "a number, such as 0.5 or 1e-3"),
        ("cannot parse float from empty string", "a number, such as 0.5 or 1e-3"),
        ("invalid digit found in string", "a whole number >= 0"),
        ("cannot parse integer from empty string", "a whole number >= 0"),
        ("number too large to fit in target type", "a whole number of at most 18446744073709551615"),
    ] {
        if line.ends_with(words) {
            line = format!("{}allowed: {allowed}", line.trim_end_matches(words));
        }
    }
    // Room for the command's name and the pointer to --help.
    one_line(&line, LONGEST - 60)
}

/// Runs a command's body and turns its outcome into the exit code; an error is one line on standard error.
pub fn exit_code(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_error(&format!("{name}: {failure}"));
            ExitCode::from(match failure {
                Failure::BadInput(_) => 2,
                Failure::Run(_) => 1,
            })
        }
    }
}

/// Prints one line to standard error; a reader that has gone away changes nothing.
pub fn print_error(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", one_line(text, LONGEST));
}

/// Prints one line beside the result, on standard error; a reader that has gone away changes nothing.
pub fn print_note(text: &str) {
    print_aside(&format!("{}\n", one_line(text, usize::MAX)));
}

/// Prints text beside the result, on standard error, as it is; a reader that has gone away changes nothing.
pub fn print_aside(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints to standard output. A reader that has gone away has read enough: that is no failure. A full device is one line.
pub fn print_text(text: &str) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::bad_input("standard output", error, "a terminal, file or pipe with free space"))
        }
        _ => Ok(()),
    }
}

/// Writes `value` as pretty JSON to the file named by `--json`, or to standard output for `-`.
pub fn write_json<T: serde::Serialize>(target: &str, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    if target == "-" { print_text(&text) } else { write_atomically(Path::new(target), text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_join_their_option_and_nothing_else_changes() {
        for (given, expected) in [
            ("flow train --lambda -1 --out x", "flow train --lambda=-1 --out x"),
            ("certify -p -1e-3", "certify -p=-1e-3"),
            ("torus --grid -inf", "torus --grid=-inf"),
            ("flow --steps 5 -1", "flow --steps 5 -1"),
            ("flow --json - -1", "flow --json - -1"),
            ("flow -- -1", "flow -- -1"),
            ("flow --lambda=2 -1", "flow --lambda=2 -1"),
            ("flow --lambda -x --lambda 1", "flow --lambda -x --lambda 1"),
        ] {
            let words = given.split(' ').map(OsString::from);
            let found: Vec<String> =
                with_negative_numbers(words).iter().map(|word| word.to_string_lossy().into_owned()).collect();
            assert_eq!(found.join(" "), expected);
        }
    }
}
