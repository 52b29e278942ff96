//! The exact optimal flow from continuous noise to digits: a Hopf-Lax potential with heights by concave ascent (notation 2.5).

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "exact_flow",
    statement: "On MNIST the optimal flow of the published problem is U(x,t) = min_j {psi_j + c_{T-t}(|x - z_j|)} over the digits z_j: \
                straight, the same for every step size, Hamilton-Jacobi exact, with an L-Lipschitz critic U(.,T) and J = J* within an \
                interval over the population of noise; each of its samples is a training digit.",
    equations: &[(20, 29), (43, 44)],
    notation: &["2.5", "3.2", "3.3"],
    quantities: &[
        Quantity {
            name: "straightness",
            what: "E[length / distance] - 1 of 5 steps from 500 fresh noise samples",
            bound: Bound::AtMost(1e-5),
            basis: Basis::Rounding("single precision: five steps of length 3 with distances of 784 terms"),
        },
        Quantity {
            name: "constant speed",
            what: "kinetic over displacement energy - 1",
            bound: Bound::AtMost(1e-4),
            basis: Basis::Rounding("as above; speeds are quotients of distances by remaining times down to h = T / 40"),
        },
        Quantity {
            name: "step-size deviation",
            what: "of 5 steps from 40",
            bound: Bound::AtMost(1e-4),
            basis: Basis::Rounding("as above"),
        },
        Quantity {
            name: "Hamilton-Jacobi residual",
            what: "raw, over lambda K",
            bound: Bound::AtMost(1e-4),
            basis: Basis::Rounding("as above"),
        },
        Quantity {
            name: "critic slope",
            what: "largest |grad phi(x_N)| / L - 1, phi = U(., T)",
            bound: Bound::AtMost(1e-5),
            basis: Basis::Rounding("single precision: one unit vector of 784 terms"),
        },
        Quantity {
            name: "memory",
            what: "largest distance of an endpoint from its nearest training digit",
            bound: Bound::AtMost(1e-4),
            basis: Basis::Rounding("single precision: five roundings of 784 coordinates below one are 4e-6; a last step of length 2"),
        },
        Quantity {
            name: "population interval",
            what: "(upper - lower) / lower, J* and this flow's own J within, widened by three standard errors, 50000 fresh noise samples",
            bound: Bound::AtMost(0.02),
            basis: Basis::Requirement("2%, stated in advance"),
        },
        Quantity {
            name: "weak duality",
            what: "mean U(x, 0) - Lambda(psi), summed again in f64, minus the certified J* of the same noise samples",
            bound: Bound::AtMost(1e-5),
            basis: Basis::Exact("heights are one dual point of the sampled problem; heights and digits are f32"),
        },
        Quantity {
            name: "strong duality",
            what: "(certified J* of the noise samples - the same dual value) / J*",
            bound: Bound::AtMost(1e-3),
            basis: Basis::Requirement(
                "a thousandth; the optimum of n samples alone may gain (K - 1) / (2 n) = 0.025 from fitting K heights to them",
            ),
        },
    ],
    removals: &[
        Removal {
            name: "ascent",
            what: "the heights before it",
            breaks: &["population interval", "strong duality"],
        },
        Removal {
            name: "evolution in time",
            what: "the terminal value phi in the place of U(., t)",
            breaks: &[
                "straightness",
                "constant speed",
                "step-size deviation",
                "Hamilton-Jacobi residual",
                "memory",
            ],
        },
        Removal { name: "Lipschitz cap", what: "cones of slope 2 L in phi", breaks: &["critic slope"] },
        Removal {
            name: "normalisation",
            what: "the mean of psi in the place of ln mean e^psi",
            breaks: &["weak duality"],
        },
        Removal {
            name: "digits",
            what: "twenty K-medians of them as prototypes: exact for another target",
            breaks: &["memory", "strong duality"],
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
    use ndarray::Array2;
    use proxflow_gpu::architecture::Architecture;
    use proxflow_gpu::ascent::HeightAscent;
    use proxflow_gpu::flow::FlowSpecification;
    use proxflow_gpu::hopf_lax::{HuberCost, distances};
    use proxflow_gpu::indicators;
    use proxflow_gpu::network::Network;
    use proxflow_gpu::quantisation::Quantisation;
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_reference::transport::cost::PointwiseCost;
    use proxflow_reference::{DivergenceKind, ProximalParameters};
    use tch::{Device, Kind, Tensor};

    use super::{CheckError, Measured, Mechanism, Setting};
    use crate::instances::{Measure, distance, huber_transport, normalised};
    use crate::mnist::{folder, images};
    use proxflow_io::plot::Plot;
    use crate::torch::{to_array, to_tensor};

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);
    /// The paper's lambda, T and source; L a fifth above the critical constant (the W1 part of J* is among the figures).
    const COST: HuberCost = HuberCost { lambda: 0.05, horizon: 5.0, lipschitz: 0.15 };
    const SOURCE: [f64; 2] = [0.0, 0.5];
    /// Noise samples of the sampled problem, for each digit.
    const SAMPLES_PER_DIGIT: usize = 20;

    pub(super) fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
        crate::torch::use_one_thread();
        let digits =
            images(&folder(setting)?, "train-images-idx3-ubyte", setting.choose(150, 600))?;
        let data = to_tensor(digits.view(), OPTIONS);
        let mut stream = Stream::new(setting.seed, StreamLabel::Noise);
        let quantisation = if mechanism.lacks("digits") {
            Quantisation::medians(&data, 20, 30, &mut stream)
        } else {
            Quantisation::whole(&data)
        };
        let ascent = trained(&quantisation, mechanism, setting, &mut stream)?;
        let mut measured = Measured::new();
        let mut noise = |count: usize| draw(&mut stream, count);
        paths(&ascent, &data, &noise(500), mechanism, &mut measured)?;
        duality(&ascent, &quantisation, &digits, &noise(SAMPLES_PER_DIGIT * digits.nrows()), mechanism, &mut measured)?;
        // The other removals leave the heights as they are.
        if mechanism.is_intact() || mechanism.lacks("ascent") {
            population(&ascent, (0..50).map(|_| noise(1000)), &mut measured);
        }
        Ok(measured)
    }

    fn population(ascent: &HeightAscent, batches: impl Iterator<Item = Tensor>, measured: &mut Measured) {
        let bounds = ascent.certify(batches);
        let [lower, upper] = bounds.interval(3.0);
        measured
            .record("population interval", (upper - lower) / lower)
            .figure("J* and J of this flow, at least", lower)
            .figure("J* and J of this flow, at most", upper)
            .figure("K of the population", bounds.kinetic_energy.mean);
    }

    fn draw(stream: &mut Stream, count: usize) -> Tensor {
        stream.uniform(count as i64, 784, SOURCE[0], SOURCE[1])
    }

    fn trained(
        quantisation: &Quantisation,
        mechanism: Mechanism,
        setting: &Setting,
        stream: &mut Stream,
    ) -> Result<HeightAscent, CheckError> {
        let mut ascent = HeightAscent::new(quantisation, COST, SOURCE)?;
        let iterations = if mechanism.lacks("ascent") { 0 } else { setting.choose(300, 1000) };
        for _ in 0..iterations {
            let _ = ascent.step(&draw(stream, 500));
        }
        Ok(ascent)
    }

    /// What the indicators say of 5 steps.
    fn paths(
        ascent: &HeightAscent,
        data: &Tensor,
        x0: &Tensor,
        mechanism: Mechanism,
        measured: &mut Measured,
    ) -> Result<(), CheckError> {
        let terminal = ascent.discriminator();
        let potential =
            if mechanism.lacks("evolution in time") { ascent.discriminator() } else { ascent.potential() };
        let discriminator = if mechanism.lacks("Lipschitz cap") { steeper(&terminal)? } else { terminal };
        let flow = FlowSpecification::new(COST.horizon, 5, COST.lambda)?;
        let fine = proxflow_gpu::flow::endpoint(&potential, x0, flow.with_steps(40));
        let found = indicators::evaluate(&potential, &discriminator, x0, flow, Some(&fine));
        let at = |steps: usize| indicators::evaluate(&potential, &discriminator, x0, flow.with_steps(steps), None);
        let ratio = |found: &indicators::FlowIndicators| {
            found.kinetic_energy.mean / found.displacement_energy.mean - 1.0
        };
        let double = |rows: &Tensor| rows.to_kind(Kind::Double);
        let nearest = distances(&double(&found.endpoints), &double(data)).min_dim(1, false).0;
        measured
            .record("straightness", found.straightness.mean - 1.0)
            .record_case("constant speed", "5 steps", ratio(&found).abs())
            .record_case("constant speed", "40 steps", ratio(&at(40)).abs())
            .record("step-size deviation", found.deviation.map_or(f64::NAN, |estimate| estimate.mean))
            .record("Hamilton-Jacobi residual", found.hj_residual_relative.mean)
            .record("critic slope", found.critic_slope_max / COST.lipschitz - 1.0)
            .record("memory", nearest.max().double_value(&[]))
            .figure("critic slope / L, mean", found.critic_slope.mean / COST.lipschitz)
            .figure("terminal residual / L", found.terminal_residual.mean / COST.lipschitz);
        if mechanism.is_intact() {
            let energy = |steps: usize| (flow.with_steps(steps).step(), at(steps).kinetic_energy.mean);
            measured.plot(
                Plot::new(
                    "Kinetic energy of the exact flow",
                    "step h",
                    "K_h",
                    "The same for every step: paths are straight at constant speed.",
                )
                .line("K_h", [5, 8, 16, 40].map(energy).to_vec()),
            );
        }
        Ok(())
    }

    /// The cone potential with slope `2 L` and the same heights.
    fn steeper(terminal: &Network) -> Result<Network, CheckError> {
        let parameters: Vec<Tensor> = terminal.parameters().iter().map(Tensor::detach).collect();
        let (count, dimension) = (parameters[0].size()[0], parameters[0].size()[1]);
        let cost = HuberCost { lipschitz: 2.0 * COST.lipschitz, ..COST };
        Ok(Network::from_parameters(Architecture::prototypes(dimension, count, cost, false), parameters)?)
    }

    /// The dual value of the heights, summed again by the oracle's cost in f64, beside the certified J* of the same noise samples.
    fn duality(
        ascent: &HeightAscent,
        quantisation: &Quantisation,
        digits: &Array2<f64>,
        x0: &Tensor,
        mechanism: Mechanism,
        measured: &mut Measured,
    ) -> Result<(), CheckError> {
        let uniform = |points: Array2<f64>| {
            let weights = normalised(vec![1.0; points.nrows()]);
            Measure { points, weights }
        };
        let parameters = ProximalParameters::new(COST.lipschitz, COST.lambda, COST.horizon)?;
        let source = uniform(to_array(x0));
        let optimum = huber_transport(
            &source,
            &uniform(digits.clone()),
            DivergenceKind::KullbackLeibler,
            parameters,
        )?;
        let potential = ascent.potential();
        let [prototypes, heights] = [0, 1].map(|index| to_array(&potential.parameters()[index].reshape([
            potential.parameters()[index].size()[0],
            -1,
        ])));
        let masses = crate::torch::values(&quantisation.masses);
        let cost = PointwiseCost::Huber(parameters);
        let value = source.mean(|x| {
            let rows = prototypes.rows().into_iter().zip(heights.column(0));
            rows.map(|(y, height)| cost.of_squared_distance(distance(x, y).powi(2)) + height)
                .fold(f64::INFINITY, f64::min)
        });
        let weighted = |f: fn(f64) -> f64| -> f64 {
            heights.column(0).iter().zip(&masses).map(|(height, mass)| mass * f(*height)).sum()
        };
        let functional =
            if mechanism.lacks("normalisation") { weighted(|psi| psi) } else { weighted(f64::exp).ln() };
        let dual = value - functional;
        measured
            .record("weak duality", dual - optimum.upper)
            .record("strong duality", (optimum.lower - dual) / optimum.upper)
            .figure("J* of the noise samples", optimum.upper)
            .figure("W1 part of it", optimum.transport - parameters.lambda * kinetic(&optimum, &source, digits));
        Ok(())
    }

    /// `sum_ij G_ij |x_i - z_j|^2 / (2 T)`: all of the transport cost where L is at least critical.
    fn kinetic(
        optimum: &proxflow_reference::transport::SemiRelaxedTransport,
        source: &Measure,
        digits: &Array2<f64>,
    ) -> f64 {
        optimum
            .plan
            .iter()
            .map(|&(i, j, mass)| {
                mass * distance(source.points.row(i as usize), digits.row(j as usize)).powi(2)
                    / (2.0 * COST.horizon)
            })
            .sum()
    }
}
