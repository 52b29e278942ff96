//! Honest parameters before training: the oracle solves the problem on a subsample and says what they mean (notation 2.4).

use ndarray::s;
use proxflow::command::Failure;
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::random::StreamLabel;
use proxflow_reference::proximal::{combined_proximal, critical_lipschitz};
use proxflow_reference::{Bounds, InvalidInput, Measure, Options};
use serde::Serialize;

use crate::configuration::{Arguments, ModelChoice, RunConfiguration};
use crate::problem::Problem;

/// Source and data points of the subsample.
const SOURCE: usize = 400;
const DATA: usize = 800;
/// Certified to this, relative to `1 + J*`.
const TOLERANCE: f64 = 1e-9;
/// `lambda` is advised so that at most this part of `J*` is paid to the divergence: above, transport is so dear that the optimum
/// rather gives up on some of the data.
const DIVERGENCE_SHARE: f64 = 0.05;
/// L above the critical constant by this factor: the subsample has not seen the longest moves.
const MARGIN: f64 = 1.2;
/// Euler steps advised for a dense potential: at the optimum one is enough, training needs a few to see the bends.
const DENSE_STEPS: usize = 5;

/// What the oracle found for the configured parameters, and what it advises.
#[derive(Debug, Clone, Serialize)]
pub struct Advice {
    /// Source and data points of the subsample.
    pub samples: [usize; 2],
    /// The configured parameters that it was solved for.
    pub lambda: f64,
    pub horizon: f64,
    pub lipschitz: f64,
    /// `J*` at these.
    pub objective: [f64; 2],
    /// `K*`.
    pub kinetic_energy: f64,
    /// `D_f(eta*|pi)`: what part of `J*` is the price of leaving data out.
    pub divergence: f64,
    /// `L W1(rho_T, eta*)`; W1 is active where it is positive.
    pub w1_part: f64,
    /// Bounds of the critical Lipschitz constant at the advised lambda.
    pub critical_lipschitz: [f64; 2],
    /// Longest distance of the optimal plan of `L = inf`.
    pub longest_move: f64,
    /// `J*(inf)` and `K*` at the advised lambda.
    pub advised_objective: [f64; 2],
    pub advised_kinetic_energy: f64,
    pub advised_divergence: f64,
    /// What `--auto` takes.
    pub advised_lambda: f64,
    pub advised_lipschitz: f64,
    pub advised_penalty_weight: f64,
    pub advised_steps: usize,
    /// Whether it was taken.
    pub taken: bool,
}

fn pair(bounds: Bounds) -> [f64; 2] {
    [bounds.lower, bounds.upper]
}

/// Solves on a subsample of the training points and says what follows.
pub fn advise(problem: &Problem, configuration: &RunConfiguration, free: bool) -> Result<Advice, Failure> {
    let Configuration { f, lambda, horizon, lipschitz, seed, .. } = configuration.training;
    let noise = problem.noise(SOURCE, seed, StreamLabel::Evaluation).mapv(f64::from);
    let rows = problem.train.nrows().min(DATA);
    let source = Measure::uniform(noise.view())?;
    let data = Measure::uniform(problem.train.slice(s![..rows, ..]))?;
    let options = Options::new().tolerance(TOLERANCE);
    let own = combined_proximal(&source, &data, f, configuration.parameters()?, &options)?;
    let solve = |lambda: f64| critical_lipschitz(&source, &data, f, lambda, horizon, &options);
    let mut advised_lambda = lambda;
    let mut critical = solve(lambda)?;
    let share = critical.unconstrained.divergence / critical.unconstrained.upper;
    if free && share > DIVERGENCE_SHARE {
        // The share is about proportional to lambda where it is small.
        advised_lambda = rounded(lambda * DIVERGENCE_SHARE / share);
        critical = solve(advised_lambda)?;
    }
    let optimum = &critical.unconstrained;
    if !(optimum.bounds().is_finite() && critical.upper.is_finite() && critical.upper > 0.0) {
        let value = format!("J* in [{}, {}]", optimum.lower, optimum.upper);
        return Err(InvalidInput::new(
            "data",
            value,
            "points that the oracle can solve: not all equal to the source",
        )
        .into());
    }
    let advised_lipschitz = rounded(MARGIN * critical.upper);
    let distance = (2.0 * horizon * optimum.kinetic_energy).sqrt();
    Ok(Advice {
        samples: [SOURCE, rows],
        lambda,
        horizon,
        lipschitz,
        objective: pair(own.bounds()),
        kinetic_energy: own.kinetic_energy,
        divergence: own.divergence,
        w1_part: own.transport,
        critical_lipschitz: [critical.lower, critical.upper],
        longest_move: critical.longest_move,
        advised_objective: pair(optimum.bounds()),
        advised_kinetic_energy: optimum.kinetic_energy,
        advised_divergence: optimum.divergence,
        advised_lambda,
        advised_lipschitz,
        advised_penalty_weight: rounded((distance / advised_lipschitz).max(5.0 / advised_lipschitz)),
        advised_steps: if configuration.model == ModelChoice::HopfLax { 1 } else { DENSE_STEPS },
        taken: false,
    })
}

/// Takes the advice where the command line leaves the choice.
pub fn take(advice: &mut Advice, configuration: &mut RunConfiguration, given: &Arguments) {
    advice.taken = true;
    let training = &mut configuration.training;
    training.lambda = given.lambda.unwrap_or(advice.advised_lambda);
    training.lipschitz = given.lipschitz.unwrap_or(advice.advised_lipschitz);
    training.penalty_weight = given.penalty_weight.unwrap_or(advice.advised_penalty_weight);
    training.steps = given.steps.unwrap_or(advice.advised_steps);
}

/// Two significant digits: advice, not measurement.
fn rounded(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

impl Advice {
    /// The lines that are printed before training.
    pub fn in_words(&self) -> String {
        let active = if self.w1_part > 1e-6 * self.objective[1] { "active" } else { "not active" };
        let [n, m] = self.samples;
        let verb = if self.taken { "taken" } else { "advised (--auto takes it)" };
        format!(
            "oracle, {n} source and {m} data points: lambda = {}, L = {}: J* = {:.5}, K* = {:.4}, KL part {:.5}, W1 part {:.5} ({active})\n\
             critical L in [{:.4}, {:.4}] for lambda = {}, where J*(L = inf) = {:.5}, K* = {:.4}, KL part {:.5}, longest move {:.3}\n\
             {verb}: lambda = {}, L = {}, penalty weight = {}, steps = {}\n",
            self.lambda,
            self.lipschitz,
            self.objective[1],
            self.kinetic_energy,
            self.divergence,
            self.w1_part,
            self.critical_lipschitz[0],
            self.critical_lipschitz[1],
            self.advised_lambda,
            self.advised_objective[1],
            self.advised_kinetic_energy,
            self.advised_divergence,
            self.longest_move,
            self.advised_lambda,
            self.advised_lipschitz,
            self.advised_penalty_weight,
            self.advised_steps,
        )
    }
}
