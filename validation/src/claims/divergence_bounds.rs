//! Bounds, monotonicity and limits of the regularised divergence \[8\].

use ndarray::Array2;
use proxflow_reference::divergence::{Generator, f_divergence};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{KINDS, Measure, largest, lipschitz_divergence, quantile_transport, smallest};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "divergence_bounds",
    statement: "0 <= D_f^L(P|Q) <= min(D_f(P|Q), L W1(P, Q)); zero iff P = Q; non-decreasing in L; D_f^L -> D_f as \
                L -> inf, D_f^L / L -> W1 as L -> 0; jointly convex; invariant under isometries and permutations.",
    equations: &[(8, 8)],
    notation: &["1.3"],
    measured: "all of these on random measures with common atoms on the line, W1 by the monotone coupling, for seven \
               generators",
    bound: "1e-10: the certified gap; the limit L -> inf is reached, to 1e-9, at the slope of f'(dP/dQ); the limit L -> 0 at L = 1e-5 to 1e-3 relative: discretisation in L",
    control: "D_f without regularisation breaks D <= L W1; a dilation, which is no isometry, changes the value",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("divergence_bounds");
    let n = setting.choose(40, 300);
    let p = Measure::random(&mut generator, n, 1, 0.0);
    let (q, other) = (p.reweighted(&mut generator), p.reweighted(&mut generator));
    let first_distance = quantile_transport(&p, &q, 1);
    let certified = || Basis::Rounding("certified gap of every value is at most 1e-11 (1 + |value|)".into());
    let (mut above, mut monotone, mut negative, mut zero) = (vec![], vec![], vec![], vec![]);
    let (mut large, mut small, mut convex, mut invariant) = (vec![], vec![], vec![], vec![]);
    let (mut unregularised, mut dilated) = (vec![], vec![]);
    let mut plot = Plot::new(
        "Regularised divergences between two measures on common atoms",
        "L",
        "D / D_f",
        "Each rises from L W1 to its own unregularised value.",
    )
    .logarithmic();
    for kind in KINDS {
        let value = |p: &Measure, q: &Measure, lipschitz: f64| {
            lipschitz_divergence(p, q, kind, lipschitz).map(|s| s.upper)
        };
        let exact = f_divergence(kind, &p.weights, &q.weights)?;
        let slopes: Vec<f64> = (-7..=9).map(|k| 4.0_f64.powi(k)).collect();
        let values: Vec<f64> = slopes.iter().map(|l| value(&p, &q, *l)).collect::<Result<_, _>>()?;
        above.push(largest(slopes.iter().zip(&values).map(|(l, v)| v - exact.min(l * first_distance))));
        monotone.push(smallest(values.windows(2).map(|pair| pair[1] - pair[0])));
        negative.push(smallest(values.iter().copied()));
        zero.push(value(&p, &p, 1.0)?.abs());
        // Where f'(dP/dQ) is L-Lipschitz it is the optimal potential, and regularisation changes nothing.
        let f = Generator::new(kind)?;
        let slope = |i: usize, j: usize| {
            let potential = |i: usize| f.derivative(p.weights[i] / q.weights[i]);
            (potential(i) - potential(j)).abs() / (p.points[[i, 0]] - p.points[[j, 0]]).abs()
        };
        let enough = largest((0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| slope(i, j)));
        large.push((value(&p, &q, enough)? - exact).abs() / (1.0 + exact));
        small.push((value(&p, &q, 1e-5)? / 1e-5 / first_distance - 1.0).abs());
        let average = |a: &Measure, b: &Measure| Measure {
            points: a.points.clone(),
            weights: a.weights.iter().zip(&b.weights).map(|(a, b)| 0.5 * (a + b)).collect(),
        };
        let middle = value(&average(&p, &other), &average(&q, &p), 1.0)?;
        convex.push(middle - 0.5 * (value(&p, &q, 1.0)? + value(&other, &p, 1.0)?));
        let mapped = |m: &Measure, scale: f64| Measure {
            points: Array2::from_shape_fn((n, 1), |(i, _)| 3.0 - scale * m.points[[n - 1 - i, 0]]),
            weights: m.weights.iter().rev().copied().collect(),
        };
        let here = value(&p, &q, 1.0)?;
        invariant.push((value(&mapped(&p, 1.0), &mapped(&q, 1.0), 1.0)? - here).abs());
        dilated.push((value(&mapped(&p, 1.5), &mapped(&q, 1.5), 1.0)? - here).abs());
        unregularised.push(exact - 1e-3 * first_distance);
        plot =
            plot.line(kind.to_string(), slopes.iter().zip(&values).map(|(l, v)| (*l, v / exact)).collect());
    }
    let (at_most, at_least) = (Bound::AtMost(1e-10), Bound::AtLeast(-1e-10));
    let mut finding = Finding::new();
    finding
        .measure("least value", smallest(negative), at_least, certified())
        .measure("largest D_f^L - min(D_f, L W1)", largest(above), at_most, certified())
        .measure("least increase with L", smallest(monotone), at_least, certified())
        .measure("largest D_f^L(P|P)", largest(zero), at_most, certified())
        .measure("|D_f^L - D_f| at L = slope of f'(dP/dQ), relative", largest(large), Bound::AtMost(1e-9), certified())
        .measure(
            "|D_f^L / (L W1) - 1| at L = 1e-5",
            largest(small),
            Bound::AtMost(1e-3),
            Basis::Discretisation("first order in L: 1e-5 times a constant of order ten".into()),
        )
        .measure("joint convexity: D(mean) - mean D", largest(convex), at_most, certified())
        .measure(
            "change under a reflection, shift and permutation",
            largest(invariant),
            Bound::AtMost(1e-10),
            certified(),
        )
        .control("no regularisation: D_f - L W1 at L = 1e-3", smallest(unregularised), at_most, certified())
        .control("change under a dilation by 1.5", smallest(dilated), Bound::AtMost(1e-10), certified())
        .plot(plot);
    Ok(finding)
}
