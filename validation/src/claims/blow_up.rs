//! Why both proximals are needed: blow-up of KL and non-uniqueness of W1 \[30,31\].

use ndarray::Array2;
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid, f_divergence_of_atoms};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{Measure, distance, largest, lipschitz_divergence, quantile_transport, smallest};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "blow_up",
    statement: "For a target on a lower-dimensional set KL is infinite and blows up as a smoothing vanishes, while D_KL^L \
                stays below L W1; W1 alone has no unique variational derivative.",
    equations: &[(30, 31)],
    notation: &["1.8", "3.6"],
    measured: "KL and D_KL^L of a smoothed uniform measure to a smoothed point pair at bandwidths 0.2 to 0.0125; two optimal \
               Kantorovich potentials of the same pair of measures",
    bound: "D_KL^L <= L W1 exactly; potentials optimal to 1e-12 and different by more than a constant",
    control: "KL without regularisation breaks the bound, growing by at least 2 per halving of the bandwidth; with KL beside \
              W1 the second potential loses its optimality",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let cells = setting.choose(256, 1024);
    let grid = UniformGrid::new(1, cells, 0.0, 1.0, Boundary::Interval)?;
    let model_points = Array2::from_shape_fn((21, 1), |(i, _)| 0.5 + 0.02 * (i as f64 - 10.0));
    let target_points = ndarray::array![[0.2], [0.8]];
    let lipschitz = 1.0;
    let (mut plain, mut regularised, mut excess) = (vec![], vec![], vec![]);
    for k in 0..5 {
        let bandwidth = 0.2 / 2.0_f64.powi(k);
        let model = GridMeasure::smoothed(grid, model_points.view(), None, 0.05)?;
        let target = GridMeasure::smoothed(grid, target_points.view(), None, bandwidth)?;
        let on_grid = |m: &GridMeasure| Measure {
            points: grid.centres(),
            weights: crate::instances::normalised(m.masses()),
        };
        let (p, q) = (on_grid(&model), on_grid(&target));
        let value = lipschitz_divergence(&p, &q, DivergenceKind::KullbackLeibler, lipschitz)?.upper;
        plain.push((bandwidth, model.f_divergence(&target, DivergenceKind::KullbackLeibler)?));
        regularised.push((bandwidth, value));
        excess.push(value - lipschitz * quantile_transport(&p, &q, 1));
    }
    let singular = f_divergence_of_atoms(
        DivergenceKind::KullbackLeibler,
        model_points.view(),
        None,
        target_points.view(),
        None,
    )?;
    let growth = smallest(plain.windows(2).map(|pair| pair[1].1 - pair[0].1));
    let last = plain[4].1 - lipschitz * (regularised[4].1 - excess[4]);

    // P = (delta_0 + delta_1)/2, Q = (delta_0.4 + delta_2)/2 on the line; two 1-Lipschitz functions of slope one on the
    // transport rays [0, 0.4] and [1, 2] and free between.
    let p = [0.0, 1.0];
    let q = [0.4, 2.0];
    let first = |x: f64| -x;
    let second = |x: f64| {
        if x <= 0.4 {
            -x
        } else if x <= 0.7 {
            -0.8 + x
        } else {
            0.6 - x
        }
    };
    let dual = |phi: &dyn Fn(f64) -> f64| 0.5 * (phi(p[0]) + phi(p[1]) - phi(q[0]) - phi(q[1]));
    let w1 = 0.5 * (0.4 + 1.0);
    let probe: Vec<f64> = (0..=300).map(|k| -0.5 + k as f64 / 100.0).collect();
    let slope = largest(probe.windows(2).map(|x| (second(x[1]) - second(x[0])).abs() / (x[1] - x[0])));
    let differences: Vec<f64> = probe.iter().map(|x| first(*x) - second(*x)).collect();
    let spread = largest(differences.iter().copied()) - smallest(differences.iter().copied());
    let model = Measure { points: ndarray::array![[0.0], [1.0]], weights: vec![0.5; 2] };
    let data = Measure { points: ndarray::array![[0.4], [2.0]], weights: vec![0.5; 2] };
    let value = lipschitz_divergence(&model, &data, DivergenceKind::KullbackLeibler, 1.0)?.upper;
    let donsker = |phi: &dyn Fn(f64) -> f64| model.mean(|x| phi(x[0])) - data.mean(|z| phi(z[0]).exp()).ln();
    let regular = (donsker(&first) - value).abs().max((donsker(&second) - value).abs());

    let exact = || Basis::Exact("D_KL^L <= L W1 [8]; rounding 1e-11".into());
    let rounding = || Basis::Rounding("three additions".into());
    let mut finding = Finding::new();
    finding
        .measure("largest D_KL^L - L W1 over bandwidths", largest(excess), Bound::AtMost(1e-10), exact())
        .measure(
            "suboptimality of the first W1 potential",
            (dual(&first) - w1).abs(),
            Bound::AtMost(1e-12),
            rounding(),
        )
        .measure(
            "suboptimality of the second W1 potential",
            (dual(&second) - w1).abs(),
            Bound::AtMost(1e-12),
            rounding(),
        )
        .measure("slope of the second - 1", slope - 1.0, Bound::AtMost(1e-12), rounding())
        .measure(
            "spread of their difference",
            spread,
            Bound::AtLeast(0.1),
            Basis::Exact("0.6 by construction".into()),
        )
        .measure(
            "least growth of KL per halving of the bandwidth",
            growth,
            Bound::AtLeast(0.2),
            Basis::Exact("KL grows like r^2 / (2 s^2)".into()),
        )
        .control("KL of the singular pair is infinite", singular, Bound::AtMost(1e300), exact())
        .control(
            "KL without regularisation: KL - L W1 at the least bandwidth",
            last,
            Bound::AtMost(1e-10),
            exact(),
        )
        .control(
            "with KL beside W1, the worse of the two potentials",
            regular,
            Bound::AtMost(1e-12),
            rounding(),
        )
        .figure("distance of the atoms", distance(model.points.row(0), data.points.row(0)));
    finding.plot(
        Plot::new(
            "Smoothed target of dimension zero",
            "bandwidth",
            "divergence",
            "KL grows without bound as the target \
             sharpens; the regularised divergence stays below L W1.",
        )
        .logarithmic()
        .line("KL", plain)
        .line("D_KL^L", regularised),
    );
    Ok(finding)
}
