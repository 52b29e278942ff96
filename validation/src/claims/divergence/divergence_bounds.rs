//! Bounds, monotonicity and limits of the regularised divergence \[8\].

use ndarray::Array2;
use proxflow_reference::divergence::{Generator, f_divergence};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{KINDS, Measure, largest, lipschitz_divergence, quantile_transport, smallest};
use proxflow_io::plot::Plot;

const CERTIFIED: Basis = Basis::Rounding("certified gap of every value is at most 1e-11 (1 + |value|)");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "divergence_bounds",
    statement: "0 <= D_f^L(P|Q) <= min(D_f(P|Q), L W1(P, Q)); zero iff P = Q; non-decreasing in L; D_f^L -> D_f as \
                L -> inf, D_f^L / L -> W1 as L -> 0; jointly convex; invariant under isometries and permutations.",
    equations: &[(8, 8)],
    notation: &["1.3"],
    quantities: &[
        Quantity {
            name: "sign",
            what: "least D_f^L over 17 slopes L from 4^-7 to 4^9, for seven generators on common atoms of the line",
            bound: Bound::AtLeast(-1e-10),
            basis: CERTIFIED,
        },
        Quantity {
            name: "upper bound",
            what: "largest D_f^L - min(D_f, L W1), W1 by the monotone coupling",
            bound: Bound::AtMost(1e-10),
            basis: CERTIFIED,
        },
        Quantity {
            name: "monotonicity in L",
            what: "least increase of D_f^L from one L to the next",
            bound: Bound::AtLeast(-1e-10),
            basis: CERTIFIED,
        },
        Quantity { name: "zero", what: "D_f^L(P|P)", bound: Bound::AtMost(1e-10), basis: CERTIFIED },
        Quantity {
            name: "limit L -> inf",
            what: "|D_f^L - D_f| / (1 + D_f) at L = the slope of f'(dP/dQ), from which on it is zero",
            bound: Bound::AtMost(1e-9),
            basis: CERTIFIED,
        },
        Quantity {
            name: "limit L -> 0",
            what: "|D_f^L / (L W1) - 1| at L = 1e-5",
            bound: Bound::AtMost(1e-3),
            basis: Basis::Discretisation("first order in L: 1e-5 times a constant of order ten"),
        },
        Quantity {
            name: "joint convexity",
            what: "D(mean of (P, Q) and (R, R)) - mean of both D, at L = 1",
            bound: Bound::AtMost(1e-10),
            basis: CERTIFIED,
        },
        Quantity {
            name: "invariance",
            what: "change under a reflection, a shift and a permutation",
            bound: Bound::AtMost(1e-10),
            basis: CERTIFIED,
        },
    ],
    removals: &[
        Removal {
            name: "regularisation",
            what: "D_f in the place of D_f^L",
            breaks: &["upper bound", "limit L -> 0"],
        },
        Removal { name: "divergence", what: "L W1 in the place of D_f^L", breaks: &["upper bound", "limit L -> inf"] },
        Removal { name: "order of the slopes", what: "L from large to small", breaks: &["monotonicity in L"] },
        Removal { name: "equality of the measures", what: "P against Q", breaks: &["zero"] },
        Removal {
            name: "linearity in the mass",
            what: "L W2, a root, in the place of D_f^L",
            breaks: &["joint convexity"],
        },
        Removal { name: "isometry", what: "a dilation by 1.5 in its place", breaks: &["invariance"] },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("divergence_bounds");
    let n = setting.choose(40, 300);
    let p = Measure::random(&mut generator, n, 1, 0.0);
    let (q, other) = (p.reweighted(&mut generator), p.reweighted(&mut generator));
    let first_distance = quantile_transport(&p, &q, 1);
    let mut measured = Measured::new();
    let mut plot = Plot::new(
        "Regularised divergences between two measures on common atoms",
        "L",
        "D / D_f",
        "Each rises from L W1 to its own unregularised value.",
    )
    .logarithmic();
    for kind in KINDS {
        let name = kind.to_string();
        let value = |p: &Measure, q: &Measure, lipschitz: f64| -> Result<f64, CheckError> {
            if mechanism.lacks("regularisation") {
                return Ok(f_divergence(kind, &p.weights, &q.weights)?);
            }
            if mechanism.lacks("divergence") {
                return Ok(lipschitz * quantile_transport(p, q, 1));
            }
            if mechanism.lacks("linearity in the mass") {
                return Ok(lipschitz * quantile_transport(p, q, 2).sqrt());
            }
            Ok(lipschitz_divergence(p, q, kind, lipschitz)?.upper)
        };
        let exact = f_divergence(kind, &p.weights, &q.weights)?;
        let mut slopes: Vec<f64> = (-7..=9).map(|k| 4.0_f64.powi(k)).collect();
        if mechanism.lacks("order of the slopes") {
            slopes.reverse();
        }
        let values: Vec<f64> = slopes.iter().map(|l| value(&p, &q, *l)).collect::<Result<_, _>>()?;
        let above = slopes.iter().zip(&values).map(|(l, v)| v - exact.min(l * first_distance));
        let same = if mechanism.lacks("equality of the measures") { &q } else { &p };
        measured
            .record_case("sign", &name, smallest(values.iter().copied()))
            .record_case("upper bound", &name, largest(above))
            .record_case("monotonicity in L", &name, smallest(values.windows(2).map(|pair| pair[1] - pair[0])))
            .record_case("zero", &name, value(&p, same, 1.0)?.abs());

        // Where f'(dP/dQ) is L-Lipschitz it is the optimal potential, and regularisation changes nothing.
        let f = Generator::new(kind)?;
        let slope = |i: usize, j: usize| {
            let potential = |i: usize| f.derivative(p.weights[i] / q.weights[i]);
            (potential(i) - potential(j)).abs() / (p.points[[i, 0]] - p.points[[j, 0]]).abs()
        };
        let enough = largest((0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| slope(i, j)));
        measured
            .record_case("limit L -> inf", &name, (value(&p, &q, enough)? - exact).abs() / (1.0 + exact))
            .record_case("limit L -> 0", &name, (value(&p, &q, 1e-5)? / 1e-5 / first_distance - 1.0).abs());

        let average = |a: &Measure, b: &Measure| Measure {
            points: a.points.clone(),
            weights: a.weights.iter().zip(&b.weights).map(|(a, b)| 0.5 * (a + b)).collect(),
        };
        let middle = value(&average(&p, &other), &average(&q, &other), 1.0)?;
        let mean = 0.5 * (value(&p, &q, 1.0)? + value(&other, &other, 1.0)?);
        measured.record_case("joint convexity", &name, middle - mean);

        let scale = if mechanism.lacks("isometry") { 1.5 } else { 1.0 };
        let mapped = |m: &Measure| Measure {
            points: Array2::from_shape_fn((n, 1), |(i, _)| 3.0 - scale * m.points[[n - 1 - i, 0]]),
            weights: m.weights.iter().rev().copied().collect(),
        };
        let change = (value(&mapped(&p), &mapped(&q), 1.0)? - value(&p, &q, 1.0)?).abs();
        measured.record_case("invariance", &name, change);
        plot = plot.line(name, slopes.iter().zip(&values).map(|(l, v)| (*l, v / exact)).collect());
    }
    measured.plot(plot);
    Ok(measured)
}
