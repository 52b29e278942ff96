//! Lemma 4.1 for critics trained by libtorch, with gaps certified by the oracle.

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "critic_monotonicity",
    statement: "Trained L-Lipschitz critics obey Lemma 4.1 up to their own optimality gaps: int (phi_1 - phi_2) d(P_1 - P_2) >= \
                -(gap_1 + gap_2), and the pairing tends to its exact value as training goes on.",
    equations: &[(32, 33), (40, 41)],
    notation: &["1.7"],
    quantities: &[
        Quantity {
            name: "pairing and gaps",
            what: "pairing of the trained critics, scaled to slope at most L on the atoms, plus both certified gaps \
                   D_f^L - F_i(phi_i), after each of three stages",
            bound: Bound::AtLeast(-1e-6),
            basis: Basis::Exact("Lemma 4.1 for L-Lipschitz functions on the atoms; f32 rounding 1e-6"),
        },
        Quantity {
            name: "gap",
            what: "D_f^L - F_i(phi_i) of either critic after each stage",
            bound: Bound::AtLeast(-1e-6),
            basis: Basis::Exact("D_f^L is the supremum over L-Lipschitz functions on the atoms; f32 rounding 1e-6"),
        },
        Quantity {
            name: "gaps left by training",
            what: "sum of the gaps, last stage over first",
            bound: Bound::AtMost(0.5),
            basis: Basis::Requirement("training must at least halve it"),
        },
        Quantity {
            name: "error left by training",
            what: "distance of the pairing from the exact one, last stage over first",
            bound: Bound::AtMost(0.5),
            basis: Basis::Requirement("training must at least halve it"),
        },
    ],
    removals: &[
        Removal {
            name: "sign of the coupling",
            what: "-phi_i in the pairing of the last stage",
            breaks: &["pairing and gaps", "error left by training"],
        },
        Removal {
            name: "Lipschitz cap",
            what: "critics trained without penalty and left unscaled",
            breaks: &["gap"],
        },
        Removal {
            name: "training",
            what: "learning rate 1e-9",
            breaks: &["gaps left by training", "error left by training"],
        },
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
    use proxflow_gpu::adam::{Adam, AdamSpecification};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::objective::{self, Penalty};
    use proxflow_gpu::random::{Stream, StreamLabel, place};
    use proxflow_reference::DivergenceKind;
    use proxflow_reference::divergence::{Cumulant, Generator};
    use rand_distr::Distribution;
    use rand_distr::weighted::WeightedIndex;
    use tch::{Device, Kind};

    use super::{CheckError, Measured, Mechanism, Setting};
    use crate::instances::{Measure, distance, lipschitz_divergence, mcshane};
    use proxflow_io::plot::Plot;
    use crate::torch::{to_tensor, values};

    const L: f64 = 1.0;
    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);
    const KIND: DivergenceKind = DivergenceKind::KullbackLeibler;

    /// Values of a critic on the atoms of `P` and of `Q`.
    struct OnAtoms {
        p: [Vec<f64>; 2],
        q: Vec<f64>,
    }

    impl OnAtoms {
        /// `F_i = E_{P_i} phi - Lambda(phi)`.
        fn functional(&self, i: usize, generator: &Generator, q: &Measure) -> Result<f64, CheckError> {
            Ok(mean(&self.p[i]) - Cumulant::new(generator, &self.q, &q.weights)?.value)
        }

        fn scaled(mut self, factor: f64) -> Self {
            self.p.iter_mut().chain([&mut self.q]).flatten().for_each(|v| *v *= factor);
            self
        }
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let mut generator = setting.stream("critic_monotonicity");
        let n = setting.choose(40, 200);
        // P_1 and P_2 draw from the atoms of Q, tilted to opposite sides: on common atoms the optimal potentials, and
        // with them the pairing, are unique.
        let mut q = Measure::random(&mut generator, n, 2, 0.0);
        q.weights = vec![1.0 / n as f64; n];
        let mut tilted = |side: f64| {
            let tilt: Vec<f64> = q.points.column(0).iter().map(|x| (side * x).exp()).collect();
            let law = WeightedIndex::new(&tilt).expect("exponentials of finite numbers");
            let chosen: Vec<usize> = (0..2 * n).map(|_| law.sample(&mut generator)).collect();
            Measure {
                points: q.points.select(ndarray::Axis(0), &chosen),
                weights: vec![0.5 / n as f64; 2 * n],
            }
        };
        let p = [tilted(-1.5), tilted(1.5)];
        let f = Generator::new(KIND)?;
        let exact: Vec<_> =
            p.iter().map(|p| lipschitz_divergence(p, &q, KIND, L)).collect::<Result<_, _>>()?;
        let optimal =
            |i: usize, x: ndarray::ArrayView1<f64>| mcshane(x, q.points.view(), &exact[i].potential, L);
        let difference = |x: ndarray::ArrayView1<f64>| optimal(0, x) - optimal(1, x);
        let exact_pairing = p[0].mean(difference) - p[1].mean(difference);

        let mut networks: Vec<(Network, Adam)> = (0..2)
            .map(|i| {
                let mut stream = Stream::new(setting.seed + i, StreamLabel::DiscriminatorInit);
                let shape = Architecture::dense(2, &[48, 48], Activation::Relu, false);
                let network = Network::glorot(shape, &mut stream, OPTIONS);
                let learning_rate = if mechanism.lacks("training") { 1e-9 } else { 2e-3 };
                let adam = AdamSpecification { learning_rate, beta1: 0.5, beta2: 0.9 };
                let optimiser = Adam::new(adam, network.parameters());
                (network, optimiser)
            })
            .collect();
        let tensors = [to_tensor(p[0].points.view(), OPTIONS), to_tensor(p[1].points.view(), OPTIONS)];
        let data = to_tensor(q.points.view(), OPTIONS);
        let mut stream = Stream::new(setting.seed, StreamLabel::Batch);
        let mut measured = Measured::new();
        let capped = !mechanism.lacks("Lipschitz cap");
        let (mut errors, mut totals) = (Vec::new(), Vec::new());
        let mut curve = Vec::new();
        let stages = setting.choose([20, 180, 600], [20, 480, 6000]);
        let mut trained = 0;
        for steps in stages {
            for _ in 0..steps {
                for ((network, adam), x) in networks.iter_mut().zip(&tensors) {
                    let u = place(&stream.uniform(2 * n as i64, 1, 0.0, 1.0), OPTIONS);
                    let between = data.repeat([2, 1]) * &u + x * (1.0 - &u);
                    let penalty = Penalty { weight: 2.0, lipschitz: L };
                    let critic = objective::critic(network, KIND, x, &data, capped.then_some((penalty, &between)));
                    adam.update(network.parameters_mut(), &critic.gradient, 1.0);
                }
            }
            trained += steps;
            let evaluate = |network: &Network| -> (OnAtoms, f64) {
                let at = |m: &Measure| values(&network.value(&to_tensor(m.points.view(), OPTIONS), 0.0));
                let atoms = OnAtoms { p: [at(&p[0]), at(&p[1])], q: at(&q) };
                let slope = largest_slope(&[&p[0], &p[1], &q], &[&atoms.p[0], &atoms.p[1], &atoms.q]);
                (atoms, slope)
            };
            let scaled = |i: usize| {
                let (atoms, slope) = evaluate(&networks[i].0);
                if capped { atoms.scaled((L / slope).min(1.0)) } else { atoms }
            };
            let phi = [scaled(0), scaled(1)];
            let last = errors.len() + 1 == stages.len();
            let sign = if last && mechanism.lacks("sign of the coupling") { -1.0 } else { 1.0 };
            let difference = |i: usize| mean(&phi[0].p[i]) - mean(&phi[1].p[i]);
            let pairing = sign * (difference(0) - difference(1));
            let gap = |i: usize| Ok::<_, CheckError>(exact[i].upper - phi[i].functional(i, &f, &q)?);
            let gap = [gap(0)?, gap(1)?];
            let gaps = gap[0] + gap[1];
            let case = format!("{trained} steps");
            measured
                .record_case("pairing and gaps", &case, pairing + gaps)
                .record_case("gap", format!("phi_1, {case}"), gap[0])
                .record_case("gap", format!("phi_2, {case}"), gap[1]);
            errors.push((pairing - exact_pairing).abs() / exact_pairing);
            totals.push(gaps);
            curve.push((trained as f64, pairing));
        }
        measured
            .record("gaps left by training", totals[2] / totals[0])
            .record("error left by training", errors[2] / errors[0])
            .figure("exact pairing", exact_pairing)
            .figure("trained pairing", curve[2].1)
            .figure("certified gaps after training", totals[2]);
        measured.plot(
            Plot::new(
                "Pairing of trained critics",
                "critic steps",
                "pairing",
                "Rises to the exact value of the oracle.",
            )
            .line("trained", curve.clone())
            .line("exact", curve.iter().map(|(steps, _)| (*steps, exact_pairing)).collect()),
        );
        Ok(measured)
    }

    /// `max |phi(a) - phi(b)| / |a - b|` over all pairs of atoms.
    fn largest_slope(measures: &[&Measure], values: &[&Vec<f64>]) -> f64 {
        let atoms: Vec<_> = measures
            .iter()
            .zip(values)
            .flat_map(|(m, v)| m.points.rows().into_iter().zip(v.iter()))
            .collect();
        let mut slope = 1e-12_f64;
        for (i, (x, a)) in atoms.iter().enumerate() {
            for (y, b) in &atoms[..i] {
                let apart = distance(*x, *y);
                if apart > 0.0 {
                    slope = slope.max((*a - *b).abs() / apart);
                }
            }
        }
        slope
    }
}
