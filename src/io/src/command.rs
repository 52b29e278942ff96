//! What every command shares: exit codes, one-line errors, JSON output.
//!
//! Exit 0 on success, 2 with one clear line for bad input, 1 for a run that failed.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use proxflow_reference::InvalidInput;

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
        Self::BadInput(InvalidInput::new(field, value, allowed).to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::BadInput(line) | Self::Run(line)) = self;
        formatter.write_str(&line.replace('\n', " "))
    }
}

impl From<InvalidInput> for Failure {
    fn from(error: InvalidInput) -> Self {
        Self::BadInput(error.to_string())
    }
}

/// Parses the command line; an unusable one is a single line on standard error and exit code 2, `--help` exits with 0.
pub fn parse<T: clap::Parser>(name: &str) -> T {
    T::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        let text = error.render().to_string();
        let message: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let line = message.join(" ");
        eprintln!("{name}: {} (see {name} --help)", line.trim_start_matches("error: "));
        std::process::exit(2);
    })
}

/// Runs a command's body and turns its outcome into the exit code; an error is one line on standard error.
pub fn exit_code(name: &str, outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name}: {failure}");
            ExitCode::from(match failure {
                Failure::BadInput(_) => 2,
                Failure::Run(_) => 1,
            })
        }
    }
}

/// Writes `bytes` to `path` through a temporary file in the same folder, so that a full disk or a killed process
/// never leaves a truncated file behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write;
    let failed = |error: std::io::Error| {
        Failure::bad_input(
            format!("cannot write {}", path.display()),
            error,
            "a writable path with free space",
        )
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes `value` as pretty JSON to the file named by `--json`, or to standard output for `-`.
pub fn write_json<T: serde::Serialize>(target: &str, value: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Run(error.to_string()))? + "\n";
    if target == "-" { print_text(&text) } else { write_atomically(Path::new(target), text.as_bytes()) }
}

/// Prints to standard output; a reader that has gone away is a failed run, not a panic.
pub fn print_text(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut output = std::io::stdout().lock();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .map_err(|error| Failure::Run(format!("standard output: {error}")))
}
