//! `validate` as a program: exit codes, other people's trajectories, and its page in a real browser.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ndarray::{Array2, Array3};
use ndarray_npy::{NpzWriter, WriteNpyExt};

fn validate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_validate")).args(arguments).current_dir(folder).output().unwrap()
}

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Straight paths `(9, 12, 2)` from `(i, 0)` to `(i, 1)`, bent sideways by `bend`.
fn paths(bend: f64) -> Array3<f64> {
    Array3::from_shape_fn((9, 12, 2), |(k, i, c)| {
        let t = k as f64 / 8.0;
        if c == 0 { i as f64 + bend * (std::f64::consts::PI * t).sin() } else { t }
    })
}

/// An archive as numpy.savez writes it, filled by `fill`.
fn archive(path: &Path, fill: impl FnOnce(&mut NpzWriter<std::fs::File>)) {
    let mut writer = NpzWriter::new(std::fs::File::create(path).unwrap());
    fill(&mut writer);
    writer.finish().unwrap();
}

fn write_paths(path: &Path, bend: f64) {
    archive(path, |writer| writer.add_array("trajectories", &paths(bend).mapv(|x| x as f32)).unwrap());
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
fn recorded_slopes_decide_hamilton_jacobi_and_the_terminal_condition_of_any_program() {
    // The plane wave U = p.x - (T - t)|p|^2/(2 lambda) with phi = p.x solves everything; the flipped dU/dt does not.
    let (lambda, horizon, p) = (0.5, 2.0, [0.75, -0.5]);
    let rate = (p[0] * p[0] + p[1] * p[1]) / (2.0 * lambda);
    let wave = |steps: usize| {
        Array3::from_shape_fn((steps + 1, 12, 2), |(k, i, c)| {
            i as f64 - p[c] / lambda * horizon * k as f64 / steps as f64
        })
    };
    let folder = tempfile::tempdir().unwrap();
    for (sign, verdict) in [(1.0, "holds"), (-1.0, "fails")] {
        for steps in [4, 16] {
            archive(&folder.path().join(format!("{steps}.npz")), |writer| {
                let times = ndarray::Array1::from_shape_fn(steps + 1, |k| horizon * k as f64 / steps as f64);
                writer.add_array("trajectories", &wave(steps)).unwrap();
                writer.add_array("times", &times).unwrap();
                writer
                    .add_array("gradients", &Array3::from_shape_fn((steps + 1, 12, 2), |(_, _, c)| p[c]))
                    .unwrap();
                writer
                    .add_array("time_derivatives", &Array2::from_elem((steps + 1, 12), sign * rate))
                    .unwrap();
                writer.add_array("critic_gradients", &Array2::from_shape_fn((12, 2), |(_, c)| p[c])).unwrap();
            });
        }
        let arguments = "--only none --trajectories 4.npz,16.npz --lambda 0.5 --lipschitz 1";
        let output = validate(&arguments.split(' ').collect::<Vec<_>>(), folder.path());
        assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
        let report = report(folder.path());
        assert_eq!(model_verdict(&report, "model_hamilton_jacobi"), verdict);
        for id in [
            "model_terminal_condition",
            "model_step_size",
            "model_straight_lines",
            "model_lipschitz",
            "model_speed",
        ] {
            assert_eq!(model_verdict(&report, id), "holds", "{id}");
        }
        assert_eq!(model_verdict(&report, "model_optimality"), "not_applicable");
        assert_eq!(report["indicators"][0]["steps"], 4);
    }
}

/// Points on a half circle that drifts, seen at `steps + 1` times.
fn write_half_circle(path: &Path, steps: usize) {
    let drift = 0.5 / steps as f64;
    let turn = |k: usize| std::f64::consts::PI * k as f64 / steps as f64;
    archive(path, |writer| {
        let points = Array3::from_shape_fn((steps + 1, 6, 2), |(k, i, c)| {
            i as f64 + if c == 0 { turn(k).cos() - 1.0 } else { turn(k).sin() + drift * k as f64 }
        });
        writer.add_array("trajectories", &points).unwrap();
    });
}

#[test]
fn the_order_of_step_sizes_does_not_matter_and_one_size_decides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for steps in [5, 40] {
        write_half_circle(&folder.path().join(format!("{steps}.npz")), steps);
    }
    let examine = |files: &str| {
        let output = validate(&["--only", "none", "--trajectories", files], folder.path());
        assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
        report(folder.path())
    };
    let (up, down) = (examine("5.npz,40.npz"), examine("40.npz,5.npz"));
    assert_eq!(up["indicators"], down["indicators"]);
    let step_size = |report: &serde_json::Value| model_verdict(report, "model_step_size");
    assert_eq!((step_size(&up), step_size(&down)), ("holds".into(), "holds".into()));
    assert_eq!(step_size(&examine("5.npz,5.npz")), "not_applicable");
}

