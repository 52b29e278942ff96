//! The four cases on a target of lower dimension \[46\]-\[49\].

use crate::claim::{CheckError, Claim, Finding, Setting};

pub(super) const CLAIM: Claim = Claim {
    id: "four_cases",
    statement: "Without the W1 proximal the terminal condition is lost: on a target of lower dimension the critic's slope \
                grows without bound in the cases none and w2, and stays near L in w1 and w1w2; the kinetic term shortens paths.",
    equations: &[(30, 30), (45, 49)],
    notation: &["3.6", "4"],
    measured: "mean critic slope at generated samples over short trainings of the four cases towards four points in the plane; \
               kinetic energy of w1w2 against w1",
    bound: "slope at most 3 L with the penalty (Monte Carlo of training; the released weights have 6.5 L); K(w1)/K(w1w2) >= 1",
    control: "the cases none and w2 are the controls: slope beyond 3 L, or a non-finite term",
    check,
};

#[cfg(not(feature = "torch"))]
fn check(_: &Setting) -> Result<Finding, CheckError> {
    Err(CheckError::NotApplicable("built without libtorch".into()))
}

#[cfg(feature = "torch")]
use implementation::check;

#[cfg(feature = "torch")]
mod implementation {
    use proxflow_gpu::adam::AdamSpecification;
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::configuration::Configuration;
    use proxflow_gpu::indicators;
    use proxflow_gpu::objective::Case;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_gpu::train::{Source, Trainer};
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Finding, Setting};
    use crate::claim::{Basis, Bound};
    use crate::report::plot::Plot;

    pub(super) fn check(setting: &Setting) -> Result<Finding, CheckError> {
        crate::torch::use_one_thread();
        let options = (Kind::Float, Device::Cpu);
        let data = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0]).reshape([4, 2]);
        let iterations = setting.choose(240_u64, 2000);
        let basis = || Basis::MonteCarlo("one seed of a short training; a factor 3 of slack".into());
        let mut finding = Finding::new();
        let mut plot = Plot::new(
            "Mean critic slope in the four cases",
            "outer steps",
            "E |grad phi(x_N)| / L",
            "Bounded with the W1 proximal, growing without it.",
        )
        .logarithmic();
        let mut energies = Vec::new();
        for case in Case::ALL {
            let adam = |learning_rate| AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
            let configuration = Configuration {
                case,
                batch: 64,
                horizon: 1.0,
                steps: 5,
                lambda: 0.2,
                penalty_weight: 5.0,
                critic_adam: adam(2e-3),
                potential_adam: adam(1e-3),
                source: [-0.5, 0.5],
                seed: setting.seed + 1,
                ..Configuration::default()
            };
            let shape = |time| Architecture::dense(2, &[48, 48], Activation::Relu, time);
            let mut trainer =
                Trainer::new(configuration, shape(true), shape(false), &data, Source::Uniform, options)?;
            let x0 = trainer.draw_source(&mut Stream::new(setting.seed, StreamLabel::Evaluation), 256);
            let mut curve = Vec::new();
            let mut largest = 0.0_f64;
            let mut energy = f64::INFINITY;
            for iteration in 1..=iterations {
                if trainer.step().is_err() {
                    largest = f64::INFINITY;
                    break;
                }
                if iteration % (iterations / 12) == 0 {
                    let found = indicators::evaluate(
                        &trainer.potential,
                        &trainer.discriminator,
                        &x0,
                        trainer.flow(),
                        None,
                    );
                    let slope = found.critic_slope.mean;
                    largest = if slope.is_finite() { largest.max(slope) } else { f64::INFINITY };
                    energy = found.kinetic_energy.mean;
                    curve.push((iteration as f64, slope));
                }
            }
            plot = plot.line(case.name(), curve);
            let quantity = format!("largest mean critic slope / L, {}", case.name());
            if case.has_penalty() {
                finding.measure(quantity, largest, Bound::AtMost(3.0), basis());
                energies.push(energy);
            } else {
                finding.control(quantity, largest, Bound::AtMost(3.0), basis());
            }
        }
        finding
            .measure(
                "kinetic energy, w1 / w1w2",
                energies[0] / energies[1],
                Bound::AtLeast(1.0),
                Basis::Exact("the kinetic term prices what w1 leaves free; published 1.96".into()),
            )
            .plot(plot);
        Ok(finding)
    }
}
