//! The `flow` command as a user meets it: training on own data, resuming, evaluating, sampling, transporting, and every fault.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array2, Array3, ArrayD, IxDyn};
use ndarray_npy::{ReadNpyExt, WriteNpyExt};
use serde_json::Value;

fn flow(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flow")).args(arguments).output().unwrap()
}

fn succeeded(arguments: &[&str]) -> String {
    let output = flow(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeded(arguments)).unwrap()
}

/// Must end with exit code 2 and one line on standard error that holds `expected`.
fn refused(arguments: &[&str], expected: &str) {
    let output = flow(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "{arguments:?}: {text}");
    assert!(lines[0].contains(expected), "{arguments:?}: {text}");
}

const SMALL: [&str; 16] = [
    "train",
    "--auto",
    "--rows",
    "120",
    "--iterations",
    "60",
    "--batch",
    "200",
    "--log-every",
    "30",
    "--gap-samples",
    "40",
    "--threads",
    "1",
    "--device",
    "cpu",
];

fn small<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = SMALL.to_vec();
    arguments.extend(["--out", out]);
    arguments.extend(more);
    arguments
}

fn write<D: ndarray::Dimension>(path: &Path, array: &ndarray::Array<f64, D>) -> String {
    array.write_npy(std::fs::File::create(path).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn read(path: &Path) -> Array2<f64> {
    Array2::read_npy(std::fs::File::open(path).unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_hopf_lax_run_is_certified_straight_and_leaves_report_pictures_and_points() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let report = json(&small(text(&out), &["--data", "circle", "--json", "-"]));
    let [lower, upper] = [0, 1].map(|k| report["population"]["interval"][k].as_f64().unwrap());
    assert!(0.0 < lower && lower <= upper, "{lower} {upper}");
    let gap = &report["held_out"]["gap"];
    assert!(gap[1].as_f64().unwrap() >= -1e-6, "J* is the infimum; positions are f32: {gap}");
    assert!((report["indicators"]["straightness"].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert!(report["indicators"]["deviation"].as_f64().unwrap() < 1e-5);
    for name in [
        "config.toml",
        "data.json",
        "metrics.csv",
        "curves.svg",
        "gap.svg",
        "report.html",
        "checkpoint.safetensors",
    ] {
        assert!(out.join(name).exists(), "{name}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.matches("data:image/png;base64,").count() >= 3 && !page.contains("src=\"http"));
    for name in ["paths.png", "levels.png", "flow.png"] {
        let picture = image::open(out.join(name)).unwrap().to_rgb8();
        let coloured = picture.pixels().filter(|p| p.0[0] > 190 && p.0[2] < 60).count();
        assert!(coloured > 20, "{name}: samples are drawn in orange, {coloured}");
    }

    let found = json(&["evaluate", "--run", text(&out), "--samples", "60", "--json", "-", "--threads", "1"]);
    let steps = found["steps"].as_array().unwrap();
    assert!(steps.iter().all(|entry| (entry["straightness"].as_f64().unwrap() - 1.0).abs() < 1e-4));
    // L is above the critical constant, so that samples end on training points, which lie on the circle.
    assert!(found["distance_to_support"].as_f64().unwrap() < 0.05, "{found}");

    let points = folder.path().join("samples.npy");
    succeeded(&["sample", "--run", text(&out), "--count", "50", "--npy", text(&points)]);
    let samples = read(&points);
    assert_eq!(samples.dim(), (50, 2));
    assert!(
        samples.rows().into_iter().all(|x| (x[0].hypot(x[1]) - 1.0).abs() < 0.3),
        "in the data's own units"
    );

    let (back, again) = (folder.path().join("back.npy"), folder.path().join("again.npy"));
    succeeded(&[
        "transport",
        "--run",
        text(&out),
        "--points",
        text(&points),
        "--backward",
        "--npy",
        text(&back),
    ]);
    succeeded(&["transport", "--run", text(&out), "--points", text(&back), "--npy", text(&again)]);
    let distance = (&read(&again) - &samples).mapv(f64::abs).mean().unwrap();
    assert!(
        distance < 0.1,
        "a cell's mean lies in the cell, but for source points of a convex cell cut by sampling: {distance}"
    );
}

#[test]
fn a_dense_run_resumes_bit_for_bit_and_refuses_other_options() {
    let folder = tempfile::tempdir().unwrap();
    let [straight, stopped] = ["a", "b"].map(|name| folder.path().join(name));
    let more = ["--data", "moons", "--model", "dense", "--no-pictures", "--batch", "32"];
    let run = |out: &Path, length: &str, resume: bool| {
        let mut arguments = small(text(out), &more);
        arguments.extend(["--iterations", length]);
        // The last of two equal options is refused by the parser; replace the first.
        let first = arguments.iter().position(|argument| *argument == "--iterations").unwrap();
        arguments.drain(first..first + 2);
        let first = arguments.iter().position(|argument| *argument == "--batch").unwrap();
        arguments.drain(first..first + 2);
        if resume {
            arguments.retain(|argument| *argument != "--auto");
            arguments.push("--resume");
        }
        let owned: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let borrowed: Vec<&str> = owned.iter().map(String::as_str).collect();
        flow(&borrowed)
    };
    // The learning rate falls over the whole length, so that both runs are started with it and one is interrupted by its gap.
    assert!(run(&straight, "40", false).status.success());
    assert!(run(&stopped, "40", false).status.success());
    let bytes = |out: &PathBuf| std::fs::read(out.join("checkpoint.safetensors")).unwrap();
    assert!(bytes(&straight) == bytes(&stopped), "equal runs write equal files");
    for out in [&straight, &stopped] {
        let output = run(out, "50", true);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(bytes(&straight) == bytes(&stopped));
    let other = vec!["train", "--out", text(&straight), "--resume", "--lambda", "7", "--iterations", "60"];
    refused(&other, "lambda");
}

#[test]
fn images_and_own_sources_are_read_and_written_in_their_shape() {
    let folder = tempfile::tempdir().unwrap();
    let images = Array3::from_shape_fn((60, 4, 5), |(n, y, x)| ((n * 7 + y * 3 + x * 5) % 11) as f64);
    let data = write(&folder.path().join("images.npy"), &images);
    let source = write(
        &folder.path().join("source.npy"),
        &Array2::from_shape_fn((30, 20), |(i, k)| ((i * k) % 13) as f64),
    );
    let out = folder.path().join("run");
    let mut arguments = small(text(&out), &["--data", &data, "--source", &source]);
    arguments.drain(2..4);
    succeeded(&arguments);
    assert!(out.join("images.png").exists());
    let points = folder.path().join("samples.npy");
    succeeded(&["sample", "--run", text(&out), "--count", "7", "--npy", text(&points)]);
    let samples = Array3::<f64>::read_npy(std::fs::File::open(&points).unwrap()).unwrap();
    assert_eq!(samples.dim(), (7, 4, 5));
}

#[test]
fn the_four_cases_are_drawn_side_by_side_with_one_row_each() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("cases");
    let small = ["--data", "circle", "--auto", "--rows", "120", "--iterations", "12", "--batch", "32"];
    let rest = ["--log-every", "4", "--gap-samples", "40", "--threads", "1", "--device", "cpu", "--out"];
    let arguments = [&["cases"], &small[..], &rest[..], &[text(&out)]].concat();
    let table = succeeded(&arguments);
    assert_eq!(table.lines().count(), 5, "{table}");
    let all: Value = serde_json::from_slice(&std::fs::read(out.join("cases.json")).unwrap()).unwrap();
    let rows = all["cases"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["w1w2", "w1", "w2", "none"]);
    for row in rows {
        assert!(row["held_out"]["gap"][1].as_f64().unwrap() >= -1e-6, "J* is the infimum: {row}");
        assert!(row["distance_to_support"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["critic_slopes"].as_array().unwrap().len(), 3, "{row}");
        // All cases start from the same networks: the critic differs by its training alone.
        assert!(out.join(row["case"].as_str().unwrap()).join("checkpoint.safetensors").exists());
    }
    let kinetic = |k: usize| rows[k]["held_out"]["kinetic_energy"].as_f64().unwrap();
    assert!(kinetic(0) != kinetic(1) && kinetic(2) != kinetic(3), "the kinetic term changes the flow");
    let picture = image::open(out.join("cases.png")).unwrap().to_rgb8();
    let (half_width, half_height) = (picture.width() / 2, picture.height() / 2);
    for (left, top) in [(0, 0), (half_width, 0), (0, half_height), (half_width, half_height)] {
        let panel = image::imageops::crop_imm(&picture, left, top, half_width, half_height).to_image();
        let coloured = panel.pixels().filter(|p| p.0[0] > 190 && p.0[2] < 60).count();
        assert!(coloured > 20, "each case has its panel with samples in orange, {coloured}");
    }
    refused(&arguments, "holds a run");
    refused(&["cases", "--data", "circle"], "--out");
    let never = folder.path().join("never");
    for more in [["--case", "w1"], ["--model", "hopf-lax"]] {
        refused(
            &[&["cases", "--data", "circle", "--out", text(&never)], &more[..]].concat(),
            "all four cases",
        );
    }
    assert!(!never.exists());
}

#[test]
fn bad_input_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, array: &ArrayD<f64>| write(&folder.path().join(name), array);
    let ramp = |shape: &[usize]| {
        let mut k = 0.0;
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            k += 0.37;
            f64::sin(k * k)
        })
    };
    let mut with_nan = ramp(&[30, 3]);
    with_nan[[4, 1]] = f64::NAN;
    let mut constant = ramp(&[30, 3]);
    constant.index_axis_mut(ndarray::Axis(1), 2).fill(1.5);
    let out = folder.path().join("never");
    for (data, expected) in [
        (file("nan.npy", &with_nan), "NaN at [4, 1]"),
        (file("constant.npy", &constant), "column 2: constant 1.5"),
        (file("one.npy", &ramp(&[1, 3])), "1 rows"),
        (file("none.npy", &ramp(&[0, 3])), "0 rows"),
        (file("no-columns.npy", &ramp(&[30, 0])), "0 columns"),
        (file("wide.npy", &ramp(&[10, 5000])), "5000 columns"),
        (file("long.npy", &ramp(&[1_000_000, 1])), "1000000 rows"),
        (file("vector.npy", &ramp(&[30])), "shape [30]"),
        (folder.path().join("absent.npy").to_str().unwrap().to_owned(), "no such file"),
        ("moon".to_owned(), "moons"),
    ] {
        refused(&["train", "--data", &data, "--out", text(&out)], expected);
        assert!(!out.exists(), "{data}: nothing is written");
    }
    let good = file("good.npy", &ramp(&[30, 3]));
    let narrow = file("narrow.npy", &ramp(&[30, 2]));
    for (more, expected) in [
        (vec!["--lambda", "0"], "lambda"),
        (vec!["--lambda", "-1"], "allowed: a finite number > 0"),
        (vec!["--lambda", "-1e-3"], "allowed: a finite number > 0"),
        (vec!["--lipschitz", "nan"], "lipschitz"),
        (vec!["--held-out", "1"], "held-out"),
        (vec!["--rows", "31"], "rows"),
        (vec!["--source", "gaussain"], "gaussain: no such file"),
        (vec!["--source", &narrow], "2 columns"),
        (vec!["--f", "chi2"], "kl with --model hopf-lax"),
        (vec!["--case", "w1"], "w1w2 with --model hopf-lax"),
        (vec!["--steps", "0"], "steps"),
        (vec!["--batch", "0"], "batch"),
        (vec!["--stop-gap", "0"], "stop-gap"),
        (vec!["--prototypes", "1"], "prototypes"),
        (vec!["--resume"], "no run to resume"),
    ] {
        let mut arguments = vec!["train", "--data", &good, "--out", text(&out)];
        arguments.extend(more);
        refused(&arguments, expected);
        assert!(!out.exists(), "{arguments:?}: nothing is written");
    }
    refused(&["train"], "--data");
    refused(&["evaluate", "--run", text(folder.path())], "no run");
    refused(&["sample", "--run", text(folder.path()), "--npy", "x.npy"], "no run");
}
