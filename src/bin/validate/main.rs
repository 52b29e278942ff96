//! `validate`: every claim of the paper, and what holds for your own model. See `validate --help`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod options;
mod subject;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proxflow::command::{
    COMMIT, Failure, exit_code, parse, print_error, print_text, write_atomically, write_json,
};
use proxflow_io::output::{Outputs, require_own_report};
use proxflow_validation::claim::Setting;
use proxflow_validation::model;
use proxflow_validation::report::{Provenance, Report};
use proxflow_validation::{Claim, Outcome, Verdict, claims, document};

use crate::options::Arguments;

fn main() -> ExitCode {
    exit_code("validate", run(parse("validate")))
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.list {
        return print_text(&claims::all().iter().map(listed).collect::<String>());
    }
    if let Some(path) = &arguments.document {
        Outputs::new().output("--document", Some(path)).check()?;
        return write_atomically(path, document::markdown(&claims::all()).as_bytes());
    }
    let start = Instant::now();
    let started = utc_now();
    let chosen = chosen_claims(&arguments.only)?;
    check_outputs(&arguments)?;
    let subject = subject::read(&arguments)?;
    if chosen.is_empty() && subject.is_none() {
        return Err(Failure::bad_input("--only", "none", "a claim, or a model to examine"));
    }

    let setting =
        Setting { scale: arguments.scale.into(), seed: arguments.seed, ..Setting::from_environment() };
    let progress = indicatif::ProgressBar::new(chosen.len() as u64 + u64::from(subject.is_some()));
    let mut outcomes = Vec::new();
    for claim in chosen {
        progress.set_message(claim.id);
        let outcome = claim.run(&setting);
        progress.suspend(|| print_line(&outcome));
        progress.inc(1);
        outcomes.push(outcome);
    }
    let examined = subject.as_ref().map(model::examine).unwrap_or_default();
    let indicators = subject.as_ref().map(model::indicators).transpose()?.unwrap_or_default();
    progress.finish_and_clear();
    examined.iter().for_each(print_line);

    let report = Report {
        provenance: Provenance {
            commit: COMMIT.into(),
            command: command_line(),
            seed: arguments.seed,
            scale: setting.scale,
            device: proxflow_validation::device(),
            machine: machine(),
            parameters: subject
                .as_ref()
                .map(|subject| subject::parameters(&arguments, subject))
                .unwrap_or_default(),
            inputs: subject::digests(&arguments)?,
            subject: subject.map(|subject| subject.name),
            started,
            seconds: start.elapsed().as_secs_f64(),
        },
        claims: outcomes,
        model: examined,
        indicators,
    };
    write_atomically(&arguments.out, report.to_html().map_err(Failure::Run)?.as_bytes())?;
    if let Some(beside) = beside(&arguments) {
        write_json(&beside.to_string_lossy(), &report)?;
    }
    if let Some(target) = &arguments.json {
        write_json(target, &report)?;
    }
    let [_, fails, _] = Report::counts(&report.claims);
    if fails > 0 {
        return Err(Failure::Run(format!("{fails} claims fail; see {}", arguments.out.display())));
    }
    Ok(())
}

/// `report.json` beside the page; nowhere where the page goes into a device.
fn beside(arguments: &Arguments) -> Option<PathBuf> {
    let device = arguments.out.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
    (!device).then(|| arguments.out.with_file_name("report.json"))
}

/// Refuses, before the work, outputs that cannot be written or would replace an input or another command's report.
fn check_outputs(arguments: &Arguments) -> Result<(), Failure> {
    let folder = arguments.out.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(Failure::bad_input("--out", arguments.out.display(), "a file in a folder that exists"));
    }
    let mut outputs = Outputs::new().input("--checkpoint", arguments.checkpoint.as_deref());
    for path in &arguments.trajectories {
        outputs = outputs.input("--trajectories", Some(&path.file));
    }
    let beside = beside(arguments);
    let told = arguments.json.as_deref().map(PathBuf::from) == beside;
    outputs = outputs
        .input("--data", arguments.data.as_ref().map(|path| path.file.as_path()))
        .input("--source", Some(Path::new(&arguments.source)).filter(|path| path.is_file()))
        .output("--out", Some(&arguments.out))
        .json(arguments.json.as_deref());
    let Some(beside) = beside.filter(|_| !told) else { return outputs.check() };
    outputs.output("report.json beside --out", Some(&beside)).check()?;
    require_own_report(
        &beside,
        &["provenance", "claims", "model"],
        "--out in a folder of its own, or --json with this name",
    )
}

/// A claim with its quantities, their bounds and the removals that break them.
fn listed(claim: &Claim) -> String {
    let mut text = format!("{:24} {} ({})\n", claim.id, claim.statement, claim.source());
    for quantity in claim.quantities {
        let removals = claim.removals.iter().filter(|removal| removal.breaks.contains(&quantity.name));
        let names: Vec<&str> = removals.map(|removal| removal.name).collect();
        text +=
            &format!("{:24}   {} {} [without: {}]\n", "", quantity.name, quantity.bound, names.join("; "));
    }
    text
}

fn print_line(outcome: &Outcome) {
    let verdict = match &outcome.verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Fails(reason) => format!("FAILS: {reason}"),
        Verdict::NotApplicable(reason) => format!("not applicable: {reason}"),
    };
    print_error(&format!("{:28} {:6.1} s  {verdict}", outcome.id, outcome.seconds));
}

fn chosen_claims(only: &[String]) -> Result<Vec<Claim>, Failure> {
    if only.is_empty() {
        return Ok(claims::all());
    }
    only.iter()
        .filter(|id| *id != "none")
        .map(|id| {
            claims::find(id)
                .ok_or_else(|| Failure::bad_input("--only", id, "an id that --list prints, or none"))
        })
        .collect()
}

/// Operating system, architecture, number of processors.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} {}, {processors} processors", std::env::consts::OS, std::env::consts::ARCH)
}

/// The command line with file names only: a report should not carry the folders of the machine it was made on.
fn command_line() -> String {
    let base = |word: String| match Path::new(&word).file_name() {
        Some(name) if word.starts_with('/') => name.to_string_lossy().into_owned(),
        _ => word,
    };
    std::iter::once("validate".to_owned())
        .chain(std::env::args().skip(1).map(base))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `YYYY-MM-DDTHH:MM:SSZ`, from the days-to-civil algorithm of the proleptic Gregorian calendar.
fn utc_now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let (days, rest) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}
