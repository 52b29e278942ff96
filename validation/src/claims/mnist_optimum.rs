//! Certified optima on MNIST (docs/notation.md, section 6).

use ndarray::Array2;
use proxflow_reference::{DivergenceKind, ProximalParameters};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{Measure, huber_transport, lipschitz_divergence, normalised};
use crate::mnist::{folder, images};

pub(super) const CLAIM: Claim = Claim {
    id: "mnist_optimum",
    statement: "With the paper's MNIST parameters L T / lambda = 100 exceeds the diameter 28: the certified optimum moves noise \
                onto digits at a small cost, and D_KL^1 of held-out digits to training digits is the honest target of a generator.",
    equations: &[(6, 12)],
    notation: &["2.2", "5"],
    measured: "J* and its kinetic part of noise against training digits, D_KL^1 of held-out digits, both with certificates, over \
               random subsets of MNIST",
    bound: "paper scale (1000 against 6000): golden 0.4756, 9.46, 5.631 within 1.5% (another subset of the same data); CI scale \
            (200 against 1200): gap 1e-9 and the ordering of the two",
    control: "noise in the place of held-out digits; source and data exchanged",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let folder = folder(setting)?;
    let (n, m) = setting.choose((200, 1200), (1000, 6000));
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
    let optimum = huber_transport(&noise, &train, kind, parameters)?;
    let real = lipschitz_divergence(&held_out, &train, kind, 1.0)?;
    let from_noise = lipschitz_divergence(&noise, &train, kind, 1.0)?;
    let exchanged = huber_transport(&train, &noise, kind, parameters)?;

    let certified = || Basis::Rounding("certified tolerance 1e-11, distances of 784 terms".into());
    let golden =
        || Basis::Golden("independent program on another subset; 1.5% for the choice of subset".into());
    let ordering = || Basis::Exact("certified bounds of both; real digits are nearer to digits".into());
    let mut finding = Finding::new();
    let gap = Bound::AtMost(1e-9);
    finding
        .measure("certified gap of J*", optimum.gap(), gap, certified())
        .measure("certified gap of D_KL^1", real.gap(), gap, certified())
        .measure(
            "fraction of J* spent on moving",
            optimum.transport / optimum.upper,
            Bound::AtLeast(0.9),
            Basis::Exact("the optimum lies on the data; what is left is KL".into()),
        )
        .measure(
            "D_KL^1 of noise - D_KL^1 of held-out digits",
            from_noise.lower - real.upper,
            Bound::AtLeast(0.0),
            ordering(),
        )
        .control(
            "noise in the place of held-out digits",
            real.lower - from_noise.upper,
            Bound::AtLeast(0.0),
            ordering(),
        )
        .figure("J*", optimum.upper)
        .figure("K* = transport / lambda", optimum.transport / parameters.lambda)
        .figure("KL part of J*", optimum.divergence)
        .figure("D_KL^1 of held-out digits", real.upper)
        .figure("KL part of it", real.divergence)
        .figure("D_KL^1 of noise", from_noise.upper);
    let near = |value: f64| Bound::Near { value, tolerance: 0.015 * value };
    if (n, m) == (1000, 6000) {
        finding
            .measure("J*", optimum.upper, near(0.4756), golden())
            .measure("K*", optimum.transport / parameters.lambda, near(9.46), golden())
            .measure("D_KL^1 of held-out digits", real.upper, near(5.631), golden())
            .control("D_KL^1 of noise in its place", from_noise.upper, near(5.631), golden());
    }
    finding.control(
        "source and data exchanged: |J - J*|",
        (exchanged.upper - optimum.upper).abs(),
        gap,
        certified(),
    );
    Ok(finding)
}
