//! The f-divergences and their conjugates \[1\]-\[5\].

use proxflow_reference::divergence::{Generator, f_divergence};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::instances::{KINDS, largest, normalised, smallest};

const OPERATIONS: Basis =
    Basis::Rounding("a dozen operations, conditioning of ln and powers at x in [e^-3, e^3]");

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "fenchel_young",
    statement: "D_f(P|Q) = E_Q f(dP/dQ) is non-negative, zero only at P = Q, and its generator and conjugate obey \
                f(x) + f*(s) >= x s with equality at s = f'(x), x = (f*)'(s).",
    equations: &[(1, 5)],
    notation: &["1.1"],
    quantities: &[
        Quantity {
            name: "Fenchel-Young gap",
            what: "least f(x) + f*(s) - x s at random x, s, relative to the sum of its terms",
            bound: Bound::AtLeast(-1e-12),
            basis: OPERATIONS,
        },
        Quantity {
            name: "equality",
            what: "largest |f(x) + f*(s) - x s| at s = f'(x), relative",
            bound: Bound::AtMost(1e-12),
            basis: OPERATIONS,
        },
        Quantity {
            name: "inversion",
            what: "largest |(f*)'(f'(x)) / x - 1|",
            bound: Bound::AtMost(1e-12),
            basis: OPERATIONS,
        },
        Quantity {
            name: "D_f of different measures",
            what: "D_f(P|Q) of random weights on 20 atoms",
            bound: Bound::AtLeast(1e-3),
            basis: Basis::Requirement("strictly positive, far above rounding: random weights lie far from each other"),
        },
        Quantity {
            name: "D_f of equal measures",
            what: "|D_f(P|P)|",
            bound: Bound::AtMost(1e-14),
            basis: Basis::Rounding("20 terms that cancel"),
        },
    ],
    removals: &[
        Removal {
            name: "conjugate",
            what: "f in the place of f*",
            breaks: &["Fenchel-Young gap", "equality"],
        },
        Removal { name: "derivative of the conjugate", what: "f' in the place of (f*)'", breaks: &["inversion"] },
        Removal {
            name: "difference of the measures",
            what: "Q replaced by P",
            breaks: &["D_f of different measures"],
        },
        Removal { name: "equality of the measures", what: "P against Q", breaks: &["D_f of equal measures"] },
    ],
    measure,
};

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let mut generator = setting.stream("fenchel_young");
    let draws = setting.choose(2_000, 100_000);
    let mut measured = Measured::new();
    for kind in KINDS {
        let f = Generator::new(kind)?;
        let conjugate =
            |s: f64| if mechanism.lacks("conjugate") { f.value(s.abs()) } else { f.conjugate(s) };
        let inverse = |s: f64| {
            if mechanism.lacks("derivative of the conjugate") {
                f.derivative(s.abs())
            } else {
                f.conjugate_derivative(s)
            }
        };
        let (mut inequality, mut equality, mut inversion) = (vec![], vec![], vec![]);
        for _ in 0..draws {
            let x: f64 = (6.0 * generator.random::<f64>() - 3.0).exp();
            let other: f64 = (6.0 * generator.random::<f64>() - 3.0).exp();
            let (s, elsewhere) = (f.derivative(x), f.derivative(other));
            let scale = 1.0 + f.value(x).abs() + conjugate(s).abs() + (x * s).abs();
            inequality.push((f.value(x) + conjugate(elsewhere) - x * elsewhere) / scale);
            equality.push((f.value(x) + conjugate(s) - x * s).abs() / scale);
            inversion.push((inverse(s) / x - 1.0).abs());
        }
        let mut weights =
            || -> Vec<f64> { normalised((0..20).map(|_| generator.random::<f64>() + 0.01).collect()) };
        let (p, q) = (weights(), weights());
        let other = if mechanism.lacks("difference of the measures") { &p } else { &q };
        let same = if mechanism.lacks("equality of the measures") { &q } else { &p };
        measured
            .record_case("Fenchel-Young gap", kind.to_string(), smallest(inequality))
            .record_case("equality", kind.to_string(), largest(equality))
            .record_case("inversion", kind.to_string(), largest(inversion))
            .record_case("D_f of different measures", kind.to_string(), f_divergence(kind, &p, other)?)
            .record_case("D_f of equal measures", kind.to_string(), f_divergence(kind, &p, same)?.abs());
    }
    Ok(measured)
}
