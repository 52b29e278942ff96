//! How much memory a size read from a file or an option may claim.

use proxflow_reference::InvalidInput;

/// The largest array, in bytes of f64, that any command reads or draws: 8 GiB, `2^30` numbers.
pub const ARRAY_LIMIT: u64 = 8 << 30;

/// What is asked for without a look at the system, in bytes.
const SMALL: u64 = 1 << 20;

/// Bytes that the system would give out now: the smaller of `MemAvailable` and what the control group leaves; `None` where
/// neither can be read.
pub fn available() -> Option<u64> {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    });
    let number = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse().ok()
    };
    let group =
        number("memory.max").zip(number("memory.current")).map(|(most, used)| most.saturating_sub(used));
    system.into_iter().chain(group).min()
}

/// Refuses `field`, described by `value`, when it needs more than [`ARRAY_LIMIT`] or than the memory at hand.
///
/// `bytes` is `None` where the size itself overflows.
pub fn require(field: &str, value: &str, bytes: Option<u64>) -> Result<u64, InvalidInput> {
    let stated = format!("at most {} in memory", in_words(ARRAY_LIMIT));
    let bytes = bytes.filter(|bytes| *bytes <= ARRAY_LIMIT).ok_or_else(|| {
        let size = bytes.map_or_else(|| "more than can be counted".to_owned(), in_words);
        InvalidInput::new(field, format!("{value}, {size}"), stated)
    })?;
    if bytes < SMALL {
        return Ok(bytes);
    }
    match available() {
        Some(free) if bytes > free => Err(InvalidInput::new(
            field,
            format!("{value}, {}", in_words(bytes)),
            format!("at most the {} of memory that are free", in_words(free)),
        )),
        _ => Ok(bytes),
    }
}

/// `1.5 GiB`, `12 bytes`.
pub fn in_words(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = bytes as f64;
    let mut name = "bytes";
    for unit in units {
        if size < 1024.0 {
            break;
        }
        (size, name) = (size / 1024.0, unit);
    }
    if name == "bytes" { format!("{bytes} bytes") } else { format!("{size:.1} {name}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_refused_by_limit_by_overflow_and_by_memory_at_hand() {
        assert_eq!(require("x", "few", Some(8)).unwrap(), 8);
        let line = require("x", "shape [9]", Some(ARRAY_LIMIT + 1)).unwrap_err().to_string();
        assert!(line.contains("8.0 GiB") && line.contains("shape [9]"), "{line}");
        assert!(require("x", "many", None).unwrap_err().to_string().contains("counted"));
        let free = available().unwrap();
        if free < ARRAY_LIMIT {
            assert!(require("x", "much", Some(free + 1)).is_err());
        }
    }

    #[test]
    fn sizes_are_written_in_binary_units() {
        assert_eq!(in_words(12), "12 bytes");
        assert_eq!(in_words(216_000_000_000_000), "196.5 TiB");
    }
}
