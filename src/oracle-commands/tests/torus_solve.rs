//! `torus solve` as a user runs it: degenerate laws and parameters are solved or refused in one clear line.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use ndarray::{Array1, ArrayD};
use proxflow_io::array::write_array;

const NODES: usize = 32;

fn solve(arguments: &[&str]) -> Output {
    let common = ["solve", "--dim", "1", "--grid", "32", "--json", "-"];
    Command::new(env!("CARGO_BIN_EXE_torus")).args(common).args(arguments).output().unwrap()
}

fn number(output: &Output, key: &str) -> f64 {
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report[key].as_f64().unwrap()
}

/// Writes node masses and returns the path as text.
fn masses(folder: &Path, name: &str, values: Vec<f64>) -> String {
    let path = folder.join(name);
    write_array(&path, &Array1::from(values)).unwrap();
    path.to_str().unwrap().to_string()
}

/// Half of the nodes empty, and a point mass.
fn degenerate_laws(folder: &Path) -> [String; 2] {
    let half = (0..NODES).map(|i| if i < NODES / 2 { 2.0 / NODES as f64 } else { 0.0 }).collect();
    let point = (0..NODES).map(|i| f64::from(u8::from(i == 3))).collect();
    [masses(folder, "half.npy", half), masses(folder, "point.npy", point)]
}

#[test]
fn empty_nodes_and_point_masses_are_solved() {
    let folder = tempfile::tempdir().unwrap();
    for law in degenerate_laws(folder.path()) {
        for solver in ["static", "pde"] {
            for sides in [["--source", &law], ["--target", &law]] {
                let output = solve(&[sides[0], sides[1], "--solver", solver]);
                assert_eq!(output.status.code(), Some(0), "{solver} {sides:?} {output:?}");
                let (lower, upper) = (number(&output, "lower"), number(&output, "upper"));
                // The default tolerance of the command; rounding may cross the bounds.
                assert!(upper >= lower - 1e-12 && upper - lower <= 1e-4 * upper.abs() + 1e-10, "{output:?}");
                assert!(number(&output, "mass_error") < 1e-12);
            }
        }
    }
}

#[test]
fn extreme_parameters_are_solved_or_refused_in_one_line() {
    for solver in ["static", "pde"] {
        for parameters in [
            ["--lipschitz", "1e6"],
            ["--lipschitz", "1e-6"],
            ["--lambda", "1e6"],
            ["--lambda", "1e-6"],
            ["--horizon", "1e-9"],
            ["--horizon", "1e9"],
            ["--lambda", "1e-300"],
            ["--horizon", "1e-300"],
        ] {
            let output = solve(&[&["--solver", solver][..], &parameters[..]].concat());
            match output.status.code() {
                Some(0) => {
                    let (lower, upper) = (number(&output, "lower"), number(&output, "upper"));
                    assert!(upper - lower <= 1e-4 * upper.abs() + 1e-10, "{parameters:?} {output:?}");
                }
                _ => assert_refused(&output, "allowed: ", &format!("{solver} {parameters:?}")),
            }
        }
    }
}

