//! `mnist` as several processes, started by hand and, where it is installed, by `torchrun`.
#![cfg(all(feature = "torch", feature = "distributed"))]
#![allow(clippy::unwrap_used)]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use proxflow_gpu::distributed::{Rendezvous, StoreServer};

const RUN: [&str; 14] = [
    "--preset",
    "paper",
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs `size` ranks by hand; all must succeed. Returns what each printed on standard error.
fn by_hand(size: usize, out: &Path, more: &[&str]) -> Vec<String> {
    attempt(0, size, out, more)
}

/// The same, `restarts` times started anew by a launcher.
fn attempt(restarts: usize, size: usize, out: &Path, more: &[&str]) -> Vec<String> {
    let port = free_port().to_string();
    let ranks: Vec<_> = (0..size)
        .map(|rank| {
            let mut command = mnist(out, more);
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
            command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
            command.env("TORCHELASTIC_RESTART_COUNT", restarts.to_string());
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

#[test]
fn two_ranks_make_the_run_of_one_bit_for_bit_and_only_rank_0_writes_and_one_rank_takes_it_up() {
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
    // Equal pieces, added in one order: bit for bit.
    assert!(weights(&two) == weights(&one));
    let rows = std::fs::read_to_string(two.join("metrics.csv")).unwrap().lines().count();
    assert_eq!(rows, 5, "a header and one row per iteration");
}

/// What `mnist evaluate` says of a checkpoint, by `size` ranks: the JSON of rank 0 without the number of ranks.
fn evaluated(size: usize, checkpoint: &Path, seed: &str) -> serde_json::Value {
    let port = free_port().to_string();
    let ranks: Vec<_> = (0..size)
        .map(|rank| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mnist"));
            command.arg("evaluate").arg("--checkpoint").arg(checkpoint);
            command.args(["--dataset", "strokes", "--train-size", "60", "--samples", "22", "--steps", "3,7"]);
            command.args([
                "--threads",
                "1",
                "--pieces",
                "4",
                "--timeout",
                "60",
                "--seed",
                seed,
                "--json",
                "-",
            ]);
            command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string());
            command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let said: Vec<_> = ranks
        .into_iter()
        .map(|rank| {
            let output = rank.wait_with_output().unwrap();
            succeeded(&output);
            output.stdout
        })
        .collect();
    assert!(said[1..].iter().all(Vec::is_empty), "rank 0 alone speaks");
    let mut report: serde_json::Value = serde_json::from_slice(&said[0]).unwrap();
    assert_eq!(report.as_object_mut().unwrap().remove("processes"), Some(size.into()));
    report
}

#[test]
fn indicators_of_1_2_and_4_ranks_are_equal_bit_for_bit() {
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("indicators by ranks", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    succeeded(&mnist(&folder.path().join("run"), &["--iterations", "2"]).output().unwrap());
    let checkpoint = folder.path().join("run").join("checkpoint.safetensors");
    let one = evaluated(1, &checkpoint, "1");
    for size in [2, 4] {
        assert_eq!(evaluated(size, &checkpoint, "1"), one, "{size} ranks");
    }
    // Other samples are told apart.
    assert_ne!(evaluated(2, &checkpoint, "2")["steps"], one["steps"]);
}

/// The launcher starts the command as it was given, without `--resume`.
#[test]
fn ranks_that_a_launcher_starts_again_take_their_run_up() {
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("a restart", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    succeeded(&mnist(&one, &["--iterations", "4"]).output().unwrap());
    // Before there is a run: from the start.
    attempt(1, 2, &two, &["--iterations", "2"]);
    let said = attempt(2, 2, &two, &["--iterations", "4"]);
    assert!(said[0].contains("done: 2 iterations"), "{said:?}");
    assert!(weights(&two) == weights(&one));
}

/// Without Python: this test serves the store and sets the variables as `torchrun` does.
#[test]
fn a_launcher_that_serves_the_store_starts_two_ranks() {
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("a launcher", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let port = free_port();
    let place = Rendezvous {
        rank: 0,
        size: 2,
        host: "127.0.0.1".to_owned(),
        port,
        served_by_launcher: true,
        prefix: String::new(),
    };
    let _store = StoreServer::start(&place, Duration::from_secs(60)).unwrap();
    let ranks = [0, 1].map(|rank: usize| {
        let mut command = mnist(&out, &["--iterations", "2"]);
        command.env("RANK", rank.to_string()).env("LOCAL_RANK", rank.to_string());
        command.env("WORLD_SIZE", "2").env("LOCAL_WORLD_SIZE", "2");
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", port.to_string());
        command.env("TORCHELASTIC_USE_AGENT_STORE", "True").env("TORCHELASTIC_RUN_ID", "test");
        command.env("TORCHELASTIC_RESTART_COUNT", "0");
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for rank in ranks {
        succeeded(&rank.wait_with_output().unwrap());
    }
    two_processes_made(&out);
}

#[test]
fn ranks_that_were_started_differently_are_refused() {
    if !proxflow_gpu::distributed::AVAILABLE {
        return common::skipped("ranks", "built for one process only");
    }
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let ranks = [0, 1].map(|rank: usize| {
        let seed = (7 + rank).to_string();
        let mut command = mnist(&folder.path().join("run"), &["--iterations", "1", "--seed", &seed]);
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", "2");
        command.env("MASTER_ADDR", "127.0.0.1").env("MASTER_PORT", &port);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for rank in ranks {
        let output = rank.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("started differently"), "{text}");
    }
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
    two_processes_made(&out);
}

/// Two iterations by two processes, says the report.
fn two_processes_made(out: &Path) {
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
