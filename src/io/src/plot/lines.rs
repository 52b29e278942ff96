//! Line and point plots, drawn from stored numbers as stand-alone SVG.

use std::error::Error;
use std::ops::Range;

use plotters::prelude::*;
use serde::Serialize;

use super::axis::{TickedRange, linear_ticks, logarithmic_ticks};
use super::use_built_in_font;
use crate::number::brief;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mark {
    /// Joined by lines.
    Line,
    /// Points alone.
    Points,
}

/// One named series of points.
#[derive(Debug, Clone, Serialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// The points `(x, y)`; non-finite ones are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub mark: Mark,
}

/// A picture with the numbers behind it.
#[derive(Debug, Clone, Serialize)]
pub struct Plot {
    /// Title above the picture.
    pub title: String,
    /// What the reader should see, below the picture.
    pub caption: String,
    /// Label of the horizontal axis.
    pub horizontal: String,
    /// Label of the vertical axis.
    pub vertical: String,
    /// Logarithmic axes.
    pub logarithmic: bool,
    /// The series.
    pub series: Vec<Series>,
}

impl Plot {
    /// An empty plot with linear axes.
    pub fn new(title: &str, horizontal: &str, vertical: &str, caption: &str) -> Self {
        Self {
            title: title.into(),
            caption: caption.into(),
            horizontal: horizontal.into(),
            vertical: vertical.into(),
            logarithmic: false,
            series: Vec::new(),
        }
    }

