//! The four panels of the picture: ground cost, potentials, flow, masses.

use ndarray::{Array1, Array2, Axis};
use plotters::coord::Shift;
use plotters::prelude::*;
use proxflow_reference::ProximalParameters;
use proxflow_reference::transport::PointwiseCost;

use super::Scene;
use super::polyline::simplified;
use proxflow_io::plot::use_built_in_font;

const SOURCE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const DATA: RGBColor = RGBColor(0xd6, 0x27, 0x28);
const INTERMEDIATE: RGBColor = RGBColor(0x2c, 0xa0, 0x2c);
const GENERATED: RGBColor = RGBColor(0x94, 0x67, 0xbd);

type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Scene {
    pub(super) fn draw(&self, area: DrawingArea<SVGBackend, Shift>) -> Drawn {
        use_built_in_font();
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
        let top = 1.15 * cost(end);
        let curve = |low: f64, high: f64, value: &dyn Fn(f64) -> f64| {
            let grid = (0..=400).map(|k| low + (high - low) * f64::from(k) / 400.0);
            simplified(
                &grid.map(|r| (r, value(r))).filter(|point| point.1 <= top).collect::<Vec<_>>(),
                5e-4 * top,
            )
        };
        chart
            .draw_series(LineSeries::new(
                curve(kink, end, &|r| lambda * r * r / (2.0 * horizon)),
                SOURCE.mix(0.35),
            ))?
            .label(label("lambda r^2/(2T)"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], SOURCE.mix(0.35)));
        chart
            .draw_series(LineSeries::new(curve(0.0, end, &|r| lipschitz * r), DATA.mix(0.45)))?
            .label(label("L r"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], DATA.mix(0.45)));
        chart
            .draw_series(LineSeries::new(curve(0.0, end, &cost), BLACK.stroke_width(2)))?
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
        let curve = |values: Vec<f64>| {
            let points: Vec<(f64, f64)> = line.iter().copied().zip(values).collect();
            simplified(&points, 1e-3 * (top - bottom))
        };
        let mut chart = ChartBuilder::on(area)
            .caption("(b) potentials: cones at the data, everywhere defined", ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(44)
            .build_cartesian_2d(low..high, bottom..top)?;
        chart.configure_mesh().x_desc("x").y_desc("potential").light_line_style(TRANSPARENT).draw()?;
        chart
            .draw_series(LineSeries::new(curve(phi), DATA.stroke_width(2)))?
            .label(label("phi* = U(., T), slope at most L"))
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], DATA.stroke_width(2)));
        chart
            .draw_series(LineSeries::new(
                curve(line.iter().map(|&x| initial(x)).collect()),
                SOURCE.stroke_width(2),
            ))?
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
