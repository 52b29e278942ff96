//! The critical Lipschitz constant `L_c` by the oracle: the smallest L from which `J*(L) = J*(inf)`, so that the optimal flow no longer
//! depends on L. Above it, L only says how hard an imperfect flow is pushed; below it, the optimum stops short of the data.

use ndarray::{Array2, ArrayView2};
use proxflow::command::{Failure, print_note};
use proxflow::dataset::Images;
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::random::{Stream, StreamLabel};
use proxflow_reference::proximal::{CombinedProximal, combined_proximal};
use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
use serde::Serialize;

use crate::exact;
use crate::training::run_configuration::RunConfiguration;

/// Source samples and data points of the subsample.
pub const SAMPLES: usize = 250;
pub const DATA: usize = 1500;
/// Relative width of the bracket.
const WIDTH: f64 = 0.01;
/// Two certified values closer than this, relative to `1 + J*`, are taken as equal.
const EQUAL: f64 = 1e-7;

/// `L_c` on a subsample, and the optimum from there on.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Critical {
    /// `J*` is certified below `J*(inf)` here.
    pub lower: f64,
    /// `J*` equals `J*(inf)` within 1e-7 here.
    pub upper: f64,
    /// `J*(inf)`.
    pub objective: f64,
    /// `K*` of that optimum.
    pub kinetic_energy: f64,
    /// Source samples.
    pub samples: usize,
    /// Data points.
    pub data: usize,
}

impl Critical {
    /// Root mean square distance that the optimal flow travels, `sqrt(2 T K*)`: how far noise is from the data.
    pub fn distance(&self, horizon: f64) -> f64 {
        (2.0 * horizon * self.kinetic_energy).sqrt()
    }

    /// Says what was found and what it makes of the set-up.
    pub fn announce(&self, training: &Configuration) {
        print_note(&format!(
            "critical L in [{:.4}, {:.4}] ({} noise samples, {} images; J* = {:.4}, K* = {:.3}); L = {:.5}, w = {:.1}",
            self.lower,
            self.upper,
            self.samples,
            self.data,
            self.objective,
            self.kinetic_energy,
            training.lipschitz,
            training.penalty_weight
        ));
    }
}

/// Brackets `L_c` by bisection with certified values, for `source (n, d)` and `data (m, d)`.
pub fn critical_lipschitz(
    source: &Array2<f64>,
    data: &Array2<f64>,
    kind: DivergenceKind,
    lambda: f64,
    horizon: f64,
) -> Result<Critical, Failure> {
    let (noise, digits) = (Measure::uniform(source.view())?, Measure::uniform(data.view())?);
    let solve = |lipschitz: f64| -> Result<CombinedProximal, Failure> {
        let parameters = ProximalParameters::new(lipschitz, lambda, horizon)?;
        Ok(combined_proximal(&noise, &digits, kind, parameters, &Options::new())?)
    };
    // From the largest distance on, the Huber cost is the quadratic one for every pair.
    let mut upper = lambda * largest_distance(source.view(), data.view()) / horizon;
    let unbounded = solve(upper)?;
    let mut lower = 0.0;
    while upper - lower > WIDTH * upper {
        let middle = 0.5 * (lower + upper);
        if solve(middle)?.upper < unbounded.lower - EQUAL * (1.0 + unbounded.lower.abs()) {
            lower = middle;
        } else {
            upper = middle;
        }
    }
    Ok(Critical {
        lower,
        upper,
        objective: unbounded.upper,
        kinetic_energy: unbounded.kinetic_energy,
        samples: source.nrows(),
        data: data.nrows(),
    })
}

fn largest_distance(x: ArrayView2<'_, f64>, z: ArrayView2<'_, f64>) -> f64 {
    let squares =
        |rows: &ArrayView2<'_, f64>| rows.rows().into_iter().map(|row| row.dot(&row)).collect::<Vec<_>>();
    let (of_x, of_z, products) = (squares(&x), squares(&z), x.dot(&z.t()));
    products
        .indexed_iter()
        .map(|((i, j), product)| of_x[i] + of_z[j] - 2.0 * product)
        .fold(0.0, f64::max)
        .sqrt()
}

/// Replaces `lipschitz-factor` by the L it stands for, and the penalty weight by `r / L`, twice the weight from which exceeding L no
/// longer pays, `r / (2 L)`, r the distance from noise to data.
pub fn settle_lipschitz(
    configuration: &mut RunConfiguration,
    images: &Images,
) -> Result<Option<Critical>, Failure> {
    let Some(factor) = configuration.lipschitz_factor.take() else { return Ok(None) };
    let training = &mut configuration.training;
    let mut stream = Stream::new(training.seed, StreamLabel::Evaluation);
    let ([low, high], columns) = (training.source, images.pixels.ncols());
    let noise = stream.uniform(SAMPLES as i64, columns as i64, low, high);
    let source = exact::points(&noise, SAMPLES)?;
    let rows = images.pixels.nrows().min(DATA);
    let digits = images.pixels.slice(ndarray::s![..rows, ..]).mapv(f64::from);
    let found = critical_lipschitz(&source, &digits, training.f, training.lambda, training.horizon)?;
    training.lipschitz = factor * found.upper;
    if training.penalty_weight == Configuration::default().penalty_weight {
        training.penalty_weight = found.distance(training.horizon) / training.lipschitz;
    }
    Ok(Some(found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn one_particle_and_one_digit_have_the_speed_limit_as_critical_constant() {
        // The only plan moves by r = 2: for L < lambda r / T the Huber cost is below the quadratic one, from there on equal.
        let found = critical_lipschitz(
            &array![[0.0, 0.0]],
            &array![[2.0, 0.0]],
            DivergenceKind::KullbackLeibler,
            0.5,
            4.0,
        )
        .unwrap();
        let exact = 0.5 * 2.0 / 4.0;
        assert!(found.lower < exact && exact <= found.upper * (1.0 + 1e-9), "{found:?}");
        assert!(found.upper - found.lower <= WIDTH * found.upper);
        assert!((found.distance(4.0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_digit_that_nobody_travels_to_does_not_count() {
        // Two digits, one so far that KL prefers to leave it: L_c follows the distances the plan uses, below the largest one.
        let data = array![[1.0, 0.0], [200.0, 0.0]];
        let found = critical_lipschitz(&array![[0.0, 0.0]], &data, DivergenceKind::KullbackLeibler, 1.0, 1.0)
            .unwrap();
        assert!(found.upper < 100.0, "{found:?}");
    }
}
