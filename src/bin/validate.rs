//! `validate`: every claim of the paper, and what holds for your own model. See `validate --help`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use ndarray::Array2;
use proxflow::command::{COMMIT, Failure, exit_code, write_atomically, write_json};
use proxflow_reference::checkpoint::NamedArrays;
use proxflow_reference::network::Network;
use proxflow_reference::{DivergenceKind, ProximalParameters};
use proxflow_validation::claim::{Scale, Setting};
use proxflow_validation::model::{self, Networks, Subject};
use proxflow_validation::report::{Provenance, Report};
use proxflow_validation::{Outcome, Verdict, array, claims, document};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

/// Checks every claim of arXiv:2407.11901 and writes a report; examines your own model when given one.
///
/// Exit 0 when every claim about theory and implementation holds, 1 when one fails, 2 on bad input. Statements about an
/// examined model are reported and do not decide the exit code.
#[derive(Parser)]
#[command(name = "validate", after_help = EXAMPLES, allow_negative_numbers = true)]
struct Arguments {
    /// The page; the same content goes to report.json beside it.
    #[arg(long, default_value = "report.html")]
    out: PathBuf,
    /// Also write the JSON here (`-` for standard output).
    #[arg(long)]
    json: Option<String>,
    /// ci: minutes on two cores; paper: the long form.
    #[arg(long, value_enum, default_value = "ci")]
    scale: ScaleName,
    /// Root seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Only these claims, separated by commas; `none` for the model alone.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Print the claims and stop.
    #[arg(long)]
    list: bool,
    /// Write the table of claims (docs/claims.md) here and stop.
    #[arg(long)]
    document: Option<PathBuf>,
    /// A checkpoint (safetensors) to examine.
    #[arg(long, conflicts_with = "trajectories")]
    checkpoint: Option<PathBuf>,
    /// Trajectories (times, samples, d) to examine, .npy or .npz; several files: coarse steps first, finest last.
    #[arg(long, value_delimiter = ',')]
    trajectories: Vec<PathBuf>,
    /// Data points (m, d), .npy.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Starting points of a checkpoint's flow: uniform:LOW,HIGH or normal or a .npy file (n, d).
    #[arg(long, default_value = "uniform:0,0.5")]
    source: String,
    /// Samples drawn from the source.
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Numbers of Euler steps for a checkpoint, increasing.
    #[arg(long, value_delimiter = ',', default_value = "5,40")]
    steps: Vec<usize>,
    /// Kinetic weight; a checkpoint's own value otherwise.
    #[arg(long)]
    lambda: Option<f64>,
    /// Lipschitz constant; a checkpoint's own value otherwise.
    #[arg(long)]
    lipschitz: Option<f64>,
    /// Horizon T; a checkpoint's or an archive's own times otherwise, else 1.
    #[arg(long)]
    horizon: Option<f64>,
    /// Divergence of the objective: kl, reverse-kl, alpha:A, chi2, js, hellinger.
    #[arg(long = "f", default_value = "kl")]
    divergence: String,
    /// Relative slack of the statements about a model.
    #[arg(long, default_value_t = 0.05)]
    tolerance: f64,
}

const EXAMPLES: &str = "Examples:
  validate --out report.html
  validate --only none --checkpoint runs/w1w2/checkpoint.safetensors --data digits.npy --out model.html
  validate --only none --trajectories mine.npz --data data.npy --lambda 0.05 --lipschitz 1 --horizon 5";

#[derive(Clone, Copy, ValueEnum)]
enum ScaleName {
    Ci,
    Paper,
}

fn main() -> ExitCode {
    exit_code("validate", run(Arguments::parse()))
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.list {
        for claim in claims::all() {
            println!("{:24} {} ({})", claim.id, claim.statement, claim.source());
        }
        return Ok(());
    }
    if let Some(path) = &arguments.document {
        return write_atomically(path, document::markdown(&claims::all()).as_bytes());
    }
    let chosen = chosen_claims(&arguments.only)?;
    let subject = subject(&arguments)?;
    if chosen.is_empty() && subject.is_none() {
        return Err(Failure::bad_input("--only", "none", "a claim, or a model to examine"));
    }

    let start = Instant::now();
    let started = utc_now();
    let setting = Setting {
        scale: match arguments.scale {
            ScaleName::Ci => Scale::Ci,
            ScaleName::Paper => Scale::Paper,
        },
        seed: arguments.seed,
        ..Setting::from_environment()
    };
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
    progress.finish_and_clear();
    examined.iter().for_each(print_line);

    let report = Report {
        provenance: Provenance {
            commit: COMMIT.into(),
            command: command_line(),
            seed: arguments.seed,
            scale: setting.scale,
            device: proxflow_validation::device(),
            subject: subject.map(|subject| subject.name),
            started,
            seconds: start.elapsed().as_secs_f64(),
        },
        claims: outcomes,
        model: examined,
    };
    write_atomically(&arguments.out, report.to_html().map_err(Failure::Run)?.as_bytes())?;
    let beside = arguments.out.with_file_name("report.json");
    write_json(&beside.to_string_lossy(), &report)?;
    if let Some(target) = &arguments.json {
        write_json(target, &report)?;
    }
    let [_, fails, _] = Report::counts(&report.claims);
    if fails > 0 {
        return Err(Failure::Run(format!("{fails} claims fail; see {}", arguments.out.display())));
    }
    Ok(())
}

