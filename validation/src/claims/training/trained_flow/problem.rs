//! The problems of the claim: laws, their samples, and exact values on those samples.

use ndarray::Array2;
use proxflow_reference::Options;
use proxflow_reference::transport::cost::{DenseCost, PointwiseCost};
use proxflow_reference::transport::{SemiRelaxedTransport, semi_relaxed_transport};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use rand_chacha::ChaCha8Rng;

use crate::claim::Setting;

/// The space, with its distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Space {
    /// R^d.
    Euclidean,
    /// The unit torus.
    Torus,
}

/// A law with independent logistic coordinates.
struct Law {
    centre: f64,
    /// Standard deviation of a coordinate.
    width: f64,
}

impl Law {
    /// One sample from each of `m^d` equally likely cells, `m` per coordinate: `(m^d, d)`.
    ///
    /// Between two sets of n *independent* samples of standard deviation s on the line `L W1` is about `1.35 L s / sqrt(n)`. No
    /// smooth critic resolves that noise, yet J* has none of it, as the optimum of finitely many samples lies on them: at n = 256
    /// it would be 5 to 8 % of J*. Stratified samples lower it to order `L s / n`.
    fn stratified(&self, cells: usize, dimension: usize, generator: &mut ChaCha8Rng) -> Array2<f64> {
        use rand_distr::{Distribution, Open01};
        let scale = self.width * 3.0_f64.sqrt() / std::f64::consts::PI;
        Array2::from_shape_fn((cells.pow(dimension as u32), dimension), |(row, axis)| {
            let cell = row / cells.pow(axis as u32) % cells;
            let jitter: f64 = Open01.sample(generator);
            let u = (cell as f64 + jitter) / cells as f64;
            self.centre + scale * (u / (1.0 - u)).ln()
        })
    }
}

/// Samples of a source and of data with the parameters of the combined proximal; `T = 1`.
pub(super) struct Problem {
    pub(super) name: &'static str,
    pub(super) space: Space,
    pub(super) parameters: ProximalParameters,
    pub(super) source: Array2<f64>,
    pub(super) data: Array2<f64>,
}

impl Problem {
    /// Squared distance of source-like point `i` of `from` to data point `j`.
    fn squared_distance(&self, from: &Array2<f64>, i: usize, j: usize) -> f64 {
        let differences = from.row(i).into_iter().zip(self.data.row(j)).map(|(a, b)| match self.space {
            Space::Euclidean => a - b,
            Space::Torus => a - b - (a - b).round(),
        });
        differences.map(|difference| difference.powi(2)).sum()
    }

    /// Semi-relaxed transport to the data, both with uniform weights: D_KL^L with the Lipschitz cost, J* with the Huber cost.
    pub(super) fn solve(
        &self,
        from: &Array2<f64>,
        cost: PointwiseCost,
    ) -> Result<SemiRelaxedTransport, InvalidInput> {
        let uniform = |n: usize| vec![1.0 / n as f64; n];
        let (p, q) = (uniform(from.nrows()), uniform(self.data.nrows()));
        let cost = DenseCost::new(Array2::from_shape_fn((p.len(), q.len()), |(i, j)| {
            cost.of_squared_distance(self.squared_distance(from, i, j))
        }))?;
        let kind = DivergenceKind::KullbackLeibler;
        semi_relaxed_transport(&cost, &p, &q, kind, &Options::default())
    }

    /// Mass that the optimal plan carries further than `L T / lambda`, where W1 takes over.
    pub(super) fn active_mass(&self, optimum: &SemiRelaxedTransport) -> f64 {
        let kink = self.parameters.kink().powi(2);
        let beyond = |i: u32, j: u32| self.squared_distance(&self.source, i as usize, j as usize) > kink;
        optimum.plan.iter().filter(|&&(i, j, _)| beyond(i, j)).fold(0.0, |sum, &(_, _, mass)| sum + mass)
    }
}

/// The problems: line, plane, circle and torus, W1 inactive (`L T / lambda` beyond the distances) and active.
pub(super) fn problems(setting: &Setting) -> Result<Vec<Problem>, InvalidInput> {
    let mut generator = setting.stream("trained_flow");
    // As many samples as a stratification needs to keep L W1 of its cells well below 5 % of J*.
    let cells = [setting.choose(256, 1024), setting.choose(32, 48)];
    let mut problem = |name, space, dimension: usize, [lipschitz, lambda]: [f64; 2], [from, to]: [Law; 2]| {
        let mut sample = |law: &Law| law.stratified(cells[dimension - 1], dimension, &mut generator);
        let (source, data) = (sample(&from), sample(&to));
        Ok(Problem {
            name,
            space,
            parameters: ProximalParameters::new(lipschitz, lambda, 1.0)?,
            source,
            data,
        })
    };
    let law = |centre, width| Law { centre, width };
    let apart = || [law(0.0, 0.3), law(2.0, 0.4)];
    // Across the seam of the torus: 0.9 to 1.15.
    let across = || [law(0.9, 0.04), law(0.15, 0.06)];
    Ok(vec![
        problem("line, W1 inactive", Space::Euclidean, 1, [2.0, 0.5], apart())?,
        problem("line, W1 active", Space::Euclidean, 1, [2.0, 2.0], apart())?,
        problem("plane, W1 inactive", Space::Euclidean, 2, [2.0, 0.5], apart())?,
        problem("plane, W1 active", Space::Euclidean, 2, [2.0, 2.0], apart())?,
        problem("circle, W1 inactive", Space::Torus, 1, [10.0, 20.0], across())?,
        problem("circle, W1 active", Space::Torus, 1, [10.0, 80.0], across())?,
        problem("torus, W1 inactive", Space::Torus, 2, [10.0, 20.0], [law(0.9, 0.05), law(0.15, 0.04)])?,
    ])
}
