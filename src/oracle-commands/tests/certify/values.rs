//! Divergences: the values and files are right and reproducible.

use ndarray::{Array2, array};
use proxflow_io::array::{read_vector, write_array, write_arrays};
use serde_json::Value;

use crate::common::{Files, certify, number, report};

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
    let (phi, eta) = (read_vector(&phi.as_str().into()).unwrap(), read_vector(&eta.as_str().into()).unwrap());
    assert_eq!((phi.len(), eta.len()), (5, 2));
    let model: f64 = phi.iter().zip([0.5, 0.25, 0.25]).map(|(phi, p)| phi * p).sum();
    let partition: f64 = phi.iter().skip(3).zip([0.4, 0.6]).map(|(phi, q): (&f64, f64)| q * phi.exp()).sum();
    assert!((model - partition.ln() - of("upper")).abs() < 1e-13);
    for (j, q) in [0.4, 0.6].iter().enumerate() {
        assert!((eta[j] - q * phi[3 + j].exp() / partition).abs() < 1e-13);
    }
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
fn coordinates_whose_squares_overflow_have_the_value_of_their_distances() {
    let files = Files::new();
    let far = files.name("far.npy");
    write_array(&files.path("far.npy"), &array![[3e200, 4e200]]).unwrap();
    let output = certify(&[
        "divergence",
        "--model",
        &far,
        "--data",
        &files.name("z.npy"),
        "--lipschitz",
        "2",
        "--json",
        "-",
    ]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for bound in ["lower", "upper"] {
        assert!((report[bound].as_f64().unwrap() / 1e201 - 1.0).abs() < 1e-15, "{report}");
    }
}

#[test]
fn rigorous_bounds_contain_the_value_and_lie_around_the_plain_ones() {
    let files = Files::new();
    let (x, p, z, q) = (files.name("x.npy"), files.name("p.npy"), files.name("z.npy"), files.name("q.npy"));
    write_array(&files.path("cost.npy"), &array![[1.0, 2.0], [0.5, 3.0], [2.0, 0.25]]).unwrap();
    let flow = ndarray::stack![
        ndarray::Axis(0),
        array![[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]],
        array![[1.0, 0.5], [1.0, 0.2], [0.0, 1.0]]
    ];
    write_array(&files.path("flow.npy"), &flow).unwrap();
    let (cost, flow) = (files.name("cost.npy"), files.name("flow.npy"));
    let measures = ["--model-weights", &p, "--data", &z, "--data-weights", &q];
    let divergence = [&["divergence", "--model", &x][..], &measures].concat();
    let wasserstein = [&["wasserstein", "--model", &x, "-p", "2"][..], &measures].concat();
    let transport = ["transport", "--cost", &cost, "--model-weights", &p, "--data-weights", &q];
    let proximal = ["proximal", "--source", &x, "--data", &z, "--f", "js"];
    let compared = ["proximal", "--trajectories", &flow, "--source-weights", &p, "--data", &z, "--f", "kl"];
    for task in [&divergence[..], &wasserstein, &transport, &proximal, &compared] {
        let (plain, rigorous) = (report(task), report(&[task, &["--rigorous"]].concat()));
        assert_eq!((&plain["rigorous"], &rigorous["rigorous"]), (&Value::from(false), &Value::from(true)));
        for pointer in ["", "/optimality_gap"] {
            if plain.pointer(&format!("{pointer}/lower")).is_none() {
                continue;
            }
            let end = |report: &Value, name: &str| number(report, &format!("{pointer}/{name}"));
            let rounding = 1e-13;
            assert!(end(&rigorous, "lower") <= end(&plain, "lower") + rounding, "{task:?}");
            assert!(end(&rigorous, "upper") >= end(&plain, "upper") - rounding, "{task:?}");
            // Outward rounding leaves no gap of zero.
            let gap = end(&rigorous, "upper") - end(&rigorous, "lower");
            assert!(0.0 < gap && gap < 1e-11, "{task:?}: {gap}");
        }
    }
    // Every digit is printed: the interval read back is the interval of the JSON.
    let output = certify(&[&divergence[..], &["--rigorous"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let inside = text.split_once('[').unwrap().1.split_once(']').unwrap().0;
    let ends: Vec<f64> = inside.split(", ").map(|end| end.parse().unwrap()).collect();
    let json = report(&[&divergence[..], &["--rigorous"]].concat());
    assert_eq!(ends, [number(&json, "/lower"), number(&json, "/upper")]);
    assert!(text.contains("rigorous"), "{text}");
}
