//! Balanced transport, potentials at new points, plans and weights.

use ndarray::{Array1, Array2, array};
use proxflow_io::array::{ArrayPath, Column, read_points, read_vector, write_array, write_columns};

use crate::common::{Files, bad_input, certify, number, report};

/// A member of an archive.
fn member(file: &str, name: &str) -> Array1<f64> {
    read_vector(&ArrayPath::from(format!("{file}:{name}").as_str())).unwrap()
}

#[test]
fn wasserstein_distances_agree_with_hand_and_plan() {
    let files = Files::new();
    let (x, p, z, q) = (files.name("x.npy"), files.name("p.npy"), files.name("z.npy"), files.name("q.npy"));
    let plan = files.name("plan.npz");
    for (order, duals) in [("1", files.name("one.npy")), ("2", files.name("two.npy"))] {
        let found = report(&[
            "wasserstein",
            "-p",
            order,
            "--model",
            &x,
            "--model-weights",
            &p,
            "--data",
            &z,
            "--data-weights",
            &q,
            "--plan",
            &plan,
            "--potential",
            &duals,
        ]);
        let (row, column, mass) = (member(&plan, "row"), member(&plan, "col"), member(&plan, "data"));
        let (points, targets) =
            (read_points(&x.as_str().into()).unwrap(), read_points(&z.as_str().into()).unwrap());
        let power: i32 = order.parse().unwrap();
        let cost: f64 = row
            .iter()
            .zip(&column)
            .zip(&mass)
            .map(|((i, j), mass)| {
                let step = &points.row(*i as usize) - &targets.row(*j as usize);
                mass * step.dot(&step).sqrt().powi(power)
            })
            .sum();
        assert!((number(&found, "/upper") - cost.powf(1.0 / f64::from(power))).abs() < 1e-14);
        assert!((mass.sum() - 1.0).abs() < 1e-15);
        assert_eq!(member(&plan, "shape"), array![3.0, 2.0]);
        // Dual value of W_p^p from the file of potentials: sources first.
        let duals = read_vector(&duals.as_str().into()).unwrap();
        let weights = [0.5, 0.25, 0.25, -0.4, -0.6];
        let dual: f64 = duals.iter().zip(weights).map(|(value, weight)| value * weight).sum();
        assert!((dual - number(&found, "/cost/lower")).abs() < 1e-14);
    }
}

#[test]
fn transport_takes_any_cost_and_forbidden_pairs() {
    let files = Files::new();
    let cost = files.name("cost.npy");
    write_array(&files.path("cost.npy"), &array![[f64::INFINITY, 1.0], [-2.0, 5.0]]).unwrap();
    let found = report(&["transport", "--cost", &cost]);
    assert!((number(&found, "/upper") + 0.5).abs() < 1e-15 && (number(&found, "/lower") + 0.5).abs() < 1e-15);
    write_array(&files.path("uneven.npy"), &array![0.9, 0.1]).unwrap();
    let output = certify(&["transport", "--cost", &cost, "--model-weights", &files.name("uneven.npy")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("infeasible") && output.stdout.is_empty(), "{message}");
    write_array(&files.path("nan.npy"), &array![[0.0, f64::NAN]]).unwrap();
    bad_input(&["transport", "--cost", &files.name("nan.npy")], &["nan.npy", "NaN"]);
    bad_input(&["transport", "--cost", &files.name("p.npy")], &["p.npy", "[3]"]);
}

#[test]
fn potentials_at_new_points_have_the_value_and_the_slope_of_the_optimum() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    let (at, values, slopes) = (files.name("at.npy"), files.name("values.npy"), files.name("slopes.npy"));
    let duals = files.name("duals.npy");
    // The model points first: there the other command writes phi as well.
    let points = read_points(&x.as_str().into()).unwrap();
    let points = ndarray::concatenate![ndarray::Axis(0), points, array![[0.7, 0.3], [2.0, -1.0]]];
    write_array(&files.path("at.npy"), &points).unwrap();
    let task = ["--model", &x, "--data", &z, "--lipschitz", "0.8"];
    let asked = ["--at", &at, "--values", &values, "--gradients", &slopes];
    report(&[&["potential"], &task[..], &asked].concat());
    report(&[&["divergence"], &task[..], &["--potential", &duals]].concat());
    let (values, duals) =
        (read_vector(&values.as_str().into()).unwrap(), read_vector(&duals.as_str().into()).unwrap());
    for i in 0..3 {
        assert!((values[i] - duals[i]).abs() < 1e-14);
    }
    let slopes: Array2<f64> = read_points(&slopes.as_str().into()).unwrap();
    for slope in slopes.outer_iter() {
        assert!((slope.dot(&slope).sqrt() - 0.8).abs() < 1e-14, "{slope}");
    }
    // Central differences of phi itself.
    for k in 0..2 {
        let step = 1e-6;
        let mut moved = Vec::new();
        for sign in [1.0, -1.0] {
            let mut points = array![[0.7, 0.3]];
            points[[0, k]] += sign * step;
            write_array(&files.path("moved.npy"), &points).unwrap();
            let file = files.name("phi.npy");
            report(
                &[&["potential"], &task[..], &["--at", &files.name("moved.npy"), "--values", &file]].concat(),
            );
            moved.push(read_vector(&file.as_str().into()).unwrap()[0]);
        }
        // phi is smooth between its kinks: second order, and rounding of 1e-16/1e-6.
        assert!(((moved[0] - moved[1]) / (2.0 * step) - slopes[[3, k]]).abs() < 1e-8);
    }
    bad_input(&[&["potential"], &task[..], &["--at", &at, "--values", &at]].concat(), &["--values", "--at"]);
    bad_input(&[&["potential"], &task[..], &["--at", &at]].concat(), &["--values"]);
}

