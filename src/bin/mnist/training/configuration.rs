//! The configuration of a training run from defaults, configuration file and options.

use std::path::PathBuf;

use clap::Args;
use proxflow::command::Failure;
use proxflow::run_configuration::read;
use proxflow::run_directory::RunDirectory;
use proxflow_gpu::objective::Case;
use proxflow_gpu::schedule::Schedule;
use proxflow_reference::{DivergenceKind, InvalidInput};

use crate::options::{self, Common, DataArguments};
use crate::training::model::{LipschitzChoice, Model, Preset};
use crate::training::run_configuration::RunConfiguration;
use crate::training::{ranks, resume};

/// Options of `mnist train`.
#[derive(Args, Clone)]
#[command(
    after_help = "Example:\n  mnist train --preset paper --case w1 --seed 2 --iterations 2000 --out runs/w1-seed2"
)]
pub struct Arguments {
    /// A whole set-up; other options win over it [default: theorem]
    #[arg(long, value_enum, conflicts_with_all = ["model", "config"])]
    preset: Option<Preset>,
    /// What the potential is, with the set-up that suits it [default: hopf-lax]
    #[arg(long, value_enum)]
    model: Option<Model>,
    /// Prototypes of --model hopf-lax [default: 500, or the training digits where they are fewer]
    #[arg(long, value_name = "K")]
    prototypes: Option<usize>,
    /// Proximals: w1w2; with --preset paper also w1, w2 or none [default: w1w2]
    #[arg(long, value_parser = case)]
    case: Option<Case>,
    /// Outer iterations, counted from the start of the run [default: 2000; paper: 5000]
    #[arg(long)]
    iterations: Option<u64>,
    /// Batch size [default: 1000; paper: 200]
    #[arg(long)]
    batch: Option<usize>,
    /// Critic steps per potential step, where there is a critic [paper: 5]
    #[arg(long)]
    critic_steps: Option<usize>,
    /// Time horizon T [default: 5]
    #[arg(long)]
    horizon: Option<f64>,
    /// Euler steps N [default: 5]
    #[arg(long)]
    steps: Option<usize>,
    /// Kinetic weight lambda [default: 0.05]
    #[arg(long)]
    lambda: Option<f64>,
    /// Lipschitz constant L: a number, or critical or critical:FACTOR, a multiple of the constant from which the optimum no longer depends on L,
    /// certified on a subsample before training; the penalty weight then is r / L, r the distance from noise to data [default: critical:0.45; paper: 1]
    #[arg(long, value_name = "L", value_parser = lipschitz)]
    lipschitz: Option<LipschitzChoice>,
    /// Weight w of the gradient penalty, where there is a critic [paper: 0.1]
    #[arg(long, value_name = "W")]
    penalty_weight: Option<f64>,
    /// f-divergence: kl, reverse-kl, alpha:A, chi2, js, hellinger [default: kl]
    #[arg(long, value_parser = options::divergence)]
    f: Option<DivergenceKind>,
    /// Factor on both learning rates of --preset paper: constant, or falling to zero over N iterations as linear:N or cosine:N [default: constant]
    #[arg(long, value_name = "SCHEDULE", value_parser = schedule)]
    learning_rate_schedule: Option<Schedule>,
    /// Size of the random training subset [default: 6000]
    #[arg(long)]
    train_size: Option<usize>,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    pub common: Common,
    /// Root seed [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Run directory [default: a new folder under runs/]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in --out, bit for bit on the CPU
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Under torchrun or srun: seconds after which ranks that do not answer end the run
    #[arg(long, value_name = "SECONDS", default_value_t = ranks::TIMEOUT)]
    pub timeout: f64,
    /// Pieces of a batch that threads and ranks share; equal pieces give equal numbers, bit for bit on the CPU [default: 4, or one per thread of all ranks]
    #[arg(long, value_name = "COUNT")]
    pieces: Option<usize>,
    /// Configuration file; options on the command line win over it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Iterations between rows of metrics.csv, 0 for none but the last iteration's [default: 20]
    #[arg(long)]
    log_every: Option<u64>,
    /// Iterations between sample grids, 0 for none but the last [default: 500]
    #[arg(long)]
    sample_every: Option<u64>,
    /// Iterations between checkpoints, 0 for none but the last [default: 50]
    #[arg(long)]
    checkpoint_every: Option<u64>,
    /// Stop when the gauged HJ residual falls below this
    #[arg(long, value_name = "RESIDUAL")]
    stop_hj: Option<f64>,
}

