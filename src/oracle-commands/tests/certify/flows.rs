//! Proximals, flows and the picture.

use ndarray::{Array1, Array2, Array3, Axis, array, stack};
use proxflow_io::array::{read_points, read_vector, write_array};
use serde_json::Value;

use crate::common::{Files, bad_input, certify, number, report};

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

    let law = read_points(&flow.as_str().into()).unwrap();
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
fn the_proximal_writes_its_potentials_and_what_stayed() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let (phi, eta) = (files.name("phi.npy"), files.name("eta.npy"));
    let task = ["proximal", "--source", &x, "--data", &z, "--lambda", "0.8", "--horizon", "1"];
    let solved = report(&[&task[..], &["--potential", &phi, "--intermediate", &eta]].concat());
    // The dual value from the file: E_{rho0} U(., 0) - ln E_Q e^phi.
    let potential = read_vector(&phi.as_str().into()).unwrap();
    assert_eq!((potential.len(), read_vector(&eta.as_str().into()).unwrap().len()), (5, 2));
    let initial = potential.iter().take(3).sum::<f64>() / 3.0;
    let partition = potential.iter().skip(3).map(|phi| phi.exp() / 2.0).sum::<f64>();
    assert!((initial - partition.ln() - number(&solved, "/lower")).abs() < 1e-13);

    let far = files.name("far.npy");
    write_array(&files.path("far.npy"), &array![[90.0, 0.0]]).unwrap();
    let priced = ["divergence", "--model", &x, "--data", &far, "--f", "js", "--singular", "priced"];
    report(&[&priced[..], &["--intermediate", &eta]].concat());
    let split = read_vector(&eta.as_str().into()).unwrap();
    assert_eq!(split.len(), 4);
    assert!((split.sum() - 1.0).abs() < 1e-14 && split.iter().skip(1).sum::<f64>() > 0.9, "{split}");
}

#[test]
fn a_given_flow_is_compared_with_the_optimum() {
    let files = Files::new();
    let z = files.name("z.npy");
    let x = read_points(&files.name("x.npy").as_str().into()).unwrap();
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
    bad_input(&["proximal", "--trajectories", &flat, "--data", &z], &["flat.npy", "(times, samples, d)"]);
    bad_input(&["proximal", "--trajectories", &flat, "--source", &one, "--data", &z], &["--source"]);
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
