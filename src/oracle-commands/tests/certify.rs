//! The `certify` command from outside: its contract of keys, files and exit codes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use ndarray::{Array1, Array2, Array3, Axis, array, stack};
use proxflow_io::array_file::{read_points, read_vector, write_array, write_arrays};
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

    fn listing(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Runs a task that must succeed in silence and returns its JSON.
fn report(arguments: &[&str]) -> Value {
    let output = certify(&[arguments, &["--json", "-"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "progress belongs on a terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
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
    // Usage errors come from the argument parser: the same line, the same code.
    bad_input(&["divergence", "--modell", &x], &["--modell"]);
    bad_input(
        &["divergence", "--model", &x, "--data", &z, "--lipschitz", "steep"],
        &["steep", "--lipschitz"],
    );
    bad_input(&["divergence", "--data", &z], &["--model"]);
    bad_input(&["proximal", "--data", &z], &["--source"]);
    assert_eq!(certify(&[]).status.code(), Some(2));
}

#[test]
fn damaged_files_and_unusable_outputs_leave_nothing_behind() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    write_array(&files.path("line.npy"), &array![0.0, 1.0, 2.0]).unwrap();
    write_array(&files.path("empty.npy"), &Array2::<f64>::zeros((0, 2))).unwrap();
    write_array(&files.path("far.npy"), &array![[1e200, 0.0]]).unwrap();
    write_array(&files.path("infinite.npy"), &array![[f64::INFINITY, 0.0]]).unwrap();
    write_array(&files.path("heavy.npy"), &array![0.9, 0.9]).unwrap();
    let whole = std::fs::read(&x).unwrap();
    std::fs::write(files.path("short.npy"), &whole[..whole.len() - 5]).unwrap();
    std::fs::write(files.path("nothing.npy"), b"").unwrap();
    std::fs::write(files.path("kept.npy"), b"kept").unwrap();
    let mut protected = std::fs::metadata(files.path("kept.npy")).unwrap().permissions();
    protected.set_readonly(true);
    std::fs::set_permissions(files.path("kept.npy"), protected).unwrap();
    let before = files.listing();

    let outputs = [files.name("phi.npy"), files.name("eta.npy"), files.name("out.json")];
    let all = ["--potential", &outputs[0], "--intermediate", &outputs[1], "--json", &outputs[2]];
    let check = |model: &str, more: &[&str], fragments: &[&str]| {
        let model = files.name(model);
        let task = ["divergence", "--model", &model, "--data", &z];
        bad_input(&[&task, &all[..], more].concat(), fragments);
        assert_eq!(files.listing(), before, "{model} {more:?}");
    };
    check("line.npy", &[], &["line.npy", "[3]", "(n, d)"]);
    check("empty.npy", &[], &["empty.npy", "[0, 2]"]);
    check("far.npy", &[], &["coordinates", "costs reach inf"]);
    check("infinite.npy", &[], &["inf at [0, 0]"]);
    check("short.npy", &[], &["short.npy", "43 bytes"]);
    check("nothing.npy", &[], &["nothing.npy"]);
    check("absent.npy", &[], &["absent.npy"]);
    check("x.npy", &["--data-weights", &files.name("heavy.npy")], &["heavy.npy", "sum 1.8"]);
    check("x.npy", &["--f", "alpha:1"], &["alpha:1"]);
    check("x.npy", &["--lipschitz", "0"], &["lipschitz", "finite and > 0"]);

    let model = ["divergence", "--model", &x, "--data", &z];
    let refused = |more: &[&str], fragments: &[&str]| {
        bad_input(&[&model, more].concat(), fragments);
        assert_eq!(files.listing(), before, "{more:?}");
    };
    let (folder, kept) = (files.folder.path().to_str().unwrap(), files.name("kept.npy"));
    refused(&["--potential", &outputs[0], "--json", folder], &[folder, "a folder"]);
    refused(&["--intermediate", &outputs[1], "--potential", &kept], &["kept.npy", "read-only"]);
    assert_eq!(std::fs::read(&kept).unwrap(), b"kept");
    refused(&["--potential", &outputs[0], "--intermediate", &outputs[0]], &["phi.npy", "two outputs"]);
    let inside = format!("{x}/phi.npy");
    refused(&["--intermediate", &outputs[1], "--potential", &inside], &[&inside]);
}

#[test]
fn single_precision_fortran_order_and_archives_give_the_same_value() {
    let files = Files::new();
    let x = array![[0.1, 0.3], [1.7, -0.2], [0.4, 2.9]];
    write_array(&files.path("c.npy"), &x).unwrap();
    ndarray_npy::write_npy(files.path("single.npy"), &x.mapv(|v| v as f32)).unwrap();
    let mut fortran = Array2::zeros(ndarray::ShapeBuilder::f((3, 2)));
    fortran.assign(&x);
    ndarray_npy::write_npy(files.path("fortran.npy"), &fortran).unwrap();
    assert!(
        std::fs::read(files.path("fortran.npy")).unwrap().windows(21).any(|w| w == b"'fortran_order': True")
    );
    write_arrays(&files.path("one.npz"), &[("points", x.clone().into_dyn())]).unwrap();
    let weights = array![0.5, 0.25, 0.25];
    write_arrays(&files.path("two.npz"), &[("points", x.into_dyn()), ("weights", weights.into_dyn())])
        .unwrap();
    let z = files.name("z.npy");
    let value = |model: &str, more: &[&str]| {
        number(
            &report(&[&["divergence", "--model", &files.name(model), "--data", &z], more].concat()),
            "/upper",
        )
    };
    let plain = value("c.npy", &[]);
    assert_eq!(value("fortran.npy", &[]), plain);
    assert_eq!(value("one.npz", &[]), plain);
    assert_eq!(value("two.npz:points", &[]), plain);
    // Coordinates rounded to single precision move by at most 2e-7 each, the value by at most L times that.
    let single = value("single.npy", &[]);
    assert!(single != plain && (single - plain).abs() < 1e-6, "{single} {plain}");
    let weighted = value("two.npz:points", &["--model-weights", &files.name("two.npz:weights")]);
    assert_eq!(weighted, value("c.npy", &["--model-weights", &files.name("p.npy")]));
    assert!((weighted - plain).abs() > 1e-3);
}

#[test]
fn the_contract_of_keys_is_kept() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let keys = ["lower", "upper", "gap", "transport", "divergence", "atoms", "dimension", "seconds"]
        .map(String::from);
    let divergence = report(&["divergence", "--model", &x, "--data", &z]);
    let proximal = report(&["proximal", "--source", &x, "--data", &z]);
    for key in &keys {
        assert!(divergence.get(key).is_some() && proximal.get(key).is_some(), "{key}");
    }
    assert!(divergence.get("kinetic_energy").is_none() && proximal.get("optimality_gap").is_none());
    number(&proximal, "/kinetic_energy");
}

#[test]
fn the_proximal_writes_its_potentials_and_what_stayed() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let (phi, eta) = (files.name("phi.npy"), files.name("eta.npy"));
    let task = ["proximal", "--source", &x, "--data", &z, "--lambda", "0.8", "--horizon", "1"];
    let solved = report(&[&task[..], &["--potential", &phi, "--intermediate", &eta]].concat());
    // The dual value from the file: E_{rho0} U(., 0) - ln E_Q e^phi.
    let potential = read_vector(&phi).unwrap();
    assert_eq!((potential.len(), read_vector(&eta).unwrap().len()), (5, 2));
    let initial = potential.iter().take(3).sum::<f64>() / 3.0;
    let partition = potential.iter().skip(3).map(|phi| phi.exp() / 2.0).sum::<f64>();
    assert!((initial - partition.ln() - number(&solved, "/lower")).abs() < 1e-13);

    let far = files.name("far.npy");
    write_array(&files.path("far.npy"), &array![[90.0, 0.0]]).unwrap();
    let priced = ["divergence", "--model", &x, "--data", &far, "--f", "js", "--singular", "priced"];
    report(&[&priced[..], &["--intermediate", &eta]].concat());
    let split = read_vector(&eta).unwrap();
    assert_eq!(split.len(), 4);
    assert!((split.sum() - 1.0).abs() < 1e-14 && split.iter().skip(1).sum::<f64>() > 0.9, "{split}");
}

#[test]
fn costs_computed_on_the_fly_give_the_same_value() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let task = ["divergence", "--model", &x, "--data", &z];
    let lazy = report(&[&task[..], &["--cost-memory", "0"]].concat());
    assert!((number(&lazy, "/upper") - number(&report(&task), "/upper")).abs() < 1e-14);
    let help = String::from_utf8(certify(&["divergence", "--help"]).stdout).unwrap();
    assert!(help.contains("--cost-memory") && help.contains("[default: 2048]"), "{help}");
}