#[test]
fn a_flow_that_rightly_stands_still_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let still = Array3::from_shape_fn((5, 12, 2), |(_, i, c)| (i * (c + 1)) as f64);
    archive(&folder.path().join("still.npz"), |writer| writer.add_array("trajectories", &still).unwrap());
    let data = still.index_axis(ndarray::Axis(0), 0).to_owned();
    data.write_npy(std::fs::File::create(folder.path().join("data.npy")).unwrap()).unwrap();
    let arguments = "--only none --trajectories still.npz --data data.npy --lambda 0.5 --lipschitz 1";
    let output = validate(&arguments.split(' ').collect::<Vec<_>>(), folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let report = report(folder.path());
    for id in ["model_optimality", "model_speed"] {
        assert_eq!(model_verdict(&report, id), "holds", "{id}");
    }
    assert_eq!(model_verdict(&report, "model_straight_lines"), "not_applicable");
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(!page.contains("NaN"), "a number that does not exist is left out");
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("not.safetensors"), b"text").unwrap();
    write_paths(&folder.path().join("mine.npz"), 0.0);
    let in_folder = |name: &str| folder.path().join(name);
    archive(&in_folder("empty.npz"), |_| ());
    archive(&in_folder("times.npz"), |writer| writer.add_array("times", &ndarray::array![0.0, 1.0]).unwrap());
    archive(&in_folder("flat.npz"), |writer| {
        writer.add_array("trajectories", &Array2::<f64>::zeros((9, 2))).unwrap();
    });
    archive(&in_folder("nan.npz"), |writer| {
        let mut broken = paths(0.0);
        broken[[3, 1, 0]] = f64::NAN;
        writer.add_array("trajectories", &broken).unwrap();
    });
    archive(&in_folder("moved.npz"), |writer| writer.add_array("trajectories", &(paths(0.0) + 1.0)).unwrap());
    archive(&in_folder("long.npz"), |writer| {
        writer.add_array("trajectories", &paths(0.0)).unwrap();
        writer.add_array("times", &ndarray::Array1::from_shape_fn(9, |k| k as f64)).unwrap();
    });
    Array2::<f32>::zeros((5, 3)).write_npy(std::fs::File::create(in_folder("data.npy")).unwrap()).unwrap();
    std::fs::write(in_folder("not.npz"), b"text").unwrap();
    for (arguments, named) in [
        ("--nonsense", "--nonsense"),
        ("--scale huge", "huge"),
        ("--only none --data data.npy", "--data"),
        ("--only none --trajectories not.npz", "not.npz"),
        ("--only none --trajectories empty.npz", "trajectories"),
        ("--only none --trajectories times.npz", "trajectories: missing"),
        ("--only none --trajectories flat.npz", "shape [9, 2]"),
        ("--only none --trajectories nan.npz", "NaN at [3, 1, 0]"),
        ("--only none --trajectories mine.npz,moved.npz", "moved.npz"),
        ("--only none --trajectories mine.npz,long.npz", "horizon 8"),
        ("--only none --trajectories mine.npz --data data.npy", "dimension 3"),
        ("--only none --trajectories mine.npz --lambda 1", "--lipschitz"),
        ("--only none --trajectories mine.npz --horizon 0", "--horizon"),
        ("--only none --trajectories long.npz --horizon 5", "--horizon"),
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
        assert_eq!(text.trim().lines().count(), 1, "{arguments}: {text}");
    }
}

