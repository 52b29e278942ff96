//! Progress and cancellation of the solvers, through one observer.
//!
//! ```
//! use std::ops::ControlFlow;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use proxflow_reference::{Divergence, Measure, Options, Progress, Termination};
//!
//! let stop = AtomicBool::new(true); // set by a signal handler, say
//! let watch = |progress: &Progress| {
//!     eprintln!("pass {}, gap at most {:.1e}", progress.passes, progress.gap_estimate);
//!     if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
//! };
//! let p = Measure::uniform(ndarray::array![[0.0], [1.0]])?;
//! let q = Measure::uniform(ndarray::array![[0.5], [2.0]])?;
//! let stopped = Divergence::kl().lipschitz(1.0).options(Options::new().observed_by(&watch)).between(&p, &q)?;
//! assert_eq!(stopped.termination, Termination::Cancelled);
//! # Ok::<(), proxflow_reference::InvalidInput>(())
//! ```

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// How long the solvers work between two looks at the observer, at most about twice this.
const INTERVAL: Duration = Duration::from_millis(40);

/// The state of a solver, for progress displays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Passes over the cost so far.
    pub passes: usize,
    /// Arcs pivoted in so far.
    pub pivots: usize,
    /// Upper estimate of the remaining gap, `sum_i p_i max(0, phi_i - min_j (c_ij + psi_j))` after the last pass; `+inf` before
    /// the first one.
    pub gap_estimate: f64,
}

impl Progress {
    pub(crate) const NONE: Self = Self { passes: 0, pivots: 0, gap_estimate: f64::INFINITY };
}

/// Looks at a solver's [`Progress`], after every pass and at least every tenth of a second, and may stop it.
///
/// It is called from the thread that solves, which is a thread of the solver's pool if [`Options::threads`] asks for one.
/// Closures `Fn(&Progress) -> ControlFlow<()> + Sync` are observers.
///
/// [`Options::threads`]: crate::Options::threads
pub trait Observer: Sync {
    /// `ControlFlow::Break(())` stops the solver, which then returns [`Termination::Cancelled`](crate::Termination::Cancelled)
    /// and the bounds known by then.
    fn observe(&self, progress: &Progress) -> ControlFlow<()>;
}

impl<F: Fn(&Progress) -> ControlFlow<()> + Sync> Observer for F {
    fn observe(&self, progress: &Progress) -> ControlFlow<()> {
        self(progress)
    }
}

/// The solver was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// The solver's side: state, clock, and whether it was asked to stop.
pub(crate) struct Watch<'a> {
    observer: Option<&'a dyn Observer>,
    progress: Progress,
    last: Instant,
    stopped: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(observer: Option<&'a dyn Observer>) -> Self {
        Self { observer, progress: Progress::NONE, last: Instant::now(), stopped: false }
    }

    /// Reports a new state.
    pub(crate) fn report(&mut self, progress: Progress) -> Result<(), Stopped> {
        self.progress = progress;
        self.look()
    }

    /// Reports the last state again if it is time to.
    pub(crate) fn tick(&mut self) -> Result<(), Stopped> {
        if self.stopped {
            return Err(Stopped);
        }
        if self.observer.is_none() || self.last.elapsed() < INTERVAL {
            return Ok(());
        }
        self.look()
    }

    /// Calls `work` on consecutive ranges of `0..count` that take about [`INTERVAL`] each, looking up in between.
    /// Without an observer there is one range.
    pub(crate) fn in_pieces(
        &mut self,
        count: usize,
        mut work: impl FnMut(std::ops::Range<usize>),
    ) -> Result<(), Stopped> {
        let mut length = if self.observer.is_some() { 64 } else { count };
        let mut start = 0;
        while start < count {
            self.tick()?;
            let clock = Instant::now();
            let end = count.min(start.saturating_add(length));
            work(start..end);
            start = end;
            let spent = clock.elapsed();
            if spent < INTERVAL / 4 {
                length = length.saturating_mul(4);
            } else if spent > INTERVAL {
                length = (length / 4).max(2);
            }
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Stopped> {
        self.last = Instant::now();
        if let Some(observer) = self.observer {
            self.stopped |= observer.observe(&self.progress).is_break();
        }
        if self.stopped { Err(Stopped) } else { Ok(()) }
    }
}
