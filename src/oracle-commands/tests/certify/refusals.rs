//! What is refused, in one line with exit code 2, and what stays untouched.

use std::process::Command;

use ndarray::{Array2, array};
use proxflow_io::array::write_array;

use crate::common::{Files, bad_input, certify};

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
    bad_input(
        &["proximal", "--source", &x, "--data", &z, "--lambda", "0"],
        &["lambda", "a finite number > 0"],
    );
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
    write_array(&files.path("far.npy"), &array![[1.7e308, 1.7e308]]).unwrap();
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
    check("x.npy", &["--lipschitz", "0"], &["lipschitz", "a finite number > 0"]);

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

#[cfg(target_os = "linux")]
#[test]
fn a_full_standard_output_is_one_line_and_exit_code_two() {
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
    assert_eq!((output.status.code(), message.lines().count()), (Some(2), 1), "{message}");
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
