//! Progress of long runs.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use proxflow_reference::transport::Progress;

/// One line on standard error while the solver runs, when that is a terminal.
pub struct Gauge(ProgressBar);

impl Gauge {
    pub fn new() -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub fn show(&self, state: &Progress) {
        self.0.set_message(format!(
            "pass {}, {} pivots, gap at most {:.2e}",
            state.passes, state.pivots, state.gap_estimate
        ));
        self.0.tick();
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
