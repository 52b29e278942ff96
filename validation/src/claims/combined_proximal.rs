//! The combined proximal and its composition \[10\]-\[16\].

use proxflow_reference::divergence::Generator;
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::{DivergenceKind, Options, ProximalParameters};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{
    KINDS, Measure, huber_transport, largest, lipschitz_divergence, mcshane, quantile_transport, smallest,
};

pub(super) const CLAIM: Claim = Claim {
    id: "combined_proximal",
    statement: "J* = inf_rho {lambda/(2T) W2^2(rho0, rho) + D_f^L(rho|pi)} is one transport problem with the Huber cost; \
                its recovered rho_T is the W2 proximal, its second marginal eta* the W1 proximal of rho_T, with \
                d eta*/d pi = (f*)'(phi - nu*).",
    equations: &[(10, 16)],
    notation: &["1.5", "2.1", "2.2", "2.3"],
    measured: "on the line with W1 active: certified gap; D_f^L(rho_T|pi) solved anew and W2 by the monotone coupling \
               against J*; the library's rho_T and the sum of its three prices; eta* of both problems; eta* against \
               (f*)'(phi - nu); speeds; J of 20 other straight flows",
    bound: "1e-9 (1 + J*): two certified tolerances of 1e-11 and rounding; 1e-6 for eta*, the square root of the gap",
    control: "cost transposed, lambda halved in the recovery, f' in the place of (f*)', the endpoint taken on the data \
              (Lipschitz cap dropped)",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("combined_proximal");
    let n = setting.choose(40, 250);
    let source = Measure::random(&mut generator, n, 1, 0.0);
    let data = Measure::random(&mut generator, n, 1, 2.0);
    // L T / lambda = 0.6 lies inside the range of distances: both branches of the Huber cost carry mass.
    let parameters = ProximalParameters::new(0.6, 1.0, 1.0)?;
    let ProximalParameters { lipschitz, lambda, horizon } = parameters;
    let mut gap = vec![];
    let (mut composed, mut intermediate, mut gibbs, mut speeds, mut suboptimal) =
        (vec![], vec![], vec![], vec![], vec![]);
    let (mut halved, mut on_data, mut transposed, mut derivative) = (vec![], vec![], vec![], vec![]);
    let (mut priced, mut recovered) = (vec![], vec![]);
    let mut beyond = 0.0;
    for kind in KINDS {
        let solution = huber_transport(&source, &data, kind, parameters)?;
        let scale = 1.0 + solution.upper.abs();
        gap.push(solution.gap() / scale);
        // rho_T: every arc x -> z moves the fraction min(1, kink / r) of its way.
        let recover = |kink: f64| -> Measure {
            let points = solution.plan.iter().map(|&(i, j, _)| {
                let (x, z) = (source.points[[i as usize, 0]], data.points[[j as usize, 0]]);
                x + (kink / (z - x).abs()).min(1.0) * (z - x)
            });
            Measure {
                points: ndarray::Array2::from_shape_vec((solution.plan.len(), 1), points.collect())
                    .expect("one point per arc"),
                weights: solution.plan.iter().map(|arc| arc.2).collect(),
            }
        };
        let objective = |end: &Measure| -> Result<f64, CheckError> {
            let w2 = lambda / (2.0 * horizon) * quantile_transport(&source, end, 2);
            Ok(w2 + lipschitz_divergence(end, &data, kind, lipschitz)?.upper)
        };
        let end = recover(parameters.kink());
        composed.push((objective(&end)? - solution.upper).abs() / scale);
        let library = combined_proximal(&source.law()?, &data.law()?, kind, parameters, &Options::new())?;
        let prices = lambda * library.kinetic_energy + library.transport + library.divergence;
        priced.push((prices - solution.upper).abs() / scale);
        let law = Measure { weights: library.masses(), points: library.endpoints.clone() };
        recovered.push(quantile_transport(&law, &end, 1));
        let again = lipschitz_divergence(&end, &data, kind, lipschitz)?;
        let difference = |a: &[f64], b: &[f64]| largest(a.iter().zip(b).map(|(a, b)| (a - b).abs()));
        intermediate.push(difference(&again.second_marginal, &solution.second_marginal));
        // (f*)'(phi - nu) with the potential in the gauge nu = 0.
        let f = Generator::new(kind)?;
        let phi = |z: ndarray::ArrayView1<f64>| mcshane(z, data.points.view(), &again.potential, lipschitz);
        let values: Vec<f64> = data.points.rows().into_iter().map(phi).collect();
        let law = |g: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let raw: Vec<f64> = values.iter().zip(&data.weights).map(|(v, q)| q * g(*v)).collect();
            if kind == DivergenceKind::KullbackLeibler { crate::instances::normalised(raw) } else { raw }
        };
        gibbs.push(difference(&law(&|v| f.conjugate_derivative(v)), &again.second_marginal));
        derivative.push(difference(&law(&|v| f.derivative(v.abs() + 1.0)), &again.second_marginal));
        speeds.push(largest(solution.plan.iter().zip(end.points.column(0)).map(|(arc, y)| {
            (y - source.points[[arc.0 as usize, 0]]).abs() / horizon * lambda / lipschitz - 1.0
        })));
        for _ in 0..setting.choose(3, 20) {
            let shift: f64 = rand::Rng::random::<f64>(&mut generator) - 0.5;
            let mut moved = end.clone();
            moved.points.mapv_inplace(|y| y + shift * (1.0 + y.sin()));
            suboptimal.push(objective(&moved)? - solution.lower);
        }
        halved.push((objective(&recover(2.0 * parameters.kink()))? - solution.upper).abs() / scale);
        on_data.push((objective(&recover(f64::INFINITY))? - solution.upper).abs() / scale);
        transposed
            .push((huber_transport(&data, &source, kind, parameters)?.upper - solution.upper).abs() / scale);
        beyond += solution
            .plan
            .iter()
            .filter(|&&(i, j, _)| {
                (source.points[[i as usize, 0]] - data.points[[j as usize, 0]]).abs() > parameters.kink()
            })
            .map(|arc| arc.2)
            .sum::<f64>()
            / KINDS.len() as f64;
    }
    let rounding = || Basis::Rounding("two certified tolerances of 1e-11".into());
    let root = || Basis::Rounding("a marginal is determined to the square root of the certified gap".into());
    let bound = Bound::AtMost(1e-9);
    let mut finding = Finding::new();
    finding
        .measure("certified gap / (1 + J*)", largest(gap), bound, rounding())
        .measure("|lambda/(2T) W2^2 + D_f^L(rho_T|pi) - J*| / (1 + J*)", largest(composed), bound, rounding())
        .measure("|lambda K* + L W1 + D_f - J*| / (1 + J*), library", largest(priced), bound, rounding())
        .measure("W1 of the library's rho_T from this one", largest(recovered), Bound::AtMost(1e-6), root())
        .measure(
            "eta* of the two problems, largest difference",
            largest(intermediate),
            Bound::AtMost(1e-6),
            root(),
        )
        .measure("eta* - pi (f*)'(phi - nu), largest", largest(gibbs), Bound::AtMost(1e-6), root())
        .measure("largest speed lambda / L - 1", largest(speeds), Bound::AtMost(1e-12), rounding())
        .measure(
            "least J of another flow - J*",
            smallest(suboptimal),
            Bound::AtLeast(-1e-9),
            Basis::Exact("J* is the infimum".into()),
        )
        .control("lambda halved in the recovery", smallest(halved), bound, rounding())
        .control("endpoints on the data: Lipschitz cap dropped", smallest(on_data), bound, rounding())
        .control("cost transposed: source and data exchanged", smallest(transposed), bound, rounding())
        .control("f' in the place of (f*)'", smallest(derivative), Bound::AtMost(1e-6), root())
        .figure("mass carried beyond the kink", beyond);
    Ok(finding)
}
