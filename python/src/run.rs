//! Running a solver beside Python: without the global interpreter lock, on threads of this process, and so that Ctrl-C, a
//! raised exception and `progress=` are noticed while it works.
//!
//! The caller's thread waits; the solver runs in the pool and sends what it observes. Only the caller's thread touches
//! Python, since signals are delivered to the main thread alone.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use proxflow_reference::{InvalidInput, Observer, Progress};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::error::value_error;
use crate::pool::{pool, pool_of_this_thread};

/// How often a waiting call looks for signals: well within the 0.3 s in which Ctrl-C must be answered.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(30);

/// Threads and the callback of one call.
pub struct Run<'py> {
    /// Threads to use; 0 for as many as this process may.
    pub threads: usize,
    /// Called as `progress(passes, pivots, gap_estimate)` after every pass over the cost.
    pub progress: Option<Bound<'py, PyAny>>,
    /// Entries of the costs of all problems, weighed with the dimension.
    pub work: usize,
}

/// Problems up to this size take about a millisecond: less than it may take to wake another thread.
const SMALL: usize = 1 << 14;

enum Event<T> {
    Progress(Progress),
    Done(Result<T, InvalidInput>),
}

impl Run<'_> {
    /// Runs `solve` to its end, or to the exception that stops it. What has been computed by then is dropped.
    pub fn solve<T: Send>(
        &self,
        py: Python<'_>,
        solve: impl FnOnce(&dyn Observer) -> Result<T, InvalidInput> + Send,
    ) -> PyResult<T> {
        if self.work <= SMALL
            && self.progress.is_none()
            && let Some(own) = pool_of_this_thread()
        {
            let solved = py.detach(|| own.install(|| solve(&|_: &Progress| ControlFlow::Continue(()))));
            return solved.map_err(|error| value_error(py, &error));
        }
        let pool = pool(self.threads)?;
        let callback = self.progress.clone().map(Bound::unbind);
        let cancelled = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel::<Event<T>>();
        let reports = callback.is_some();
        let outcome = py.detach(move || {
            pool.in_place_scope(|scope| {
                let cancelled = &cancelled;
                scope.spawn(move |_| {
                    let events = sender.clone();
                    let observe = |progress: &Progress| {
                        if reports {
                            // The receiver outlives the scope; a lost report would not matter.
                            let _ = events.send(Event::Progress(*progress));
                        }
                        if cancelled.load(Ordering::Relaxed) {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    };
                    let solved = solve(&observe);
                    let _ = sender.send(Event::Done(solved));
                });
                let mut failure = None;
                loop {
                    let attention = match receiver.recv_timeout(SIGNAL_INTERVAL) {
                        Ok(Event::Done(solved)) => return Some((solved, failure)),
                        Ok(Event::Progress(progress)) => {
                            Python::attach(|py| report(py, callback.as_ref(), &progress))
                        }
                        Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals()),
                        // The solver panicked; leaving the scope carries the panic on.
                        Err(RecvTimeoutError::Disconnected) => return None,
                    };
                    if let Err(error) = attention {
                        cancelled.store(true, Ordering::Relaxed);
                        failure.get_or_insert(error);
                    }
                }
            })
        });
        match outcome {
            Some((_, Some(failure))) => Err(failure),
            Some((solved, None)) => solved.map_err(|error| value_error(py, &error)),
            None => Err(PyRuntimeError::new_err("the solver ended without an answer")),
        }
    }
}

fn report(py: Python<'_>, callback: Option<&Py<PyAny>>, progress: &Progress) -> PyResult<()> {
    if let Some(callback) = callback {
        callback.call1(py, (progress.passes, progress.pivots, progress.gap_estimate))?;
    }
    py.check_signals()
}
