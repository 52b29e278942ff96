//! The `certify` command from outside: its contract of keys, files and exit codes.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use ndarray::{Array1, Array2, array};
use proxflow::array_file::{read_points, read_vector, write_array};
use serde_json::Value;

fn certify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_certify")).args(arguments).output().unwrap()
}

/// One line that starts with the program's name, and exit code 2.
fn bad_input(arguments: &[&str], fragments: &[&str]) {
    let output = certify(arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.starts_with("certify: "), "{message}");
    for fragment in fragments {
        assert!(message.contains(fragment), "{fragment} not in {message}");
    }
    assert!(output.stdout.is_empty());
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        write_array(&files.path("x.npy"), &array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).unwrap();
        write_array(&files.path("p.npy"), &array![0.5, 0.25, 0.25]).unwrap();
        write_array(&files.path("z.npy"), &array![[3.0, 0.0], [0.0, 1.0]]).unwrap();
        write_array(&files.path("q.npy"), &array![0.4, 0.6]).unwrap();
        files
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_string()
    }
}

#[test]
fn divergence_prints_its_certificate_and_writes_both_optimisers() {
    let files = Files::new();
    let (x, p, z, q) = (files.name("x.npy"), files.name("p.npy"), files.name("z.npy"), files.name("q.npy"));
    let (phi, eta) = (files.name("phi.npy"), files.name("eta.npy"));
    let mut arguments =
        vec!["divergence", "--model", &x, "--model-weights", &p, "--data", &z, "--data-weights", &q];
    arguments.extend([
        "--f",
        "kl",
        "--lipschitz",
        "1",
        "--potential",
        &phi,
        "--intermediate",
        &eta,
        "--json",
        "-",
    ]);
    let output = certify(&arguments);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |key: &str| report[key].as_f64().unwrap();
    assert!((of("upper") - of("transport") - of("divergence")).abs() < 1e-14);
    assert!(of("gap").abs() < 1e-12 && (of("upper") - of("lower") - of("gap")).abs() < 1e-15);
    assert_eq!((&report["atoms"], &report["dimension"]), (&serde_json::json!([3, 2]), &serde_json::json!(2)));
    assert!(of("seconds") >= 0.0);

    // The files alone reproduce the value: E_P phi - ln E_Q e^phi, and eta* = Q e^phi / E_Q e^phi.
    let (phi, eta) = (read_vector(&phi).unwrap(), read_vector(&eta).unwrap());
    assert_eq!((phi.len(), eta.len()), (5, 2));
    let model: f64 = phi.iter().zip([0.5, 0.25, 0.25]).map(|(phi, p)| phi * p).sum();
    let partition: f64 = phi.iter().skip(3).zip([0.4, 0.6]).map(|(phi, q): (&f64, f64)| q * phi.exp()).sum();
    assert!((model - partition.ln() - of("upper")).abs() < 1e-13);
    for (j, q) in [0.4, 0.6].iter().enumerate() {
        assert!((eta[j] - q * phi[3 + j].exp() / partition).abs() < 1e-13);
    }
}

#[test]
fn proximal_writes_a_generated_law_whose_value_can_be_recomputed() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let (flow, json) = (files.name("flow.npy"), files.name("out.json"));
    let mut arguments = vec!["proximal", "--source", &x, "--data", &z, "--f", "kl", "--lipschitz", "1"];
    arguments.extend(["--lambda", "0.8", "--horizon", "1", "--endpoints", &flow, "--json", &json]);
    let output = certify(&arguments);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("J* lies in ["));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let of = |key: &str| report[key].as_f64().unwrap();
    let parts = 0.8 * of("kinetic_energy") + of("transport") + of("divergence");
    assert!((of("upper") - parts).abs() < 1e-13);

    let law = read_points(&flow).unwrap();
    assert_eq!(law.ncols(), 3);
    let weights: Array1<f64> = law.column(2).to_owned();
    assert!((weights.sum() - 1.0).abs() < 1e-14);
    write_array(&files.path("y.npy"), &law.slice(ndarray::s![.., ..2])).unwrap();
    write_array(&files.path("w.npy"), &weights).unwrap();
    let (y, w) = (files.name("y.npy"), files.name("w.npy"));
    let again = certify(&["divergence", "--model", &y, "--model-weights", &w, "--data", &z, "--json", "-"]);
    let terminal: Value = serde_json::from_slice(&again.stdout).unwrap();
    let value = terminal["upper"].as_f64().unwrap();
    assert!((value - of("transport") - of("divergence")).abs() < 1e-12);
}

