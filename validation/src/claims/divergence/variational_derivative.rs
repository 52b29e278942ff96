//! The optimal potential is the variational derivative \[9\].

use proxflow_reference::divergence::{Generator, f_divergence_of_atoms};
use proxflow_reference::transport::SemiRelaxedTransport;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{KINDS, Measure, distance, lipschitz_divergence, mcshane};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "variational_derivative",
    statement: "phi* is the variational derivative of D_f^L(.|Q): the directional derivative from P towards any P', \
                mutually singular ones included, is E_{P'} phi* - E_P phi* (phi* the largest optimal potential where eta* \
                leaves atoms without mass, which f'(0) > -inf allows).",
    equations: &[(9, 9)],
    notation: &["1.6"],
    quantities: &[Quantity {
        name: "derivative",
        what: "|difference quotient - (E_P' phi - E_P phi)|: second-order one-sided quotients at step 1e-4 towards P' whose \
               atoms are new points, against the McShane extension of the potential; infinite where the value jumps",
        bound: Bound::AtMost(1e-5),
        basis: Basis::Discretisation("C e^2 with e = 1e-4, and cancellation 8e-11 / 2e-4"),
    }],
    removals: &[
        Removal { name: "sign of phi", what: "-phi in its place", breaks: &["derivative"] },
        Removal { name: "own potential", what: "the potential of P' in the place of that of P", breaks: &["derivative"] },
        Removal { name: "Lipschitz cap", what: "the McShane extension at twice the slope", breaks: &["derivative"] },
        Removal {
            name: "regularisation",
            what: "D_f in the place of D_f^L, and Q = P so that it is finite at P",
            breaks: &["derivative"],
        },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("variational_derivative");
    let n = setting.choose(30, 150);
    let p = Measure::random(&mut generator, n, 2, 0.0);
    let mut q = Measure::random(&mut generator, n, 2, 0.5);
    let direction = Measure::random(&mut generator, n, 2, -0.5);
    let plain = mechanism.lacks("regularisation");
    if plain {
        q = p.clone();
    }
    let (lipschitz, e) = (0.8, 1e-4);
    let slope = if mechanism.lacks("Lipschitz cap") { 2.0 * lipschitz } else { lipschitz };
    let sign = if mechanism.lacks("sign of phi") { -1.0 } else { 1.0 };
    let mut measured = Measured::new();
    for kind in KINDS {
        let value = |e: f64| -> Result<f64, CheckError> {
            let mixed = p.mixed(&direction, e);
            if plain {
                let (x, z) = (mixed.points.view(), q.points.view());
                return Ok(f_divergence_of_atoms(kind, x, Some(&mixed.weights), z, Some(&q.weights))?);
            }
            let solution = lipschitz_divergence(&mixed, &q, kind, lipschitz)?;
            Ok(0.5 * (solution.upper + solution.lower))
        };
        let values = [value(0.0)?, value(e)?, value(2.0 * e)?];
        let quotient = (-3.0 * values[0] + 4.0 * values[1] - values[2]) / (2.0 * e);
        let of = if mechanism.lacks("own potential") { &direction } else { &p };
        let solution = lipschitz_divergence(of, &q, kind, lipschitz)?;
        let psi = largest_potential(&solution, &q, Generator::new(kind)?.derivative(0.0), lipschitz);
        let phi = |x: ndarray::ArrayView1<f64>| sign * mcshane(x, q.points.view(), &psi, slope);
        let error = (quotient - (direction.mean(phi) - p.mean(phi))).abs();
        let jumps = values.iter().any(|value| value.is_infinite());
        measured.record_case("derivative", kind.to_string(), if jumps { f64::INFINITY } else { error });
    }
    Ok(measured)
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