#[test]
fn help_documents_every_array_of_an_archive() {
    let output = validate(&["--help"], Path::new("."));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for (key, _) in proxflow_validation::array::KEYS {
        assert!(text.contains(key), "{key} is not in --help");
    }
    assert!(text.contains("np.savez"));
}

#[test]
fn the_page_opens_in_a_browser_without_errors_and_every_image_loads() {
    let folder = tempfile::tempdir().unwrap();
    let output = validate(&["--only", "huber_cost,hopf_lax,straight_lines,grid_schemes"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    assert_eq!(report(folder.path())["claims"].as_array().unwrap().len(), 4);
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    let pictures = page.matches("<img").count();
    assert!(pictures >= 4, "{pictures} pictures");
    let Some(browser) = browser() else {
        common::skipped("report.html in a browser", "no chromium found (Debian package: chromium)");
        return;
    };
    for width in [1280, 390] {
        let seen = open(&browser, folder.path(), &page, width);
        assert_eq!(seen.console, Vec::<String>::new());
        assert_eq!(seen.loaded, format!("{pictures} of {pictures}"));
        assert!(seen.overflow <= 0, "wider than a screen of {width} by {}", seen.overflow);
    }

    // The check itself: a broken picture, a script error and a page wider than the screen are all seen.
    let broken = page.replacen("data:image/svg+xml;base64,", "data:image/svg+xml;base64,broken", 1);
    assert_eq!(
        open(&browser, folder.path(), &broken, 1280).loaded,
        format!("{} of {pictures}", pictures - 1)
    );
    let faulty = page.replace(
        "</main>",
        "</main><div style=\"width: 2000px\">wide</div><script>undefined_function()</script>",
    );
    let seen = open(&browser, folder.path(), &faulty, 1280);
    assert!(!seen.console.is_empty(), "a script error must reach the console");
    assert!(seen.overflow > 0, "a wide page must be noticed");
}

/// What a browser says about a page.
struct Seen {
    /// Lines of its console.
    console: Vec<String>,
    /// `good of all`: images that loaded.
    loaded: String,
    /// How far the page is wider than the screen, in CSS pixels.
    overflow: i64,
}

/// Opens `page` on a screen of `width`; a script at its end reports what it finds.
fn open(browser: &Path, folder: &Path, page: &str, width: u32) -> Seen {
    // A headless window is at least 500 wide; narrower screens are the same layout in a narrower body.
    let probe = "<script>addEventListener('load', () => { const all = [...document.images]; \
                 const good = all.filter(image => image.complete && image.naturalWidth > 0); \
                 document.documentElement.dataset.loaded = good.length + ' of ' + all.length; \
                 document.body.style.width = 'WIDTHpx'; \
                 document.documentElement.dataset.overflow = document.body.scrollWidth - WIDTH; });</script></body>";
    let probe = &probe.replace("WIDTH", &width.to_string());
    let path = folder.join("opened.html");
    std::fs::write(&path, page.replace("</body>", probe)).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--virtual-time-budget=10000", "--hide-scrollbars", "--dump-dom"])
        .arg(format!("--window-size={width},1000"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", path.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = |name: &str| {
        let start = dom.split(&format!("data-{name}=\"")).nth(1);
        start.and_then(|rest| rest.split('"').next()).unwrap_or("no answer").to_owned()
    };
    let console =
        standard_error(&output).lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    Seen { console, loaded: answer("loaded"), overflow: answer("overflow").parse().unwrap_or(i64::MAX) }
}

fn browser() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name)))
        .find(|path| path.is_file())
}
