//! The folder of a training run under faults: equal files, other data, locks, kills, signals, sizes that memory cannot hold.
#![cfg(all(feature = "torch", unix))]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn mnist(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mnist")).args(arguments).output().unwrap()
}

const SMALL: [&str; 12] = [
    "--preset",
    "paper",
    "--dataset",
    "strokes",
    "--train-size",
    "60",
    "--batch",
    "4",
    "--critic-steps",
    "1",
    "--threads",
    "1",
];

fn arguments<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &["--out", out.to_str().unwrap()], more].concat()
}

fn train(out: &Path, more: &[&str]) -> Output {
    let output = mnist(&arguments(out, more));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn resume(out: &Path, more: &[&str]) -> Output {
    mnist(&[&["--out", out.to_str().unwrap(), "--resume"], more].concat())
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code 2 and one line beside those on data and notes, which contains every part of `expected`.
fn refused(output: &Output, expected: &[&str]) {
    let text = errors(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    let told = |line: &&str| !line.starts_with("data: ") && !line.starts_with("note: ");
    let lines: Vec<&str> = text.lines().filter(told).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(expected.iter().all(|part| lines[0].contains(part)), "{text}");
}

/// A training without end whose checkpoint is renewed at every iteration.
fn endless(out: &Path, more: &[&str]) -> Child {
    let endless = ["--iterations", "1000000", "--checkpoint-every", "1", "--log-every", "1"];
    Command::new(env!("CARGO_BIN_EXE_mnist"))
        .args(arguments(out, &[&endless[..], more].concat()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for(path: &Path, child: &mut Child) {
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

fn checkpoint(run: &Path) -> PathBuf {
    run.join("checkpoint.safetensors")
}

fn names(run: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(run)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn last_iteration(run: &Path) -> f64 {
    let metrics = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    metrics.lines().last().unwrap().split(',').next().unwrap().parse().unwrap()
}

#[test]
fn two_equal_runs_write_equal_files_and_the_last_iteration_has_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for run in [&first, &second] {
        train(run, &["--iterations", "3"]);
    }
    let bytes = |run: &Path, name: &str| std::fs::read(run.join(name)).unwrap();
    for name in ["checkpoint.safetensors", "metrics.csv", "samples-000003.png"] {
        assert!(bytes(&first, name) == bytes(&second, name), "{name} differs");
    }
    assert_eq!(last_iteration(&first), 3.0, "below --log-every");
    assert!(!names(&first).contains(&"run.lock".to_owned()));
    // One row that is written already is not written twice.
    assert!(resume(&first, &["--iterations", "3"]).status.success());
    assert!(bytes(&first, "metrics.csv") == bytes(&second, "metrics.csv"));
}

#[test]
fn other_data_and_other_options_are_refused_with_option_value_and_the_value_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, &["--iterations", "1"]);
    for (options, expected) in [
        (&["--lambda", "1"][..], &["--lambda: 1", "0.05"][..]),
        (&["--train-size", "50"], &["--train-size: 50", "60"]),
        (&["--dataset", "mnist"], &["--dataset: mnist", "strokes"]),
        (&["--batch", "8"], &["--batch: 8", "4"]),
        (&["--f", "js"], &["--f: js", "kl"]),
    ] {
        refused(&resume(&run, options), expected);
    }
    let before = std::fs::read(checkpoint(&run)).unwrap();
    let text = std::fs::read_to_string(run.join("config.toml")).unwrap();
    std::fs::write(run.join("config.toml"), text.replace("train-size = 60", "train-size = 61")).unwrap();
    refused(&resume(&run, &["--iterations", "2"]), &["--data", "SHA-256"]);
    assert!(std::fs::read(checkpoint(&run)).unwrap() == before);
}

#[test]
fn a_running_training_holds_its_folder_until_it_is_killed_and_damage_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut child = endless(&run, &[]);
    wait_for(&run.join("metrics.csv"), &mut child);
    refused(&resume(&run, &["--iterations", "2"]), &["in use by process", &child.id().to_string()]);
    assert!(child.try_wait().unwrap().is_none());
    kill(child);
    assert!(names(&run).contains(&"run.lock".to_owned()));
    std::fs::write(run.join(".tmpAbCdEf"), "half a file").unwrap();
    let metrics = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    std::fs::write(run.join("metrics.csv"), format!("{}999999,1,2\n1000000,0.", metrics)).unwrap();
    let output = resume(&run, &["--iterations", "1"]);
    let text = errors(&output);
    assert!(output.status.success(), "{text}");
    for word in ["which has ended, is taken over", "1 unfinished files", "metrics.csv is brought back"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!names(&run).iter().any(|name| name == "run.lock" || name.starts_with(".tmp")));
    assert!(last_iteration(&run) < 999.0);
}

#[test]
fn a_run_without_a_checkpoint_yet_resumes_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (run, whole) = (folder.path().join("run"), folder.path().join("whole"));
    train(&whole, &["--iterations", "1"]);
    for restart in [false, true] {
        train(&run, &["--iterations", "0"]);
        std::fs::remove_file(checkpoint(&run)).unwrap();
        let output =
            if restart { train(&run, &["--iterations", "1"]) } else { resume(&run, &["--iterations", "1"]) };
        assert!(output.status.success(), "{}", errors(&output));
        assert!(std::fs::read(checkpoint(&run)).unwrap() == std::fs::read(checkpoint(&whole)).unwrap());
        assert_eq!(last_iteration(&run), 1.0);
        std::fs::remove_dir_all(&run).unwrap();
    }
}

#[test]
fn signals_end_a_run_with_checkpoint_and_report() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["-TERM", "-INT"] {
        let run = folder.path().join(name);
        let mut child = endless(&run, &[]);
        wait_for(&run.join("metrics.csv"), &mut child);
        signal(&child, name);
        assert!(child.wait().unwrap().success(), "{name}");
        let report = std::fs::read_to_string(run.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["stop_reason"], "interrupted", "{name}");
        assert_eq!(report["iterations"].as_f64().unwrap(), last_iteration(&run), "{name}");
        assert!(!names(&run).contains(&"run.lock".to_owned()), "{name}");
    }
}

#[test]
fn sizes_that_no_machine_holds_are_refused_with_the_limit() {
    let million_million = "1000000000000";
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    for option in ["--batch", "--critic-steps", "--steps", "--iterations", "--train-size"] {
        let output = mnist(&arguments(&run, &["--iterations", "1", option, million_million][..]));
        // clap takes no option twice, so those of the small run are left out.
        let small = [
            &["--preset", "paper", "--dataset", "strokes"][..],
            &["--out", run.to_str().unwrap(), option, million_million],
        ];
        let output = if output.status.code() == Some(2) { mnist(&small.concat()) } else { output };
        refused(&output, &[option.trim_start_matches('-'), million_million, "at most"]);
    }
    for (command, option) in
        [("sample", "--count"), ("sample", "--steps"), ("evaluate", "--samples"), ("evaluate", "--steps")]
    {
        let png = if command == "sample" { &["--png", "x.png"][..] } else { &[] };
        let output = mnist(&[&[command, "--checkpoint", "x", option, million_million], png].concat());
        refused(&output, &[option.trim_start_matches('-'), million_million]);
    }
    refused(&mnist(&["--dataset", "strokes", "--horizon", "1e39"]), &["horizon"]);
    assert!(!run.exists());
}

/// A copy of `from` whose potential is `factor` times as large.
fn scaled(from: &Path, to: &Path, factor: f32) {
    use proxflow_reference::checkpoint::Container;
    let bytes = std::fs::read(from).unwrap();
    let mut container = Container::parse(&bytes).unwrap();
    for (name, part) in &mut container.tensors {
        if name.starts_with("potential.") {
            let scale = |word: &[u8; 4]| (f32::from_le_bytes(*word) * factor).to_le_bytes();
            part.bytes = part.bytes.as_chunks::<4>().0.iter().flat_map(scale).collect::<Vec<u8>>().into();
        }
    }
    std::fs::write(to, container.serialise().unwrap()).unwrap();
}

#[test]
fn weights_that_overflow_are_a_failed_run_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, &["--iterations", "0"]);
    let large = folder.path().join("large.safetensors");
    // Values overflow while slopes, by vanishing masks, are a finite zero.
    scaled(&checkpoint(&run), &large, 1e20);
    let (large, png, npy) =
        (large.to_str().unwrap(), folder.path().join("x.png"), folder.path().join("x.npy"));
    let files = ["--png", png.to_str().unwrap(), "--npy", npy.to_str().unwrap()];
    for command in [
        &[&["sample", "--count", "3"][..], &files].concat()[..],
        &["evaluate", "--samples", "4", "--steps", "2"],
    ] {
        let output = mnist(&[command, &["--checkpoint", large, "--json", "-"]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
        assert!(errors(&output).contains("not finite"), "{}", errors(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["status"], "failed");
    }
    assert!(!png.exists() && !npy.exists());
}

#[test]
fn killed_at_random_moments_a_run_ends_with_the_files_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, run) = (folder.path().join("whole"), folder.path().join("run"));
    let options = ["--iterations", "4", "--checkpoint-every", "1", "--log-every", "1"];
    let start = std::time::Instant::now();
    train(&whole, &options);
    let length = start.elapsed();
    // Fractions of the length of the uninterrupted run; `make kill-test` draws 50 at random.
    for fraction in [0.35, 0.62, 0.81] {
        let resumed = [&["--out", run.to_str().unwrap(), "--resume"], &options[..]].concat();
        let fresh = arguments(&run, &options);
        let begun = run.join("config.toml").exists();
        let child = Command::new(env!("CARGO_BIN_EXE_mnist"))
            .args(if begun { resumed } else { fresh })
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(length.mul_f64(fraction));
        kill(child);
    }
    let begun = run.join("config.toml").exists();
    let output = if begun { resume(&run, &options) } else { train(&run, &options) };
    assert!(output.status.success(), "{}", errors(&output));
    for name in ["checkpoint.safetensors", "metrics.csv"] {
        assert!(std::fs::read(run.join(name)).unwrap() == std::fs::read(whole.join(name)).unwrap(), "{name}");
    }
}

/// A tmpfs of a size, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, options: &str) -> bool {
        let at = at.to_str().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "tmpfs", at]).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_costs_nothing_that_was_saved() {
    let test = "a_disk_that_is_full_costs_nothing_that_was_saved";
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let options = ["--iterations", "2", "--checkpoint-every", "1"];
    // Room for nothing, and for one checkpoint of 12 MB but no second beside it.
    for (index, size) in ["size=1m", "size=16m"].iter().enumerate() {
        let mount = folder.path().join(format!("disk-{index}"));
        std::fs::create_dir(&mount).unwrap();
        if !SmallDisk::mount(&mount, size) {
            common::skipped(test, "a tmpfs cannot be mounted here");
            return;
        }
        let disk = SmallDisk(mount.clone());
        if index == 0 {
            train(&whole, &options);
        }
        let run = mount.join("run");
        let output = mnist(&arguments(&run, &options));
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("mnist: ") && last.contains("No space left"), "{text}");
        assert!(
            Command::new("mount").args(["-o", "remount,size=200m"]).arg(&mount).status().unwrap().success()
        );
        let output = if checkpoint(&run).exists() || run.join("config.toml").exists() {
            resume(&run, &options)
        } else {
            train(&run, &options)
        };
        assert!(output.status.success(), "{}", errors(&output));
        assert!(std::fs::read(checkpoint(&run)).unwrap() == std::fs::read(checkpoint(&whole)).unwrap());
        drop(disk);
    }
}

