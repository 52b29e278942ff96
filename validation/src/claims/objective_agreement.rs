//! The objectives of Algorithm 1 \[40\]-\[42\] in the four cases \[46\]-\[49\]: libtorch against plain f64.

use crate::claim::{CheckError, Claim, Finding, Setting};

pub(super) const CLAIM: Claim = Claim {
    id: "objective_agreement",
    statement: "The critic maximises mean phi(x_N) - Lambda(phi) - w mean (|grad phi|^2 - L^2)_+, the potential minimises \
                mean phi(x_N) + lambda h sum_k mean |v_k|^2/2; the cases none, w2, w1, w1w2 drop the kinetic term, the \
                penalty, or both; their gradients are exact.",
    equations: &[(40, 42), (46, 49)],
    notation: &["4"],
    measured: "every term and the gradient along random parameter directions against central differences of the plain f64 \
               objective built on the oracle's networks, flow and conjugates, for ReLU and tanh networks and three divergences",
    bound: "terms 1e-11 relative (rounding); gradients 1e-6 relative (central differences at 1e-5)",
    control: "lambda halved in the kinetic term; energy at (x_{k+1}, t_k); f in the place of f*; the penalty (Lipschitz cap) \
              dropped; kinetic term present in case none",
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
    use std::collections::BTreeMap;

    use ndarray::{Array2, ArrayD, Axis};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::flow::FlowSpecification;
    use proxflow_gpu::network::Network as TorchNetwork;
    use proxflow_gpu::objective::{self, Case, Penalty};
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::DivergenceKind;
    use proxflow_reference::divergence::{Generator, generalised_cumulant};
    use proxflow_reference::flow::Flow;
    use proxflow_reference::network::Network;
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Finding, Setting};
    use crate::claim::{Basis, Bound};
    use crate::instances::largest;
    use crate::torch::{to_dynamic, to_reference, to_tensor};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
    const FLOW: FlowSpecification = FlowSpecification { horizon: 1.5, steps: 3, lambda: 0.4 };
    const PENALTY: Penalty = Penalty { weight: 0.3, lipschitz: 0.1 };

    /// `mean phi(x_N) + lambda h sum_k mean |v_k|^2 / 2` with its kinetic energy, plain f64.
    fn potential_objective(
        u: &Network,
        phi: &Network,
        x0: &Array2<f64>,
        kinetic: bool,
    ) -> Result<[f64; 3], CheckError> {
        let flow = Flow::simulate(u, x0.view(), FLOW.horizon, FLOW.steps, FLOW.lambda)?;
        let paths = flow.trajectories()?;
        let terminal = phi.jet(paths.endpoints(), 0.0)?.values.mean().unwrap_or(f64::NAN);
        let energy = paths.kinetic_energy().value;
        // The released code's energy, at (x_{k+1}, t_k).
        let mut late = 0.0;
        for k in 0..FLOW.steps {
            let gradients = u.jet(flow.positions.index_axis(Axis(0), k + 1), flow.times[k])?.gradients;
            late += FLOW.step() * gradients.mapv(|g| g * g).sum()
                / (2.0 * FLOW.lambda.powi(2) * x0.nrows() as f64);
        }
        Ok([terminal + if kinetic { FLOW.lambda * energy } else { 0.0 }, energy, late])
    }

    /// `-(mean phi(x) - Lambda(phi) - w mean (|grad phi|^2 - L^2)_+)`, plain f64.
    fn critic_objective(
        phi: &Network,
        kind: DivergenceKind,
        [x, y, between]: [&Array2<f64>; 3],
        penalty: bool,
    ) -> Result<f64, CheckError> {
        let generator = Generator::new(kind)?;
        let values = phi.jet(y.view(), 0.0)?.values.to_vec();
        let uniform = vec![1.0 / values.len() as f64; values.len()];
        let cumulant = generalised_cumulant(&generator, &values, &uniform).value;
        let mean = phi.jet(x.view(), 0.0)?.values.mean().unwrap_or(f64::NAN);
        let gradients = phi.jet(between.view(), 0.0)?.gradients;
        let excess = gradients.rows().into_iter().map(|g| (g.dot(&g) - PENALTY.lipschitz.powi(2)).max(0.0));
        let excess = PENALTY.weight * excess.sum::<f64>() / between.nrows() as f64;
        Ok(-(mean - cumulant - if penalty { excess } else { 0.0 }))
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

    pub(super) fn check(setting: &Setting) -> Result<Finding, CheckError> {
        crate::torch::use_one_thread();
        let mut generator = setting.stream("objective_agreement");
        let mut random =
            |n: usize, shift: f64| Array2::from_shape_simple_fn((n, 3), || shift + generator.random::<f64>());
        let (x0, data) = (random(9, 0.0), random(7, 1.0));
        let between = random(9, 0.5);
        let mut generator = setting.stream("objective_directions");
        let relative = |a: f64, b: f64| (a - b).abs() / (1e-3 + b.abs());
        let (mut terms, mut slopes) = (vec![], vec![]);
        let (mut halved, mut late, mut uncapped, mut swapped, mut extra) =
            (vec![], vec![], vec![], vec![], vec![]);
        for (seed, activation) in [Activation::Relu, Activation::Tanh].into_iter().enumerate() {
            let shape = |time| Architecture::dense(3, &[12, 9], activation, time);
            let mut stream = Stream::new(setting.seed + seed as u64, StreamLabel::PotentialInit);
            let u = TorchNetwork::glorot(shape(true), &mut stream, OPTIONS);
            let phi = TorchNetwork::glorot(shape(false), &mut stream, OPTIONS);
            let (plain_u, plain_phi) = (to_reference(&u, "potential")?, to_reference(&phi, "potential")?);
            for case in Case::ALL {
                let found = objective::potential(&u, &phi, &to_tensor(x0.view(), OPTIONS), FLOW, case);
                let [value, energy, shifted] =
                    potential_objective(&plain_u, &plain_phi, &x0, case.has_kinetic_energy())?;
                let weight = if case.has_kinetic_energy() { FLOW.lambda } else { 0.0 };
                terms.push(relative(found.terminal + weight * found.kinetic_energy, value));
                terms.push(relative(found.kinetic_energy, energy));
                late.push(relative(shifted, energy));
                let probe = Probe::new(&u, &mut generator);
                let along = probe.along(&found.gradient);
                let exact = probe.central_difference(&u, |u| {
                    Ok(potential_objective(u, &plain_phi, &x0, case.has_kinetic_energy())?[0])
                })?;
                slopes.push(relative(along, exact));
                if case.has_kinetic_energy() {
                    halved.push(relative(found.terminal + 0.5 * weight * found.kinetic_energy, value));
                } else {
                    extra.push(relative(found.terminal + FLOW.lambda * found.kinetic_energy, value));
                }

                for kind in [
                    DivergenceKind::KullbackLeibler,
                    DivergenceKind::JensenShannon,
                    DivergenceKind::Alpha(2.0),
                ] {
                    let tensor = |a: &Array2<f64>| to_tensor(a.view(), OPTIONS);
                    let points = tensor(&between);
                    let penalty = case.has_penalty().then_some((PENALTY, &points));
                    let found = objective::critic(&phi, kind, &tensor(&x0), &tensor(&data), penalty);
                    let value =
                        critic_objective(&plain_phi, kind, [&x0, &data, &between], case.has_penalty())?;
                    let negative = found.dual_functional + found.penalty - found.generated_mean;
                    terms.push(relative(negative, value));
                    let probe = Probe::new(&phi, &mut generator);
                    let exact = probe.central_difference(&phi, |phi| {
                        critic_objective(phi, kind, [&x0, &data, &between], case.has_penalty())
                    })?;
                    slopes.push(relative(probe.along(&found.gradient), exact));
                    if case.has_penalty() {
                        uncapped.push(relative(negative - found.penalty, value));
                    }
                    let f = Generator::new(kind)?;
                    let wrong = plain_phi
                        .jet(data.view(), 0.0)?
                        .values
                        .mapv(|v| f.value(v.abs()))
                        .mean()
                        .unwrap_or(f64::NAN);
                    swapped.push(relative(wrong + found.penalty - found.generated_mean, value));
                }
            }
        }
        let rounding = || Basis::Rounding("a few thousand f64 operations".into());
        let differences = || {
            Basis::Discretisation(
                "central differences at 1e-5: 1e-10 truncation, 1e-11 / 1e-5 rounding".into(),
            )
        };
        let bound = Bound::AtMost(1e-11);
        let mut finding = Finding::new();
        finding
            .measure("largest relative error of a term", largest(terms), bound, rounding())
            .measure(
                "largest relative error of a gradient",
                largest(slopes),
                Bound::AtMost(1e-6),
                differences(),
            )
            .control(
                "lambda halved in the kinetic term",
                crate::instances::smallest(halved),
                bound,
                rounding(),
            )
            .control("energy at (x_{k+1}, t_k), tanh and ReLU", largest(late), bound, rounding())
            .control("Lipschitz penalty dropped", largest(uncapped), bound, rounding())
            .control("f in the place of f*", crate::instances::smallest(swapped), bound, rounding())
            .control(
                "kinetic term in the cases without it",
                crate::instances::smallest(extra),
                bound,
                rounding(),
            );
        Ok(finding)
    }
}
