//! The picture of docs/records/oracle.md: one combined proximal on the line, drawn from its certified solution.

mod panels;
mod polyline;

use ndarray::{Array1, Array2, Axis};
use plotters::prelude::{IntoDrawingArea, SVGBackend};
use proxflow_reference::proximal::{CombinedProximal, combined_proximal};
use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::Serialize;

use proxflow_io::command::Failure;

/// The numbers behind the picture.
#[derive(Debug, Serialize)]
pub struct Illustration {
    /// Certified lower bound of `J*`.
    pub lower: f64,
    /// Certified upper bound of `J*`.
    pub upper: f64,
    /// `L T/lambda`.
    pub kink: f64,
    /// Kinetic energy `K*`.
    pub kinetic_energy: f64,
    /// Source atoms (uniform weights).
    pub source: Vec<f64>,
    /// Data atoms (uniform weights).
    pub data: Vec<f64>,
    /// `eta*` on the data atoms.
    pub intermediate: Vec<f64>,
    /// `[x, y, z, mass]` of each path; `y` is an atom of `rho_T`.
    pub paths: Vec<[f64; 4]>,
    /// The seed of the atoms.
    pub seed: u64,
}

struct Scene {
    parameters: ProximalParameters,
    source: Array2<f64>,
    data: Array2<f64>,
    solved: CombinedProximal,
}

/// Solves a small combined proximal in one dimension and draws it; returns its numbers and the SVG.
pub fn draw(seed: u64) -> Result<(Illustration, String), Failure> {
    let scene = Scene::new(seed)?;
    let mut text = String::new();
    scene
        .draw(SVGBackend::with_string(&mut text, (1080, 820)).into_drawing_area())
        .map_err(|error| Failure::Run(format!("drawing failed: {error}")))?;
    Ok((scene.numbers(seed), text))
}

impl Scene {
    /// Twelve source atoms between two clusters of data, the right one partly beyond the kink.
    fn new(seed: u64) -> Result<Self, Failure> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut sample = |mean: f64, deviation: f64, count: usize| -> Vec<f64> {
            let law = Normal::new(mean, deviation).expect("the deviations are positive constants");
            let mut points: Vec<f64> = law.sample_iter(&mut generator).take(count).collect();
            points.sort_by(f64::total_cmp);
            points
        };
        let source = Array1::from(sample(0.0, 0.7, 12)).insert_axis(Axis(1));
        let data = [sample(-1.6, 0.35, 5), sample(2.6, 0.4, 7)].concat();
        let data = Array1::from(data).insert_axis(Axis(1));
        let parameters = ProximalParameters::new(1.2, 1.2, 1.5)?;
        let kind = DivergenceKind::KullbackLeibler;
        let (from, to) = (Measure::uniform(source.view())?, Measure::uniform(data.view())?);
        let solved = combined_proximal(&from, &to, kind, parameters, &Options::new())?;
        Ok(Self { parameters, source, data, solved })
    }

    fn numbers(&self, seed: u64) -> Illustration {
        Illustration {
            lower: self.solved.lower,
            upper: self.solved.upper,
            kink: self.parameters.kink(),
            kinetic_energy: self.solved.kinetic_energy,
            source: self.source.iter().copied().collect(),
            data: self.data.iter().copied().collect(),
            intermediate: self.solved.intermediate.clone(),
            paths: self.paths().collect(),
            seed,
        }
    }

    /// `[x, y, z, mass]`.
    fn paths(&self) -> impl Iterator<Item = [f64; 4]> + '_ {
        self.solved.paths.iter().enumerate().map(|(k, path)| {
            let start = self.solved.starts[[k, 0]];
            let end = self.solved.endpoints[[k, 0]];
            [start, end, path.data.map_or(end, |j| self.data[[j, 0]]), path.mass]
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_picture_shows_both_sides_of_the_kink_and_is_reproducible() {
        let (numbers, picture) = draw(1).unwrap();
        assert_eq!(picture, draw(1).unwrap().1);
        assert_ne!(picture, draw(2).unwrap().1);
        assert!(picture.starts_with("<svg"));
        let lengths: Vec<f64> = numbers.paths.iter().map(|[x, _, z, _]| (z - x).abs()).collect();
        assert!(lengths.iter().any(|r| *r < numbers.kink) && lengths.iter().any(|r| *r > numbers.kink));
        assert!(numbers.upper - numbers.lower < 1e-10);
    }
}
