//! The model under examination: a checkpoint, or trajectories from any program.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};
use proxflow::array::{ArrayPath, read_bytes, read_points};
use proxflow::command::{Failure, print_note};
use proxflow_io::memory::{self, ARRAY_LIMIT};
use proxflow_io::recording::read_trajectories;
use proxflow_reference::checkpoint::NamedArrays;
use proxflow_reference::network::Network;
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use proxflow_validation::claim::Setting;
use proxflow_validation::model::{self, Networks, Subject};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

use crate::options::Arguments;

/// The model that the options name, if any; everything about it is checked here, before any work.
pub fn read(arguments: &Arguments) -> Result<Option<Subject>, Failure> {
    let kind: DivergenceKind = arguments.divergence.parse()?;
    if !(arguments.tolerance > 0.0 && arguments.tolerance < 1.0) {
        return Err(Failure::bad_input("--tolerance", arguments.tolerance, "in (0, 1)"));
    }
    let mut subject = match (&arguments.checkpoint, arguments.trajectories.as_slice()) {
        (Some(path), _) => from_checkpoint(arguments, path)?,
        (None, []) if arguments.data.is_some() => {
            return Err(Failure::bad_input("--data", "alone", "with --checkpoint or --trajectories"));
        }
        (None, []) => return Ok(None),
        (None, paths) => from_trajectories(arguments, paths)?,
    };
    subject.kind = kind;
    subject.tolerance = arguments.tolerance;
    subject.data = arguments.data.as_ref().map(read_points).transpose()?;
    let dimension = subject.paths[0].positions.shape()[2];
    let found = subject.data.as_ref().map_or(dimension, |data| data.ncols());
    if found != dimension {
        let allowed = format!("dimension {dimension}");
        return Err(Failure::bad_input("--data", format!("dimension {found}"), allowed));
    }
    Ok(Some(subject))
}

fn from_checkpoint(arguments: &Arguments, path: &Path) -> Result<Subject, Failure> {
    let bytes = read_bytes(path, ARRAY_LIMIT)?;
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
    let (ours, theirs) = (potential.dimension(), discriminator.as_ref().map(Network::dimension));
    if let Some(theirs) = theirs.filter(|&theirs| theirs != ours) {
        let allowed = format!("{ours} coordinates, as the potential");
        return Err(Failure::bad_input(
            "discriminator",
            format!("a network on {theirs} coordinates"),
            allowed,
        ));
    }
    let law = checkpoint.source_law()?.unwrap_or([0.0, 0.5]);
    let start = starting_points(arguments, law, ours)?;
    let own = checkpoint.steps()?.unwrap_or(5);
    let steps = if arguments.steps.is_empty() { vec![own, 8 * own] } else { arguments.steps.clone() };
    checkpoint.notices.iter().for_each(|notice| print_note(&format!("note: {notice}")));
    let networks = Networks { potential, discriminator };
    Ok(Subject::from_networks(file_name(path), networks, start.view(), &steps, parameters)?)
}

