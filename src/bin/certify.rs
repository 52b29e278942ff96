//! `certify`: exact Lipschitz-regularised divergences and combined proximals of weighted point sets, with certificates.
//!
//! See `certify --help` and docs/oracle.md.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::{Array1, Array2, concatenate, s};
use serde::Serialize;

use proxflow::array_file::{read_points, read_weights, write_array};
use proxflow::command::{Failure, exit_code, write_json};
use proxflow::illustration;
use proxflow_reference::divergence::{
    RegularisedOptions, SingularMass, lipschitz_regularised_divergence_observed,
};
use proxflow_reference::proximal::combined_proximal_observed;
use proxflow_reference::transport::{Outcome, Progress, SemiRelaxedOptions};
use proxflow_reference::{DivergenceKind, ProximalParameters};

/// Exact divergences and proximals of weighted point sets, each with a certificate.
///
/// Every value is an interval: `upper` is paid by a transport plan, `lower` is attained by a potential, and both are
/// evaluated afresh from the input. Point sets are .npy or .npz files of float64 or float32, shape (n, d); weights have
/// shape (n), are non-negative and sum to 1 (default: uniform).
#[derive(Parser)]
#[command(
    name = "certify",
    version,
    after_help = "Example:
  certify divergence --model generated.npy --data digits.npy --f kl --lipschitz 1 --json -
  certify proximal --source noise.npy --data digits.npy --lambda 0.05 --horizon 5 --endpoints flow.npy"
)]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The Lipschitz-regularised divergence D_f^L(model|data).
    ///
    /// D_f^L(P|Q) = min_eta D_f(eta|Q) + L W1(P, eta) = max over L-Lipschitz phi of E_P phi - Lambda_Q(phi).
    #[command(after_help = "Example:
  certify divergence --model P.npy --data Q.npy --f kl --lipschitz 1 --potential phi.npy --intermediate eta.npy --json out.json")]
    Divergence(DivergenceTask),
    /// The combined proximal J* = inf over rho of lambda/(2T) W2^2(source, rho) + D_f^L(rho|data).
    #[command(after_help = "Example:
  certify proximal --source X.npy --data Z.npy --f kl --lipschitz 1 --lambda 0.05 --horizon 5 --endpoints flow.npy --json -")]
    Proximal(ProximalTask),
    /// Draws the picture of docs/oracle.md: potentials, intermediate measure and kink in one dimension, as SVG.
    #[command(after_help = "Example:
  certify illustrate --out docs/images/oracle-1d.svg")]
    Illustrate(IllustrateTask),
}

