//! `curves.svg`: the indicators of a run over its iterations, drawn from the written `metrics.csv`.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::command::{Failure, write_atomically};
use proxflow_io::number::brief;
use proxflow_io::plot::axis::{TickedRange, linear_ticks, logarithmic_ticks};
use proxflow_io::plot::use_built_in_font;

/// One panel: its columns with the words that name them, and how it is drawn.
struct Panel {
    logarithmic: bool,
    /// A value worth a grey line: where an optimal flow would be.
    optimum: Option<f64>,
    series: &'static [(&'static str, &'static str)],
}

const PANELS: [Panel; 8] = [
    Panel {
        logarithmic: false,
        optimum: None,
        series: &[("terminal_cost", "terminal cost E phi(x_N) - Lambda(phi)")],
    },
    Panel {
        logarithmic: false,
        optimum: None,
        series: &[("kinetic_energy", "kinetic energy K_h"), ("displacement_energy", "displacement energy")],
    },
    Panel {
        logarithmic: false,
        optimum: Some(1.0),
        series: &[("straightness", "straightness (1: straight)")],
    },
    Panel {
        logarithmic: true,
        optimum: None,
        series: &[
            ("hj_residual_relative", "HJ residual / (lambda K_h)"),
            ("hj_residual_gauged_relative", "the same, gauged"),
        ],
    },
    Panel {
        logarithmic: true,
        optimum: None,
        series: &[("terminal_residual", "terminal residual"), ("critic_slope_mean", "critic slope at x_N")],
    },
    Panel {
        logarithmic: true,
        optimum: None,
        series: &[("deviation", "step-size deviation"), ("acceleration", "acceleration")],
    },
    Panel { logarithmic: false, optimum: None, series: &[("dual", "lower bound of J*, prototypes as data")] },
    Panel {
        logarithmic: true,
        optimum: None,
        series: &[("excess", "J - J* at most (estimate)"), ("excess_stderr", "its standard error")],
    },
];
const COLOURS: [RGBColor; 2] = [RGBColor(31, 93, 168), RGBColor(214, 96, 36)];

/// Draws `metrics.csv` to `svg`, with `caption` (case, seed, commit) on top.
pub fn draw(metrics: &Path, svg: &Path, caption: &str) -> Result<(), Failure> {
    let failed = |error: String| Failure::Run(format!("{}: {error}", svg.display()));
    let table = Table::read(metrics)?;
    let has = |panel: &&Panel| panel.series.iter().any(|(column, _)| !table.series(column).is_empty());
    let panels: Vec<&Panel> = PANELS.iter().filter(has).collect();
    let height = 34 + 295 * panels.len().div_ceil(2).max(1) as u32;
    use_built_in_font();
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (1100, height)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let (title, body) = root.split_vertically(34);
        title
            .draw(&Text::new(caption.to_owned(), (14, 10), ("sans-serif", 17).into_font()))
            .map_err(|error| failed(error.to_string()))?;
        for (area, panel) in body.split_evenly((panels.len().div_ceil(2), 2)).iter().zip(panels) {
            panel.draw(area, &table).map_err(failed)?;
        }
        root.present().map_err(|error| failed(error.to_string()))?;
    }
    write_atomically(svg, text.as_bytes())
}

/// Rows and columns of the table of numbers in `bytes`, read as [`draw`] reads `metrics.csv`; cells that are no numbers are gaps.
pub fn size(bytes: &[u8]) -> Result<(usize, usize), csv::Error> {
    Table::parse(bytes).map(|table| (table.rows.len(), table.header.len()))
}

/// Columns of a CSV file by name.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error: csv::Error| Failure::bad_input(path.display(), error, "a metrics.csv of a run");
        Self::parse(std::fs::File::open(path).map_err(|error| failed(error.into()))?).map_err(failed)
    }

    fn parse(bytes: impl std::io::Read) -> Result<Self, csv::Error> {
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers()?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(record?.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect());
        }
        Ok(Self { header, rows })
    }

    fn last_iteration(&self) -> f64 {
        self.series("iteration").last().map_or(0.0, |(iteration, _)| *iteration)
    }

    /// `(iteration, value)` of a column, finite values only.
    fn series(&self, column: &str) -> Vec<(f64, f64)> {
        let position = |name: &str| self.header.iter().position(|found| found == name);
        match (position("iteration"), position(column)) {
            (Some(iteration), Some(column)) => {
                let points = self.rows.iter().map(|row| (row[iteration], row[column]));
                points.filter(|(_, value)| value.is_finite()).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Panel {
    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, table: &Table) -> Result<(), String> {
        let text = |error: DrawingAreaErrorKind<_>| error.to_string();
        let scale = |value: f64| if self.logarithmic { value.log10() } else { value };
        let series: Vec<Vec<(f64, f64)>> = self
            .series
            .iter()
            .map(|(column, _)| {
                let points = table.series(column).into_iter();
                points.filter(|(_, value)| !self.logarithmic || *value > 0.0).collect()
            })
            .collect();
        if series.iter().flatten().next().is_none() {
            return Ok(());
        }
        let iterations = extent(series.iter().flatten().map(|point| point.0).chain([0.0]));
        let values = series.iter().flatten().map(|point| point.1).chain(self.optimum);
        let values = extent(values.map(scale));
        let ticks = if self.logarithmic {
            logarithmic_ticks(10.0_f64.powf(values.start), 10.0_f64.powf(values.end), 6)
        } else {
            linear_ticks(values.start, values.end, 6)
        };
        let iteration_ticks = linear_ticks(iterations.start, iterations.end, 6);

        let mut words = 14;
        for ((_, name), colour) in self.series.iter().zip(COLOURS) {
            let style = TextStyle::from(("sans-serif", 15).into_font()).color(&colour);
            let (width, _) = area.estimate_text_size(name, &style).map_err(text)?;
            area.draw(&Text::new(*name, (words, 6), style)).map_err(text)?;
            words += width as i32 + 22;
        }
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .margin_top(30)
            .margin_right(20)
            .x_label_area_size(42)
            .y_label_area_size(54)
            .build_cartesian_2d(
                TickedRange::new(iterations, iteration_ticks),
                TickedRange::new(values, ticks.into_iter().map(scale).collect()),
            )
            .map_err(text)?;
        chart
            .configure_mesh()
            .bold_line_style(BLACK.mix(0.12))
            .light_line_style(WHITE.mix(0.0))
            .x_label_formatter(&|value| brief(*value))
            .y_label_formatter(&|value| brief(if self.logarithmic { 10.0_f64.powf(*value) } else { *value }))
            .x_desc("outer iteration")
            .draw()
            .map_err(text)?;
        if let Some(optimum) = self.optimum {
            let end = table.last_iteration();
            let line = [(0.0, scale(optimum)), (end, scale(optimum))];
            chart.draw_series(LineSeries::new(line, BLACK.mix(0.5).stroke_width(1))).map_err(text)?;
        }
        for (points, colour) in series.iter().zip(COLOURS) {
            let line = points.iter().map(|(iteration, value)| (*iteration, scale(*value)));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2))).map_err(text)?;
        }
        Ok(())
    }
}

/// The range of finite values with a margin of 5 %.
fn extent(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let margin = (0.05 * (high - low)).max(1e-9 * high.abs()).max(1e-9);
    low - margin..high + margin
}
