//! The configuration of a run: options, the run's own file, defaults.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use proxflow::command::Failure;
use proxflow::own_data::Standardise;
use proxflow::run_configuration;
use proxflow::run_directory::RunDirectory;
use proxflow::source_law::SourceChoice;
use proxflow_gpu::adam::AdamSpecification;
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::device::DeviceChoice;
use proxflow_gpu::flow::SINGLE_PRECISION;
use proxflow_gpu::objective::Case;
use proxflow_gpu::schedule::Schedule;
use proxflow_io::options::{divergence, positive};
use proxflow_reference::checkpoint::MOST_STEPS;
use proxflow_reference::{DivergenceKind, InvalidInput};
use serde::{Deserialize, Serialize};

/// What the potential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ModelChoice {
    /// Hopf-Lax potential on the training points, or on prototypes of many: the optimum of the problem on these points, with bounds over
    /// all noise. Every sample is (or heads for) one of them
    HopfLax,
    /// Dense networks by Algorithm 1: a smooth potential against a critic
    Dense,
}

/// Options of `flow train`.
#[derive(Args, Clone)]
#[command(after_help = "Example:\n  flow train --data X.npy --auto --out runs/x")]
pub struct Arguments {
    /// Points (n, d) or images (n, h, w) in a .npy, .npz (FILE:NAME) or .safetensors file, an IDX file of images, or a named target: moons,
    /// pinwheel, spirals, checkerboard, eight-gaussians, circle, segment, sphere, s-curve, swiss-roll, swiss-roll-12
    #[arg(long, value_name = "FILE|NAME")]
    pub data: Option<String>,
    /// Source: gaussian, uniform, logistic (mean 0, variance 1 after standardisation), or a file of points (n, d) in the data's units [default: gaussian]
    #[arg(long, value_name = "LAW|FILE")]
    pub source: Option<SourceChoice>,
    /// Take the advice that is printed before training for lambda, L, penalty weight and steps where they are not given
    #[arg(long)]
    pub auto: bool,
    /// Potential [default: hopf-lax]
    #[arg(long)]
    pub model: Option<ModelChoice>,
    /// Training points of a Hopf-Lax potential at most; more are represented by so many medians [default: 500]
    #[arg(long, value_name = "COUNT")]
    pub prototypes: Option<usize>,
    /// Rows: a random subset of a file, or how many to draw from a named target [default: all, 3000]
    #[arg(long, value_name = "COUNT")]
    pub rows: Option<usize>,
    /// Share of the rows that the flow never sees [default: 0.25]
    #[arg(long, value_name = "SHARE")]
    pub held_out: Option<f64>,
    /// Scaling of the data, undone in all outputs [default: columns, for images global]
    #[arg(long)]
    pub standardise: Option<Standardise>,
    /// Proximals of a dense model: w1w2, w1, w2 or none [default: w1w2]
    #[arg(long, value_parser = case)]
    pub case: Option<Case>,
    /// Steps of ascent (hopf-lax) or outer steps of Algorithm 1 (dense), from the start of the run [default: 3000 for hopf-lax, 4000 for dense]
    #[arg(long)]
    pub iterations: Option<u64>,
    /// Batch size [default: 2000 for hopf-lax, 256 for dense]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Critic steps per potential step of a dense model [default: 5]
    #[arg(long)]
    pub critic_steps: Option<usize>,
    /// Time horizon T [default: 1]
    #[arg(long, value_parser = positive)]
    pub horizon: Option<f64>,
    /// Euler steps N [default: 1 for hopf-lax, 5 for dense]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Kinetic weight lambda [default: 1]
    #[arg(long, value_parser = positive)]
    pub lambda: Option<f64>,
    /// Lipschitz constant L [default: 1]
    #[arg(long, value_parser = positive)]
    pub lipschitz: Option<f64>,
    /// Weight of the gradient penalty of a dense model [default: 5]
    #[arg(long, value_parser = positive)]
    pub penalty_weight: Option<f64>,
    /// f-divergence: kl, and for a dense model reverse-kl, alpha:A, chi2, js, hellinger [default: kl]
    #[arg(long, value_parser = divergence)]
    pub f: Option<DivergenceKind>,
    /// Stop when (J - J*)/J* is certified below this: over all noise with hopf-lax (three standard errors), on the held-out batch with dense
    #[arg(long, value_name = "GAP", value_parser = positive)]
    pub stop_gap: Option<f64>,
    /// Source samples of the held-out batch that the oracle certifies [default: 500]
    #[arg(long, value_name = "COUNT")]
    pub gap_samples: Option<usize>,
    /// Root seed [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run directory [default: a new folder under runs/]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in --out, bit for bit on the CPU with the same --threads
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Steps between rows of metrics.csv; the last step always has one [default: 200]
    #[arg(long)]
    pub log_every: Option<u64>,
    /// Steps between checkpoints [default: 200]
    #[arg(long)]
    pub checkpoint_every: Option<u64>,
    /// Device: auto, cpu, cuda, cuda:INDEX or mps
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Threads on the CPU [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Leave the pictures and the page for `flow plot`
    #[arg(long)]
    pub no_pictures: bool,
    /// Write the report as JSON to FILE, or to standard output for -
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
}

/// Everything that decides a run; written resolved to `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunConfiguration {
    pub data: String,
    pub source: SourceChoice,
    pub model: ModelChoice,
    pub prototypes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    pub held_out: f64,
    /// `None` until the data say whether they are images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standardise: Option<Standardise>,
    pub iterations: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_gap: Option<f64>,
    pub gap_samples: usize,
    pub log_every: u64,
    pub checkpoint_every: u64,
    pub device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    pub training: Configuration,
}

