//! The four cases on a target of lower dimension \[46\]-\[49\].

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "four_cases",
    statement: "Without the W1 proximal the terminal condition is lost: on a target of lower dimension the critic's slope \
                grows without bound in the cases none and w2, and stays near L in w1 and w1w2; the kinetic term shortens paths.",
    equations: &[(30, 30), (45, 49)],
    notation: &["3.6", "4"],
    quantities: &[
        Quantity {
            name: "critic slope",
            what: "E |grad phi(x_N)| / L, the largest of twelve moments of a short training of w1w2 towards four points in the \
                   plane; infinite when a term of the training is",
            bound: Bound::AtMost(3.0),
            basis: Basis::Requirement("three times L: a short training, one seed; the released weights have 6.5"),
        },
        Quantity {
            name: "kinetic energy",
            what: "K of the trained flow over K* of the certified optimum on the same samples",
            bound: Bound::AtMost(1.05),
            basis: Basis::Requirement("5%, as for every trained flow"),
        },
    ],
    removals: &[
        Removal { name: "W1 proximal", what: "no gradient penalty: case w2", breaks: &["critic slope"] },
        Removal { name: "W2 proximal", what: "no kinetic term: case w1", breaks: &["kinetic energy"] },
        Removal { name: "both proximals", what: "case none", breaks: &["critic slope"] },
    ],
    measure,
};

#[cfg(not(feature = "torch"))]
fn measure(_: &Setting, _: Mechanism) -> Result<Measured, CheckError> {
    Err(CheckError::NotApplicable("built without libtorch".into()))
}

#[cfg(feature = "torch")]
use implementation::measure;

#[cfg(feature = "torch")]
mod implementation {
    use proxflow_gpu::adam::AdamSpecification;
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::configuration::Configuration;
    use proxflow_gpu::indicators;
    use proxflow_gpu::objective::Case;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_gpu::train::{Source, Trainer};
    use proxflow_reference::{DivergenceKind, ProximalParameters};
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Measured, Mechanism, Setting};
    use crate::instances::{Measure, huber_transport, normalised};
    use proxflow_io::plot::Plot;
    use crate::torch::to_array;

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let case = if mechanism.lacks("W1 proximal") {
            Case::W2
        } else if mechanism.lacks("W2 proximal") {
            Case::W1
        } else if mechanism.lacks("both proximals") {
            Case::None
        } else {
            Case::W1W2
        };
        let options = (Kind::Float, Device::Cpu);
        let data = Tensor::from_slice(&[1.0_f32, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0]).reshape([4, 2]);
        let iterations = setting.choose(240_u64, 2000);
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
        let parameters =
            ProximalParameters::new(configuration.lipschitz, configuration.lambda, configuration.horizon)?;
        let shape = |time| Architecture::dense(2, &[48, 48], Activation::Relu, time);
        let mut trainer =
            Trainer::new(configuration, shape(true), shape(false), &data, Source::Uniform, options)?;
        let x0 = trainer.draw_source(&mut Stream::new(setting.seed, StreamLabel::Evaluation), 256);
        let uniform = |points: ndarray::Array2<f64>| {
            let weights = normalised(vec![1.0; points.nrows()]);
            Measure { points, weights }
        };
        let (source, target) = (uniform(to_array(&x0)), uniform(to_array(&data)));
        let optimum = huber_transport(&source, &target, DivergenceKind::KullbackLeibler, parameters)?;

        let mut curve = Vec::new();
        let (mut largest, mut energy) = (0.0_f64, f64::INFINITY);
        for iteration in 1..=iterations {
            if trainer.step().is_err() {
                (largest, energy) = (f64::INFINITY, f64::INFINITY);
                break;
            }
            if iteration % (iterations / 12) == 0 {
                let found =
                    indicators::evaluate(&trainer.potential, &trainer.discriminator, &x0, trainer.flow(), None);
                let slope = found.critic_slope.mean;
                largest = if slope.is_finite() { largest.max(slope) } else { f64::INFINITY };
                energy = found.kinetic_energy.mean;
                curve.push((iteration as f64, slope));
            }
        }
        let mut measured = Measured::new();
        measured
            .record("critic slope", largest / parameters.lipschitz)
            .record("kinetic energy", energy * parameters.lambda / optimum.transport)
            .plot(
                Plot::new(
                    "Mean critic slope while w1w2 trains",
                    "outer steps",
                    "E |grad phi(x_N)| / L",
                    "Stays near 1 with the W1 proximal.",
                )
                .line(case.name(), curve),
            );
        Ok(measured)
    }
}
