//! Why both proximals are needed: blow-up of KL and non-uniqueness of W1 \[30,31\].

use ndarray::{Array2, Axis, concatenate};
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid, f_divergence_of_atoms};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{Measure, largest, lipschitz_divergence, normalised, quantile_transport, smallest};
use proxflow_io::plot::Plot;

const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "blow_up",
    statement: "For a target on a lower-dimensional set KL is infinite and blows up as a smoothing vanishes, while D_KL^L \
                stays below L W1; W1 alone has no unique variational derivative.",
    equations: &[(30, 31)],
    notation: &["1.8", "3.6"],
    quantities: &[
        Quantity {
            name: "upper bound",
            what: "D_KL^L - L W1 of a smoothed uniform measure to a point pair smoothed at bandwidths 0.2 to 0.0125",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Exact("D_KL^L <= L W1 [8]; certified tolerance 1e-11"),
        },
        Quantity {
            name: "growth of KL",
            what: "least increase of KL to the smoothed pair from one bandwidth to half of it",
            bound: Bound::AtLeast(0.2),
            basis: Basis::Requirement("r^2 / (2 s^2) in the end; at the largest bandwidths the smoothed pair still covers the measure"),
        },
        Quantity {
            name: "last growth of KL",
            what: "KL at bandwidth 0.0125 over KL at 0.025",
            bound: Bound::AtLeast(3.5),
            basis: Basis::Discretisation("r^2 / (2 s^2) grows by 4 when s is halved; entropies of both measures are the rest"),
        },
        Quantity {
            name: "KL of the singular pair",
            what: "without smoothing",
            bound: Bound::AtLeast(f64::INFINITY),
            basis: Basis::Exact("no atom of the model is one of the target"),
        },
        Quantity {
            name: "optimality of the W1 potentials",
            what: "value - attained value of two Kantorovich potentials of one pair of measures",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("four additions"),
        },
        Quantity {
            name: "slope of the W1 potentials",
            what: "largest slope - 1 on [-0.5, 2.5]",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("one difference and one quotient"),
        },
        Quantity {
            name: "distance of the W1 potentials",
            what: "max - min of their difference: more than a constant apart",
            bound: Bound::AtLeast(0.1),
            basis: Basis::Requirement("far above rounding; 2 by construction"),
        },
    ],
    removals: &[
        Removal { name: "regularisation", what: "D_KL in the place of D_KL^L", breaks: &["upper bound"] },
        Removal {
            name: "vanishing bandwidth",
            what: "0.2 throughout",
            breaks: &["growth of KL", "last growth of KL"],
        },
        Removal {
            name: "singularity",
            what: "the target has the model's atoms too",
            breaks: &["KL of the singular pair"],
        },
        Removal {
            name: "absence of KL",
            what: "D_KL^1 in the place of W1: its potential is unique up to a constant",
            breaks: &["optimality of the W1 potentials"],
        },
        Removal { name: "Lipschitz cap", what: "the second potential twice as steep", breaks: &["slope of the W1 potentials"] },
        Removal {
            name: "second potential",
            what: "the first in its place",
            breaks: &["distance of the W1 potentials"],
        },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut measured = Measured::new();
    smoothed(setting, mechanism, &mut measured)?;
    let model = Array2::from_shape_fn((21, 1), |(i, _)| 0.5 + 0.02 * (i as f64 - 10.0));
    let mut target = ndarray::array![[0.2], [0.8]];
    if mechanism.lacks("singularity") {
        target = concatenate(Axis(0), &[target.view(), model.view()]).expect("points of one dimension");
    }
    let singular = f_divergence_of_atoms(KL, model.view(), None, target.view(), None)?;
    measured.record("KL of the singular pair", singular);
    kantorovich(mechanism, &mut measured)?;
    Ok(measured)
}

