//! `config.toml`: reading the configuration of a run, with messages that name the key.

use std::path::Path;

use proxflow_io::array::read_bytes;
use proxflow_reference::InvalidInput;
use serde::de::DeserializeOwned;

/// No configuration is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Reads the configuration file at `path`; errors name the `field` by which it was asked for, the file and the key.
pub fn read<T: DeserializeOwned>(field: &str, path: &Path) -> Result<T, InvalidInput> {
    let named = |error: InvalidInput| InvalidInput { field: format!("{field}: {}", error.field), ..error };
    parse(field, &path.display().to_string(), &read_bytes(path, LONGEST).map_err(named)?)
}

/// [`read`] of the text of a file, called `file` in messages.
///
/// ```
/// use proxflow::run_configuration::parse;
/// #[derive(Debug, serde::Deserialize)]
/// struct Run {
///     training: Training,
/// }
/// #[derive(Debug, serde::Deserialize)]
/// struct Training {
///     batch: usize,
/// }
/// let run: Run = parse("config", "run.toml", b"[training]\nbatch = 10")?;
/// assert_eq!(run.training.batch, 10);
/// let error = parse::<Run>("config", "run.toml", b"[training]\nbatch = 'ten'").unwrap_err();
/// assert!(error.to_string().starts_with("config: run.toml: training.batch: "), "{error}");
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn parse<T: DeserializeOwned>(field: &str, file: &str, bytes: &[u8]) -> Result<T, InvalidInput> {
    let allowed = "the keys and values of a run's config.toml";
    let refuse = |what: String| InvalidInput::new(field, format!("{file}: {what}"), allowed);
    let text = std::str::from_utf8(bytes).map_err(|error| refuse(error.to_string()))?;
    let document = toml::Deserializer::parse(text).map_err(|error| refuse(error.message().to_owned()))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let (path, what) = (error.path().to_string(), error.into_inner().message().to_owned());
        let named = if path == "." { String::new() } else { format!("{path}: ") };
        // A value of our own says itself what is allowed.
        match what.split_once(" is not allowed (allowed: ") {
            Some((value, allowed)) => {
                let allowed = allowed.strip_suffix(')').unwrap_or(allowed);
                InvalidInput::new(field, format!("{file}: {named}{value}"), allowed)
            }
            None => refuse(named + &what),
        }
    })
}
