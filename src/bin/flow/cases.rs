//! `flow cases`: the four cases of the paper on the same data, side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use proxflow::command::{COMMIT, Failure, print_text, write_atomically, write_json};
use proxflow::libtorch::prepare_device;
use proxflow::pictures::Sheet;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::device::DeviceChoice;
use proxflow_gpu::objective::Case;
use serde_json::{Value, json};

use crate::configuration::{self, ModelChoice, resolve};
use crate::plot::Scene;
use crate::train::train;

/// Options of `flow cases`.
#[derive(Args, Clone)]
#[command(
    after_help = "Example:\n  flow cases --data circle --auto --iterations 2000 --out runs/circle-cases"
)]
pub struct Arguments {
    #[command(flatten)]
    train: configuration::Arguments,
}

/// Trains each case into `OUT/CASE` and writes `OUT/cases.png` and `OUT/cases.json`.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let given = &arguments.train;
    let Some(out) = given.out.clone() else {
        return Err(Failure::bad_input("out", "missing", "--out DIR, a folder for the four runs"));
    };
    if given.case.is_some() || given.model == Some(ModelChoice::HopfLax) || given.resume {
        let allowed = "neither --case, nor --model hopf-lax, nor --resume: all four cases are trained on dense networks";
        return Err(Failure::bad_input("cases", "an option of one run", allowed));
    }
    let device = prepare_device(given.device.unwrap_or(DeviceChoice::Auto), given.threads)?;
    let own = [Case::W1W2, Case::W1, Case::W2, Case::None].map(|case| (case, out.join(case.name())));
    own.iter().try_for_each(|(_, folder)| RunDirectory::require_unused(folder))?;
    let mut folders: Vec<(Case, PathBuf)> = Vec::new();
    for (case, folder) in own {
        let own = configuration::Arguments {
            case: Some(case),
            model: Some(ModelChoice::Dense),
            out: Some(folder.clone()),
            no_pictures: true,
            json: None,
            ..given.clone()
        };
        match train(&own, resolve(&own)?) {
            // A case without the W1 proximal may end in numbers that are not finite: that is a result, not a fault.
            Ok(_) | Err(Failure::Run(_)) => folders.push((case, folder)),
            Err(fault) => return Err(fault),
        }
    }
    let (mut panels, mut rows, mut caption) = (Vec::new(), Vec::new(), String::new());
    for (case, folder) in &folders {
        let scene = Scene::open(folder, device)?;
        let report = report(folder)?;
        let slopes = slopes(&folder.join("metrics.csv"))?;
        let number =
            |value: &Value| value.as_f64().map_or_else(|| "not finite".to_owned(), |x| format!("{x:.3}"));
        let indicators = &report["indicators"];
        panels.push(scene.paths(&format!(
            "{}: straightness {}, (J - J*)/J* {}, critic slope {}",
            case.name(),
            number(&indicators["straightness"]),
            number(&report["held_out"]["relative"]),
            number(&json!(slopes.last()))
        )));
        rows.push(json!({
            "case": case.name(), "stop_reason": report["stop_reason"], "held_out": report["held_out"], "indicators": indicators,
            "critic_slopes": slopes, "distance_to_support": scene.distance_to_support(), "seconds": report["seconds"]
        }));
        caption = scene.caption_without_case();
    }
    let sheet = Sheet { panels, columns: 2, side: 460, caption };
    write_atomically(&out.join("cases.png"), &sheet.to_png()?)?;
    let all = json!({ "commit": COMMIT, "cases": rows });
    write_json(&out.join("cases.json").to_string_lossy(), &all)?;
    match &given.json {
        Some(target) => write_json(target, &all),
        None => print_text(&table(&all)),
    }
}

fn report(folder: &Path) -> Result<Value, Failure> {
    let path = folder.join("report.json");
    let bad = |what: &dyn std::fmt::Display| Failure::bad_input(path.display(), what, "the report of a run");
    let bytes = std::fs::read(&path).map_err(|error| bad(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(&error))
}

/// Mean slope of the critic at the samples, one number for each row of `metrics.csv`: its growth is what the W1 proximal prevents.
fn slopes(metrics: &Path) -> Result<Vec<f64>, Failure> {
    let failed =
        |what: &dyn std::fmt::Display| Failure::bad_input(metrics.display(), what, "a metrics.csv of a run");
    let mut reader = csv::Reader::from_path(metrics).map_err(|error| failed(&error))?;
    let header = reader.headers().map_err(|error| failed(&error))?;
    let column = header.iter().position(|name| name == "critic_slope_mean");
    let column = column.ok_or_else(|| failed(&"no column critic_slope_mean"))?;
    let mut slopes = Vec::new();
    for record in reader.records() {
        slopes.push(record.map_err(|error| failed(&error))?[column].parse().unwrap_or(f64::NAN));
    }
    Ok(slopes)
}

fn table(all: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
    let mut text = String::from(
        "case   gap      floor    straightness deviation first slope last slope K        to support\n",
    );
    for row in all["cases"].as_array().into_iter().flatten() {
        let (gap, found) = (&row["held_out"], &row["indicators"]);
        text += &format!(
            "{:<6} {:<8} {:<8} {:<12} {:<9} {:<11} {:<10} {:<8} {}\n",
            row["case"].as_str().unwrap_or(""),
            number(&gap["relative"]),
            number(&gap["floor"]),
            number(&found["straightness"]),
            number(&found["deviation"]),
            number(&row["critic_slopes"][0]),
            number(row["critic_slopes"].as_array().and_then(|slopes| slopes.last()).unwrap_or(&Value::Null)),
            number(&found["kinetic_energy"]),
            number(&row["distance_to_support"]),
        );
    }
    text
}
