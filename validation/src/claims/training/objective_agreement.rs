//! The objectives of Algorithm 1 \[40\]-\[42\] in the four cases \[46\]-\[49\]: libtorch against plain f64.

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "objective_agreement",
    statement: "The critic maximises mean phi(x_N) - Lambda(phi) - w mean (|grad phi|^2 - L^2)_+, the potential minimises \
                mean phi(x_N) + lambda h sum_k mean |v_k|^2/2; the cases none, w2, w1, w1w2 drop the kinetic term, the \
                penalty, or both; their gradients are exact.",
    equations: &[(40, 42), (46, 49)],
    notation: &["4"],
    quantities: &[
        Quantity {
            name: "terms",
            what: "relative error of every term against the plain f64 objective built on the oracle's networks, flow and \
                   conjugates, for ReLU and tanh networks, the four cases and three divergences",
            bound: Bound::AtMost(1e-11),
            basis: Basis::Rounding("a few thousand f64 operations"),
        },
        Quantity {
            name: "gradients",
            what: "relative error of the derivative along random parameter directions against central differences of that \
                   objective",
            bound: Bound::AtMost(1e-6),
            basis: Basis::Discretisation("central differences at 1e-5: 1e-10 truncation, 1e-11 / 1e-5 rounding"),
        },
    ],
    removals: &[
        Removal {
            name: "kinetic term",
            what: "libtorch is given the case without it",
            breaks: &["terms", "gradients"],
        },
        Removal {
            name: "Lipschitz penalty",
            what: "libtorch is given no penalty",
            breaks: &["terms", "gradients"],
        },
        Removal {
            name: "value of lambda",
            what: "libtorch is given half of it",
            breaks: &["terms", "gradients"],
        },
        Removal {
            name: "place of the velocity",
            what: "the plain energy takes grad U at (x_{k+1}, t_k), as the released code does",
            breaks: &["terms", "gradients"],
        },
        Removal { name: "conjugate", what: "f in the place of f* in the plain Lambda", breaks: &["terms", "gradients"] },
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
    use std::collections::BTreeMap;

    use ndarray::{Array2, ArrayD, Axis};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::flow::FlowSpecification;
    use proxflow_gpu::network::Network as TorchNetwork;
    use proxflow_gpu::objective::{self, Case, Penalty};
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::DivergenceKind;
    use proxflow_reference::divergence::{Cumulant, Generator};
    use proxflow_reference::flow::Flow;
    use proxflow_reference::network::Network;
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Measured, Mechanism, Setting};
    use crate::torch::{to_dynamic, to_reference, to_tensor};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
    const FLOW: FlowSpecification = FlowSpecification { horizon: 1.5, steps: 3, lambda: 0.4 };
    const PENALTY: Penalty = Penalty { weight: 0.3, lipschitz: 0.1 };

    /// `mean phi(x_N) + lambda h sum_k mean |v_k|^2 / 2`, plain f64.
    fn potential_objective(
        u: &Network,
        phi: &Network,
        x0: &Array2<f64>,
        case: Case,
        mechanism: Mechanism,
    ) -> Result<f64, CheckError> {
        let flow = Flow::simulate(u, x0.view(), FLOW.horizon, FLOW.steps, FLOW.lambda)?;
        let paths = flow.trajectories()?;
        let terminal = phi.jet(paths.endpoints(), 0.0)?.values.mean().unwrap_or(f64::NAN);
        let late = usize::from(mechanism.lacks("place of the velocity"));
        let mut energy = 0.0;
        for k in 0..FLOW.steps {
            let gradients = u.jet(flow.positions.index_axis(Axis(0), k + late), flow.times[k])?.gradients;
            energy += FLOW.step() * gradients.mapv(|g| g * g).sum()
                / (2.0 * FLOW.lambda.powi(2) * x0.nrows() as f64);
        }
        Ok(terminal + if case.has_kinetic_energy() { FLOW.lambda * energy } else { 0.0 })
    }

    /// `-(mean phi(x) - Lambda(phi) - w mean (|grad phi|^2 - L^2)_+)`, plain f64.
    fn critic_objective(
        phi: &Network,
        kind: DivergenceKind,
        [x, y, between]: [&Array2<f64>; 3],
        case: Case,
        mechanism: Mechanism,
    ) -> Result<f64, CheckError> {
        let generator = Generator::new(kind)?;
        let values = phi.jet(y.view(), 0.0)?.values.to_vec();
        let uniform = vec![1.0 / values.len() as f64; values.len()];
        let cumulant = if mechanism.lacks("conjugate") {
            values.iter().map(|v| generator.value(v.abs())).sum::<f64>() / values.len() as f64
        } else {
            Cumulant::new(&generator, &values, &uniform)?.value
        };
        let mean = phi.jet(x.view(), 0.0)?.values.mean().unwrap_or(f64::NAN);
        let gradients = phi.jet(between.view(), 0.0)?.gradients;
        let excess = gradients.rows().into_iter().map(|g| (g.dot(&g) - PENALTY.lipschitz.powi(2)).max(0.0));
        let excess = PENALTY.weight * excess.sum::<f64>() / between.nrows() as f64;
        Ok(-(mean - cumulant - if case.has_penalty() { excess } else { 0.0 }))
    }

    /// A random direction in parameter space, as oracle perturbation and as inner product with libtorch gradients.
    struct Probe {
        arrays: Vec<ArrayD<f64>>,
    }

    impl Probe {
        fn new(network: &TorchNetwork, generator: &mut ChaCha8Rng) -> Self {
            let arrays = network
                .parameters()
                .iter()
                .map(|p| {
                    ArrayD::from_shape_simple_fn(to_dynamic(p).raw_dim(), || generator.random::<f64>() - 0.5)
                })
                .collect();
            Self { arrays }
        }

        fn along(&self, gradient: &[Tensor]) -> f64 {
            self.arrays.iter().zip(gradient).map(|(a, g)| (a * &to_dynamic(g)).sum()).sum()
        }

        fn central_difference(
            &self,
            network: &TorchNetwork,
            objective: impl Fn(&Network) -> Result<f64, CheckError>,
        ) -> Result<f64, CheckError> {
            let e = 1e-5;
            let shifted = |sign: f64| -> Result<f64, CheckError> {
                let plain = to_reference(network, "potential")?;
                let arrays: BTreeMap<String, ArrayD<f64>> = plain
                    .names()
                    .iter()
                    .cloned()
                    .zip(
                        network
                            .parameters()
                            .iter()
                            .zip(&self.arrays)
                            .map(|(p, a)| to_dynamic(p) + &(a * (sign * e))),
                    )
                    .collect();
                let time = network.architecture().time;
                objective(&Network::new("potential", plain.architecture().clone(), time, &arrays)?)
            };
            Ok((shifted(1.0)? - shifted(-1.0)?) / (2.0 * e))
        }
    }

    /// The same case without the kinetic term.
    fn without_kinetic_energy(case: Case) -> Case {
        if case.has_penalty() { Case::W1 } else { Case::None }
    }

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let mut generator = setting.stream("objective_agreement");
        let mut random =
            |n: usize, shift: f64| Array2::from_shape_simple_fn((n, 3), || shift + generator.random::<f64>());
        let (x0, data) = (random(9, 0.0), random(7, 1.0));
        let between = random(9, 0.5);
        let mut generator = setting.stream("objective_directions");
        let relative = |a: f64, b: f64| (a - b).abs() / (1e-3 + b.abs());
        let tensor = |a: &Array2<f64>| to_tensor(a.view(), OPTIONS);
        let lambda = FLOW.lambda * if mechanism.lacks("value of lambda") { 0.5 } else { 1.0 };
        let mut measured = Measured::new();
        for (seed, activation) in [Activation::Relu, Activation::Tanh].into_iter().enumerate() {
            let shape = |time| Architecture::dense(3, &[12, 9], activation, time);
            let mut stream = Stream::new(setting.seed + seed as u64, StreamLabel::PotentialInit);
            let u = TorchNetwork::glorot(shape(true), &mut stream, OPTIONS);
            let phi = TorchNetwork::glorot(shape(false), &mut stream, OPTIONS);
            let (plain_u, plain_phi) = (to_reference(&u, "potential")?, to_reference(&phi, "potential")?);
            for case in Case::ALL {
                let given =
                    if mechanism.lacks("kinetic term") { without_kinetic_energy(case) } else { case };
                let flow = FlowSpecification { lambda, ..FLOW };
                let found = objective::potential(&u, &phi, &tensor(&x0), flow, given);
                let weight = if given.has_kinetic_energy() { lambda } else { 0.0 };
                let value = potential_objective(&plain_u, &plain_phi, &x0, case, mechanism)?;
                let error = relative(found.terminal + weight * found.kinetic_energy, value);
                let probe = Probe::new(&u, &mut generator);
                let exact = probe.central_difference(&u, |u| {
                    potential_objective(u, &plain_phi, &x0, case, mechanism)
                })?;
                let label = format!("potential, {activation:?}, {}", case.name());
                measured.record_case("terms", &label, error).record_case(
                    "gradients",
                    &label,
                    relative(probe.along(&found.gradient), exact),
                );

                for kind in [
                    DivergenceKind::KullbackLeibler,
                    DivergenceKind::JensenShannon,
                    DivergenceKind::Alpha(2.0),
                ] {
                    let points = tensor(&between);
                    let penalised = case.has_penalty() && !mechanism.lacks("Lipschitz penalty");
                    let penalty = penalised.then_some((PENALTY, &points));
                    let found = objective::critic(&phi, kind, &tensor(&x0), &tensor(&data), penalty);
                    let sets = [&x0, &data, &between];
                    let value = critic_objective(&plain_phi, kind, sets, case, mechanism)?;
                    let negative = found.dual_functional + found.penalty - found.generated_mean;
                    let probe = Probe::new(&phi, &mut generator);
                    let exact = probe.central_difference(&phi, |phi| {
                        critic_objective(phi, kind, sets, case, mechanism)
                    })?;
                    let label = format!("critic, {activation:?}, {}, {kind}", case.name());
                    measured.record_case("terms", &label, relative(negative, value)).record_case(
                        "gradients",
                        &label,
                        relative(probe.along(&found.gradient), exact),
                    );
                }
            }
        }
        Ok(measured)
    }
}
