//! Progress of long runs, and their end on Ctrl-C.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use proxflow_reference::{Observer, Progress};

/// Set by SIGINT and SIGTERM.
static STOP: AtomicBool = AtomicBool::new(false);

/// One line on standard error while the program works, when that is a terminal: the stage, then the state of the solver.
pub struct Gauge(ProgressBar);

impl Gauge {
    /// Starts with a `stage`; the clock runs whether or not the solver reports. From here on Ctrl-C asks the solver to stop with
    /// the bounds that it has; a second one ends the program at once.
    pub fn new(stage: &'static str) -> Self {
        // A second handler of the same process is refused; the first one stays.
        let _ = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(stage);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Names what comes next.
    pub fn stage(&self, stage: &'static str) {
        self.0.set_message(stage);
    }

    /// Shows the solver's state and passes Ctrl-C on.
    pub fn observer(&self) -> impl Observer + use<> {
        let bar = self.0.clone();
        move |state: &Progress| {
            if state.passes > 0 {
                bar.set_message(format!(
                    "pass {}, {} pivots, gap at most {:.2e}",
                    state.passes, state.pivots, state.gap_estimate
                ));
            }
            if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