#[test]
fn a_tiny_value_is_certified_relative_to_itself() {
    // J* is about L W1 = 1.7e-7: a gap relative to 1 + J* would be larger than J*.
    for solver in ["static", "pde"] {
        let output = solve(&["--lipschitz", "1e-6", "--solver", solver]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let (gap, upper) = (number(&output, "gap"), number(&output, "upper"));
        assert!(upper < 1e-6 && gap < 1e-3 * upper, "{solver} {gap} {upper}");
    }
}

/// Exit code 2 and one short line that contains `words`.
fn assert_refused(output: &Output, words: &str, case: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{case}: {text}");
    assert_eq!(text.trim().lines().count(), 1, "{case}: {text}");
    assert!(text.contains(words) && text.len() < 400, "{case}: {text}");
    assert!(output.stdout.is_empty(), "{case}");
}

#[test]
fn bad_files_and_arguments_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let uniform = || vec![1.0 / NODES as f64; NODES];
    let spoiled = |value: f64| {
        let mut values = uniform();
        values[7] = value;
        values
    };
    let nan = masses(folder.path(), "nan.npy", spoiled(f64::NAN));
    let infinite = masses(folder.path(), "infinite.npy", spoiled(f64::INFINITY));
    let negative = masses(folder.path(), "negative.npy", spoiled(-0.5));
    let zero = masses(folder.path(), "zero.npy", vec![0.0; NODES]);
    let short = masses(folder.path(), "short.npy", vec![1.0; NODES / 2]);
    let plane = folder.path().join("plane.npy");
    write_array(&plane, &ArrayD::<f64>::ones(vec![NODES, NODES])).unwrap();
    let junk = folder.path().join("junk.npy");
    std::fs::write(&junk, "not an array").unwrap();
    let (plane, junk) = (plane.to_str().unwrap(), junk.to_str().unwrap());
    let missing = folder.path().join("missing.npy");
    let inside_a_file = folder.path().join("junk.npy").join("x.npy");
    let inside_a_file = inside_a_file.to_str().unwrap();
    for (arguments, words) in [
        (vec!["--source", &nan], "NaN at [7]"),
        (vec!["--source", &infinite], "inf at [7]"),
        (vec!["--target", &negative], "target[7] of"),
        (vec!["--source", &zero], "total mass"),
        (vec!["--source", &short], "[16]"),
        (vec!["--target", plane], "[32, 32]"),
        (vec!["--target", junk], "a .npy file"),
        (vec!["--target", missing.to_str().unwrap()], "missing.npy"),
        (vec!["--source", "blob"], "source: blob"),
        (vec!["--solver", "magic"], "static, dual, pde"),
        (vec!["--f", "bogus"], "reverse-kl"),
        (vec!["--colour", "red"], "--colour"),
        (vec!["--lambda", "-1"], "lambda: -1"),
        (vec!["--lipschitz", "nan"], "lipschitz: NaN"),
        (vec!["--horizon", "inf"], "horizon: inf"),
        (vec!["--horizon", "0"], "horizon: 0"),
        (vec!["--tolerance", "0"], "tolerance: 0"),
        (vec!["--solver", "pde", "--viscosity", "-1"], "a finite number >= 0"),
        (vec!["--tolerance", "-1"], "tolerance: -1"),
        (vec!["--viscosity", "0.1", "--solver", "dual"], "with --solver pde only"),
        (vec!["--refinements", "9", "--solver", "dual"], "0 to 4"),
        (vec!["--out", inside_a_file], "a folder that can be created"),
        (vec!["--potential", inside_a_file], "a folder that can be written to"),
        (vec!["--density", inside_a_file], "a folder that can be written to"),
        (vec!["--viscosity", "0.1"], "--solver pde only"),
        (vec!["--refinements", "2"], "--solver dual only"),
    ] {
        assert_refused(&solve(&arguments), words, &format!("{arguments:?}"));
    }
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_refused_before_any_work() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).unwrap();
    if std::fs::write(locked.join("probe"), "").is_ok() {
        return; // The superuser writes anywhere.
    }
    let output = solve(&["--out", locked.to_str().unwrap()]);
    assert_refused(&output, "a folder that can be written to", "read-only --out");
}

