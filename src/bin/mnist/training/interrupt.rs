//! Ctrl-C and SIGTERM: the run writes its checkpoint and report and ends.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on the first signal is noted. The second does not wait for the end of the step; the last checkpoint is whole.
pub fn watch() {
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Whether a signal came.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