#[derive(Args)]
struct Problem {
    /// Target (data) points, (m, d).
    #[arg(long, value_name = "FILE")]
    data: String,
    /// Weights of the target points, (m).
    #[arg(long, value_name = "FILE")]
    data_weights: Option<String>,
    /// The divergence: kl, reverse-kl, alpha:A (A > 0, A != 1), chi2, js, hellinger.
    #[arg(long, default_value = "kl", value_name = "NAME")]
    f: String,
    /// Lipschitz constant L of the discriminator.
    #[arg(long, default_value_t = 1.0, value_name = "L", allow_negative_numbers = true)]
    lipschitz: f64,
    /// Mass outside the data, where f'(inf) is finite: `forbidden`, or `priced` at f'(inf) per unit.
    #[arg(long, value_enum, default_value_t = Singular::Forbidden)]
    singular: Singular,
    /// The largest certified gap that counts as success, relative to 1 + |value|.
    #[arg(long, default_value_t = 1e-10, value_name = "GAP", allow_negative_numbers = true)]
    tolerance: f64,
    /// Write phi at the model (or source: U(., 0)) points, then at the data points: (n + m).
    #[arg(long, value_name = "FILE.npy")]
    potential: Option<PathBuf>,
    /// Write the intermediate measure eta*: weights on the data points (m), with `--singular priced` followed by what stayed
    /// at the model points (m + n).
    #[arg(long, value_name = "FILE.npy")]
    intermediate: Option<PathBuf>,
    /// Write the certificate as JSON to a file, or to standard output for `-`.
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
    /// Accepted for uniformity; nothing here is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Args)]
struct DivergenceTask {
    /// Model points, (n, d).
    #[arg(long, value_name = "FILE")]
    model: String,
    /// Weights of the model points, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<String>,
    #[command(flatten)]
    problem: Problem,
}

#[derive(Args)]
struct ProximalTask {
    /// Source points, (n, d).
    #[arg(long, value_name = "FILE")]
    source: String,
    /// Weights of the source points, (n).
    #[arg(long, value_name = "FILE")]
    source_weights: Option<String>,
    /// Weight lambda of the kinetic energy.
    #[arg(long, default_value_t = 0.05, value_name = "LAMBDA", allow_negative_numbers = true)]
    lambda: f64,
    /// Time horizon T.
    #[arg(long, default_value_t = 5.0, value_name = "T", allow_negative_numbers = true)]
    horizon: f64,
    /// Write the generated law rho_T: (k, d + 1), a row an atom, its weight last.
    #[arg(long, value_name = "FILE.npy")]
    endpoints: Option<PathBuf>,
    #[command(flatten)]
    problem: Problem,
}

#[derive(Args)]
struct IllustrateTask {
    /// Where to write the SVG.
    #[arg(long, value_name = "FILE.svg", default_value = "oracle-1d.svg")]
    out: PathBuf,
    /// Seed of the random atoms.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the numbers behind the picture as JSON to a file, or to standard output for `-`.
    #[arg(long, value_name = "FILE|-")]
    json: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Singular {
    Forbidden,
    Priced,
}

/// The certificate that both commands print.
#[derive(Serialize)]
struct Certificate {
    lower: f64,
    upper: f64,
    gap: f64,
    /// `L W1(P, eta*)`.
    transport: f64,
    /// `D_f(eta*|Q)`.
    divergence: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kinetic_energy: Option<f64>,
    atoms: [usize; 2],
    dimension: usize,
    f: String,
    lipschitz: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<f64>,
    outcome: &'static str,
    seconds: f64,
}

fn main() -> ExitCode {
    let outcome = match Command::parse().task {
        Task::Divergence(task) => divergence(&task),
        Task::Proximal(task) => proximal(&task),
        Task::Illustrate(task) => illustrate(&task),
    };
    exit_code("certify", outcome)
}

fn divergence(task: &DivergenceTask) -> Result<(), Failure> {
    let input = task.problem.read(&task.model, task.model_weights.as_deref())?;
    let progress = Gauge::new();
    let solved = lipschitz_regularised_divergence_observed(
        input.model.view(),
        Some(&input.model_weights),
        input.data.view(),
        Some(&input.data_weights),
        input.kind,
        task.problem.lipschitz,
        &task.problem.options(),
        &mut |state| progress.show(state),
    )?;
    progress.finish();
    task.problem.write_potential(&solved.model_potential, &solved.data_potential)?;
    task.problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        kinetic_energy: None,
        lambda: None,
        horizon: None,
        outcome: name_of(solved.outcome),
        seconds: solved.seconds,
        ..Certificate::of(&input, &task.problem)
    };
    certificate.report("D_f^L(model|data)", &task.problem)
}

fn proximal(task: &ProximalTask) -> Result<(), Failure> {
    let parameters = ProximalParameters::new(task.problem.lipschitz, task.lambda, task.horizon)?;
    let input = task.problem.read(&task.source, task.source_weights.as_deref())?;
    let progress = Gauge::new();
    let solved = combined_proximal_observed(
        input.model.view(),
        Some(&input.model_weights),
        input.data.view(),
        Some(&input.data_weights),
        input.kind,
        parameters,
        &task.problem.options(),
        &mut |state| progress.show(state),
    )?;
    progress.finish();
    task.problem.write_potential(&solved.initial_potential, &solved.potential.values(input.data.view())?)?;
    task.problem.write_intermediate(&solved.intermediate, &solved.stayed)?;
    if let Some(file) = &task.endpoints {
        let masses = Array1::from(solved.masses()).insert_axis(ndarray::Axis(1));
        write_array(file, &concatenate![ndarray::Axis(1), solved.endpoints, masses])?;
    }
    let certificate = Certificate {
        lower: solved.lower,
        upper: solved.upper,
        gap: solved.gap(),
        transport: solved.transport,
        divergence: solved.divergence,
        kinetic_energy: Some(solved.kinetic_energy),
        lambda: Some(task.lambda),
        horizon: Some(task.horizon),
        outcome: name_of(solved.outcome),
        seconds: solved.seconds,
        ..Certificate::of(&input, &task.problem)
    };
    certificate.report("J*", &task.problem)
}

fn illustrate(task: &IllustrateTask) -> Result<(), Failure> {
    let numbers = illustration::draw(&task.out, task.seed)?;
    if let Some(target) = &task.json {
        write_json(target, &numbers)?;
    }
    if task.json.as_deref() != Some("-") {
        println!("wrote {}", task.out.display());
    }
    Ok(())
}

struct Input {
    kind: DivergenceKind,
    model: Array2<f64>,
    model_weights: Vec<f64>,
    data: Array2<f64>,
    data_weights: Vec<f64>,
}

impl Problem {
    fn read(&self, model: &str, model_weights: Option<&str>) -> Result<Input, Failure> {
        let kind = self.f.parse()?;
        let model = read_points(model)?;
        let data = read_points(&self.data)?;
        if model.ncols() != data.ncols() {
            let shapes = format!("{:?} against {:?}", data.shape(), model.shape());
            return Err(Failure::bad_input(&self.data, shapes, "equal numbers of columns"));
        }
        let weights = |file: Option<&str>, atoms: usize| match file {
            Some(file) => read_weights(file, atoms),
            None => Ok(vec![1.0 / atoms as f64; atoms]),
        };
        let model_weights = weights(model_weights, model.nrows())?;
        let data_weights = weights(self.data_weights.as_deref(), data.nrows())?;
        Ok(Input { kind, model, model_weights, data, data_weights })
    }