#[test]
fn an_export_holds_the_weights_alone_and_reads_back() {
    let folder = tempfile::tempdir().unwrap();
    let (run, hub) = (folder.path().join("run"), folder.path().join("hub"));
    train(&run, &["--iterations", "1"]);
    let from = checkpoint(&run);
    let (from, hub_name) = (from.to_str().unwrap(), hub.to_str().unwrap());
    let export = ["export", "--checkpoint", from, "--hub", hub_name, "--samples", "8"];
    let output = mnist(&export);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(names(&hub), ["README.md", "config.json", "model.safetensors"]);
    let bytes = std::fs::read(hub.join("model.safetensors")).unwrap();
    let weights = proxflow_reference::checkpoint::Container::parse(&bytes).unwrap();
    weights.verify().unwrap();
    assert_eq!(weights.tensors.len(), 20);
    assert!(weights.tensors.keys().all(|name| !name.starts_with("optimizer")));
    let card = std::fs::read_to_string(hub.join("README.md")).unwrap();
    assert!(card.contains("| straightness | 1.") && !card.contains("NaN"), "{card}");
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(hub.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["architectures"]["potential"]["features"]["side"], 28);
    let exported = hub.join("model.safetensors");
    let draw = |from: &str, name: &str| {
        let npy = folder.path().join(name);
        let output = mnist(&["sample", "--checkpoint", from, "--count", "2", "--npy", npy.to_str().unwrap()]);
        assert!(output.status.success(), "{}", errors(&output));
        std::fs::read(npy).unwrap()
    };
    assert!(draw(from, "a.npy") == draw(exported.to_str().unwrap(), "b.npy"));
    refused(&mnist(&export), &["hub", "exists"]);
}
