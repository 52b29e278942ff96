//! Random weighted point sets, shared by the property tests.
#![allow(dead_code)]

pub mod conic;

use ndarray::{Array2, concatenate};
use proptest::prelude::*;
use proxflow_reference::divergence::{Cumulant, Generator, LipschitzRegularisedDivergence};
use proxflow_reference::{Divergence, DivergenceKind, Options, SingularMass};

/// Certified gaps are at most 1e-11 (1 + |value|); identities between a few such values hold to ten times that.
pub const CERTIFIED: f64 = 1e-10;

/// One generator of each family.
pub const KINDS: [DivergenceKind; 9] = DivergenceKind::ALL;

/// Any of [`KINDS`].
pub fn any_kind() -> impl Strategy<Value = DivergenceKind> {
    prop::sample::select(KINDS.to_vec())
}

/// A probability measure on finitely many points.
#[derive(Debug, Clone)]
pub struct Measure {
    /// `(n, d)`.
    pub points: Array2<f64>,
    /// Length n, sum 1.
    pub weights: Vec<f64>,
}

impl Measure {
    pub fn new(points: Array2<f64>, masses: Vec<f64>) -> Self {
        let total: f64 = masses.iter().sum();
        Self { points, weights: masses.iter().map(|mass| mass / total).collect() }
    }

    /// As the library takes it.
    pub fn law(&self) -> proxflow_reference::Measure {
        proxflow_reference::Measure::new(self.points.view(), self.weights.as_slice()).expect("valid weights")
    }

    /// `(1 - t) self + t other`, atoms side by side.
    pub fn mixed(&self, other: &Self, t: f64) -> Self {
        let points = concatenate![ndarray::Axis(0), self.points, other.points];
        let left = self.weights.iter().map(|weight| (1.0 - t) * weight);
        let weights = left.chain(other.weights.iter().map(|weight| t * weight)).collect();
        Self { points, weights }
    }
}

/// 1 to `most` atoms in dimension `d`; coordinates on a coarse lattice (ties, duplicates) or anywhere; some weights zero.
pub fn measure(d: usize, most: usize) -> impl Strategy<Value = Measure> {
    let coordinate = prop_oneof![2 => -2.0..2.0f64, 1 => (-2i32..3).prop_map(f64::from)];
    let mass = prop_oneof![5 => 0.1..1.0f64, 1 => Just(0.0)];
    prop::collection::vec((prop::collection::vec(coordinate, d), mass), 1..=most).prop_map(
        move |mut atoms| {
            atoms[0].1 = atoms[0].1.max(0.1);
            let points = Array2::from_shape_fn((atoms.len(), d), |(i, k)| atoms[i].0[k]);
            Measure::new(points, atoms.iter().map(|atom| atom.1).collect())
        },
    )
}

/// The default options with singular mass priced at `f'(inf)`.
pub fn priced() -> Options<'static> {
    Options::new().singular(SingularMass::Priced)
}

/// `D_f^L(P|Q)` with both optimisers.
pub fn solve(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    lipschitz: f64,
    options: &Options<'_>,
) -> LipschitzRegularisedDivergence {
    let functional = Divergence::of(kind).lipschitz(lipschitz).options(*options);
    functional.between(&p.law(), &q.law()).expect("valid input")
}

/// [`solve`] with the default options.
pub fn divergence(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    lipschitz: f64,
) -> LipschitzRegularisedDivergence {
    solve(p, q, kind, lipschitz, &Options::new())
}

/// `Lambda_Q(phi)`, which reads `phi` on the support of Q alone.
pub fn cumulant(q: &Measure, kind: DivergenceKind, on_data: &[f64]) -> Cumulant {
    let (phi, weights): (Vec<f64>, Vec<f64>) =
        on_data.iter().zip(&q.weights).filter(|(_, q)| **q > 0.0).unzip();
    // Weights of a measure of which a part is zero sum to 1 up to rounding.
    Cumulant::new(&Generator::new(kind).expect("a listed kind"), &phi, &weights).expect("finite values")
}

/// `F(phi) = E_P phi - Lambda_Q(phi)` for `phi` given on the atoms.
pub fn dual_objective(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    on_model: &[f64],
    on_data: &[f64],
) -> f64 {
    let mean: f64 = p.weights.iter().zip(on_model).map(|(p, phi)| p * phi).sum();
    mean - cumulant(q, kind, on_data).value
}

/// What relative tolerances of values are multiplied by.
pub fn scale(value: f64) -> f64 {
    1.0 + value.abs()
}
