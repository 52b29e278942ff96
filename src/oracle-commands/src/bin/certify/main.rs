//! `certify`: exact Lipschitz-regularised divergences and combined proximals of weighted point sets, with certificates.
//!
//! See `certify --help` and docs/records/oracle.md.

mod certificate;
mod divergence;
mod problem;
mod progress;
mod proximal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use proxflow_io::command::{Failure, exit_code, parse, print_text, write_json};
use proxflow_oracle_commands::illustration;

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
  certify proximal --source noise.npy --data digits.npy --lambda 0.05 --horizon 5 --endpoints flow.npy
  certify proximal --trajectories flow.npy --data digits.npy --lambda 0.05 --horizon 5 --json -"
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
    Divergence(divergence::DivergenceTask),
    /// The combined proximal J* = inf over rho of lambda/(2T) W2^2(source, rho) + D_f^L(rho|data).
    ///
    /// With --trajectories, also how far that flow is from optimal: J(flow) - J*, as an interval.
    #[command(after_help = "Example:
  certify proximal --source X.npy --data Z.npy --f kl --lipschitz 1 --lambda 0.05 --horizon 5 --endpoints flow.npy --json -
  certify proximal --trajectories flow.npy --data Z.npy --lipschitz 1 --lambda 0.05 --horizon 5 --json -")]
    Proximal(proximal::ProximalTask),
    /// Draws the picture of docs/records/oracle.md: potentials, intermediate measure and kink in one dimension, as SVG.
    #[command(after_help = "Example:
  certify illustrate --out docs/images/oracle-1d.svg")]
    Illustrate(IllustrateTask),
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

fn main() -> ExitCode {
    let outcome = match parse::<Command>("certify").task {
        Task::Divergence(task) => divergence::run(&task),
        Task::Proximal(task) => proximal::run(&task),
        Task::Illustrate(task) => illustrate(&task),
    };
    exit_code("certify", outcome)
}

fn illustrate(task: &IllustrateTask) -> Result<(), Failure> {
    let numbers = illustration::draw(&task.out, task.seed)?;
    if let Some(target) = &task.json {
        write_json(target, &numbers)?;
    }
    match task.json.as_deref() {
        Some("-") => Ok(()),
        _ => print_text(&format!("wrote {}\n", task.out.display())),
    }
}
