//! The optimal potential is the variational derivative \[9\].

use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::Generator;
use proxflow_reference::transport::SemiRelaxedTransport;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{KINDS, Measure, distance, largest, lipschitz_divergence, mcshane, smallest};

pub(super) const CLAIM: Claim = Claim {
    id: "variational_derivative",
    statement: "phi* is the variational derivative of D_f^L(.|Q): the directional derivative from P towards any P', \
                mutually singular ones included, is E_{P'} phi* - E_P phi* (phi* the largest optimal potential where eta* \
                leaves atoms without mass, which f'(0) > -inf allows).",
    equations: &[(9, 9)],
    notation: &["1.6"],
    measured: "second-order one-sided difference quotients at step 1e-4 towards P' whose atoms are new points, against the \
               McShane extension of the potential, for seven generators",
    bound: "1e-5: truncation C e^2 and 1e-11 / e of certified values",
    control: "potential with flipped sign; potential of another measure; the McShane extension at twice the slope",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("variational_derivative");
    let n = setting.choose(30, 150);
    let p = Measure::random(&mut generator, n, 2, 0.0);
    let q = Measure::random(&mut generator, n, 2, 0.5);
    let direction = Measure::random(&mut generator, n, 2, -0.5);
    let (mut errors, mut flipped, mut other, mut steep) = (vec![], vec![], vec![], vec![]);
    let (lipschitz, e) = (0.8, 1e-4);
    for kind in KINDS {
        let value = |e: f64| {
            lipschitz_divergence(&p.mixed(&direction, e), &q, kind, lipschitz)
                .map(|s| 0.5 * (s.upper + s.lower))
        };
        let quotient = (-3.0 * value(0.0)? + 4.0 * value(e)? - value(2.0 * e)?) / (2.0 * e);
        let derivative = |psi: &[f64], slope: f64| {
            let phi = |x: ndarray::ArrayView1<f64>| mcshane(x, q.points.view(), psi, slope);
            direction.mean(phi) - p.mean(phi)
        };
        let solution = lipschitz_divergence(&p, &q, kind, lipschitz)?;
        let psi = largest_potential(&solution, &q, Generator::new(kind)?.derivative(0.0), lipschitz);
        let exact = derivative(&psi, lipschitz);
        errors.push((quotient - exact).abs());
        flipped.push((quotient + exact).abs());
        steep.push((quotient - derivative(&psi, 2.0 * lipschitz)).abs());
        let wrong = lipschitz_divergence(&direction, &q, kind, lipschitz)?.solution.potential;
        other.push((quotient - derivative(&wrong, lipschitz)).abs());
    }
    let basis = || Basis::Discretisation("C e^2 with e = 1e-4, and cancellation 8e-11 / 2e-4".into());
    let bound = Bound::AtMost(1e-5);
    let mut finding = Finding::new();
    finding
        .measure("largest |difference quotient - (E_P' phi - E_P phi)|", largest(errors), bound, basis())
        .control("sign of phi flipped", smallest(flipped), bound, basis())
        .control("potential of another measure", smallest(other), bound, basis())
        .control("Lipschitz cap doubled", smallest(steep), bound, basis());
    // Without regularisation the derivative towards a singular P' does not exist.
    let singular = proxflow_reference::divergence::f_divergence_of_atoms(
        DivergenceKind::KullbackLeibler,
        p.mixed(&direction, e).points.view(),
        Some(&p.mixed(&direction, e).weights),
        p.points.view(),
        Some(&p.weights),
    )?;
    finding.control("KL without regularisation towards a singular P'", singular / e, bound, basis());
    Ok(finding)
}

/// The largest optimal potential at the atoms of `q`, in the gauge `nu = 0`: an atom without mass prices nothing while `phi`
/// stays below `slope_at_zero`, `f'(0)`, so `phi` is not unique there and the right derivative takes the supremum.
fn largest_potential(
    solution: &SemiRelaxedTransport,
    q: &Measure,
    slope_at_zero: f64,
    lipschitz: f64,
) -> Vec<f64> {
    let mut psi = solution.potential.clone();
    let charged: Vec<usize> = (0..psi.len()).filter(|j| solution.second_marginal[*j] > 0.0).collect();
    if slope_at_zero.is_finite() {
        for j in (0..psi.len()).filter(|j| solution.second_marginal[*j] <= 0.0) {
            let cone = |k: &usize| {
                lipschitz * distance(q.points.row(j), q.points.row(*k)) + solution.potential[*k]
            };
            psi[j] = charged.iter().map(cone).fold(slope_at_zero, f64::min);
        }
    }
    psi
}
