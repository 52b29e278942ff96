//! The Lipschitz-regularised divergence and its dual \[6,7\], as one certified transport problem (notation 1.4).

use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{Generator, LipschitzPotential, f_divergence};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{KINDS, Measure, distance, largest, lipschitz_divergence, mcshane};
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "lipschitz_divergence",
    statement: "inf_eta {D_f(eta|Q) + L W1(P, eta)} = sup over L-Lipschitz phi of {E_P phi - Lambda(phi)}: semi-relaxed \
                transport with cost L|x - z|, whose potential extends to an L-Lipschitz function of all space.",
    equations: &[(6, 7)],
    notation: &["1.2", "1.4"],
    measured: "certified gap for seven generators; both sides summed again from the plan and the potential by code that \
               shares nothing with the solver (for KL the Donsker-Varadhan form); the potential and its slope at and between \
               random points of space",
    bound: "1e-10 (1 + |value|): rounding; slope at most L (1 + 1e-12)",
    control: "transposed cost, halved cost, potential without its Lipschitz cap, f replaced by f* in the second term",
    check,
};

const L: f64 = 1.3;

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("lipschitz_divergence");
    let n = setting.choose(60, 400);
    let p = Measure::random(&mut generator, n, 3, 0.0);
    let q = Measure::random(&mut generator, n, 3, 0.7);
    let elsewhere = Measure::random(&mut generator, 200, 3, 0.0);
    let rounding = || Basis::Rounding("n terms of order one; certified tolerance 1e-11".into());
    let mut finding = Finding::new();
    for kind in KINDS {
        let solution = lipschitz_divergence(&p, &q, kind, L)?;
        let scale = 1.0 + solution.upper.abs();
        let allowed = Bound::AtMost(1e-10);
        finding.measure(format!("certified gap, {kind}"), solution.gap() / scale, allowed, rounding());

        let mut rows = vec![0.0; n];
        let mut eta = vec![0.0; n];
        let (mut transport, mut transposed) = (0.0, 0.0);
        for &(i, j, mass) in &solution.plan {
            let (i, j) = (i as usize, j as usize);
            rows[i] += mass;
            eta[j] += mass;
            transport += mass * L * distance(p.points.row(i), q.points.row(j));
            transposed += mass * L * distance(p.points.row(j), q.points.row(i));
        }
        let primal = transport + f_divergence(kind, &eta, &q.weights)?;
        let feasible = largest(rows.iter().zip(&p.weights).map(|(row, w)| (row - w).abs()));
        finding.measure(format!("first marginal of the plan - P, {kind}"), feasible, allowed, rounding());
        let phi = |x: ndarray::ArrayView1<f64>| mcshane(x, q.points.view(), &solution.potential, L);
        let f = Generator::new(kind)?;
        let dual = p.mean(phi) - cumulant(&f, &q, phi);
        finding.measure(
            format!("primal and dual summed again, {kind}"),
            (primal - dual).abs() / scale,
            allowed,
            rounding(),
        );
        if kind == DivergenceKind::KullbackLeibler {
            controls(
                &mut finding,
                &p,
                &q,
                &elsewhere,
                &solution,
                [transposed - transport, primal],
                rounding,
            )?;
        }
        let extension = LipschitzPotential::new(L, q.points.view(), solution.potential.clone(), f64::INFINITY)?;
        let values = extension.values(elsewhere.points.view())?;
        let formula = elsewhere.points.rows().into_iter().map(phi);
        finding.measure(
            format!("library's potential - min_j (L|x - z_j| + psi_j) off the supports, {kind}"),
            largest(values.iter().zip(formula).map(|(value, phi)| (value - phi).abs())),
            Bound::AtMost(1e-12),
            rounding(),
        );
        let pairs = elsewhere.points.rows().into_iter().zip(elsewhere.points.rows().into_iter().skip(1));
        let slopes = pairs.map(|(x, y)| (phi(x) - phi(y)).abs() / distance(x, y) / L - 1.0);
        finding.measure(
            format!("slope / L - 1 off the supports, {kind}"),
            largest(slopes),
            Bound::AtMost(1e-12),
            rounding(),
        );
    }
    let line = |lipschitz: f64| -> Result<(f64, f64), CheckError> {
        Ok((lipschitz, lipschitz_divergence(&p, &q, DivergenceKind::KullbackLeibler, lipschitz)?.upper))
    };
    let values: Result<Vec<_>, _> = (-6..=6).map(|k| line(2.0_f64.powi(k))).collect();
    finding.plot(
        Plot::new(
            "KL divergence regularised by Lip_L",
            "L",
            "D",
            "Grows like L W1 and, the supports being disjoint, without bound: KL alone is infinite here.",
        )
        .logarithmic()
        .line("D_KL^L", values?),
    );
    Ok(finding)
}

