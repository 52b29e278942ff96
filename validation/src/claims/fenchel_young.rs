//! The f-divergences and their conjugates \[1\]-\[5\].

use proxflow_reference::divergence::{Generator, f_divergence};
use rand::Rng;

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::instances::{KINDS, largest, normalised, smallest};

pub(super) const CLAIM: Claim = Claim {
    id: "fenchel_young",
    statement: "D_f(P|Q) = E_Q f(dP/dQ) is non-negative, zero only at P = Q, and its generator and conjugate obey \
                f(x) + f*(s) >= x s with equality at s = f'(x), x = (f*)'(s).",
    equations: &[(1, 5)],
    notation: &["1.1"],
    measured: "the Fenchel-Young gap at random (x, s) and at s = f'(x), inversion of f' by (f*)', D_f of random and of \
               equal weights, for seven generators",
    bound: "1e-12 relative: rounding; signs exactly",
    control: "f and f* swapped: the equality breaks",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let mut generator = setting.stream("fenchel_young");
    let draws = setting.choose(2_000, 100_000);
    let (mut inequality, mut equality, mut inversion, mut swapped) = (vec![], vec![], vec![], vec![]);
    let (mut values, mut equal) = (vec![], vec![]);
    for kind in KINDS {
        let f = Generator::new(kind)?;
        for _ in 0..draws {
            let x: f64 = (6.0 * generator.random::<f64>() - 3.0).exp();
            let other: f64 = (6.0 * generator.random::<f64>() - 3.0).exp();
            let (s, elsewhere) = (f.derivative(x), f.derivative(other));
            let scale = 1.0 + f.value(x).abs() + f.conjugate(s).abs() + (x * s).abs();
            inequality.push((f.value(x) + f.conjugate(elsewhere) - x * elsewhere) / scale);
            equality.push((f.value(x) + f.conjugate(s) - x * s).abs() / scale);
            inversion.push((f.conjugate_derivative(s) / x - 1.0).abs());
            let gap = (f.conjugate(x) + f.value(s.abs()) - x * s).abs();
            if gap.is_finite() {
                swapped.push(gap / scale);
            }
        }
        let weights =
            |g: &mut rand_chacha::ChaCha8Rng| normalised((0..20).map(|_| g.random::<f64>() + 0.01).collect());
        let (p, q) = (weights(&mut generator), weights(&mut generator));
        values.push(f_divergence(kind, &p, &q)?);
        equal.push(f_divergence(kind, &p, &p)?.abs());
    }
    let rounding =
        || Basis::Rounding("a dozen operations, conditioning of ln and powers at x in [e^-3, e^3]".into());
    let mut finding = Finding::new();
    finding
        .measure(
            "least f(x) + f*(s) - x s, relative",
            smallest(inequality),
            Bound::AtLeast(-1e-12),
            rounding(),
        )
        .measure(
            "largest |f(x) + f*(f'(x)) - x f'(x)|, relative",
            largest(equality),
            Bound::AtMost(1e-12),
            rounding(),
        )
        .measure("largest |(f*)'(f'(x)) / x - 1|", largest(inversion), Bound::AtMost(1e-12), rounding())
        .measure(
            "least D_f of different weights",
            smallest(values),
            Bound::AtLeast(1e-3),
            Basis::Exact("strictly positive; random weights on 20 atoms lie far from each other".into()),
        )
        .measure("largest D_f of equal weights", largest(equal), Bound::AtMost(1e-14), rounding())
        .control("f and f* swapped", largest(swapped), Bound::AtMost(1e-12), rounding());
    Ok(finding)
}
