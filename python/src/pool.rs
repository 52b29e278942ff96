//! Thread pools that survive `fork`.
//!
//! A forked child (a `DataLoader` worker, `multiprocessing` with `fork`) inherits the memory of its parent but none of its
//! threads: work handed to an inherited pool would wait for ever. So pools are kept under the id of the process that made
//! them, and a child that finds other ids starts anew. What it inherited is left alone, since even its locks may be held by
//! threads that do not exist here.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The pools of one process by their number of threads, then those of the processes forked from it.
struct Pools {
    process: u32,
    by_threads: Mutex<HashMap<usize, Arc<ThreadPool>>>,
    forked: OnceLock<Box<Pools>>,
}

static FIRST: OnceLock<Box<Pools>> = OnceLock::new();

/// The pool with `threads` threads (0: as many as this process may use) of the running process.
pub fn pool(threads: usize) -> PyResult<Arc<ThreadPool>> {
    let threads =
        if threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { threads };
    let mut pools = pools_of_this_process().by_threads.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(pool) = pools.get(&threads) {
        return Ok(pool.clone());
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|k| format!("proxflow-{k}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("cannot start {threads} threads: {error}")))?;
    Ok(pools.entry(threads).or_insert(Arc::new(pool)).clone())
}

thread_local! {
    static OWN: OnceCell<Option<&'static ThreadPool>> = const { OnceCell::new() };
}

/// A pool of the calling thread alone, for work too small to be worth handing over: nothing runs elsewhere, so that nothing is
/// lost in a fork either. `None` where one cannot be had. It lives as long as the process.
pub fn pool_of_this_thread() -> Option<&'static ThreadPool> {
    OWN.with(|own| {
        *own.get_or_init(|| {
            let built = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
            built.ok().map(|pool| &*Box::leak(Box::new(pool)))
        })
    })
}

fn pools_of_this_process() -> &'static Pools {
    let process = std::process::id();
    let mut slot = &FIRST;
    loop {
        let pools = slot.get_or_init(|| {
            Box::new(Pools { process, by_threads: Mutex::new(HashMap::new()), forked: OnceLock::new() })
        });
        if pools.process == process {
            return pools;
        }
        slot = &pools.forked;
    }
}
