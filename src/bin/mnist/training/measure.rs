//! What a training run measures on the way: one row of `metrics.csv`.

use proxflow_gpu::flow;
use proxflow_gpu::indicators::{self, Estimate, FlowIndicators, Released};
use proxflow_gpu::random::{Stream, StreamLabel, place};
use proxflow_gpu::train::{StepRecord, Trainer};
use tch::Tensor;

/// Samples behind every indicator of a run.
pub const SAMPLES: usize = 200;
/// The step-size deviation compares with a flow of this many times more steps.
const REFINEMENT: usize = 8;

/// Fixed source samples, data and mixing weights, the same at every measurement of a run.
pub struct Evaluation {
    source: Tensor,
    data: Tensor,
    weights: Tensor,
}

proxflow::metrics_row! {
    /// Outer iterations made.
    iteration,
    /// `mean phi(x_N) - Lambda(phi)` at the last critic step.
    terminal_cost,
    /// Gradient penalty at the last critic step.
    penalty,
    kinetic_energy, kinetic_energy_stderr,
    displacement_energy, displacement_energy_stderr,
    straightness, straightness_stderr,
    deviation, deviation_stderr,
    hj_residual, hj_residual_stderr,
    hj_residual_relative, hj_residual_relative_stderr,
    hj_residual_gauged, hj_residual_gauged_stderr,
    hj_residual_gauged_relative, hj_residual_gauged_relative_stderr,
    acceleration, acceleration_stderr,
    terminal_residual, terminal_residual_stderr,
    critic_slope_mean, critic_slope_mean_stderr,
    critic_slope_max,
    /// The three quantities as the released code defines them.
    kinetic_energy_released,
    hj_residual_released,
    terminal_residual_released,
    /// `|grad phi|` at data.
    critic_slope_data_mean, critic_slope_data_mean_stderr,
    critic_slope_data_max,
    /// `|grad phi|` on segments between data and generated samples.
    critic_slope_between_mean, critic_slope_between_mean_stderr,
    critic_slope_between_max,
}

impl Row {
    /// The current indicators in one line.
    pub fn summary(&self) -> String {
        format!(
            "cost {:.3} K {:.2} straight {:.3} dev {:.3} HJ {:.2}/{:.3} slope {:.2}",
            self.terminal_cost,
            self.kinetic_energy,
            self.straightness,
            self.deviation,
            self.hj_residual_relative,
            self.hj_residual_gauged_relative,
            self.critic_slope_mean
        )
    }
}

impl Evaluation {
    /// Draws the fixed samples of a run.
    pub fn new(trainer: &Trainer) -> Self {
        let mut stream = Stream::new(trainer.configuration.seed, StreamLabel::Evaluation);
        let source = trainer.draw_source(&mut stream, SAMPLES);
        let data = trainer.draw_data(&mut stream, SAMPLES);
        let weights = place(&stream.uniform(SAMPLES as i64, 1, 0.0, 1.0), (source.kind(), source.device()));
        Self { source, data, weights }
    }

    /// The samples `(200, d)`.
    pub fn source(&self) -> &Tensor {
        &self.source
    }

    /// Every indicator that needs no oracle, at the run's own step.
    pub fn measure(&self, trainer: &Trainer, record: Option<StepRecord>) -> Row {
        let (potential, discriminator, flow) = (&trainer.potential, &trainer.discriminator, trainer.flow());
        let reference = flow::endpoint(potential, &self.source, flow.with_steps(REFINEMENT * flow.steps));
        let found = indicators::evaluate(potential, discriminator, &self.source, flow, Some(&reference));
        let released = indicators::evaluate_released(potential, discriminator, &self.source, flow);
        let between = &self.data * &self.weights + &found.endpoints * (1.0 - &self.weights);
        let slopes = [&self.data, &between].map(|points| indicators::slope_statistics(discriminator, points));
        row_of(trainer.iteration, record, &found, released, slopes)
    }
}

fn row_of(
    iteration: u64,
    record: Option<StepRecord>,
    found: &FlowIndicators,
    released: Released,
    [data, between]: [(Estimate, f64); 2],
) -> Row {
    let deviation =
        found.deviation.map_or((f64::NAN, f64::NAN), |deviation| (deviation.mean, deviation.stderr));
    Row {
        iteration: iteration as f64,
        terminal_cost: record.map_or(f64::NAN, |record| record.terminal_cost),
        penalty: record.map_or(f64::NAN, |record| record.penalty),
        kinetic_energy: found.kinetic_energy.mean,
        kinetic_energy_stderr: found.kinetic_energy.stderr,
        displacement_energy: found.displacement_energy.mean,
        displacement_energy_stderr: found.displacement_energy.stderr,
        straightness: found.straightness.mean,
        straightness_stderr: found.straightness.stderr,
        deviation: deviation.0,
        deviation_stderr: deviation.1,
        hj_residual: found.hj_residual.mean,
        hj_residual_stderr: found.hj_residual.stderr,
        hj_residual_relative: found.hj_residual_relative.mean,
        hj_residual_relative_stderr: found.hj_residual_relative.stderr,
        hj_residual_gauged: found.hj_residual_gauged.mean,
        hj_residual_gauged_stderr: found.hj_residual_gauged.stderr,
        hj_residual_gauged_relative: found.hj_residual_gauged_relative.mean,
        hj_residual_gauged_relative_stderr: found.hj_residual_gauged_relative.stderr,
        acceleration: found.acceleration.mean,
        acceleration_stderr: found.acceleration.stderr,
        terminal_residual: found.terminal_residual.mean,
        terminal_residual_stderr: found.terminal_residual.stderr,
        critic_slope_mean: found.critic_slope.mean,
        critic_slope_mean_stderr: found.critic_slope.stderr,
        critic_slope_max: found.critic_slope_max,
        kinetic_energy_released: released.kinetic_energy,
        hj_residual_released: released.hj_residual,
        terminal_residual_released: released.terminal_residual,
        critic_slope_data_mean: data.0.mean,
        critic_slope_data_mean_stderr: data.0.stderr,
        critic_slope_data_max: data.1,
        critic_slope_between_mean: between.0.mean,
        critic_slope_between_mean_stderr: between.0.stderr,
        critic_slope_between_max: between.1,
    }
}

/// Largest resident set of this process so far, where the system tells.
pub fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}
