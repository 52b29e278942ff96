//! The picture of docs/oracle.md: one combined proximal on the line, drawn from its certified solution.

use std::path::Path;

use ndarray::{Array1, Array2, Axis};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use proxflow_reference::divergence::RegularisedOptions;
use proxflow_reference::proximal::{CombinedProximal, combined_proximal};
use proxflow_reference::transport::PointwiseCost;
use proxflow_reference::{DivergenceKind, ProximalParameters};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::Serialize;

use crate::command::{Failure, write_atomically};

const SOURCE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const DATA: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const INTERMEDIATE: RGBColor = RGBColor(0x2c, 0xa0, 0x2c);
const GENERATED: RGBColor = RGBColor(0x94, 0x67, 0xbd);

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

/// Solves a small combined proximal in one dimension and draws it to `path` as SVG, atomically; returns its numbers.
pub fn draw(path: &Path, seed: u64) -> Result<Illustration, Failure> {
    let scene = Scene::new(seed)?;
    let mut text = String::new();
    scene
        .draw(SVGBackend::with_string(&mut text, (1080, 820)).into_drawing_area())
        .map_err(|error| Failure::Run(format!("drawing failed: {error}")))?;
    write_atomically(path, text.as_bytes())?;
    Ok(scene.numbers(seed))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

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
        let options = RegularisedOptions::default();
        let solved = combined_proximal(source.view(), None, data.view(), None, kind, parameters, &options)?;
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

    fn draw(&self, area: DrawingArea<SVGBackend, Shift>) -> Drawn {
        for style in [FontStyle::Normal, FontStyle::Bold] {
            // A second registration of the same name is refused and changes nothing.
            let _ = register_font("sans-serif", style, epaint_default_fonts::UBUNTU_LIGHT);
        }
        area.fill(&WHITE)?;
        let ProximalParameters { lipschitz, lambda, horizon } = self.parameters;
        let title = format!(
            "Combined proximal on the line, KL, L = {lipschitz}, lambda = {lambda}, T = {horizon}: J* in [{:.9}, {:.9}], gap {:.0e}",
            self.solved.lower,
            self.solved.upper,
            self.solved.gap().abs()
        );
        let area = area.titled(&title, ("sans-serif", 20))?;
        let panels = area.split_evenly((2, 2));
        self.draw_cost(&panels[0])?;
        self.draw_potentials(&panels[1])?;
        self.draw_paths(&panels[2])?;
        self.draw_masses(&panels[3])?;
        area.present()?;
        Ok(())
    }

    /// The ground cost on both sides of its kink.
    fn draw_cost(&self, area: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let ProximalParameters { lipschitz, lambda, horizon } = self.parameters;
        let huber = PointwiseCost::Huber(self.parameters);
        let cost = |r: f64| huber.of_squared_distance(r * r);
        let kink = self.parameters.kink();
        let end = 2.0 * kink;
        let mut chart = ChartBuilder::on(area)
            .caption("(a) ground cost c(r): kinetic, then W1", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(0.0..end, 0.0..1.15 * cost(end))?;
        chart.configure_mesh().x_desc("r = |x - z|").y_desc("cost").light_line_style(TRANSPARENT).draw()?;
        let grid = |low: f64, high: f64| (0..=100).map(move |k| low + (high - low) * f64::from(k) / 100.0);
        chart
            .draw_series(LineSeries::new(
                grid(kink, end)
                    .map(|r| (r, lambda * r * r / (2.0 * horizon)))
                    .filter(|p| p.1 < 1.15 * cost(end)),
                SOURCE.mix(0.35),
            ))?
            .label(label("lambda r^2/(2T)"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], SOURCE.mix(0.35)));
        chart
            .draw_series(LineSeries::new(
                grid(0.0, end).map(|r| (r, lipschitz * r)).filter(|p| p.1 < 1.15 * cost(end)),
                DATA.mix(0.45),
            ))?
            .label(label("L r"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], DATA.mix(0.45)));
        chart
            .draw_series(LineSeries::new(grid(0.0, end).map(|r| (r, cost(r))), BLACK.stroke_width(2)))?
            .label(label("c(r)"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.stroke_width(2)));
        chart.draw_series([PathElement::new([(kink, 0.0), (kink, cost(kink))], BLACK.mix(0.4))])?;
        chart.draw_series([Circle::new((kink, cost(kink)), 4, BLACK.filled())])?;
        let caption = format!("kink r = LT/lambda = {kink:.1}");
        chart.draw_series([Text::new(caption, (kink + 0.03 * end, 0.06 * cost(end)), ("sans-serif", 15))])?;
        // The distances that the plan uses.
        chart
            .draw_series(self.paths().map(|[x, _, z, _]| {
                Circle::new(((z - x).abs(), cost((z - x).abs())), 3, INTERMEDIATE.filled())
            }))?
            .label(label("arcs of the plan"))
            .legend(|(x, y)| Circle::new((x + 9, y), 3, INTERMEDIATE.filled()));
        legend(&mut chart, SeriesLabelPosition::UpperLeft)
    }

    /// `U(., 0)` and `phi = U(., T)`: lower envelopes of the same heights with two kernels.
    fn draw_potentials(&self, area: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let (low, high) = self.range();
        let line: Array2<f64> = Array1::linspace(low, high, 801).insert_axis(Axis(1));
        let phi = self.solved.potential.values(line.view())?;
        let huber = PointwiseCost::Huber(self.parameters);
        let offsets = self.solved.potential.offsets();
        let initial = |x: f64| {
            self.data
                .iter()
                .zip(offsets)
                .map(|(z, psi)| huber.of_squared_distance((x - z) * (x - z)) + psi)
                .fold(f64::INFINITY, f64::min)
        };
        let bottom = phi.iter().chain(offsets).copied().fold(f64::INFINITY, f64::min) - 0.4;
        let top = phi.iter().copied().fold(f64::NEG_INFINITY, f64::max) + 1.4;
        let mut chart = ChartBuilder::on(area)
            .caption("(b) potentials: cones at the data, everywhere defined", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(low..high, bottom..top)?;
        chart.configure_mesh().x_desc("x").y_desc("potential").light_line_style(TRANSPARENT).draw()?;
        chart
            .draw_series(LineSeries::new(line.iter().copied().zip(phi), DATA.stroke_width(2)))?
            .label(label("phi* = U(., T), slope at most L"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], DATA.stroke_width(2)));
        chart
            .draw_series(LineSeries::new(line.iter().map(|&x| (x, initial(x))), SOURCE.stroke_width(2)))?
            .label(label("U(., 0), by Hopf-Lax"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], SOURCE.stroke_width(2)));
        chart.draw_series(
            self.data.iter().zip(offsets).map(|(z, psi)| Circle::new((*z, *psi), 4, DATA.filled())),
        )?;
        chart.draw_series(
            self.source
                .iter()
                .zip(&self.solved.initial_potential)
                .map(|(x, u)| Circle::new((*x, *u), 4, SOURCE.filled())),
        )?;
        legend(&mut chart, SeriesLabelPosition::UpperLeft)
    }

    /// Straight lines in space and time; what W1 pays for afterwards is dotted.
    fn draw_paths(&self, area: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let (low, high) = self.range();
        let horizon = self.parameters.horizon;
        let beyond = 1.35 * horizon;
        let mut chart = ChartBuilder::on(area)
            .caption("(c) the flow: straight lines to rho_T, then W1 to eta*", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(low..high, 0.0..1.45 * horizon)?;
        chart
            .configure_mesh()
            .x_desc("x")
            .y_desc("time (W1 step drawn above T)")
            .light_line_style(TRANSPARENT)
            .draw()?;
        chart.draw_series([PathElement::new([(low, horizon), (high, horizon)], BLACK.mix(0.3))])?;
        chart.draw_series(self.paths().map(|[x, y, _, mass]| {
            PathElement::new([(x, 0.0), (y, horizon)], SOURCE.stroke_width(width(mass)))
        }))?;
        for [_, y, z, _] in self.paths() {
            let dots = (0..=24).map(|k| f64::from(k) / 24.0);
            let (along, up) = (z - y, beyond - horizon);
            chart.draw_series(
                dots.map(|t| Circle::new((y + t * along, horizon + t * up), 1, DATA.filled())),
            )?;
        }
        chart
            .draw_series(self.source.iter().map(|x| Circle::new((*x, 0.0), 4, SOURCE.filled())))?
            .label(label("rho_0"))
            .legend(|(x, y)| Circle::new((x + 9, y), 4, SOURCE.filled()));
        chart
            .draw_series(self.paths().map(|[_, y, _, _]| Circle::new((y, horizon), 4, GENERATED.filled())))?
            .label(label("rho_T"))
            .legend(|(x, y)| Circle::new((x + 9, y), 4, GENERATED.filled()));
        chart
            .draw_series(self.data.iter().map(|z| TriangleMarker::new((*z, beyond), 6, DATA.filled())))?
            .label(label("data atoms"))
            .legend(|(x, y)| TriangleMarker::new((x + 9, y), 6, DATA.filled()));
        legend(&mut chart, SeriesLabelPosition::LowerRight)
    }

    /// `eta*` beside the weights of the data.
    fn draw_masses(&self, area: &DrawingArea<SVGBackend, Shift>) -> Drawn {
        let (low, high) = self.range();
        let weight = 1.0 / self.data.len() as f64;
        let tallest = self.solved.intermediate.iter().copied().fold(weight, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption("(d) masses: eta* reweights the data", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(low..high, 0.0..1.3 * tallest)?;
        chart.configure_mesh().x_desc("x").y_desc("mass").light_line_style(TRANSPARENT).draw()?;
        let stem = |x: f64, mass: f64, shift: f64, colour: RGBColor| {
            PathElement::new([(x + shift, 0.0), (x + shift, mass)], colour.stroke_width(4))
        };
        let nudge = 0.005 * (high - low);
        let mut bars = |atoms: Vec<(f64, f64)>, shift: f64, colour: RGBColor, name: &str| -> Drawn {
            chart
                .draw_series(atoms.into_iter().map(|(x, mass)| stem(x, mass, shift, colour)))?
                .label(label(name))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(4)));
            Ok(())
        };
        let uniform = 1.0 / self.source.len() as f64;
        bars(self.source.iter().map(|x| (*x, uniform)).collect(), 0.0, SOURCE, "rho_0")?;
        bars(self.data.iter().map(|z| (*z, weight)).collect(), -nudge, DATA, "data pi")?;
        bars(
            self.data.iter().copied().zip(self.solved.intermediate.iter().copied()).collect(),
            nudge,
            INTERMEDIATE,
            "eta* = pi e^phi / E_pi e^phi",
        )?;
        legend(&mut chart, SeriesLabelPosition::UpperMiddle)
    }

    fn range(&self) -> (f64, f64) {
        let points = || self.source.iter().chain(&self.data).copied();
        (points().fold(f64::INFINITY, f64::min) - 0.5, points().fold(f64::NEG_INFINITY, f64::max) + 0.5)
    }
}

/// Stroke width of a path of this mass: a twelfth of the total is two pixels.
fn width(mass: f64) -> u32 {
    (24.0 * mass).ceil().clamp(1.0, 4.0) as u32
}

/// Legend boxes are sized for the built-in font; viewers substitute wider ones, so leave room.
fn label(text: &str) -> String {
    format!("{text}{}", " ".repeat(2 + text.len() / 3))
}

fn legend<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    position: SeriesLabelPosition,
) -> Drawn
where
    X: Ranged<ValueType = f64>,
    Y: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_picture_shows_both_sides_of_the_kink_and_is_reproducible() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a.svg"), folder.path().join("b.svg"));
        let numbers = draw(&first, 1).unwrap();
        draw(&second, 1).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
        assert!(std::fs::read_to_string(&first).unwrap().starts_with("<svg"));
        let lengths: Vec<f64> = numbers.paths.iter().map(|[x, _, z, _]| (z - x).abs()).collect();
        assert!(lengths.iter().any(|r| *r < numbers.kink) && lengths.iter().any(|r| *r > numbers.kink));
        assert!(numbers.upper - numbers.lower < 1e-10);
        assert!(draw(Path::new("/nonexistent/folder/a.svg"), 1).is_err());
    }
}
