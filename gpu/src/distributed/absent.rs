//! The process group of a build without c10d: there is none, and asking for one says why.

use std::convert::Infallible;
use std::time::Duration;

use tch::Tensor;

use super::{GroupError, Rendezvous};

/// A store for other processes. This build cannot serve one.
pub struct StoreServer(Infallible);

impl StoreServer {
    /// Refuses, with the reason.
    pub fn start(rendezvous: &Rendezvous, timeout: Duration) -> Result<Self, GroupError> {
        ProcessGroup::join(rendezvous, timeout).map(|group| Self(group.0))
    }
}

/// A group of processes. This build cannot make one.
pub struct ProcessGroup(Infallible);

impl ProcessGroup {
    /// Refuses, with the reason.
    pub fn join(_: &Rendezvous, _: Duration) -> Result<Self, GroupError> {
        Err(GroupError::Absent(
            "this build runs as one process only: it was made without the feature `distributed`, or libtorch's c10d headers were not \
             found; unset WORLD_SIZE to run one process",
        ))
    }

    /// Number of this process.
    pub fn rank(&self) -> usize {
        match self.0 {}
    }

    /// Number of processes.
    pub fn size(&self) -> usize {
        match self.0 {}
    }

    /// Replaces `tensor` by its sum over all processes.
    pub fn sum(&self, _: &mut Tensor) -> Result<(), GroupError> {
        match self.0 {}
    }
}
