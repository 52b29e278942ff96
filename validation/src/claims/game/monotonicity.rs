//! Lemma 4.1: the variational derivative is monotone \[32,33\], and the exact identity behind it.

use proxflow_reference::divergence::{Cumulant, Generator};

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{KINDS, Measure, largest, lipschitz_divergence, mcshane, smallest};

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "monotonicity",
    statement: "With phi_i optimal for (P_i, Q), int (phi_1 - phi_2) d(P_1 - P_2) >= 0 (Lemma 4.1); it equals the sum of \
                the two optimality gaps [F_1(phi_1) - F_1(phi_2)] + [F_2(phi_2) - F_2(phi_1)].",
    equations: &[(32, 33)],
    notation: &["1.7"],
    quantities: &[
        Quantity {
            name: "identity",
            what: "largest |pairing - sum of optimality gaps| over pairs of random measures in the plane",
            bound: Bound::AtMost(1e-10),
            basis: Basis::Rounding("four sums of n terms of order one"),
        },
        Quantity {
            name: "sign",
            what: "least pairing + both certified gaps",
            bound: Bound::AtLeast(-1e-12),
            basis: Basis::Exact("non-negative by Lemma 4.1; each certified gap may cross zero by rounding"),
        },
    ],
    removals: &[
        Removal {
            name: "sign of the coupling",
            what: "-phi_i in the pairing",
            breaks: &["identity", "sign"],
        },
        Removal {
            name: "optimality",
            what: "the potentials exchanged: the identity stays, the sign does not",
            breaks: &["sign"],
        },
        Removal { name: "common data", what: "F_2 with P_1 in the place of Q", breaks: &["identity"] },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("monotonicity");
    let (n, repeats) = setting.choose((30, 4), (120, 30));
    let (mut identity, mut sign) = (vec![vec![]; KINDS.len()], vec![vec![]; KINDS.len()]);
    let coupling = if mechanism.lacks("sign of the coupling") { -1.0 } else { 1.0 };
    for _ in 0..repeats {
        let p = [Measure::random(&mut generator, n, 2, 0.0), Measure::random(&mut generator, n, 2, 0.6)];
        let q = Measure::random(&mut generator, n, 2, 0.3);
        for (k, kind) in KINDS.into_iter().enumerate() {
            let f = Generator::new(kind)?;
            let solutions =
                [lipschitz_divergence(&p[0], &q, kind, 1.0)?, lipschitz_divergence(&p[1], &q, kind, 1.0)?];
            let own = |i: usize| if mechanism.lacks("optimality") { 1 - i } else { i };
            let phi = |i: usize, x: ndarray::ArrayView1<f64>| {
                mcshane(x, q.points.view(), &solutions[own(i)].potential, 1.0)
            };
            let functional = |i: usize, of: usize| -> Result<f64, CheckError> {
                let data = if i == 1 && mechanism.lacks("common data") { &p[0] } else { &q };
                let values: Vec<f64> = data.points.rows().into_iter().map(|z| phi(of, z)).collect();
                Ok(p[i].mean(|x| phi(of, x)) - Cumulant::new(&f, &values, &data.weights)?.value)
            };
            let difference = |x: ndarray::ArrayView1<f64>| coupling * (phi(0, x) - phi(1, x));
            let pairing = p[0].mean(difference) - p[1].mean(difference);
            let gaps = functional(0, 0)? - functional(0, 1)? + functional(1, 1)? - functional(1, 0)?;
            identity[k].push((pairing - gaps).abs());
            sign[k].push(pairing + solutions[0].gap() + solutions[1].gap());
        }
    }
    let mut measured = Measured::new();
    for (kind, (identity, sign)) in KINDS.into_iter().zip(identity.into_iter().zip(sign)) {
        measured
            .record_case("identity", kind.to_string(), largest(identity))
            .record_case("sign", kind.to_string(), smallest(sign));
    }
    Ok(measured)
}
