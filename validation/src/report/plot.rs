//! Line and point plots, drawn from stored numbers as stand-alone SVG.

use std::sync::Once;

use plotters::prelude::*;
use serde::Serialize;

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
        register_font();
        let drawable = |&(x, y): &(f64, f64)| {
            x.is_finite() && y.is_finite() && (!self.logarithmic || (x > 0.0 && y > 0.0))
        };
        let place = |(x, y): (f64, f64)| if self.logarithmic { (x.log10(), y.log10()) } else { (x, y) };
        let series: Vec<(usize, &Series, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .enumerate()
            .map(|(i, s)| (i, s, s.points.iter().copied().filter(drawable).map(place).collect()))
            .collect();
        let all: Vec<(f64, f64)> = series.iter().flat_map(|(_, _, points)| points.clone()).collect();
        let range = |pick: fn(&(f64, f64)) -> f64| {
            let low = all.iter().map(pick).fold(f64::INFINITY, f64::min);
            let high = all.iter().map(pick).fold(f64::NEG_INFINITY, f64::max);
            let margin = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(1.0) };
            low - margin..high + margin
        };
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, (640, 400)).into_drawing_area();
            let draw = || -> Result<(), Box<dyn std::error::Error>> {
                area.fill(&WHITE)?;
                if all.is_empty() {
                    area.draw_text(
                        "no finite values",
                        &("sans-serif", 18).into_text_style(&area),
                        (260, 190),
                    )?;
                    return Ok(area.present()?);
                }
                let mut chart = ChartBuilder::on(&area)
                    .caption(&self.title, ("sans-serif", 18))
                    .margin(12)
                    .x_label_area_size(42)
                    .y_label_area_size(64)
                    .build_cartesian_2d(range(|p| p.0), range(|p| p.1))?;
                let label = |value: &f64| {
                    if self.logarithmic { format!("1e{value:.1}") } else { crate::number::number(*value) }
                };
                chart
                    .configure_mesh()
                    .x_desc(self.horizontal.as_str())
                    .y_desc(self.vertical.as_str())
                    .x_label_formatter(&label)
                    .y_label_formatter(&label)
                    .light_line_style(WHITE)
                    .label_style(("sans-serif", 13))
                    .draw()?;
                for (i, series, points) in series {
                    let colour = Palette99::pick(i).to_rgba();
                    let legend = move |(x, y): (i32, i32)| {
                        Rectangle::new([(x, y - 4), (x + 14, y + 4)], colour.filled())
                    };
                    match series.mark {
                        Mark::Line => {
                            chart
                                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                                .label(&series.name)
                                .legend(legend);
                        }
                        Mark::Points => {
                            chart
                                .draw_series(points.into_iter().map(|p| Circle::new(p, 2, colour.filled())))?
                                .label(&series.name)
                                .legend(legend);
                        }
                    }
                }
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::UpperRight)
                    .background_style(WHITE.mix(0.85))
                    .border_style(BLACK.mix(0.3))
                    .label_font(("sans-serif", 13))
                    .draw()?;
                Ok(area.present()?)
            };
            draw().map_err(|error| error.to_string())?;
        }
        Ok(text)
    }
}

/// plotters needs a font to measure text; one is compiled in, so that no system font is needed.
fn register_font() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        let font = epaint_default_fonts::UBUNTU_LIGHT;
        // A font that cannot be parsed shows up as an error of the first drawing.
        let _ = plotters::style::register_font("sans-serif", FontStyle::Normal, font);
    });
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
}
