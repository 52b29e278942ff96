//! What a run measures on the way: one row of `metrics.csv`.

use proxflow_gpu::ascent::PopulationBounds;
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::flow;
use proxflow_gpu::indicators::{self, Estimate};

use crate::certificate::{Gap, HeldOut};

/// The step-size deviation compares with a flow of this many times more steps.
const REFINEMENT: usize = 8;

proxflow::metrics_row! {
    /// Steps made.
    iteration,
    /// Seconds since the process began to train.
    seconds,
    /// `J` of the flow on the held-out batch, between its bounds.
    objective_lower, objective_upper,
    /// `J - J*` there, between its bounds, and the upper one over `J*`.
    gap_lower, gap_upper, gap_relative,
    /// `D_f^L(x_T | held-out)` there.
    divergence,
    /// Over all noise (hopf-lax): lower bound of `J*`; the flow's own J is at most `excess` above it.
    dual, dual_stderr, excess, excess_stderr,
    kinetic_energy, kinetic_energy_stderr,
    displacement_energy, displacement_energy_stderr,
    straightness, straightness_stderr,
    deviation, deviation_stderr,
    hj_residual_relative, hj_residual_relative_stderr,
    hj_residual_gauged_relative, hj_residual_gauged_relative_stderr,
    acceleration, acceleration_stderr,
    terminal_residual, terminal_residual_stderr,
    critic_slope_mean, critic_slope_mean_stderr,
    critic_slope_max,
}

impl Row {
    /// The current state in one line.
    pub fn summary(&self) -> String {
        let population = match self.dual.is_finite() {
            true => format!("J* >= {:.4}, J at most {:.4} more; ", self.dual, self.excess),
            false => String::new(),
        };
        format!(
            "{population}held-out gap {:.1} %, straight {:.3}, dev {:.3}",
            100.0 * self.gap_relative,
            self.straightness,
            self.deviation
        )
    }
}

/// Indicators and gap of `model` on the held-out batch.
pub fn measure(
    model: &Model,
    held_out: &HeldOut,
    gap: &Gap,
    population: Option<&PopulationBounds>,
    iteration: u64,
    seconds: f64,
) -> Row {
    let (source, flow) = (held_out.source(), model.flow);
    let fine = flow::endpoint(&model.potential, source, flow.with_steps(REFINEMENT * flow.steps));
    let found = indicators::evaluate(&model.potential, &model.discriminator, source, flow, Some(&fine));
    // A single step has no turn to measure: that of the finer flow is looked at instead.
    let refined = flow.with_steps(REFINEMENT * flow.steps);
    let turning = match flow.steps {
        1 => indicators::evaluate(&model.potential, &model.discriminator, source, refined, None).acceleration,
        _ => found.acceleration,
    };
    let deviation = found.deviation.unwrap_or(Estimate::ABSENT);
    let (dual, excess) =
        population.map_or((Estimate::ABSENT, Estimate::ABSENT), |found| (found.dual, found.excess));
    Row {
        iteration: iteration as f64,
        seconds,
        objective_lower: gap.objective[0],
        objective_upper: gap.objective[1],
        gap_lower: gap.gap[0],
        gap_upper: gap.gap[1],
        gap_relative: gap.relative,
        divergence: gap.divergence,
        dual: dual.mean,
        dual_stderr: dual.stderr,
        excess: excess.mean,
        excess_stderr: excess.stderr,
        kinetic_energy: found.kinetic_energy.mean,
        kinetic_energy_stderr: found.kinetic_energy.stderr,
        displacement_energy: found.displacement_energy.mean,
        displacement_energy_stderr: found.displacement_energy.stderr,
        straightness: found.straightness.mean,
        straightness_stderr: found.straightness.stderr,
        deviation: deviation.mean,
        deviation_stderr: deviation.stderr,
        hj_residual_relative: found.hj_residual_relative.mean,
        hj_residual_relative_stderr: found.hj_residual_relative.stderr,
        hj_residual_gauged_relative: found.hj_residual_gauged_relative.mean,
        hj_residual_gauged_relative_stderr: found.hj_residual_gauged_relative.stderr,
        acceleration: turning.mean,
        acceleration_stderr: turning.stderr,
        terminal_residual: found.terminal_residual.mean,
        terminal_residual_stderr: found.terminal_residual.stderr,
        critic_slope_mean: found.critic_slope.mean,
        critic_slope_mean_stderr: found.critic_slope.stderr,
        critic_slope_max: found.critic_slope_max,
    }
}