/// KL and its regularisation on a grid while the smoothing of a point pair vanishes.
fn smoothed(setting: &Setting, mechanism: Mechanism, measured: &mut Measured) -> Result<(), CheckError> {
    let cells = setting.choose(256, 1024);
    let grid = UniformGrid::new(1, cells, 0.0, 1.0, Boundary::Interval)?;
    let model_points = Array2::from_shape_fn((21, 1), |(i, _)| 0.5 + 0.02 * (i as f64 - 10.0));
    let target_points = ndarray::array![[0.2], [0.8]];
    let lipschitz = 1.0;
    let (mut plain, mut regularised) = (vec![], vec![]);
    for k in 0..5 {
        let halvings = if mechanism.lacks("vanishing bandwidth") { 0 } else { k };
        let bandwidth = 0.2 / 2.0_f64.powi(halvings);
        let model = GridMeasure::smoothed(grid, model_points.view(), None, 0.05)?;
        let target = GridMeasure::smoothed(grid, target_points.view(), None, bandwidth)?;
        let on_grid =
            |m: &GridMeasure| Measure { points: grid.centres(), weights: normalised(m.masses()) };
        let (p, q) = (on_grid(&model), on_grid(&target));
        let divergence = model.f_divergence(&target, KL)?;
        let value = if mechanism.lacks("regularisation") {
            divergence
        } else {
            lipschitz_divergence(&p, &q, KL, lipschitz)?.upper
        };
        let excess = value - lipschitz * quantile_transport(&p, &q, 1);
        measured.record_case("upper bound", format!("bandwidth {bandwidth}"), excess);
        plain.push((bandwidth, divergence));
        regularised.push((bandwidth, value));
    }
    measured
        .record("growth of KL", smallest(plain.windows(2).map(|pair| pair[1].1 - pair[0].1)))
        .record("last growth of KL", plain[4].1 / plain[3].1)
        .plot(
            Plot::new(
                "Smoothed target of dimension zero",
                "bandwidth",
                "divergence",
                "KL grows without bound as the target sharpens; the regularised divergence stays below L W1.",
            )
            .logarithmic()
            .line("KL", plain)
            .line("D_KL^L", regularised),
        );
    Ok(())
}

/// P = (delta_0 + delta_1)/2, Q = (delta_0.4 + delta_2)/2 on the line; two 1-Lipschitz functions of slope one on the transport
/// rays [0, 0.4] and [1, 2] and free between.
fn kantorovich(mechanism: Mechanism, measured: &mut Measured) -> Result<(), CheckError> {
    let model = Measure { points: ndarray::array![[0.0], [1.0]], weights: vec![0.5; 2] };
    let data = Measure { points: ndarray::array![[0.4], [2.0]], weights: vec![0.5; 2] };
    let first = |x: f64| -x;
    let steep = if mechanism.lacks("Lipschitz cap") { 2.0 } else { 1.0 };
    let second = |x: f64| {
        if mechanism.lacks("second potential") {
            -x
        } else if x <= 0.4 {
            -steep * x
        } else if x <= 0.7 {
            -0.8 + x
        } else {
            0.6 - x
        }
    };
    let with_divergence = mechanism.lacks("absence of KL");
    let value = if with_divergence {
        lipschitz_divergence(&model, &data, KL, 1.0)?.upper
    } else {
        quantile_transport(&model, &data, 1)
    };
    let attained = |phi: &dyn Fn(f64) -> f64| {
        let over_data =
            if with_divergence { data.mean(|z| phi(z[0]).exp()).ln() } else { data.mean(|z| phi(z[0])) };
        model.mean(|x| phi(x[0])) - over_data
    };
    let probe: Vec<f64> = (0..=300).map(|k| -0.5 + k as f64 / 100.0).collect();
    let potentials: [(&str, &dyn Fn(f64) -> f64); 2] = [("first", &first), ("second", &second)];
    for (name, phi) in potentials {
        let slopes = probe.windows(2).map(|x| (phi(x[1]) - phi(x[0])).abs() / (x[1] - x[0]) - 1.0);
        measured
            .record_case("optimality of the W1 potentials", name, (value - attained(phi)).abs())
            .record_case("slope of the W1 potentials", name, largest(slopes));
    }
    let differences: Vec<f64> = probe.iter().map(|x| first(*x) - second(*x)).collect();
    let spread = largest(differences.iter().copied()) - smallest(differences.iter().copied());
    measured.record("distance of the W1 potentials", spread);
    Ok(())
}