#[test]
fn a_run_folder_holds_arrays_report_and_pictures() {
    let folder = tempfile::tempdir().unwrap();
    for dimension in ["1", "2", "3"] {
        let out = folder.path().join(dimension);
        let output = Command::new(env!("CARGO_BIN_EXE_torus"))
            .args(["solve", "--grid", "8", "--dim", dimension, "--out", out.to_str().unwrap()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        for name in ["potential.npy", "terminal-density.npy", "report.json", "densities.png", "potential.png"]
        {
            assert!(out.join(name).metadata().unwrap().len() > 100, "{dimension} {name}");
        }
    }
}

/// `torus solve --dim 2 ...` without the common arguments.
fn solve_in_two_dimensions(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_torus")).args(["solve", "--dim", "2"]).args(arguments).output().unwrap()
}

#[test]
fn a_grid_beyond_a_solver_is_refused_at_once() {
    for (solver, side) in [("static", "8192"), ("static", "2048"), ("pde", "8192"), ("pde", "65")] {
        let clock = std::time::Instant::now();
        let output = solve_in_two_dimensions(&["--grid", side, "--solver", solver]);
        assert_refused(&output, "--solver dual takes larger grids", solver);
        // Starting a process on a loaded machine, not densities on 67 million nodes.
        assert!(clock.elapsed().as_secs_f64() < 3.0, "{solver} {side}: {:?}", clock.elapsed());
    }
}

#[test]
fn what_is_no_certificate_is_a_failed_run_without_a_number() {
    for arguments in [
        ["--solver", "pde", "--viscosity", "1e50", "--horizon", "1"],
        ["--solver", "pde", "--lipschitz", "1e-200", "--horizon", "1"],
        ["--solver", "pde", "--lipschitz", "1e-160", "--horizon", "1"],
        ["--solver", "dual", "--lipschitz", "1e-200", "--horizon", "1"],
        ["--solver", "static", "--lipschitz", "1e-200", "--horizon", "1"],
        ["--solver", "static", "--lipschitz", "1e200", "--horizon", "1"],
        ["--solver", "dual", "--lipschitz", "1e200", "--horizon", "1"],
        ["--solver", "static", "--lambda", "1e200", "--lipschitz", "1e200"],
        ["--solver", "dual", "--lambda", "1e200", "--lipschitz", "1e200"],
        ["--solver", "dual", "--lambda", "1e-200", "--lipschitz", "1e-200"],
        ["--solver", "static", "--f", "alpha:1.0000000000000002", "--lipschitz", "1"],
        ["--solver", "static", "--f", "alpha:1e-15", "--lipschitz", "1"],
    ] {
        let output = solve(&arguments);
        let report: Option<serde_json::Value> = serde_json::from_slice(&output.stdout).ok();
        match (output.status.code(), report) {
            (Some(0), Some(report)) => {
                let (lower, upper) = (report["lower"].as_f64().unwrap(), report["upper"].as_f64().unwrap());
                assert!(0.0 <= lower && lower <= upper, "{arguments:?} [{lower}, {upper}]");
            }
            (Some(1), Some(report)) if report["termination"] == "failed" => {
                for key in ["lower", "upper", "gap", "relative_gap", "kinetic_cost", "divergence"] {
                    assert!(report[key].is_null(), "{arguments:?} {key} {report}");
                }
                assert_eq!(String::from_utf8_lossy(&output.stderr).trim().lines().count(), 1);
            }
            (Some(1), Some(report)) => {
                let (lower, upper) = (report["lower"].as_f64().unwrap(), report["upper"].as_f64().unwrap());
                assert!(0.0 <= lower && lower <= upper, "{arguments:?} [{lower}, {upper}]");
            }
            _ => assert_refused(&output, "allowed: ", &format!("{arguments:?}")),
        }
    }
    // Negative control: this one has no certificate at all, and was reported as [NaN, NaN] with exit code 0.
    let output = solve(&["--solver", "pde", "--viscosity", "1e50"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn equal_densities_are_worth_zero_on_every_grid_and_by_every_solver() {
    for name in ["bump", "uniform"] {
        for grid in ["32", "64", "128"] {
            let output = solve_in_two_dimensions(&[
                "--grid", grid, "--source", name, "--target", name, "--solver", "dual", "--json", "-",
            ]);
            assert_eq!(output.status.code(), Some(0), "{name} {grid} {output:?}");
            assert_eq!((number(&output, "lower"), number(&output, "upper")), (0.0, 0.0), "{name} {grid}");
        }
        for solver in ["static", "pde"] {
            let output = solve(&["--source", name, "--target", name, "--solver", solver]);
            assert_eq!(output.status.code(), Some(0), "{name} {solver} {output:?}");
            let (lower, upper) = (number(&output, "lower"), number(&output, "upper"));
            assert!(lower >= 0.0 && upper >= lower && upper < 1e-9, "{name} {solver} [{lower}, {upper}]");
        }
    }
}

#[test]
fn the_default_tolerance_of_the_dual_solver_is_what_its_grid_allows() {
    let arguments = ["--grid", "48", "--solver", "dual", "--lipschitz", "0.2", "--json", "-"];
    let output = solve_in_two_dimensions(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Asked for explicitly, the same is a failed run.
    let asked =
        solve_in_two_dimensions(&[&arguments[..], &["--tolerance", "1e-9", "--refinements", "0"]].concat());
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    let report: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!((&report["tolerance_met"], &report["tolerance"]), (&false.into(), &1e-9.into()));
}

#[test]
fn a_solver_reports_the_residuals_of_the_equations_it_has_and_null_for_the_others() {
    for solver in ["static", "dual", "pde"] {
        let output = solve(&["--solver", solver]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        for key in ["hj_residual", "continuity_residual"] {
            assert_eq!(report[key].is_number(), solver == "pde", "{solver} {key}");
            assert!(report.get(key).is_some(), "{solver} {key}");
        }
        assert_eq!(report["semigroup_defect"].is_number(), solver != "pde", "{solver}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_reader_that_goes_away_or_a_full_device_ends_it_without_a_panic() {
    let binary = env!("CARGO_BIN_EXE_torus");
    for (tail, expected) in [("| head -c 1", vec![0]), ("> /dev/full", vec![1, 2])] {
        let line = format!("set -o pipefail; {binary} solve --dim 1 --grid 64 --json - {tail}");
        let output = Command::new("bash").args(["-c", &line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked") && text.lines().count() <= 1, "{tail}: {text}");
        if tail.starts_with('>') {
            assert!(expected.contains(&output.status.code().unwrap()), "{tail} {output:?}");
        }
    }
}
