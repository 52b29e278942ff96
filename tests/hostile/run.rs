//! Runs rows in parallel, each in a process and an empty folder of its own beside the shared inputs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::hostile::matrix::{Row, Sink};
use crate::hostile::{check, makers};

/// What a row did.
pub struct Outcome {
    pub code: Option<i32>,
    pub output: Vec<u8>,
    pub error: Vec<u8>,
    pub elapsed: Duration,
}

/// No row may take longer.
pub const LONGEST: Duration = Duration::from_secs(20);

/// Runs all `rows`; `programs` gives the path of each program, `gigabytes` the address space of a row: one that allocates what
/// an input claims dies there instead of taking the machine along; `make_more` writes inputs beside the common ones. Panics with
/// every row that went wrong.
pub fn run(rows: &[Row], programs: &[(&str, &str)], gigabytes: u64, make_more: &dyn Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("in");
    makers::make(&inputs);
    make_more(&inputs);
    let before = makers::snapshot(&inputs);
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let clock = Instant::now();
    let workers = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((k, row)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|k| Some((k, rows.get(k)?)))
                {
                    let place = folder.path().join(format!("row-{k}"));
                    makers::prepare(&place, &inputs);
                    let program = programs.iter().find(|(name, _)| *name == row.program);
                    let outcome = execute(row, program.expect("a known program").1, &place, gigabytes);
                    if let Err(fault) = check::check(row, &outcome, &place) {
                        faults.lock().unwrap().push(format!("{}\n    {fault}", row.name));
                    }
                    let _ = std::fs::remove_dir_all(&place);
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    let after = makers::snapshot(&inputs);
    for name in before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)) {
        faults.push(format!("the input {name} was changed"));
    }
    eprintln!(
        "{} hostile rows in {:.1} s, {} at fault",
        rows.len(),
        clock.elapsed().as_secs_f64(),
        faults.len()
    );
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

fn opened(sink: Sink) -> Stdio {
    match sink {
        Sink::Pipe => Stdio::piped(),
        Sink::Full => std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into(),
        Sink::Broken => {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer.into()
        }
    }
}

fn execute(row: &Row, program: &str, place: &Path, gigabytes: u64) -> Outcome {
    let clock = Instant::now();
    let limited = format!("ulimit -v {}; exec \"$0\" \"$@\"", gigabytes << 20);
    let mut child = Command::new("sh")
        .args(["-c", &limited, program])
        .args(&row.arguments)
        .current_dir(place)
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("RAYON_NUM_THREADS", "2")
        .env_remove("PROXFLOW_MNIST")
        .stdin(Stdio::null())
        .stdout(opened(row.sink))
        .stderr(opened(row.errors))
        .spawn()
        .unwrap();
    // The pipes are drained by threads, so that a row that writes much does not wait for its reader.
    let drain = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                let _ = std::io::Read::read_to_end(&mut stream, &mut bytes);
            }
            bytes
        })
    };
    let output = drain(child.stdout.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>));
    let error = drain(child.stderr.take().map(|s| Box::new(s) as Box<dyn std::io::Read + Send>));
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if clock.elapsed() > LONGEST {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Outcome { code, output: output.join().unwrap(), error: error.join().unwrap(), elapsed: clock.elapsed() }
}