fn print_line(outcome: &Outcome) {
    let verdict = match &outcome.verdict {
        Verdict::Holds => "holds".to_owned(),
        Verdict::Fails(reason) => format!("FAILS: {reason}"),
        Verdict::NotApplicable(reason) => format!("not applicable: {reason}"),
    };
    eprintln!("{:28} {:6.1} s  {verdict}", outcome.id, outcome.seconds);
}

fn chosen_claims(only: &[String]) -> Result<Vec<proxflow_validation::Claim>, Failure> {
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

fn subject(arguments: &Arguments) -> Result<Option<Subject>, Failure> {
    let kind: DivergenceKind = arguments.divergence.parse()?;
    if !(arguments.tolerance > 0.0 && arguments.tolerance < 1.0) {
        return Err(Failure::bad_input("--tolerance", arguments.tolerance, "in (0, 1)"));
    }
    let mut subject = match (&arguments.checkpoint, arguments.trajectories.as_slice()) {
        (Some(path), _) => from_checkpoint(arguments, path)?,
        (None, []) => return Ok(None),
        (None, paths) => from_trajectories(arguments, paths)?,
    };
    subject.kind = kind;
    subject.tolerance = arguments.tolerance;
    subject.data = arguments.data.as_deref().map(array::read_points).transpose()?;
    let dimension = subject.paths[0].positions.shape()[2];
    let found = subject.data.as_ref().map_or(dimension, |data| data.ncols());
    if found != dimension {
        let allowed = format!("dimension {dimension}");
        return Err(Failure::bad_input("--data", format!("dimension {found}"), allowed));
    }
    Ok(Some(subject))
}

fn from_checkpoint(arguments: &Arguments, path: &Path) -> Result<Subject, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::bad_input(path.display(), error, "a readable safetensors file"))?;
    let checkpoint = NamedArrays::from_safetensors(&bytes)?;
    let setting = |name: &str, given: Option<f64>| -> Result<f64, Failure> {
        let own = checkpoint.positive(name)?;
        given.or(own).ok_or_else(|| {
            Failure::bad_input(format!("--{name}"), "missing", "a number > 0; the checkpoint has none")
        })
    };
    let parameters = ProximalParameters::new(
        setting("lipschitz", arguments.lipschitz)?,
        setting("lambda", arguments.lambda)?,
        setting("horizon", arguments.horizon)?,
    )?;
    let potential = Network::from_checkpoint(&checkpoint, "potential", true)?;
    let has_critic = checkpoint.arrays.keys().any(|name| name.starts_with("discriminator."));
    let discriminator =
        has_critic.then(|| Network::from_checkpoint(&checkpoint, "discriminator", false)).transpose()?;
    let start = starting_points(arguments, potential.dimension())?;
    let name =
        path.file_name().map_or_else(|| "checkpoint".into(), |name| name.to_string_lossy().into_owned());
    let networks = Networks { potential, discriminator };
    Ok(Subject::from_networks(name, networks, start.view(), &arguments.steps, parameters)?)
}

fn starting_points(arguments: &Arguments, dimension: usize) -> Result<Array2<f64>, Failure> {
    let allowed = "uniform:LOW,HIGH or normal or a .npy file (n, d)";
    let mut generator = Setting { seed: arguments.seed, ..Setting::default() }.stream("noise");
    let shape = (arguments.samples.max(1), dimension);
    let points = if arguments.source == "normal" {
        Array2::from_shape_simple_fn(shape, || StandardNormal.sample(&mut generator))
    } else if let Some(range) = arguments.source.strip_prefix("uniform:") {
        let ends: Vec<f64> = range.split(',').filter_map(|end| end.parse().ok()).collect();
        let &[low, high] = ends.as_slice() else {
            return Err(Failure::bad_input("--source", &arguments.source, allowed));
        };
        Array2::from_shape_simple_fn(shape, || low + (high - low) * generator.random::<f64>())
    } else {
        array::read_points(Path::new(&arguments.source))?
    };
    if points.ncols() == dimension {
        Ok(points)
    } else {
        Err(Failure::bad_input(
            "--source",
            format!("dimension {}", points.ncols()),
            format!("dimension {dimension}"),
        ))
    }
}

fn from_trajectories(arguments: &Arguments, paths: &[PathBuf]) -> Result<Subject, Failure> {
    let mut read = Vec::new();
    for path in paths {
        let (positions, times) = array::read_trajectories(path)?;
        let steps = positions.shape()[0].saturating_sub(1).max(1);
        let horizon = arguments.horizon.unwrap_or(1.0);
        let times = times.unwrap_or_else(|| (0..=steps).map(|k| horizon * k as f64 / steps as f64).collect());
        // Shapes, times and entries are checked here, before any work.
        proxflow_reference::trajectory::Trajectories::new(times.clone(), positions.view())?;
        read.push(model::Path { times, positions });
    }
    let horizon = read.last().map_or(1.0, |path| path.times[path.times.len() - 1] - path.times[0]);
    let parameters = match (arguments.lipschitz, arguments.lambda) {
        (Some(lipschitz), Some(lambda)) => Some(ProximalParameters::new(lipschitz, lambda, horizon)?),
        _ => None,
    };
    let name = paths
        .last()
        .and_then(|path| path.file_name())
        .map_or_else(|| "trajectories".into(), |name| name.to_string_lossy().into_owned());
    Ok(Subject {
        name,
        paths: read,
        networks: None,
        data: None,
        parameters,
        kind: DivergenceKind::KullbackLeibler,
        tolerance: arguments.tolerance,
    })
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