#[test]
fn a_given_flow_is_compared_with_the_optimum() {
    let files = Files::new();
    let z = files.name("z.npy");
    let x = read_points(&files.name("x.npy")).unwrap();
    let flow = |path: &dyn Fn(f64) -> Array2<f64>, steps: usize| -> Array3<f64> {
        let frames: Vec<Array2<f64>> = (0..=steps).map(|k| path(k as f64 / steps as f64)).collect();
        stack(Axis(0), &frames.iter().map(|frame| frame.view()).collect::<Vec<_>>()).unwrap()
    };
    let setting =
        ["--data", &z, "--lambda", "0.8", "--horizon", "2", "--source-weights", &files.name("p.npy")];
    let compare = |positions: &Array3<f64>| {
        write_array(&files.path("flow.npy"), positions).unwrap();
        report(&[&["proximal", "--trajectories", &files.name("flow.npy")], &setting[..]].concat())
    };
    let drift = array![[0.6, 0.2]];
    let straight = compare(&flow(&|t| &x + &(&drift * t), 4));

    // J(flow) by hand from the other command: lambda |drift|^2/(2T) + D_f^L of the end points.
    write_array(&files.path("y.npy"), &(&x + &drift)).unwrap();
    let (y, p) = (files.name("y.npy"), files.name("p.npy"));
    let terminal = report(&["divergence", "--model", &y, "--model-weights", &p, "--data", &z]);
    let optimum = report(&[&["proximal", "--source", &files.name("x.npy")], &setting[..]].concat());
    let objective = 0.8 * 0.4 / 4.0 + number(&terminal, "/upper");
    assert!((number(&straight, "/flow/objective/upper") - objective).abs() < 1e-14);
    assert!((number(&straight, "/flow/kinetic_energy") - 0.4 / 4.0).abs() < 1e-15);
    assert_eq!(number(&straight, "/upper"), number(&optimum, "/upper"));
    let gap = number(&straight, "/optimality_gap/upper");
    assert!((gap - (objective - number(&optimum, "/lower"))).abs() < 1e-13 && gap > 0.01, "{gap}");
    let lower = number(&straight, "/optimality_gap/lower");
    // Both ends round; the certified gaps are far below.
    assert!((gap - lower).abs() < 1e-10);

    // Negative control: a bend of the same end points costs lambda |0.5|^2/h more, h = 1.
    let bent = compare(&flow(&|t| &x + &(&drift * t) + &array![[0.5 * f64::from(t == 0.5), 0.0]], 2));
    assert!((number(&bent, "/optimality_gap/upper") - gap - 0.8 * 0.25).abs() < 1e-12);

    let (flat, one) = (files.name("flat.npy"), files.name("x.npy"));
    write_array(&files.path("flat.npy"), &x).unwrap();
    bad_input(&["proximal", "--trajectories", &flat, "--data", &z], &["flat.npy", "(N + 1, n, d)"]);
    bad_input(&["proximal", "--trajectories", &flat, "--source", &one, "--data", &z], &["--source"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_a_failed_run_in_one_line() {
    let files = Files::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_certify"))
        .args(["divergence", "--model", &files.name("x.npy"), "--data", &files.name("z.npy"), "--json", "-"])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
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
