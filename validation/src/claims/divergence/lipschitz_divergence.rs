//! The Lipschitz-regularised divergence and its dual \[6,7\], as one certified transport problem (notation 1.4).

use ndarray::ArrayView1;
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{Generator, LipschitzPotential, f_divergence};
use proxflow_reference::Options;
use proxflow_reference::transport::cost::{PointCost, PointwiseCost};
use proxflow_reference::transport::{semi_relaxed_transport};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{KINDS, Measure, distance, golden_section, largest, mcshane, normalised};
use proxflow_io::plot::Plot;

const SUMS: Basis = Basis::Rounding("n terms of order one; certified tolerance 1e-11");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "lipschitz_divergence",
    statement: "inf_eta {D_f(eta|Q) + L W1(P, eta)} = sup over L-Lipschitz phi of {E_P phi - Lambda(phi)}: semi-relaxed \
                transport with cost L|x - z|, whose potential extends to an L-Lipschitz function of all space.",
    equations: &[(6, 7)],
    notation: &["1.2", "1.4"],
    quantities: &[
        Quantity {
            name: "certified gap",
            what: "(upper - lower) / (1 + upper) of seven generators in R^3",
            bound: Bound::AtMost(1e-10),
            basis: SUMS,
        },
        Quantity {
            name: "first marginal",
            what: "largest |row sum of the plan - weight of P|",
            bound: Bound::AtMost(1e-10),
            basis: SUMS,
        },
        Quantity {
            name: "strong duality",
            what: "|primal - dual| / (1 + value), both summed again from plan and potential by code that shares nothing with \
                   the solver (for KL the Donsker-Varadhan form)",
            bound: Bound::AtMost(1e-10),
            basis: SUMS,
        },
        Quantity {
            name: "extension",
            what: "the library's potential against min_j (L|x - z_j| + psi_j) at 200 points off the supports",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("one distance and one minimum"),
        },
        Quantity {
            name: "slope",
            what: "largest |phi(x) - phi(y)| / (L |x - y|) - 1 off the supports",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("one distance and one quotient"),
        },
    ],
    removals: &[
        Removal {
            name: "optimality",
            what: "the solver stops after one pass over the cost",
            breaks: &["certified gap", "strong duality"],
        },
        Removal { name: "weights of P", what: "the solver is given uniform weights", breaks: &["first marginal"] },
        Removal {
            name: "order of the marginals",
            what: "the solver is given the transposed cost L|z - x|",
            breaks: &["strong duality"],
        },
        Removal { name: "factor L", what: "the solver is given the cost L|x - z| / 2", breaks: &["strong duality"] },
        Removal {
            name: "Lipschitz cap",
            what: "cones of slope 2 L in the potential",
            breaks: &["extension", "slope"],
        },
        Removal { name: "conjugate", what: "f in the place of f* in Lambda", breaks: &["strong duality"] },
    ],
    measure,
};

