//! Certified optima on MNIST (docs/notation.md, section 6).

use ndarray::Array2;
use proxflow_reference::{DivergenceKind, ProximalParameters};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{Measure, huber_transport, lipschitz_divergence, normalised};
use crate::mnist::{folder, images};

const RATIO: Bound = Bound::Near { value: 1.0, tolerance: 0.015 };
const INDEPENDENT: Basis =
    Basis::Golden("validation/golden/mnist_optimum.json, another subset of the same data: 1.5% for the choice of subset");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "mnist_optimum",
    statement: "With the paper's MNIST parameters L T / lambda = 100 exceeds the diameter 28: the certified optimum moves noise \
                onto digits at a small cost, and D_KL^1 of held-out digits to training digits is the honest target of a generator.",
    equations: &[(6, 12)],
    notation: &["2.2", "5"],
    quantities: &[
        Quantity {
            name: "certified gap",
            what: "of J* of 1000 noise samples and of D_KL^1 of 1000 held-out digits, against 6000 training digits",
            bound: Bound::AtMost(1e-9),
            basis: Basis::Rounding("certified tolerance 1e-11, distances of 784 terms"),
        },
        Quantity { name: "J*", what: "over its golden value", bound: RATIO, basis: INDEPENDENT },
        Quantity { name: "K*", what: "transport / lambda over its golden value", bound: RATIO, basis: INDEPENDENT },
        Quantity {
            name: "D_KL^1 of held-out digits",
            what: "over its golden value",
            bound: RATIO,
            basis: INDEPENDENT,
        },
        Quantity {
            name: "fraction spent on moving",
            what: "transport / J*: the optimum lies on the data, what is left is KL",
            bound: Bound::AtLeast(0.9),
            basis: Basis::Requirement("nine tenths; golden 0.995"),
        },
    ],
    removals: &[
        Removal {
            name: "held-out digits",
            what: "noise in their place",
            breaks: &["D_KL^1 of held-out digits"],
        },
        Removal {
            name: "kinetic price",
            what: "the cost L|x - z| in the place of the Huber cost",
            breaks: &["J*", "K*"],
        },
        Removal {
            name: "distance from the data",
            what: "the source is held-out digits: little has to move",
            breaks: &["J*", "K*"],
        },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let folder = folder(setting)?;
    let (n, m) = (1000, 6000);
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../../golden/mnist_optimum.json"))
        .map_err(|error| CheckError::Run(error.to_string()))?;
    let golden = |name: &str| golden[name].as_f64().unwrap_or(f64::NAN);
    let mut generator = setting.stream("mnist_optimum");
    let uniform = |points: Array2<f64>| {
        let weights = normalised(vec![1.0; points.nrows()]);
        Measure { points, weights }
    };
    let train = uniform(images(&folder, "train-images-idx3-ubyte", m)?);
    let held_out = uniform(images(&folder, "t10k-images-idx3-ubyte", n)?);
    let noise = uniform(Array2::from_shape_simple_fn((n, 784), || 0.5 * generator.random::<f64>()));
    let parameters = ProximalParameters::new(1.0, 0.05, 5.0)?;
    let kind = DivergenceKind::KullbackLeibler;
    let mut measured = Measured::new();
    if !mechanism.lacks("held-out digits") {
        let source = if mechanism.lacks("distance from the data") { &held_out } else { &noise };
        let optimum = if mechanism.lacks("kinetic price") {
            lipschitz_divergence(source, &train, kind, parameters.lipschitz)?
        } else {
            huber_transport(source, &train, kind, parameters)?
        };
        let energy = optimum.transport / parameters.lambda;
        measured
            .record_case("certified gap", "J*", optimum.gap())
            .record("J*", optimum.upper / golden("J*"))
            .record("K*", energy / golden("K*"))
            .record("fraction spent on moving", optimum.transport / optimum.upper)
            .figure("J*", optimum.upper)
            .figure("K*", energy)
            .figure("KL part of J*", optimum.divergence);
    }
    if mechanism.is_intact() || mechanism.lacks("held-out digits") {
        let samples = if mechanism.lacks("held-out digits") { &noise } else { &held_out };
        let real = lipschitz_divergence(samples, &train, kind, 1.0)?;
        measured
            .record_case("certified gap", "D_KL^1 of held-out digits", real.gap())
            .record("D_KL^1 of held-out digits", real.upper / golden("D_KL^1 of held-out digits"))
            .figure("D_KL^1 of held-out digits", real.upper)
            .figure("KL part of it", real.divergence);
    }
    Ok(measured)
}
