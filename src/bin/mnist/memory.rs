//! Sizes that options ask for, checked against the memory at hand before anything is allocated.

use proxflow::command::Failure;
use proxflow::dataset::PIXELS;
use proxflow_gpu::configuration::Configuration;

/// Bytes of one image with its copies: single precision in the data set, the subset and the tensor, double in outputs.
pub const IMAGE: u64 = 8 * 4 * PIXELS as u64;
/// Bytes of one sample on its way through the published networks with everything that a gradient needs.
pub const SAMPLE: u64 = 192 << 10;

/// Refuses `value` items of `bytes` each that memory cannot hold; the message states the limit.
pub fn require(field: &str, value: usize, bytes: u64) -> Result<(), Failure> {
    let available = available();
    let most = available / bytes;
    if value as u64 <= most {
        return Ok(());
    }
    let gib = available as f64 / f64::from(1 << 30);
    Err(Failure::bad_input(field, value, format!("at most {most}, by {gib:.1} GiB of memory available")))
}

/// The largest batch that a step computes at once: `batch x critic-steps` samples of the critic, `batch x steps` points of the potential.
pub fn require_batch(training: &Configuration) -> Result<(), Failure> {
    let Configuration { batch, critic_steps, steps, .. } = *training;
    let default = Configuration::default();
    let together = batch.saturating_mul(critic_steps.max(steps));
    let excess = |value: usize, usual: usize| value as f64 / usual as f64;
    let factors = [
        ("batch", batch, excess(batch, default.batch)),
        ("critic-steps", critic_steps, excess(critic_steps, default.critic_steps)),
        ("steps", steps, excess(steps, default.steps)),
    ];
    let (field, value, _) = factors
        .into_iter()
        .fold(("batch", batch, 0.0), |best, next| if next.2 > best.2 { next } else { best });
    let others = together / value.max(1);
    require(field, value, SAMPLE.saturating_mul(others.max(1) as u64))
}

/// Bytes that this process may still take: what the system calls available, within the limit of the control group.
fn available() -> u64 {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(most, used)| most.saturating_sub(used));
    system.unwrap_or(UNKNOWN).min(group.unwrap_or(u64::MAX))
}

/// Taken where the system does not tell.
const UNKNOWN: u64 = 8 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_memory_are_refused_with_the_limit_and_the_published_ones_pass() {
        assert!(require_batch(&Configuration::default()).is_ok());
        let most = 1_000_000_000_000;
        for (field, training) in [
            ("batch", Configuration { batch: most, ..Configuration::default() }),
            ("critic-steps", Configuration { critic_steps: most, ..Configuration::default() }),
            ("steps", Configuration { steps: most, ..Configuration::default() }),
            ("batch", Configuration { batch: usize::MAX, ..Configuration::default() }),
        ] {
            let error = require_batch(&training).map_err(|error| error.to_string()).err().unwrap_or_default();
            assert!(
                error.starts_with(field) && error.contains("GiB of memory available"),
                "{field}: {error}"
            );
        }
        assert!(require("count", 1, available()).is_ok() && require("count", 2, available()).is_err());
    }
}