const L: f64 = 1.3;

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("lipschitz_divergence");
    let n = setting.choose(60, 400);
    let p = Measure::random(&mut generator, n, 3, 0.0);
    let q = Measure::random(&mut generator, n, 3, 0.7);
    let elsewhere = Measure::random(&mut generator, 200, 3, 0.0);
    let solve = |kind: DivergenceKind, lipschitz: f64| {
        let transposed = mechanism.lacks("order of the marginals");
        let (x, z) = if transposed { (&q, &p) } else { (&p, &q) };
        let factor = if mechanism.lacks("factor L") { 0.5 } else { 1.0 };
        let cost = PointwiseCost::Lipschitz { lipschitz: factor * lipschitz };
        let cost = PointCost::new(cost, x.points.view(), z.points.view())?.into_dense();
        let uniform = normalised(vec![1.0; n]);
        let weights = if mechanism.lacks("weights of P") { &uniform } else { &p.weights };
        let mut options = Options::default();
        if mechanism.lacks("optimality") {
            options.maximum_passes = 1;
        }
        semi_relaxed_transport(&cost, weights, &q.weights, kind, &options)
    };
    let slope = if mechanism.lacks("Lipschitz cap") { 2.0 * L } else { L };
    let mut measured = Measured::new();
    for kind in KINDS {
        let name = kind.to_string();
        let solution = solve(kind, L)?;
        let scale = 1.0 + solution.upper.abs();
        measured.record_case("certified gap", &name, solution.gap() / scale);

        let (mut rows, mut eta, mut transport) = (vec![0.0; n], vec![0.0; n], 0.0);
        for &(i, j, mass) in &solution.plan {
            let (i, j) = (i as usize, j as usize);
            rows[i] += mass;
            eta[j] += mass;
            transport += mass * L * distance(p.points.row(i), q.points.row(j));
        }
        let primal = transport + f_divergence(kind, &eta, &q.weights)?;
        let infeasible = largest(rows.iter().zip(&p.weights).map(|(row, w)| (row - w).abs()));
        measured.record_case("first marginal", &name, infeasible);
        let phi = |x: ArrayView1<f64>| mcshane(x, q.points.view(), &solution.potential, slope);
        let dual = p.mean(phi) - cumulant(kind, &q, phi, mechanism.lacks("conjugate"))?;
        measured.record_case("strong duality", &name, (primal - dual).abs() / scale);

        let extension = LipschitzPotential::new(L, q.points.view(), solution.potential.clone(), f64::INFINITY)?;
        let values = extension.values(elsewhere.points.view())?;
        let formula = elsewhere.points.rows().into_iter().map(phi);
        let error = largest(values.iter().zip(formula).map(|(value, phi)| (value - phi).abs()));
        let pairs = elsewhere.points.rows().into_iter().zip(elsewhere.points.rows().into_iter().skip(1));
        let slopes = pairs.map(|(x, y)| (phi(x) - phi(y)).abs() / distance(x, y) / L - 1.0);
        measured.record_case("extension", &name, error).record_case("slope", &name, largest(slopes));
    }
    if mechanism.is_intact() {
        let line = |lipschitz: f64| -> Result<(f64, f64), CheckError> {
            Ok((lipschitz, solve(DivergenceKind::KullbackLeibler, lipschitz)?.upper))
        };
        let values: Result<Vec<_>, _> = (-6..=6).map(|k| line(2.0_f64.powi(k))).collect();
        measured.plot(
            Plot::new(
                "KL divergence regularised by Lip_L",
                "L",
                "D",
                "Grows like L W1 and, the supports being disjoint, without bound: KL alone is infinite here.",
            )
            .logarithmic()
            .line("D_KL^L", values?),
        );
    }
    Ok(measured)
}

/// `Lambda(phi) = inf_nu {nu + E_Q f*(phi - nu)}` by golden-section search, an independent program (log-mean-exp for KL).
fn cumulant(
    kind: DivergenceKind,
    q: &Measure,
    phi: impl Fn(ArrayView1<f64>) -> f64,
    without_conjugate: bool,
) -> Result<f64, CheckError> {
    let f = Generator::new(kind)?;
    let values: Vec<f64> = q.points.rows().into_iter().map(&phi).collect();
    if kind == DivergenceKind::KullbackLeibler && !without_conjugate {
        return Ok(values.iter().zip(&q.weights).map(|(v, w)| w * v.exp()).sum::<f64>().ln());
    }
    let conjugate = |s: f64| if without_conjugate { f.value(s.abs()) } else { f.conjugate(s) };
    let objective =
        |nu: f64| nu + values.iter().zip(&q.weights).map(|(v, w)| w * conjugate(v - nu)).sum::<f64>();
    let (low, high) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    // The minimiser lies where E (f*)'(phi - nu) = 1, between the extremes of phi - f'(1); left of it phi - nu may leave the
    // domain of f*, where the objective is infinite.
    Ok(golden_section(objective, low - f.derivative(1.0) - 1e-9, high - f.derivative(1.0) + 1e-9))
}
