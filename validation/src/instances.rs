//! Small instances and the elementary quantities that the checks compare with; nothing here calls a solver but
//! [`lipschitz_divergence`] and [`huber_transport`], which only fill in its arguments.

use ndarray::{Array2, ArrayView1, ArrayView2};
use proxflow_reference::Options;
use proxflow_reference::transport::cost::{PointCost, PointwiseCost};
use proxflow_reference::transport::{SemiRelaxedTransport, semi_relaxed_transport};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use rand::Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

/// A discrete measure: points `(n, d)` and weights that sum to one.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Atoms, shape `(n, d)`.
    pub points: Array2<f64>,
    /// Weights, `n` entries.
    pub weights: Vec<f64>,
}

/// One generator of each family, both sides of order one included.
pub const KINDS: [DivergenceKind; 7] = [
    DivergenceKind::KullbackLeibler,
    DivergenceKind::ReverseKullbackLeibler,
    DivergenceKind::Alpha(0.5),
    DivergenceKind::Alpha(3.0),
    DivergenceKind::ChiSquared,
    DivergenceKind::JensenShannon,
    DivergenceKind::SquaredHellinger,
];

impl Measure {
    /// `n` normal points in `R^d` around `centre` on every axis, with exponential weights.
    pub fn random(generator: &mut impl Rng, n: usize, d: usize, centre: f64) -> Self {
        let points = Array2::from_shape_simple_fn((n, d), || {
            let normal: f64 = StandardNormal.sample(generator);
            centre + normal
        });
        let weights: Vec<f64> = (0..n).map(|_| -> f64 { Exp1.sample(generator) }).collect();
        Self { points, weights: normalised(weights) }
    }

    /// The same points with other exponential weights.
    pub fn reweighted(&self, generator: &mut impl Rng) -> Self {
        let weights = self.weights.iter().map(|_| -> f64 { Exp1.sample(generator) }).collect();
        Self { points: self.points.clone(), weights: normalised(weights) }
    }

    /// `(1 - e) self + e other` as one measure on both sets of atoms.
    pub fn mixed(&self, other: &Self, e: f64) -> Self {
        let points = ndarray::concatenate(ndarray::Axis(0), &[self.points.view(), other.points.view()])
            .expect("measures of one instance share their dimension");
        let weights = self.weights.iter().map(|w| (1.0 - e) * w).chain(other.weights.iter().map(|w| e * w));
        Self { points, weights: weights.collect() }
    }

    /// As the oracle takes it.
    pub fn law(&self) -> Result<proxflow_reference::Measure, proxflow_reference::InvalidInput> {
        proxflow_reference::Measure::new(self.points.view(), self.weights.as_slice())
    }

    /// `E f`.
    pub fn mean(&self, f: impl Fn(ArrayView1<f64>) -> f64) -> f64 {
        self.points.rows().into_iter().zip(&self.weights).map(|(x, w)| w * f(x)).sum()
    }
}

/// Divides by the sum.
pub fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= total);
    weights
}

/// `D_f^L(P|Q)` with its certificate.
pub fn lipschitz_divergence(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    lipschitz: f64,
) -> Result<SemiRelaxedTransport, InvalidInput> {
    transport(p, q, kind, PointwiseCost::Lipschitz { lipschitz })
}

/// The combined proximal as one transport problem with the Huber cost (notation 2.2).
pub fn huber_transport(
    source: &Measure,
    data: &Measure,
    kind: DivergenceKind,
    parameters: ProximalParameters,
) -> Result<SemiRelaxedTransport, InvalidInput> {
    transport(source, data, kind, PointwiseCost::Huber(parameters))
}

fn transport(
    p: &Measure,
    q: &Measure,
    kind: DivergenceKind,
    cost: PointwiseCost,
) -> Result<SemiRelaxedTransport, InvalidInput> {
    let cost = PointCost::new(cost, p.points.view(), q.points.view())?.into_dense();
    semi_relaxed_transport(&cost, &p.weights, &q.weights, kind, &Options::default())
}

/// The McShane extension `phi(x) = min_j (L |x - z_j| + psi_j)` of notation 1.4, defined everywhere.
pub fn mcshane(x: ArrayView1<f64>, data: ArrayView2<f64>, psi: &[f64], lipschitz: f64) -> f64 {
    data.rows()
        .into_iter()
        .zip(psi)
        .map(|(z, psi)| lipschitz * distance(x, z) + psi)
        .fold(f64::INFINITY, f64::min)
}

/// `|x - z|`.
pub fn distance(x: ArrayView1<f64>, z: ArrayView1<f64>) -> f64 {
    x.iter().zip(z).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// `E |x - z|^power` under the monotone coupling of two measures on the line: `W_power^power` for `power >= 1`.
pub fn quantile_transport(p: &Measure, q: &Measure, power: i32) -> f64 {
    let sorted = |m: &Measure| {
        let mut atoms: Vec<(f64, f64)> =
            m.points.column(0).iter().copied().zip(m.weights.iter().copied()).collect();
        atoms.sort_by(|a, b| a.0.total_cmp(&b.0));
        atoms
    };
    let (left, right) = (sorted(p), sorted(q));
    let (mut i, mut j, mut total) = (0, 0, 0.0);
    let (mut a, mut b) = (left[0].1, right[0].1);
    while i < left.len() && j < right.len() {
        let mass = a.min(b);
        total += mass * (left[i].0 - right[j].0).abs().powi(power);
        (a, b) = (a - mass, b - mass);
        if a <= 0.0 {
            i += 1;
            a = left.get(i).map_or(0.0, |atom| atom.1);
        }
        if b <= 0.0 {
            j += 1;
            b = right.get(j).map_or(0.0, |atom| atom.1);
        }
    }
    total
}

/// The least value of a convex function met by golden-section search on `[a, b]`; it may be infinite at the left.
pub fn golden_section(f: impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let ratio = 0.5 * (5.0_f64.sqrt() - 1.0);
    let mut least = f(a).min(f(b));
    for _ in 0..200 {
        let (c, d) = (b - ratio * (b - a), a + ratio * (b - a));
        let (left, right) = (f(c), f(d));
        least = least.min(left).min(right);
        if left.is_finite() && left <= right { b = d } else { a = c }
    }
    least
}

/// The largest of `values`; NaN when one of them is.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values
        .into_iter()
        .fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
}

/// The smallest of `values`; NaN when one of them is.
pub fn smallest(values: impl IntoIterator<Item = f64>) -> f64 {
    -largest(values.into_iter().map(|v| -v))
}