    /// Both axes logarithmic; points that are not positive are left out.
    pub fn logarithmic(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    /// Adds points joined by lines.
    pub fn line(mut self, name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, mark: Mark::Line });
        self
    }

    /// Adds points alone.
    pub fn points(mut self, name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        self.series.push(Series { name: name.into(), points, mark: Mark::Points });
        self
    }

    /// The picture as an SVG document of 640 x 400 units. Without a drawable point it says so instead.
    pub fn to_svg(&self) -> Result<String, String> {
        use_built_in_font();
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, (WIDTH, 400)).into_drawing_area();
        self.draw(&area).map_err(|error| error.to_string())?;
        drop(area);
        Ok(text)
    }

    /// The points that can be drawn, in axis coordinates: themselves, or their decimal logarithms.
    fn drawable(&self) -> Vec<Vec<(f64, f64)>> {
        let place = |&(x, y): &(f64, f64)| if self.logarithmic { (x.log10(), y.log10()) } else { (x, y) };
        let finite = |point: &(f64, f64)| point.0.is_finite() && point.1.is_finite();
        self.series.iter().map(|series| series.points.iter().map(place).filter(finite).collect()).collect()
    }

    fn draw(&self, area: &Area) -> Result<(), Box<dyn Error + '_>> {
        area.fill(&WHITE)?;
        let series = self.drawable();
        let all: Vec<(f64, f64)> = series.concat();
        if all.is_empty() {
            area.draw(&Text::new("no finite values", (260, 190), ("sans-serif", 18)))?;
            return Ok(area.present()?);
        }
        let (head, body) = area.split_vertically(self.head_height());
        self.draw_head(&head)?;
        let (horizontal, vertical) = (span(all.iter().map(|p| p.0)), span(all.iter().map(|p| p.1)));
        let axis = |range: Range<f64>| TickedRange::new(range.clone(), self.ticks(&range));
        let mut chart = ChartBuilder::on(&body)
            .margin(8)
            .margin_right(18)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(axis(horizontal), axis(vertical))?;
        let label = |value: &f64| brief(if self.logarithmic { 10_f64.powf(*value) } else { *value });
        chart
            .configure_mesh()
            .x_desc(self.horizontal.as_str())
            .y_desc(self.vertical.as_str())
            .x_label_formatter(&label)
            .y_label_formatter(&label)
            .bold_line_style(RGBColor(225, 228, 232))
            .light_line_style(TRANSPARENT)
            .axis_style(RGBColor(110, 118, 129))
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 15))
            .draw()?;
        for (i, points) in series.into_iter().enumerate() {
            match self.series[i].mark {
                Mark::Line => {
                    chart.draw_series(LineSeries::new(points, colour(i).stroke_width(2)))?;
                }
                Mark::Points => {
                    chart.draw_series(points.into_iter().map(|p| Circle::new(p, 3, colour(i).filled())))?;
                }
            }
        }
        Ok(area.present()?)
    }

    /// Legend entries `(series, x, y)` laid out in rows below the title.
    fn legend(&self) -> Vec<(usize, i32, i32)> {
        let (mut x, mut y) = (14, 40);
        let mut entries = Vec::new();
        for (i, series) in self.series.iter().enumerate() {
            // Seven units a letter: a little more than the font needs.
            let width = 34 + 7 * series.name.chars().count() as i32;
            if x > 14 && x + width > WIDTH as i32 {
                (x, y) = (14, y + 19);
            }
            entries.push((i, x, y));
            x += width;
        }
        entries
    }

    fn head_height(&self) -> i32 {
        self.legend().last().map_or(36, |(_, _, y)| y + 18)
    }

    fn draw_head(&self, head: &Area) -> Result<(), Box<dyn Error + '_>> {
        head.draw(&Text::new(self.title.as_str(), (14, 10), ("sans-serif", 18)))?;
        for (i, x, y) in self.legend() {
            head.draw(&Rectangle::new([(x, y + 5), (x + 16, y + 9)], colour(i).filled()))?;
            head.draw(&Text::new(self.series[i].name.as_str(), (x + 22, y), ("sans-serif", 14)))?;
        }
        Ok(())
    }

    /// Where the axis is labelled: round numbers, on a logarithmic axis whole decades, or 1, 2, 5 within few of them.
    fn ticks(&self, range: &Range<f64>) -> Vec<f64> {
        if self.logarithmic {
            let ticks = logarithmic_ticks(10_f64.powf(range.start), 10_f64.powf(range.end), 8);
            return ticks.into_iter().map(f64::log10).collect();
        }
        linear_ticks(range.start, range.end, 6)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

const WIDTH: u32 = 640;

/// The range of `values` with a margin on both sides.
fn span(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(f64::NEG_INFINITY, f64::max);
    // Differences at rounding are no picture: a constant is drawn as one.
    let flat = high - low <= 1e-9 * high.abs().max(low.abs());
    let margin = if flat { 0.5 * high.abs().max(1e-3) } else { 0.05 * (high - low) };
    low - margin..high + margin
}

/// The palette of Okabe and Ito, which readers with any colour vision can tell apart.
fn colour(index: usize) -> RGBColor {
    const PALETTE: [RGBColor; 8] = [
        RGBColor(0, 114, 178),
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(86, 180, 233),
        RGBColor(230, 159, 0),
        RGBColor(90, 90, 90),
        RGBColor(0, 0, 0),
    ];
    PALETTE[index % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn plots_are_complete_svg_documents_even_when_empty_or_degenerate() {
        let plot = Plot::new("t", "x", "y", "c").line("a", vec![(0.0, 1.0), (1.0, 2.0)]);
        for plot in [
            plot.clone(),
            plot.logarithmic().points("b", vec![(0.0, -1.0), (f64::NAN, 1.0)]),
            Plot::new("empty", "x", "y", "c"),
            Plot::new("single", "x", "y", "c").points("p", vec![(1.0, 1.0)]),
        ] {
            let svg = plot.to_svg().unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_axis() {
        let labels = |plot: &Plot, range: Range<f64>| -> Vec<String> {
            plot.ticks(&range)
                .iter()
                .map(|x| brief(if plot.logarithmic { 10_f64.powf(*x) } else { *x }))
                .collect()
        };
        let plot = Plot::new("t", "x", "y", "c");
        assert_eq!(labels(&plot, -0.05..1.05), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        let plot = plot.logarithmic();
        assert_eq!(labels(&plot, -5.2..0.1), ["1e-5", "1e-4", "0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(&plot, -1.1..0.4), ["0.1", "0.2", "0.5", "1", "2"]);
    }
}