#[test]
fn every_divergence_name_is_accepted() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    for f in ["kl", "reverse-kl", "alpha:0.5", "alpha:3", "chi2", "js", "hellinger"] {
        for singular in ["forbidden", "priced"] {
            let problem =
                ["divergence", "--model", &x, "--data", &z, "--f", f, "--singular", singular, "--json", "-"];
            let output = certify(&problem);
            assert_eq!(output.status.code(), Some(0), "{f}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(report["gap"].as_f64().unwrap().abs() < 1e-12, "{f}");
            assert_eq!(report["f"], f);
        }
    }
}

#[test]
fn bad_input_is_one_line_and_exit_code_two() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let (p, flat) = (files.name("p.npy"), files.name("flat.npy"));
    write_array(&files.path("flat.npy"), &Array2::<f64>::zeros((4, 1))).unwrap();
    write_array(&files.path("nan.npy"), &array![[0.0, f64::NAN]]).unwrap();
    write_array(&files.path("negative.npy"), &array![1.5, -0.5]).unwrap();
    let (nan, negative) = (files.name("nan.npy"), files.name("negative.npy"));
    let check = |more: &[&str], fragments: &[&str]| {
        let arguments: Vec<&str> =
            ["divergence", "--model", &x, "--data"].iter().chain(more).copied().collect();
        bad_input(&arguments, fragments);
    };
    check(&["missing.npy"], &["missing.npy", "readable file"]);
    check(&[&flat], &["flat.npy", "[4, 1] against [3, 2]"]);
    check(&[&nan], &["nan.npy", "NaN at [0, 1]"]);
    check(&[&z, "--f", "KL"], &["reverse-kl"]);
    check(&[&z, "--lipschitz", "-1"], &["lipschitz", "-1", "> 0"]);
    check(&[&z, "--lipschitz", "nan"], &["lipschitz"]);
    check(&[&z, "--tolerance", "-1"], &["tolerance"]);
    check(&[&z, "--data-weights", &p], &["3 weights", "2 weights"]);
    check(&[&z, "--data-weights", &negative], &["negative.npy", "-0.5"]);
    check(&[&z, "--json", "/nonexistent/out.json"], &["/nonexistent/out.json"]);
    check(&[&z, "--potential", "/nonexistent/phi.npy"], &["/nonexistent/phi.npy"]);
    bad_input(&["proximal", "--source", &x, "--data", &z, "--lambda", "0"], &["lambda", "finite and > 0"]);
    bad_input(&["proximal", "--source", &x, "--data", &z, "--horizon", "-2"], &["horizon"]);
    // Usage errors come from the argument parser, with the same code.
    assert_eq!(certify(&["divergence", "--modell", &x]).status.code(), Some(2));
    assert_eq!(certify(&[]).status.code(), Some(2));
}

#[test]
fn help_shows_an_example_of_every_task() {
    for task in ["divergence", "proximal", "illustrate"] {
        let output = certify(&[task, "--help"]);
        assert_eq!(output.status.code(), Some(0));
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(&format!("certify {task} --")), "{help}");
        assert!(help.contains("--seed") && help.contains("--json"), "{help}");
    }
}

#[test]
fn illustrate_writes_the_picture_and_its_numbers() {
    let files = Files::new();
    let picture = files.name("picture.svg");
    let output = certify(&["illustrate", "--out", &picture, "--json", "-"]);
    assert_eq!(output.status.code(), Some(0));
    let numbers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(numbers["upper"].as_f64().unwrap() >= numbers["lower"].as_f64().unwrap() - 1e-12);
    assert!(std::fs::read_to_string(&picture).unwrap().ends_with("</svg>\n"));
}
