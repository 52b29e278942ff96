//! `mnist` as several processes, started by hand and, where it is installed, by `torchrun`.
#![cfg(all(feature = "torch", feature = "distributed"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const RUN: [&str; 12] = [
    "--dataset",
    "strokes",
    "--train-size",
    "60",
    "--batch",
    "11",
    "--critic-steps",
    "2",
    "--threads",
    "1",
    "--timeout",
    "60",
];

fn mnist(out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
    command.args(RUN).arg("--out").arg(out).args(more);
    command
}

/// Runs `size` ranks by hand; all must succeed. Returns what each printed on standard error.
fn by_hand(size: usize, out: &Path, more: &[&str]) -> Vec<String> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let ranks: Vec<_> = (0..size)
        .map(|rank| {
            let mut command = mnist(out, more);
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
            command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    ranks.into_iter().map(|rank| succeeded(&rank.wait_with_output().unwrap())).collect()
}

fn succeeded(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// All weights of the potential of a run, and the number of its rows in metrics.csv.
fn weights(run: &Path) -> Vec<f32> {
    let bytes = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut found: Vec<_> =
        tensors.tensors().into_iter().filter(|(name, _)| name.starts_with("potential.")).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let numbers = |data: &[u8]| -> Vec<f32> {
        data.chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap())).collect()
    };
    found.iter().flat_map(|(_, view)| numbers(view.data())).collect()
}

fn relative_error(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(a - b)));
    difference / norm(&mut b.iter().map(|b| f64::from(*b)))
}

/// Four updates in f32: Adam divides each by its own size, so rounding grows to the order of the learning rate where a gradient is tiny.
const ROUNDING: f64 = 1e-4;

#[test]
fn two_ranks_make_the_run_of_one_and_only_rank_0_writes_and_one_rank_takes_it_up() {
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("two ranks", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    succeeded(&mnist(&one, &["--iterations", "4", "--log-every", "1"]).output().unwrap());
    let said = by_hand(2, &two, &["--iterations", "2", "--log-every", "1"]);
    assert!(said[0].contains("done: 2 iterations") && said[1].is_empty(), "{said:?}");
    by_hand(2, &two, &["--resume", "--iterations", "3"]);
    succeeded(&mnist(&two, &["--resume", "--iterations", "4"]).output().unwrap());
    let error = relative_error(&weights(&two), &weights(&one));
    assert!(error < ROUNDING, "{error}");
    let rows = std::fs::read_to_string(two.join("metrics.csv")).unwrap().lines().count();
    assert_eq!(rows, 5, "a header and one row per iteration");
}

#[test]
fn torchrun_starts_two_ranks() {
    let found = Command::new("torchrun").arg("--help").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        return common::skipped("torchrun", "there is no torchrun on the path");
    }
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("torchrun", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = Command::new("torchrun");
    command.args(["--standalone", "--nproc-per-node", "2", "--no-python", env!("CARGO_BIN_EXE_mnist")]);
    let output = command.args(RUN).arg("--out").arg(&out).args(["--iterations", "2"]).output().unwrap();
    succeeded(&output);
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!((report["iterations"].as_u64(), report["processes"].as_u64()), (Some(2), Some(2)));
}

#[test]
fn half_an_environment_is_refused_with_the_name_of_what_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        mnist(&folder.path().join("run"), &["--iterations", "1"]).env("WORLD_SIZE", "2").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("RANK") && text.lines().count() == 1, "{text}");
}