impl RunConfiguration {
    fn of(model: ModelChoice) -> Self {
        let adam = |learning_rate| AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
        let hopf_lax = model == ModelChoice::HopfLax;
        let half_width = 3.0_f64.sqrt();
        Self {
            data: String::new(),
            source: SourceChoice::Gaussian,
            model,
            prototypes: 500,
            rows: None,
            held_out: 0.25,
            standardise: None,
            iterations: if hopf_lax { 3000 } else { 4000 },
            stop_gap: None,
            gap_samples: 500,
            log_every: 200,
            checkpoint_every: 200,
            device: "auto".to_owned(),
            threads: None,
            training: Configuration {
                batch: if hopf_lax { 2000 } else { 256 },
                critic_steps: 5,
                horizon: 1.0,
                steps: if hopf_lax { 1 } else { 5 },
                lambda: 1.0,
                lipschitz: 1.0,
                penalty_weight: 5.0,
                critic_adam: adam(2e-3),
                potential_adam: adam(1e-3),
                // Mean 0 and variance 1, as every named source; the law itself is `source` of this file.
                source: [-half_width, half_width],
                ..Configuration::default()
            },
        }
    }

    /// The parameters that J is made of, in the units of the flow.
    pub fn parameters(&self) -> Result<proxflow_reference::ProximalParameters, InvalidInput> {
        let Configuration { lipschitz, lambda, horizon, .. } = self.training;
        proxflow_reference::ProximalParameters::new(lipschitz, lambda, horizon)
    }
}

fn case(text: &str) -> Result<Case, String> {
    let found = Case::ALL.into_iter().find(|case| case.name() == text);
    found.ok_or_else(|| "allowed: w1w2, w1, w2, none".to_owned())
}

