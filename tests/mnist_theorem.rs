//! The default of `mnist`, Hopf-Lax flows, as a user meets it: the properties of the theorem, resuming, every fault.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use serde_json::Value;

use common::mnist::{json, mnist, refused, tensors};

#[test]
fn hopf_lax_flows_are_straight_step_size_invariant_and_certified() {
    let folder = tempfile::tempdir().unwrap();
    for model in ["hopf-lax", "exact"] {
        let out = folder.path().join(model);
        let path = out.to_str().unwrap();
        let prototypes: &[&str] = if model == "exact" { &[] } else { &["--prototypes", "15"] };
        let more = ["--model", model, "--batch", "100", "--iterations", "60", "--log-every", "7"];
        let arguments = ["--dataset", "strokes", "--train-size", "40", "--threads", "1", "--out", path];
        let output = mnist(&[&arguments[..], prototypes, &more[..]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
        let [lower, upper] = [0, 1].map(|end| report["interval"][end].as_f64().unwrap());
        assert!(lower <= upper && upper - lower < 0.05, "[{lower}, {upper}]");
        assert!(report["critical_lipschitz"]["lower"].as_f64().unwrap() > 0.0);
        assert_eq!(report["prototypes"] == 40, model == "exact");
        let metrics = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
        assert!(metrics.lines().last().unwrap().starts_with("60,"), "the last iteration is written");

        let checkpoint = out.join("checkpoint.safetensors");
        let found = json(&[
            "evaluate",
            "--checkpoint",
            checkpoint.to_str().unwrap(),
            "--samples",
            "40",
            "--steps",
            "5,40",
            "--dataset",
            "strokes",
            "--train-size",
            "40",
            "--exact",
            "--threads",
            "1",
            "--json",
            "-",
        ]);
        let at_five = &found["steps"][0];
        let number = |value: &Value| value.as_f64().unwrap();
        // f32 rounding of distances about 10.
        assert!((number(&at_five["straightness"]) - 1.0).abs() < 1e-4, "{at_five}");
        assert!(number(&at_five["deviation"]) < 1e-3, "{at_five}");
        assert!(number(&at_five["hj_residual_relative"]) < 1e-3, "{at_five}");
        assert_eq!(number(&found["nearest_digits"]["commitment"]), 1.0);
        if model == "exact" {
            // Forty samples of the population's optimum against the optimum of these forty.
            let gap = &found["exact"]["optimality_gap"];
            assert!(number(&gap["lower"]) > -1e-6 && number(&gap["upper"]) < 0.6, "{gap}");
        }
        let strips = folder.path().join("strips.png");
        assert!(
            mnist(&[
                "sample",
                "--checkpoint",
                checkpoint.to_str().unwrap(),
                "--paths",
                strips.to_str().unwrap()
            ])
            .status
            .success()
        );
        assert!(strips.exists());
    }
    refused(&["--model", "exact", "--case", "w1"], "case");
    refused(&["--model", "exact", "--f", "js"], "kl");
    refused(&["--model", "exact", "--iterations", "0"], "iterations");
    for unused in ["stop-hj", "penalty-weight", "critic-steps"] {
        refused(&[&format!("--{unused}"), "1"], unused);
    }
    refused(&["--preset", "paper", "--prototypes", "5"], "prototypes");
    refused(&["--preset", "paper", "--config", "x"], "--config");
    refused(&["--preset", "theorem", "--model", "exact"], "--model");
    refused(&["--model", "hopf-lax", "--prototypes", "0"], "prototypes");
    refused(&["--lipschitz", "critical:-1"], "critical:FACTOR");
}

#[test]
fn a_hopf_lax_run_continues_bit_for_bit_and_refuses_another_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let common = ["--model", "hopf-lax", "--dataset", "strokes", "--train-size", "40", "--threads", "1"];
    let run = |out: &Path, more: &[&str]| {
        let sizes = ["--prototypes", "9", "--batch", "50", "--checkpoint-every", "7", "--log-every", "5"];
        let output = mnist(&[&common[..], &sizes, more, &["--out", out.to_str().unwrap()]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let [straight, stopped] = ["straight", "stopped"].map(|name| folder.path().join(name));
    run(&straight, &["--iterations", "30"]);
    run(&stopped, &["--iterations", "12"]);
    let path = stopped.to_str().unwrap();
    let refusals =
        [["--prototypes", "8"], ["--lipschitz", "critical:0.9"], ["--preset", "paper"], ["--batch", "60"]];
    for other in refusals {
        refused(&[&["--out", path, "--resume"][..], &other].concat(), "--resume with --");
    }
    let output = mnist(&["--out", path, "--resume", "--iterations", "30"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let checkpoint = |folder: &Path| tensors(&folder.join("checkpoint.safetensors"));
    assert!(
        checkpoint(&straight) == checkpoint(&stopped),
        "the resumed run differs from the one that was not stopped"
    );
    let rows = |folder: &Path| std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let of = |text: &str, at: u64| {
        text.lines().find(|line| line.starts_with(&format!("{at},"))).unwrap().to_owned()
    };
    assert_eq!(of(&rows(&straight), 30), of(&rows(&stopped), 30));
}
