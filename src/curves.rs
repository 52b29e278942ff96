//! `curves.svg`: the indicators of a run over its iterations, drawn from the written `metrics.csv`.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::command::{Failure, write_atomically};
use crate::picture::use_built_in_font;

/// One panel: title, whether the value axis is logarithmic, and the columns it shows.
const PANELS: [(&str, bool, &[&str]); 6] = [
    ("terminal cost: E phi(x_N) - Lambda(phi)", false, &["terminal_cost"]),
    ("kinetic energy K_h; displacement energy", false, &["kinetic_energy", "displacement_energy"]),
    ("straightness (1 = straight)", false, &["straightness"]),
    (
        "HJ residual relative to lambda K_h: raw; gauged",
        true,
        &["hj_residual_relative", "hj_residual_gauged_relative"],
    ),
    ("terminal residual; mean critic slope at x_N", true, &["terminal_residual", "critic_slope_mean"]),
    ("step-size deviation; acceleration", true, &["deviation", "acceleration"]),
];
const COLOURS: [RGBColor; 2] = [RGBColor(31, 93, 168), RGBColor(214, 96, 36)];

/// Draws `metrics.csv` to `svg`, with `caption` (case, seed, commit) on top.
pub fn draw(metrics: &Path, svg: &Path, caption: &str) -> Result<(), Failure> {
    let failed = |error: String| Failure::Run(format!("{}: {error}", svg.display()));
    let table = Table::read(metrics)?;
    use_built_in_font();
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (1100, 920)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let (title, body) = root.split_vertically(34);
        title
            .draw(&Text::new(caption.to_owned(), (14, 10), ("sans-serif", 17).into_font()))
            .map_err(|error| failed(error.to_string()))?;
        for (area, (name, logarithmic, columns)) in body.split_evenly((3, 2)).iter().zip(PANELS) {
            panel(area, &table, name, logarithmic, columns).map_err(failed)?;
        }
        root.present().map_err(|error| failed(error.to_string()))?;
    }
    write_atomically(svg, text.as_bytes())
}

/// Columns of a CSV file by name.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<f64>>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error: csv::Error| Failure::bad_input(path.display(), error, "a metrics.csv of a run");
        let mut reader = csv::Reader::from_path(path).map_err(failed)?;
        let header = reader.headers().map_err(failed)?.iter().map(str::to_owned).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(record.map_err(failed)?.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect());
        }
        Ok(Self { header, rows })
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

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    table: &Table,
    name: &str,
    logarithmic: bool,
    columns: &[&str],
) -> Result<(), String> {
    let text = |error: DrawingAreaErrorKind<_>| error.to_string();
    let series: Vec<Vec<(f64, f64)>> = columns
        .iter()
        .map(|column| {
            let points = table.series(column).into_iter();
            if logarithmic {
                points.filter(|(_, value)| *value > 0.0).map(|(x, value)| (x, value.log10())).collect()
            } else {
                points.collect()
            }
        })
        .collect();
    let all = || series.iter().flatten();
    if all().next().is_none() {
        return Ok(());
    }
    let range = |pick: fn(&(f64, f64)) -> f64| {
        let (low, high) = all()
            .map(pick)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let margin = (0.05 * (high - low)).max(1e-9 * high.abs()).max(1e-9);
        low - margin..high + margin
    };
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 15))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(62)
        .build_cartesian_2d(range(|point| point.0), range(|point| point.1))
        .map_err(text)?;
    let label = |value: &f64| {
        let value = if logarithmic { 10.0_f64.powf(*value) } else { *value };
        if value.abs() >= 0.01 && value.abs() < 1e4 { format!("{value:.3}") } else { format!("{value:.1e}") }
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&label)
        .x_desc("outer iteration")
        .draw()
        .map_err(text)?;
    for ((points, column), colour) in series.iter().zip(columns).zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))
            .map_err(text)?
            .label((*column).to_owned())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if columns.len() > 1 {
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .label_font(("sans-serif", 12))
            .draw()
            .map_err(text)?;
    }
    Ok(())
}