#[test]
fn plans_of_every_task_have_their_marginals_and_cost() {
    let files = Files::new();
    let (x, z, plan, eta) =
        (files.name("x.npy"), files.name("z.npy"), files.name("plan.npz"), files.name("eta.npy"));
    for task in ["divergence --model", "proximal --source"] {
        let words: Vec<&str> = task.split(' ').collect();
        report(&[&words[..], &[&x, "--data", &z, "--plan", &plan, "--intermediate", &eta]].concat());
        let eta = read_vector(&eta.as_str().into()).unwrap();
        let (row, column, mass) = (member(&plan, "row"), member(&plan, "col"), member(&plan, "data"));
        let mut marginals = [vec![0.0; 3], vec![0.0; 2]];
        for ((i, j), mass) in row.iter().zip(&column).zip(&mass) {
            marginals[0][*i as usize] += mass;
            marginals[1][*j as usize] += mass;
        }
        assert!(marginals[0].iter().all(|mass| (mass - 1.0 / 3.0).abs() < 1e-15), "{marginals:?}");
        assert!(marginals[1].iter().zip(&eta).all(|(found, eta)| (found - eta).abs() < 1e-15));
    }
}

#[test]
fn counts_are_weights_only_when_asked() {
    let files = Files::new();
    let (x, z) = (files.name("x.npy"), files.name("z.npy"));
    write_columns(&files.path("counts.npz"), &[("counts", Column::Whole(vec![6, 3, 3]))]).unwrap();
    let counts = files.name("counts.npz");
    let task = ["divergence", "--model", &x, "--data", &z, "--model-weights", &counts];
    bad_input(&task, &["counts.npz", "sum 12"]);
    let counted = report(&[&task[..], &["--normalise"]].concat());
    let weighted =
        report(&["divergence", "--model", &x, "--data", &z, "--model-weights", &files.name("p.npy")]);
    assert_eq!(number(&counted, "/upper"), number(&weighted, "/upper"));
    bad_input(&["divergence", "--model", &x, "--data", &z, "--normalise"], &["--normalise"]);
}

#[test]
fn an_archive_with_times_decides_the_horizon() {
    let files = Files::new();
    let z = files.name("z.npy");
    let flow = ndarray::Array3::from_shape_fn((3, 3, 2), |(k, i, c)| 0.1 * k as f64 + (i * (c + 1)) as f64);
    write_columns(
        &files.path("flow.npz"),
        &[("trajectories", Column::Real(flow.clone().into_dyn())), ("times", Column::Whole(vec![1, 2, 3]))],
    )
    .unwrap();
    let archive = files.name("flow.npz");
    let task = ["proximal", "--trajectories", &archive, "--data", &z];
    assert_eq!(number(&report(&task), "/horizon"), 2.0);
    report(&[&task[..], &["--horizon", "2"]].concat());
    bad_input(&[&task[..], &["--horizon", "5"]].concat(), &["--horizon", "2"]);
    write_columns(
        &files.path("uneven.npz"),
        &[("trajectories", Column::Real(flow.into_dyn())), ("times", Column::Whole(vec![0, 1, 3]))],
    )
    .unwrap();
    bad_input(
        &["proximal", "--trajectories", &files.name("uneven.npz"), "--data", &z],
        &["times", "equally spaced"],
    );
}