fn case(text: &str) -> Result<Case, String> {
    Case::ALL
        .into_iter()
        .find(|case| case.name() == text)
        .ok_or_else(|| format!("case: {text} is not allowed (allowed: w1w2, w1, w2, none)"))
}

fn lipschitz(text: &str) -> Result<LipschitzChoice, String> {
    text.parse().map_err(|error: InvalidInput| error.to_string())
}

fn schedule(text: &str) -> Result<Schedule, String> {
    text.parse().map_err(|error: InvalidInput| error.to_string())
}

/// Defaults, then `--config` (or the run's own `config.toml` with `--resume`), then the command line.
pub fn resolve_configuration(arguments: &Arguments) -> Result<RunConfiguration, Failure> {
    arguments.data.check()?;
    let own: Option<RunConfiguration> = match arguments.out.as_deref().filter(|_| arguments.resume) {
        Some(folder) => {
            RunDirectory::require_run(folder)?;
            Some(read("config", &folder.join("config.toml"))?)
        }
        None => None,
    };
    let mut configuration = match (&arguments.config, &own) {
        (Some(path), _) => read("config", path)?,
        (None, Some(own)) => own.clone(),
        (None, None) => {
            let preset = arguments.preset.map(Preset::model);
            RunConfiguration::of(preset.or(arguments.model).unwrap_or(Preset::Theorem.model()))
        }
    };
    let given = arguments.clone();
    let mut factor = configuration.lipschitz_factor;
    let training = &mut configuration.training;
    set(&mut training.case, given.case);
    set(&mut training.f, given.f);
    set(&mut training.batch, given.batch);
    set(&mut training.critic_steps, given.critic_steps);
    set(&mut training.horizon, given.horizon);
    set(&mut training.steps, given.steps);
    set(&mut training.lambda, given.lambda);
    set(&mut training.penalty_weight, given.penalty_weight);
    match given.lipschitz {
        None => {}
        Some(LipschitzChoice::Value(value)) => {
            training.lipschitz = value;
            factor = None;
        }
        Some(LipschitzChoice::Critical(given)) => factor = Some(given),
    }
    set(&mut training.learning_rate_schedule, given.learning_rate_schedule);
    set(&mut training.seed, given.seed);
    configuration.lipschitz_factor = factor;
    set(&mut configuration.model, given.preset.map(Preset::model).or(given.model));
    set(&mut configuration.iterations, given.iterations);
    set(&mut configuration.train_size, given.train_size);
    match given.prototypes {
        Some(count) => configuration.prototypes = count,
        None if own.is_none() && arguments.config.is_none() => {
            configuration.prototypes = configuration.prototypes.min(configuration.train_size);
        }
        None => {}
    }
    set(&mut configuration.dataset, given.data.dataset);
    set(&mut configuration.device, given.common.device.map(|device| device.to_string()));
    set(&mut configuration.log_every, given.log_every);
    set(&mut configuration.sample_every, given.sample_every);
    set(&mut configuration.checkpoint_every, given.checkpoint_every);
    configuration.data = given.data.data.or(configuration.data);
    configuration.threads = given.common.threads.or(configuration.threads);
    configuration.pieces = given.pieces.or(configuration.pieces);
    configuration.stop_hj = given.stop_hj.or(configuration.stop_hj);
    require_used(arguments, configuration.model)?;
    configuration.check()?;
    if let Some(own) = own {
        resume::require_same_run(&mut configuration, &own)?;
    }
    Ok(configuration)
}

/// An option that the model has no use for is refused rather than passed over.
fn require_used(given: &Arguments, model: Model) -> Result<(), Failure> {
    let unused = if model.is_hopf_lax() {
        vec![
            ("critic-steps", given.critic_steps.is_some()),
            ("penalty-weight", given.penalty_weight.is_some()),
            ("learning-rate-schedule", given.learning_rate_schedule.is_some()),
            ("stop-hj", given.stop_hj.is_some()),
            ("prototypes", model == Model::Exact && given.prototypes.is_some()),
        ]
    } else {
        vec![("prototypes", given.prototypes.is_some())]
    };
    match unused.into_iter().find(|(_, present)| *present) {
        None => Ok(()),
        Some((field, _)) => {
            let value = format!("an option that --model {} has no use for", model.name());
            let allowed =
                if field == "prototypes" { "--model hopf-lax" } else { "--preset paper or --model smooth" };
            Err(Failure::bad_input(field, value, format!("with {allowed}")))
        }
    }
}

fn set<T>(field: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *field = value;
    }
}
