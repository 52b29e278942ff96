//! `certify`: exact divergences, proximals and transport of weighted point sets, with certificates.
//!
//! See `certify --help` and docs/guide.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod balanced;
mod certificate;
mod divergence;
mod potential;
mod problem;
mod progress;
mod proximal;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use proxflow_io::command::{Failure, exit_code, parse, print_text, write_atomically, write_json};
use proxflow_io::output::Outputs;
use proxflow_oracle_commands::illustration;

/// Exact divergences, proximals and transport of weighted point sets, each with a certificate.
///
/// Every value is an interval: `upper` is paid by a transport plan, `lower` is attained by a potential, and both are
/// evaluated afresh from the input. Point sets are real arrays of shape (n, d) in FILE.npy, FILE.npz:NAME or
/// FILE.safetensors:NAME (an archive of one array needs no name); weights have shape (n), are non-negative and sum to 1
/// (default: uniform), or with --normalise to anything. Ctrl-C stops a solver with the bounds that it has.
#[derive(Parser)]
#[command(
    name = "certify",
    version,
    after_help = "Example:
  certify divergence --model generated.npy --data digits.npy --f kl --lipschitz 1 --json -
  certify proximal --source noise.npy --data digits.npy --lambda 0.05 --horizon 5 --endpoints flow.npy
  certify proximal --trajectories flow.npy --data digits.npy --lambda 0.05 --horizon 5 --json -
  certify wasserstein -p 2 --model generated.npy --data digits.npy --plan plan.npz
  certify transport --cost C.npy --model-weights counts.npy --normalise --plan plan.npz"
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
    /// The optimal discriminator phi* of D_f^L(model|data) and its gradient at new points.
    #[command(after_help = "Example:
  certify potential --model P.npy --data Q.npy --lipschitz 1 --at Y.npy --values phi.npy --gradients slopes.npy --json -")]
    Potential(potential::PotentialTask),
    /// The Wasserstein distance W1 or W2 between two weighted point sets, exactly.
    ///
    /// W_p = (min over plans G of sum_ij |x_i - z_j|^p G_ij)^(1/p). The potentials are those of W_p^p.
    #[command(after_help = "Example:
  certify wasserstein -p 1 --model P.npy --data Q.npy --plan plan.npz --json -")]
    Wasserstein(balanced::WassersteinTask),
    /// The cheapest transport for a given cost matrix, exactly; `inf` forbids a pair.
    #[command(after_help = "Example:
  certify transport --cost C.npy --model-weights a.npy --data-weights b.npy --plan plan.npz --potential duals.npy --json -")]
    Transport(balanced::TransportTask),
    /// Draws the picture of the guide's page on the oracle: potentials, intermediate measure and kink in one dimension, as SVG.
    #[command(after_help = "Example:
  certify illustrate --out oracle-1d.svg")]
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
        Task::Potential(task) => potential::run(&task),
        Task::Wasserstein(task) => balanced::run_wasserstein(&task),
        Task::Transport(task) => balanced::run_transport(&task),
        Task::Illustrate(task) => illustrate(&task),
    };
    exit_code("certify", outcome)
}

fn illustrate(task: &IllustrateTask) -> Result<(), Failure> {
    Outputs::new().output("--out", Some(&task.out)).json(task.json.as_deref()).check()?;
    let (numbers, picture) = illustration::draw(task.seed)?;
    // The output that cannot be checked beforehand goes first: a full standard output leaves no picture behind.
    if let Some(target) = &task.json {
        write_json(target, &numbers)?;
    }
    if task.json.as_deref() != Some("-") {
        print_text(&format!("picture: {}\n", task.out.display()))?;
    }
    write_atomically(&task.out, picture.as_bytes())
}
