//! The threads and processes of a command, from its options and the environment.

use std::path::Path;
use std::time::Duration;

use proxflow::command::Failure;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::distributed::{GroupError, ProcessGroup, Rendezvous};
use proxflow_gpu::team::Team;
use proxflow_gpu::train::Trainer;
use tch::Device;

use crate::training::run_configuration::RunConfiguration;

/// Seconds within which every exchange between ranks ends, unless `--timeout` says otherwise.
pub const TIMEOUT: f64 = 120.0;
/// Pieces of a batch on the CPU where they suit the threads and ranks.
const PIECES: usize = 4;
/// Fewer rows than this are not worth a piece of their own.
const ROWS: usize = 4;

/// The place of this process, refused at once where the environment is at fault.
pub fn place(timeout: f64) -> Result<Option<Rendezvous>, Failure> {
    if !(1.0..=86400.0).contains(&timeout) {
        return Err(Failure::bad_input("timeout", timeout, "1..=86400 seconds"));
    }
    Ok(Rendezvous::from_environment()?)
}

/// Whether a launcher has started this process again (`torchrun --max-restarts`) and the run in `folder` is there to be taken up, as with
/// `--resume`.
pub fn started_again(folder: Option<&Path>) -> bool {
    let count = std::env::var("TORCHELASTIC_RESTART_COUNT").ok().and_then(|count| count.parse::<u64>().ok());
    count.is_some_and(|count| count > 0)
        && folder.is_some_and(|folder| RunDirectory::require_run(folder).is_ok())
}

/// Whether this process writes: alone, or rank 0.
pub fn writes(place: Option<&Rendezvous>) -> bool {
    place.is_none_or(|place| place.rank == 0)
}

/// Threads that share a batch in this process: on the CPU, by default, the cores of the machine divided among the processes that
/// `torchrun` says it started here.
fn threads(given: Option<usize>, device: Device) -> usize {
    let here = std::env::var("LOCAL_WORLD_SIZE").ok().and_then(|count| count.parse().ok()).unwrap_or(1_usize);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match device {
        Device::Cpu => given.unwrap_or((cores / here.max(1)).max(1)),
        _ => 1,
    }
}

/// Into how many pieces a batch is cut where that is not said: 4 on the CPU, or as many as there are threads in all ranks if those
/// do not divide 4; on a GPU one for each rank. A batch of few rows has fewer.
pub fn pieces(batch: usize, given: Option<usize>, place: Option<&Rendezvous>, device: Device) -> usize {
    let size = place.map_or(1, |place| place.size);
    let workers = size * threads(given, device);
    let suited = match device {
        Device::Cpu if PIECES.is_multiple_of(workers) => PIECES,
        _ => workers,
    };
    suited.min((batch / ROWS).max(size))
}

/// Writes into the configuration into how many pieces a batch is cut, unless that is decided.
pub fn resolve_pieces(configuration: &mut RunConfiguration, place: Option<&Rendezvous>, device: Device) {
    let suited = pieces(configuration.training.batch, configuration.threads, place, device);
    configuration.pieces.get_or_insert(suited);
}

/// Meets the other ranks.
pub fn team(
    (place, timeout): (Option<&Rendezvous>, f64),
    given: Option<usize>,
    pieces: usize,
    device: Device,
) -> Result<Team, Failure> {
    let group = place.map(|place| ProcessGroup::join(place, Duration::from_secs_f64(timeout)));
    let group = group.transpose().map_err(|error| lost(&error))?;
    Ok(Team::new(threads(given, device), pieces, group)?)
}

/// Meets the other ranks, which must stand at the same point of the same run.
pub fn join(
    trainer: Trainer,
    place: (Option<&Rendezvous>, f64),
    configuration: &RunConfiguration,
    device: Device,
) -> Result<Trainer, Failure> {
    let team = team(place, configuration.threads, configuration.pieces.unwrap_or(1), device)?;
    let trainer = trainer.with_team(team)?;
    require_agreement(trainer.ranks_agree())?;
    Ok(trainer)
}

/// Refuses ranks that were started differently.
pub fn require_agreement(agree: Result<bool, GroupError>) -> Result<(), Failure> {
    if agree.map_err(|error| lost(&error))? {
        return Ok(());
    }
    let allowed = "the same options, data and checkpoint in all ranks";
    Err(Failure::bad_input("RANK", "ranks that were started differently", allowed))
}

/// The failure of a run whose ranks no longer work together.
pub fn lost(error: &GroupError) -> Failure {
    Failure::Run(error.to_string())
}
