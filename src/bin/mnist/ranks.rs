//! The threads and processes of a command, from its options and the environment.

use std::time::Duration;

use proxflow::command::Failure;
use proxflow_gpu::distributed::{GroupError, ProcessGroup, Rendezvous};
use proxflow_gpu::team::Team;
use tch::Device;

/// Seconds within which every exchange between ranks ends, unless `--timeout` says otherwise.
pub const TIMEOUT: f64 = 120.0;

/// The place of this process, refused at once where the environment is at fault.
pub fn place() -> Result<Option<Rendezvous>, Failure> {
    Ok(Rendezvous::from_environment()?)
}

/// Whether this process writes: alone, or rank 0.
pub fn writes(place: Option<&Rendezvous>) -> bool {
    place.is_none_or(|place| place.rank == 0)
}

/// Meets the other ranks. On the CPU a batch is shared out over `threads` threads, by default the cores of the machine, divided
/// among the processes that `torchrun` says it started here.
pub fn team(
    place: Option<&Rendezvous>,
    device: Device,
    threads: Option<usize>,
    timeout: f64,
) -> Result<Team, Failure> {
    if !(1.0..=86400.0).contains(&timeout) {
        return Err(Failure::bad_input("timeout", timeout, "1..=86400 seconds"));
    }
    let group = place.map(|place| ProcessGroup::join(place, Duration::from_secs_f64(timeout)));
    let group = group.transpose().map_err(|error| lost(&error))?;
    let here = std::env::var("LOCAL_WORLD_SIZE").ok().and_then(|count| count.parse().ok()).unwrap_or(1_usize);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or((cores / here.max(1)).max(1));
    Ok(Team::new(if device == Device::Cpu { threads } else { 1 }, group)?)
}

/// The failure of a run whose ranks no longer work together.
pub fn lost(error: &GroupError) -> Failure {
    Failure::Run(error.to_string())
}