fn starting_points(
    arguments: &Arguments,
    [low, high]: [f64; 2],
    dimension: usize,
) -> Result<Array2<f64>, Failure> {
    let allowed = "own or uniform:LOW,HIGH or normal or a .npy file (n, d)";
    let mut generator = Setting { seed: arguments.seed, ..Setting::default() }.stream("noise");
    if arguments.samples == 0 {
        return Err(Failure::bad_input("--samples", 0, ">= 1"));
    }
    // Positions at every time of the longest simulation, with gradients and their copies.
    let longest = arguments.steps.iter().copied().max().unwrap_or(0) as u64 + 1;
    let described =
        format!("{} samples of dimension {dimension} at up to {} steps", arguments.samples, longest - 1);
    let numbers =
        (arguments.samples as u64).checked_mul(dimension as u64).and_then(|size| size.checked_mul(longest));
    memory::require(
        "--samples, --steps",
        &described,
        numbers.and_then(|numbers| numbers.checked_mul(4 * 8)),
    )?;
    let shape = (arguments.samples, dimension);
    let points = if arguments.source == "normal" {
        Array2::from_shape_simple_fn(shape, || StandardNormal.sample(&mut generator))
    } else if arguments.source == "own" {
        Array2::from_shape_simple_fn(shape, || low + (high - low) * generator.random::<f64>())
    } else if let Some(range) = arguments.source.strip_prefix("uniform:") {
        let ends: Result<Vec<f64>, _> = range.split(',').map(str::parse).collect();
        let (low, high) = match ends.as_deref() {
            Ok(&[low, high]) if low < high && (high - low).is_finite() => (low, high),
            _ => return Err(Failure::bad_input("--source", &arguments.source, allowed)),
        };
        Array2::from_shape_simple_fn(shape, || low + (high - low) * generator.random::<f64>())
    } else {
        read_points(&arguments.source.as_str().into())?
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

fn from_trajectories(arguments: &Arguments, files: &[ArrayPath]) -> Result<Subject, Failure> {
    let horizon = arguments.horizon.unwrap_or(1.0);
    InvalidInput::require_positive("--horizon", horizon)?;
    let read = |file: &ArrayPath| -> Result<model::Path, Failure> {
        let found = read_trajectories(file)?;
        if let (Some(given), Some(times)) = (arguments.horizon, &found.times) {
            let own = times[times.len() - 1] - times[0];
            if (given / own - 1.0).abs() > 1e-6 {
                let allowed = format!("{own}, which the times of {file} span, or no --horizon");
                return Err(Failure::bad_input("--horizon", given, allowed));
            }
        }
        Ok(model::Path::from_recorded(found, horizon))
    };
    let mut paths: Vec<model::Path> = files.iter().map(read).collect::<Result<_, _>>()?;
    let duration = |path: &model::Path| path.times[path.times.len() - 1] - path.times[0];
    let start = |path: &model::Path| path.positions.index_axis(Axis(0), 0).to_owned();
    for (path, file) in paths.iter().zip(files) {
        if path.positions.shape()[1..] != paths[0].positions.shape()[1..] || start(path) != start(&paths[0]) {
            let allowed = format!("those of {}, for another step size", files[0]);
            return Err(Failure::bad_input(file, "other starting points", allowed));
        }
        if (duration(path) / duration(&paths[0]) - 1.0).abs() > 1e-6 {
            let allowed = format!("{}, as in {}", duration(&paths[0]), files[0]);
            return Err(Failure::bad_input(file, format!("horizon {}", duration(path)), allowed));
        }
    }
    // Whatever their order on the command line: the finest step is the reference.
    paths.sort_by_key(|path| path.times.len());
    let parameters = match (arguments.lipschitz, arguments.lambda) {
        (Some(lipschitz), Some(lambda)) => {
            Some(ProximalParameters::new(lipschitz, lambda, duration(&paths[0]))?)
        }
        (None, None) => None,
        (Some(_), None) => {
            return Err(Failure::bad_input(
                "--lambda",
                "missing",
                "both --lambda and --lipschitz, or neither",
            ));
        }
        (None, Some(_)) => {
            return Err(Failure::bad_input(
                "--lipschitz",
                "missing",
                "both --lambda and --lipschitz, or neither",
            ));
        }
    };
    Ok(Subject {
        name: files.iter().map(|file| file_name(&file.file)).collect::<Vec<_>>().join(", "),
        paths,
        networks: None,
        data: None,
        parameters,
        kind: DivergenceKind::KullbackLeibler,
        tolerance: arguments.tolerance,
    })
}

/// What the statements about `subject` depend on, for the report.
pub fn parameters(arguments: &Arguments, subject: &Subject) -> Vec<(String, String)> {
    let shape = subject.paths[0].positions.shape();
    let mut rows = vec![("samples, dimension".to_owned(), format!("{}, {}", shape[1], shape[2]))];
    if subject.networks.is_some() {
        let own = arguments.source == "own";
        let law = if own { "the law that the checkpoint states" } else { &arguments.source };
        rows.push(("source".into(), law.to_owned()));
    }
    if let Some(ProximalParameters { lipschitz, lambda, horizon }) = subject.parameters {
        rows.push(("L, lambda, T".into(), format!("{lipschitz}, {lambda}, {horizon}")));
    }
    if let Some(data) = &subject.data {
        rows.push(("data points".into(), data.nrows().to_string()));
        rows.push(("divergence f".into(), subject.kind.to_string()));
    }
    rows.push(("slack of the statements".into(), format!("{}%", 100.0 * subject.tolerance)));
    rows
}

/// SHA-256 of every file that describes the model.
pub fn digests(arguments: &Arguments) -> Result<Vec<(String, String)>, Failure> {
    let source = Path::new(&arguments.source);
    let source = source.is_file().then(|| source.to_path_buf());
    let arrays = arguments.trajectories.iter().chain(&arguments.data).map(|path| &path.file);
    let files = arguments.checkpoint.iter().chain(arrays).chain(&source);
    let digest = |file: &PathBuf| -> Result<(String, String), Failure> {
        let bytes = read_bytes(file, ARRAY_LIMIT)?;
        let digest = Sha256::digest(&bytes);
        Ok((file_name(file), digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    };
    files.map(digest).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