/// `Lambda(phi) = inf_nu {nu + E_Q f*(phi - nu)}` by golden-section search, an independent program (log-mean-exp for KL).
fn cumulant(f: &Generator, q: &Measure, phi: impl Fn(ndarray::ArrayView1<f64>) -> f64) -> f64 {
    let values: Vec<f64> = q.points.rows().into_iter().map(&phi).collect();
    if f.kind() == DivergenceKind::KullbackLeibler {
        return values.iter().zip(&q.weights).map(|(v, w)| w * v.exp()).sum::<f64>().ln();
    }
    let objective =
        |nu: f64| nu + values.iter().zip(&q.weights).map(|(v, w)| w * f.conjugate(v - nu)).sum::<f64>();
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    // The minimiser lies where E (f*)'(phi - nu) = 1, between the extremes of phi - f'(1).
    let (mut a, mut b) = (low - f.derivative(1.0) - 1e-9, high - f.derivative(1.0) + 1e-9);
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let mut least = f64::INFINITY;
    for _ in 0..200 {
        let (c, d) = (b - ratio * (b - a), a + ratio * (b - a));
        let (left, right) = (objective(c), objective(d));
        least = least.min(left).min(right);
        // Left of the minimum phi - nu may leave the domain of f*, where the objective is infinite.
        if left.is_finite() && left <= right { b = d } else { a = c }
    }
    least
}

fn controls(
    finding: &mut Finding,
    p: &Measure,
    q: &Measure,
    elsewhere: &Measure,
    solution: &proxflow_reference::transport::SemiRelaxedTransport,
    [transposed, primal]: [f64; 2],
    rounding: impl Fn() -> Basis,
) -> Result<(), CheckError> {
    let allowed = Bound::AtMost(1e-10);
    finding.control("transposed cost", transposed.abs(), allowed, rounding());
    let halved = lipschitz_divergence(p, q, DivergenceKind::KullbackLeibler, 0.5 * L)?;
    finding.control("halved cost", (halved.upper - primal).abs(), allowed, rounding());
    // Without its cap the potential follows its values on the data: slope beyond L.
    let uncapped = |x: ndarray::ArrayView1<f64>| mcshane(x, q.points.view(), &solution.potential, 2.0 * L);
    let pairs = elsewhere.points.rows().into_iter().zip(elsewhere.points.rows().into_iter().skip(1));
    let slopes = pairs.map(|(x, y)| (uncapped(x) - uncapped(y)).abs() / distance(x, y) / L - 1.0);
    finding.control(
        "Lipschitz cap dropped: slope / L - 1",
        largest(slopes),
        Bound::AtMost(1e-12),
        rounding(),
    );
    let f = Generator::new(DivergenceKind::KullbackLeibler)?;
    let phi = |x: ndarray::ArrayView1<f64>| mcshane(x, q.points.view(), &solution.potential, L);
    let swapped = p.mean(phi) - q.mean(|x| f.value(phi(x).abs()));
    finding.control("f in the place of f*", (swapped - primal).abs(), allowed, rounding());
    Ok(())
}
