//! `torus uniqueness` as a user runs it: tables, fields and pictures in `--out`, exit codes.
#![allow(clippy::unwrap_used)]

use std::process::Command;

fn torus(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_torus")).args(arguments).output().unwrap()
}

#[test]
fn quick_run_prints_the_table_and_writes_report_and_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = torus(&["uniqueness", "--quick", "--starts", "4", "--out", out.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("holds") && text.contains("not unique, as it must"), "{text}");
    for name in
        ["density-1d.svg", "characteristics-1d.svg", "density-2d.svg", "convergence.svg", "uniqueness.svg"]
    {
        let picture = std::fs::read_to_string(out.join(name)).unwrap();
        assert!(picture.contains("<svg") && picture.contains("commit"), "{name}");
    }
    for name in ["uniqueness.csv", "controls.csv", "convergence.csv", "potential-1d.npy", "weights-2d.npy"] {
        assert!(out.join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["all_hold"], true);
    for row in report["identity"].as_array().unwrap() {
        let (left, right) = (row["left"].as_f64().unwrap(), row["discrete_right"].as_f64().unwrap());
        assert!(left < -1e-3 && (left - right).abs() < 1e-14);
    }
}

#[test]
fn bad_arguments_exit_with_two_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "x").unwrap();
    let inside = blocked.join("run");
    for arguments in [
        vec!["uniqueness", "--starts", "1", "--out", out],
        vec!["uniqueness", "--tolerance", "0", "--out", out],
        vec!["uniqueness", "--out", inside.to_str().unwrap()],
    ] {
        let output = torus(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim().lines().count(), 1);
    }
}
