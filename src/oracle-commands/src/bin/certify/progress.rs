//! Progress of long runs.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use proxflow_reference::{Observer, Progress};

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

    /// Shows the solver's state.
    pub fn observer(&self) -> impl Observer + use<> {
        let bar = self.0.clone();
        move |state: &Progress| {
            if state.passes > 0 {
                bar.set_message(format!(
                    "pass {}, {} pivots, gap at most {:.2e}",
                    state.passes, state.pivots, state.gap_estimate
                ));
            }
            ControlFlow::Continue(())
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
