//! `validate` as a program: exit codes, other people's trajectories, and its page in a real browser.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::Array3;
use ndarray_npy::{NpzWriter, WriteNpyExt};

fn validate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_validate")).args(arguments).current_dir(folder).output().unwrap()
}

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Straight paths `(9, 12, 2)` from `(i, 0)` to `(i, 1)`, bent sideways by `bend`.
fn write_paths(path: &Path, bend: f64) {
    let positions = Array3::from_shape_fn((9, 12, 2), |(k, i, c)| {
        let t = k as f32 / 8.0;
        if c == 0 { i as f32 + bend as f32 * (std::f32::consts::PI * t).sin() } else { t }
    });
    let mut archive = NpzWriter::new(std::fs::File::create(path).unwrap());
    archive.add_array("trajectories", &positions).unwrap();
    archive.finish().unwrap();
}

fn report(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

fn model_verdict(report: &serde_json::Value, id: &str) -> String {
    let statements = report["model"].as_array().unwrap();
    statements.iter().find(|s| s["id"] == id).unwrap()["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn trajectories_of_any_program_are_examined_and_the_verdicts_say_which_statements_hold() {
    let folder = tempfile::tempdir().unwrap();
    let data = Array3::from_shape_fn((1, 12, 2), |(_, i, c)| if c == 0 { i as f64 } else { 1.0 });
    let data = data.index_axis(ndarray::Axis(0), 0).to_owned();
    data.write_npy(std::fs::File::create(folder.path().join("data.npy")).unwrap()).unwrap();
    for (bend, verdict) in [(0.0, "holds"), (0.6, "fails")] {
        write_paths(&folder.path().join("mine.npz"), bend);
        let arguments = "--only none --trajectories mine.npz --data data.npy --lambda 0.5 --lipschitz 4";
        let output = validate(&arguments.split(' ').collect::<Vec<_>>(), folder.path());
        assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
        let report = report(folder.path());
        assert_eq!(model_verdict(&report, "model_straight_lines"), verdict);
        assert_eq!(model_verdict(&report, "model_optimality"), verdict);
        assert_eq!(model_verdict(&report, "model_hamilton_jacobi"), "not_applicable");
    }
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("not.safetensors"), b"text").unwrap();
    write_paths(&folder.path().join("mine.npz"), 0.0);
    for (arguments, named) in [
        ("--only nonsense", "--only"),
        ("--only none", "--only"),
        ("--only none --checkpoint absent.safetensors", "absent.safetensors"),
        ("--only none --checkpoint not.safetensors", "checkpoint"),
        ("--only none --trajectories absent.npy", "absent.npy"),
        ("--only none --trajectories mine.npz --f nonsense", "nonsense"),
        ("--only none --trajectories mine.npz --tolerance 2", "--tolerance"),
        ("--only none --trajectories mine.npz --lambda -1 --lipschitz 1", "lambda"),
        ("--only huber_cost --out absent/report.html", "absent"),
    ] {
        let output = validate(&arguments.split(' ').collect::<Vec<_>>(), folder.path());
        let text = standard_error(&output);
        let last = text.trim().lines().last().unwrap_or_default().to_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {text}");
        assert!(last.starts_with("validate: ") && last.contains(named), "{arguments}: {text}");
    }
}

#[test]
fn the_page_opens_in_a_browser_without_errors_and_every_image_loads() {
    let folder = tempfile::tempdir().unwrap();
    let output = validate(&["--only", "huber_cost,hopf_lax,straight_lines,grid_schemes"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    assert_eq!(report(folder.path())["claims"].as_array().unwrap().len(), 4);
    let Some(browser) = browser() else {
        eprintln!(
            "SKIPPED: no chromium found; the page was written but not opened (Debian package: chromium)"
        );
        return;
    };
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    let pictures = page.matches("<img").count();
    assert!(pictures >= 4, "{pictures} pictures");
    let (errors, loaded) = open(&browser, folder.path(), &page);
    assert_eq!(errors, Vec::<String>::new());
    assert_eq!(loaded, format!("{pictures} of {pictures}"));

    // The check itself: a broken picture and a script error are both seen.
    let broken = page.replacen("data:image/svg+xml;base64,", "data:image/svg+xml;base64,broken", 1);
    let (_, loaded) = open(&browser, folder.path(), &broken);
    assert_eq!(loaded, format!("{} of {pictures}", pictures - 1));
    let faulty = page.replace("</main>", "</main><script>undefined_function()</script>");
    let (errors, _) = open(&browser, folder.path(), &faulty);
    assert!(!errors.is_empty(), "a script error must reach the console");
}

/// Opens `page`; returns its console lines and how many of its images loaded, as a script at its end sees them.
fn open(browser: &Path, folder: &Path, page: &str) -> (Vec<String>, String) {
    let probe = "<script>addEventListener('load', () => { const all = [...document.images]; \
                 const good = all.filter(image => image.complete && image.naturalWidth > 0); \
                 document.documentElement.dataset.loaded = good.length + ' of ' + all.length; });</script></body>";
    let path = folder.join("opened.html");
    std::fs::write(&path, page.replace("</body>", probe)).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let console =
        standard_error(&output).lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    let loaded =
        dom.split("data-loaded=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("no answer");
    (console, loaded.to_owned())
}

fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|path| path.is_file())
}