/// Defaults of the model or, with `--resume`, the run's own configuration; then the command line.
pub fn resolve(arguments: &Arguments) -> Result<RunConfiguration, Failure> {
    let own = match arguments.out.as_deref().filter(|_| arguments.resume) {
        Some(folder) => Some(read(folder)?),
        None => None,
    };
    let model = arguments.model.or(own.as_ref().map(|own| own.model)).unwrap_or(ModelChoice::HopfLax);
    let mut found = own.clone().unwrap_or_else(|| RunConfiguration::of(model));
    found.model = model;
    let given = arguments.clone();
    set(&mut found.data, given.data);
    set(&mut found.source, given.source);
    set(&mut found.prototypes, given.prototypes);
    set(&mut found.held_out, given.held_out);
    set(&mut found.iterations, given.iterations);
    set(&mut found.gap_samples, given.gap_samples);
    set(&mut found.log_every, given.log_every);
    set(&mut found.checkpoint_every, given.checkpoint_every);
    set(&mut found.device, given.device.map(|device| device.to_string()));
    found.rows = given.rows.or(found.rows);
    found.standardise = given.standardise.or(found.standardise);
    found.stop_gap = given.stop_gap.or(found.stop_gap);
    found.threads = given.threads.or(found.threads);
    let training = &mut found.training;
    set(&mut training.case, given.case);
    set(&mut training.f, given.f);
    set(&mut training.batch, given.batch);
    set(&mut training.critic_steps, given.critic_steps);
    set(&mut training.horizon, given.horizon);
    set(&mut training.steps, given.steps);
    set(&mut training.lambda, given.lambda);
    set(&mut training.lipschitz, given.lipschitz);
    set(&mut training.penalty_weight, given.penalty_weight);
    set(&mut training.seed, given.seed);
    if own.is_none() && model == ModelChoice::Dense {
        // At constant rates U and phi keep circling the saddle point.
        training.learning_rate_schedule = Schedule::Linear { steps: found.iterations.max(1) };
    }
    check(&found)?;
    if let Some(own) = own {
        require_same(&found, &own)?;
    }
    Ok(found)
}

/// `config.toml` of a run directory.
pub fn read(folder: &Path) -> Result<RunConfiguration, Failure> {
    RunDirectory::require_run(folder)?;
    let path = folder.join("config.toml");
    Ok(run_configuration::read("run", &path)?)
}

/// Every range, before any work and any allocation.
fn check(found: &RunConfiguration) -> Result<(), Failure> {
    let training = &found.training;
    if found.data.is_empty() {
        return Err(Failure::bad_input("data", "missing", "--data FILE or NAME, such as --data moons"));
    }
    training.validate()?;
    for (field, value) in [("lipschitz", training.lipschitz), ("penalty-weight", training.penalty_weight)] {
        if !SINGLE_PRECISION.contains(&value) {
            let allowed = format!("{:e} to {:e}", SINGLE_PRECISION.start(), SINGLE_PRECISION.end());
            return Err(Failure::bad_input(field, value, allowed));
        }
    }
    let whole: [(&str, u64, u64, u64); 6] = [
        ("iterations", found.iterations, 1, 1_000_000_000),
        ("log-every", found.log_every, 1, 1_000_000_000),
        ("steps", training.steps as u64, 1, MOST_STEPS as u64),
        ("batch", training.batch as u64, 1, 1_000_000),
        ("prototypes", found.prototypes as u64, 2, 20_000),
        ("gap-samples", found.gap_samples as u64, 2, 20_000),
    ];
    for (field, value, least, most) in whole {
        if !(least..=most).contains(&value) {
            return Err(Failure::bad_input(field, value, format!("{least}..={most}")));
        }
    }
    if found.model == ModelChoice::HopfLax {
        if training.f != DivergenceKind::KullbackLeibler {
            return Err(Failure::bad_input(
                "f",
                training.f,
                "kl with --model hopf-lax, any with --model dense",
            ));
        }
        if training.case != Case::W1W2 {
            let allowed = "w1w2 with --model hopf-lax, any with --model dense";
            return Err(Failure::bad_input("case", training.case.name(), allowed));
        }
    }
    Ok(())
}

/// Refuses a resumed run with another option that decides its numbers.
fn require_same(found: &RunConfiguration, own: &RunConfiguration) -> Result<(), Failure> {
    let free = |configuration: &RunConfiguration| RunConfiguration {
        iterations: 0,
        stop_gap: None,
        log_every: 0,
        checkpoint_every: 0,
        threads: None,
        device: String::new(),
        ..configuration.clone()
    };
    let text = |configuration: &RunConfiguration| {
        toml::to_string(&free(configuration)).map_err(|error| Failure::Run(error.to_string()))
    };
    let (ours, theirs) = (text(found)?, text(own)?);
    let differing = ours.lines().zip(theirs.lines()).find(|(a, b)| a != b);
    match differing {
        None if ours == theirs => Ok(()),
        other => {
            let (given, kept) = other.unwrap_or(("an option", "none"));
            let allowed = format!("{kept}, with which the run was started; another --out starts another run");
            Err(Failure::bad_input("--resume", given, allowed))
        }
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *field = value;
    }
}
