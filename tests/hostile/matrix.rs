//! The rows: tables of inputs, slots and expectations, multiplied.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Where a standard stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    Pipe,
    /// `/dev/full`: every write fails.
    Full,
    /// A pipe whose reader has gone.
    Broken,
}

/// One execution and what must come of it.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where it stands in the data, for messages.
    pub name: String,
    pub program: String,
    pub arguments: Vec<OsString>,
    pub sink: Sink,
    /// Where standard error goes; what it said can be judged for a pipe alone.
    pub errors: Sink,
    /// Exit codes that are right; several where a success and a refusal both are.
    pub exits: Vec<i32>,
    /// Every one of these must stand in the line.
    pub words: Vec<String>,
}

/// A table: lines of cells between tabs; `#` starts a comment line.
pub fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect()
}

/// `{}` in every `slots` line (name, kinds, command) replaced by every one of `fillers` (value, kinds, exit, words) that
/// shares a kind; kinds are separated by commas, `any` shares with all.
pub fn product(family: &str, slots: &str, fillers: &str) -> Vec<Row> {
    let shares = |one: &str, other: &str| {
        one == "any" || other == "any" || one.split(',').any(|kind| other.split(',').any(|k| k == kind))
    };
    let mut rows = Vec::new();
    for slot in table(slots) {
        for filler in table(fillers) {
            if shares(slot[1], filler[1]) {
                let command = slot[2].split(' ').map(|word| word.replace("{}", filler[0]));
                let name = format!("{family}: {} x {}", slot[0], filler[0]);
                rows.push(row(name, command, filler[2], filler.get(3).copied().unwrap_or("")));
            }
        }
    }
    rows
}

/// Single rows (command, exit, words).
pub fn single(family: &str, text: &str) -> Vec<Row> {
    let line = |cells: Vec<&str>| {
        let command = cells[0].split(' ').map(str::to_owned);
        row(format!("{family}: {}", cells[0]), command, cells[1], cells.get(2).copied().unwrap_or(""))
    };
    table(text).into_iter().map(line).collect()
}

fn row(name: String, command: impl Iterator<Item = String>, exits: &str, words: &str) -> Row {
    let (mut sink, mut errors) = (Sink::Pipe, Sink::Pipe);
    let mut words_of_command: Vec<OsString> = Vec::new();
    for word in command {
        match word.as_str() {
            ">full" => sink = Sink::Full,
            ">broken" => sink = Sink::Broken,
            "2>full" => errors = Sink::Full,
            "2>broken" => errors = Sink::Broken,
            _ => words_of_command.push(unescaped(&word)),
        }
    }
    let program = words_of_command.remove(0).into_string().expect("programs have plain names");
    Row {
        name,
        program,
        arguments: words_of_command,
        sink,
        errors,
        exits: exits.split('|').map(|code| code.parse().expect("an exit code")).collect(),
        words: words.split('&').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
    }
}

/// `\xNN` is a byte, `\s` a space, `\e` nothing at all, `\*N` repeats what stands before it N times.
fn unescaped(word: &str) -> OsString {
    let word = match word.rsplit_once("\\*") {
        Some((before, count)) if count.parse::<usize>().is_ok() => before.repeat(count.parse().unwrap_or(1)),
        _ => word.to_owned(),
    };
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        match (first, more) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let text = std::str::from_utf8(&digits).expect("two digits");
                bytes.push(u8::from_str_radix(text, 16).expect("hexadecimal digits"));
                rest = tail;
            }
            (b'\\', [b's', tail @ ..]) => {
                bytes.push(b' ');
                rest = tail;
            }
            (b'\\', [b'e', tail @ ..]) => rest = tail,
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    OsString::from_vec(bytes)
}
