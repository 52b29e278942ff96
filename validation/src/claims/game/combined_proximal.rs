//! The combined proximal and its composition \[10\]-\[16\].

use ndarray::{Array2, ArrayView1};
use proxflow_reference::divergence::Generator;
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::transport::cost::{PointCost, PointwiseCost};
use proxflow_reference::transport::{semi_relaxed_transport};
use proxflow_reference::{DivergenceKind, Options, ProximalParameters};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{
    KINDS, Measure, largest, lipschitz_divergence, mcshane, normalised, quantile_transport, smallest,
};

const CERTIFIED: Basis = Basis::Rounding("two certified tolerances of 1e-11, and sums");
const ROOT: Basis = Basis::Rounding("a marginal is determined to the square root of the certified gap");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "combined_proximal",
    statement: "J* = inf_rho {lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi)} is one transport problem with the Huber cost; \
                its recovered rho_T is the W2 proximal, its second marginal eta* the W1 proximal of rho_T, with \
                d eta*/d pi = (f*)'(phi - nu*).",
    equations: &[(10, 16)],
    notation: &["1.5", "2.1", "2.2", "2.3"],
    quantities: &[
        Quantity {
            name: "certified gap",
            what: "(upper - lower) / (1 + J*), on the line with W1 active, for seven generators",
            bound: Bound::AtMost(1e-9),
            basis: CERTIFIED,
        },
        Quantity {
            name: "composition",
            what: "|lambda/(2T) W2^2(rho0, rho_T) + D_f^L(rho_T|pi) - J*| / (1 + J*): W2 by the monotone coupling, D_f^L solved anew",
            bound: Bound::AtMost(1e-9),
            basis: CERTIFIED,
        },
        Quantity {
            name: "prices",
            what: "|lambda K* + L W1 + D_f - J*| / (1 + J*), the three prices as the library reports them",
            bound: Bound::AtMost(1e-9),
            basis: CERTIFIED,
        },
        Quantity {
            name: "rho_T",
            what: "W1 of the library's rho_T from the one recovered here",
            bound: Bound::AtMost(1e-6),
            basis: ROOT,
        },
        Quantity {
            name: "eta*",
            what: "largest difference between eta* of J* and of D_f^L(rho_T|pi)",
            bound: Bound::AtMost(1e-6),
            basis: ROOT,
        },
        Quantity {
            name: "density of eta*",
            what: "largest |eta* - pi (f*)'(phi - nu)|",
            bound: Bound::AtMost(1e-6),
            basis: ROOT,
        },
        Quantity {
            name: "speed",
            what: "largest speed times lambda / L, minus 1",
            bound: Bound::AtMost(1e-12),
            basis: Basis::Rounding("one difference and one quotient"),
        },
        Quantity {
            name: "infimum",
            what: "least J of 21 other straight flows, minus J*",
            bound: Bound::AtLeast(-1e-9),
            basis: Basis::Exact("J* is the infimum; certified tolerance 1e-11"),
        },
    ],
    removals: &[
        Removal {
            name: "optimality",
            what: "the solver stops after one pass over the cost",
            breaks: &["certified gap"],
        },
        Removal {
            name: "value of lambda",
            what: "halved where rho_T is recovered",
            breaks: &["composition", "rho_T", "speed"],
        },
        Removal {
            name: "Lipschitz cap",
            what: "rho_T taken on the data: no kink",
            breaks: &["composition", "rho_T", "speed"],
        },
        Removal {
            name: "order of the marginals",
            what: "source and data exchanged in the transport problem",
            breaks: &["composition", "prices", "eta*"],
        },
        Removal {
            name: "kinetic term",
            what: "the cost L|x - z| in the place of the Huber cost",
            breaks: &["composition", "prices", "infimum"],
        },
        Removal {
            name: "derivative of the conjugate",
            what: "f' in the place of (f*)'",
            breaks: &["density of eta*"],
        },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("combined_proximal");
    let n = setting.choose(40, 250);
    let source = Measure::random(&mut generator, n, 1, 0.0);
    let data = Measure::random(&mut generator, n, 1, 2.0);
    // L T / lambda = 0.6 lies inside the range of distances: both branches of the Huber cost carry mass.
    let parameters = ProximalParameters::new(0.6, 1.0, 1.0)?;
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let kink = if mechanism.lacks("value of lambda") {
        2.0 * parameters.kink()
    } else if mechanism.lacks("Lipschitz cap") {
        f64::INFINITY
    } else {
        parameters.kink()
    };
    let mut measured = Measured::new();
    let mut beyond = 0.0;
    for kind in KINDS {
        let name = kind.to_string();
        let (from, to) =
            if mechanism.lacks("order of the marginals") { (&data, &source) } else { (&source, &data) };
        let cost = if mechanism.lacks("kinetic term") {
            PointwiseCost::Lipschitz { lipschitz }
        } else {
            PointwiseCost::Huber(parameters)
        };
        let cost = PointCost::new(cost, from.points.view(), to.points.view())?.into_dense();
        let mut options = Options::default();
        if mechanism.lacks("optimality") {
            options.maximum_passes = 1;
        }
        let solution = semi_relaxed_transport(&cost, &from.weights, &to.weights, kind, &options)?;
        let scale = 1.0 + solution.upper.abs();
        // rho_T: every arc x -> z moves the fraction min(1, kink / r) of its way.
        let ends = solution.plan.iter().map(|&(i, j, _)| {
            let (x, z) = (source.points[[i as usize, 0]], data.points[[j as usize, 0]]);
            x + (kink / (z - x).abs()).min(1.0) * (z - x)
        });
        let end = Measure {
            points: Array2::from_shape_vec((solution.plan.len(), 1), ends.collect())
                .expect("one point per arc"),
            weights: solution.plan.iter().map(|arc| arc.2).collect(),
        };
        let objective = |end: &Measure| -> Result<f64, CheckError> {
            let w2 = lambda / (2.0 * horizon) * quantile_transport(&source, end, 2);
            Ok(w2 + lipschitz_divergence(end, &data, kind, lipschitz)?.upper)
        };
        let library = combined_proximal(&source.law()?, &data.law()?, kind, parameters, &Options::new())?;
        let prices = lambda * library.kinetic_energy + library.transport + library.divergence;
        let law = Measure { weights: library.masses(), points: library.endpoints.clone() };
        let again = lipschitz_divergence(&end, &data, kind, lipschitz)?;
        let difference = |a: &[f64], b: &[f64]| largest(a.iter().zip(b).map(|(a, b)| (a - b).abs()));
        measured
            .record_case("certified gap", &name, solution.gap() / scale)
            .record_case("composition", &name, (objective(&end)? - solution.upper).abs() / scale)
            .record_case("prices", &name, (prices - solution.upper).abs() / scale)
            .record_case("rho_T", &name, quantile_transport(&law, &end, 1))
            .record_case("eta*", &name, difference(&again.second_marginal, &solution.second_marginal));

        // (f*)'(phi - nu) with the potential in the gauge nu = 0.
        let f = Generator::new(kind)?;
        let derivative = |s: f64| {
            if mechanism.lacks("derivative of the conjugate") {
                f.derivative(s.abs() + 1.0)
            } else {
                f.conjugate_derivative(s)
            }
        };
        let phi = |z: ArrayView1<f64>| mcshane(z, data.points.view(), &again.potential, lipschitz);
        let values = data.points.rows().into_iter().map(phi);
        let mut density: Vec<f64> = values.zip(&data.weights).map(|(v, q)| q * derivative(v)).collect();
        if kind == DivergenceKind::KullbackLeibler {
            density = normalised(density);
        }
        measured.record_case("density of eta*", &name, difference(&density, &again.second_marginal));

        let speed = largest(solution.plan.iter().zip(end.points.column(0)).map(|(arc, y)| {
            (y - source.points[[arc.0 as usize, 0]]).abs() / horizon * lambda / lipschitz - 1.0
        }));
        measured.record_case("speed", &name, speed);
        // The first of the other flows is the library's own; the others move its ends.
        let mut values = vec![objective(&law)?];
        for _ in 0..setting.choose(3, 20) {
            let shift: f64 = generator.random::<f64>() - 0.5;
            let mut moved = end.clone();
            moved.points.mapv_inplace(|y| y + shift * (1.0 + y.sin()));
            values.push(objective(&moved)?);
        }
        measured.record_case("infimum", &name, smallest(values) - solution.lower);
        let far = solution.plan.iter().filter(|&&(i, j, _)| {
            (source.points[[i as usize, 0]] - data.points[[j as usize, 0]]).abs() > parameters.kink()
        });
        beyond += far.map(|arc| arc.2).sum::<f64>() / KINDS.len() as f64;
    }
    measured.figure("mass carried beyond the kink", beyond);
    Ok(measured)
}
