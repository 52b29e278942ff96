//! Progress of long runs.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use proxflow_reference::transport::Progress;

/// One line on standard error while the program works, when that is a terminal: the stage, then the state of the solver.
pub struct Gauge(ProgressBar);

impl Gauge {
    /// Starts with a `stage`; the clock runs whether or not the solver reports.
    pub fn new(stage: &'static str) -> Self {
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

    /// The solver's state after a pass.
    pub fn show(&self, state: &Progress) {
        self.0.set_message(format!(
            "pass {}, {} pivots, gap at most {:.2e}",
            state.passes, state.pivots, state.gap_estimate
        ));
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