    fn options(&self) -> RegularisedOptions {
        RegularisedOptions {
            // The solver aims ten times lower, so that rounding in its own estimate does not decide success.
            transport: SemiRelaxedOptions { tolerance: 0.1 * self.tolerance, ..Default::default() },
            singular: match self.singular {
                Singular::Forbidden => SingularMass::Forbidden,
                Singular::Priced => SingularMass::Priced,
            },
            ..Default::default()
        }
    }

    fn write_potential(&self, model: &[f64], data: &[f64]) -> Result<(), Failure> {
        match &self.potential {
            Some(file) => write_array(file, &model.iter().chain(data).copied().collect::<Array1<f64>>()),
            None => Ok(()),
        }
    }

    fn write_intermediate(&self, arrived: &[f64], stayed: &[f64]) -> Result<(), Failure> {
        let Some(file) = &self.intermediate else { return Ok(()) };
        let weights: Array1<f64> = arrived.iter().chain(stayed).copied().collect();
        match self.singular {
            Singular::Forbidden => write_array(file, &weights.slice(s![..arrived.len()])),
            Singular::Priced => write_array(file, &weights),
        }
    }
}

impl Certificate {
    /// The part that describes the problem; values are filled in by the caller.
    fn of(input: &Input, problem: &Problem) -> Self {
        Self {
            lower: f64::NAN,
            upper: f64::NAN,
            gap: f64::NAN,
            transport: f64::NAN,
            divergence: f64::NAN,
            kinetic_energy: None,
            atoms: [input.model.nrows(), input.data.nrows()],
            dimension: input.model.ncols(),
            f: input.kind.to_string(),
            lipschitz: problem.lipschitz,
            lambda: None,
            horizon: None,
            outcome: "",
            seconds: 0.0,
        }
    }

    /// Prints for a reader unless standard output is taken by JSON; a solver that missed its tolerance is a failed run whose
    /// bounds are still printed and valid.
    fn report(&self, value: &str, problem: &Problem) -> Result<(), Failure> {
        if let Some(target) = &problem.json {
            write_json(target, self)?;
        }
        if problem.json.as_deref() != Some("-") {
            self.print(value);
        }
        if self.gap <= problem.tolerance * (1.0 + self.upper.abs()) {
            return Ok(());
        }
        Err(Failure::Run(format!(
            "{}: certified gap {:.3e} exceeds tolerance {:e} (1 + |value|)",
            self.outcome, self.gap, problem.tolerance
        )))
    }

    fn print(&self, value: &str) {
        let [n, m] = self.atoms;
        println!(
            "{value} lies in [{:.12}, {:.12}], gap {:.1e} ({})",
            self.lower, self.upper, self.gap, self.outcome
        );
        if let (Some(lambda), Some(energy)) = (self.lambda, self.kinetic_energy) {
            println!("  lambda K*            {:.12}   (K* = {energy:.12})", lambda * energy);
        }
        println!("  L W1(model, eta*)    {:.12}", self.transport);
        println!("  D_f(eta*|data)       {:.12}", self.divergence);
        print!("  f {}, L {}", self.f, self.lipschitz);
        if let (Some(lambda), Some(horizon)) = (self.lambda, self.horizon) {
            print!(", lambda {lambda}, T {horizon}");
        }
        println!("; {n} x {m} atoms in dimension {}; {:.3} s", self.dimension, self.seconds);
    }
}

fn name_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Converged => "converged",
        Outcome::Stalled => "stalled",
        Outcome::IterationLimit => "iteration limit",
    }
}

/// One line on standard error while the solver runs, when that is a terminal.
struct Gauge(ProgressBar);

impl Gauge {
    fn new() -> Self {
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn show(&self, state: &Progress) {
        self.0.set_message(format!(
            "pass {}, {} pivots, gap at most {:.2e}",
            state.passes, state.pivots, state.gap_estimate
        ));
        self.0.tick();
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
