//! Lemma 4.1: the variational derivative is monotone \[32,33\], and the exact identity behind it.

use proxflow_reference::divergence::{Generator, generalised_cumulant};

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{KINDS, Measure, largest, lipschitz_divergence, mcshane, smallest};

pub(super) const CLAIM: Claim = Claim {
    id: "monotonicity",
    statement: "With phi_i optimal for (P_i, Q), int (phi_1 - phi_2) d(P_1 - P_2) >= 0 (Lemma 4.1); it equals the sum of \
                the two optimality gaps [F_1(phi_1) - F_1(phi_2)] + [F_2(phi_2) - F_2(phi_1)].",
    equations: &[(32, 33)],
    notation: &["1.7"],
    measured: "the pairing and the sum of gaps for pairs of random measures and seven generators",
    bound: "identity to 1e-10 (rounding); sign: at least -(certified gaps)",
    control: "terminal coupling with flipped sign; potentials of different data; an arbitrary pair of functions breaks the \
              sign while the identity stays",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("monotonicity");
    let (n, repeats) = setting.choose((30, 4), (120, 30));
    let (mut identity, mut sign, mut flipped, mut foreign, mut mismatched) =
        (vec![], vec![], vec![], vec![], vec![]);
    for _ in 0..repeats {
        let first = Measure::random(&mut generator, n, 2, 0.0);
        let second = Measure::random(&mut generator, n, 2, 0.6);
        let q = Measure::random(&mut generator, n, 2, 0.3);
        for kind in KINDS {
            let f = Generator::new(kind)?;
            let solutions =
                [lipschitz_divergence(&first, &q, kind, 1.0)?, lipschitz_divergence(&second, &q, kind, 1.0)?];
            let phi = |i: usize, x: ndarray::ArrayView1<f64>| {
                mcshane(x, q.points.view(), &solutions[i].potential, 1.0)
            };
            let functional = |p: &Measure, i: usize| {
                let values: Vec<f64> = q.points.rows().into_iter().map(|z| phi(i, z)).collect();
                p.mean(|x| phi(i, x)) - generalised_cumulant(&f, &values, &q.weights).value
            };
            let difference = |x: ndarray::ArrayView1<f64>| phi(0, x) - phi(1, x);
            let pairing = first.mean(difference) - second.mean(difference);
            let gaps = functional(&first, 0) - functional(&first, 1) + functional(&second, 1)
                - functional(&second, 0);
            identity.push((pairing - gaps).abs());
            sign.push(pairing + solutions[0].gap() + solutions[1].gap());
            flipped.push(-pairing);
            // Exchanging the potentials is the most wrong admissible answer: both gaps turn negative.
            foreign.push((pairing + gaps).abs());
            let wrong = lipschitz_divergence(&second, &first, kind, 1.0)?;
            let wrong = |x: ndarray::ArrayView1<f64>| mcshane(x, first.points.view(), &wrong.potential, 1.0);
            let against = |x: ndarray::ArrayView1<f64>| phi(0, x) - wrong(x);
            mismatched.push((first.mean(against) - second.mean(against) - gaps).abs());
        }
    }
    let rounding = || Basis::Rounding("certified tolerance 1e-11 of four values".into());
    let mut finding = Finding::new();
    finding
        .measure(
            "largest |pairing - sum of optimality gaps|",
            largest(identity),
            Bound::AtMost(1e-10),
            rounding(),
        )
        .measure(
            "least pairing + certified gaps",
            smallest(sign),
            Bound::AtLeast(-1e-12),
            Basis::Exact("non-negative by Lemma 4.1; each certified gap may cross zero by rounding".into()),
        )
        .control("coupling with flipped sign", largest(flipped), Bound::AtLeast(-1e-12), rounding())
        .control("potentials exchanged", smallest(foreign), Bound::AtMost(1e-10), rounding())
        .control("potentials of different data", smallest(mismatched), Bound::AtMost(1e-10), rounding());
    Ok(finding)
}
