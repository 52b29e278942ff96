//! Several processes as one run: a process group of c10d, the distributed engine inside libtorch, over Gloo.
//!
//! Processes find each other through the environment that `torchrun`, `srun` or a user sets ([`Rendezvous`]). One operation is
//! needed, the sum of a tensor over all processes ([`ProcessGroup::sum`]). A process that no longer answers ends the run in all others:
//! whoever fails leaves the group, so that its peers notice at once, and answers a roll call over the store; who does not answer is named.

#[cfg(c10d)]
#[allow(unsafe_code, reason = "calls of the C++ shim over c10d")]
mod c10d;
#[cfg(not(c10d))]
#[path = "absent.rs"]
mod c10d;
mod rendezvous;

pub use c10d::{ProcessGroup, StoreServer};
pub use rendezvous::Rendezvous;

/// Whether this build can run as several processes.
pub const AVAILABLE: bool = cfg!(c10d);

/// Why the processes of a run no longer work together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GroupError {
    /// Ranks that do not answer.
    #[error("{} of {size} did not answer within {seconds} s: killed, frozen or out of reach ({reason})", ranks(.missing))]
    Lost {
        /// Their numbers.
        missing: Vec<usize>,
        /// Number of processes.
        size: usize,
        /// The time limit of `--timeout`.
        seconds: f64,
        /// libtorch's reason.
        reason: String,
    },
    /// The store where the processes meet does not answer.
    #[error("the store at {address}, served by {server}, did not answer within {seconds} s ({reason})")]
    Store {
        /// `host:port`.
        address: String,
        /// Who serves it.
        server: &'static str,
        /// The time limit of `--timeout`.
        seconds: f64,
        /// libtorch's reason.
        reason: String,
    },
    /// All ranks answer, and yet an exchange failed.
    #[error("an exchange between the {size} ranks failed: {reason}")]
    Exchange {
        /// Number of processes.
        size: usize,
        /// libtorch's reason.
        reason: String,
    },
    /// Built without the engine.
    #[error("{0}")]
    Absent(&'static str),
}

/// `rank 1`, or `ranks 1, 3`.
fn ranks(numbers: &[usize]) -> String {
    let list: Vec<String> = numbers.iter().map(usize::to_string).collect();
    format!("rank{} {}", if list.len() == 1 { "" } else { "s" }, list.join(", "))
}
