//! Errors against the spacing on logarithmic axes, each panel with the slope of the theory.

use std::path::Path;

use plotters::prelude::*;

use super::{Area, BLUE_LINE, draw, text};
use proxflow_io::command::Failure;
use proxflow_reference::torus::experiments::convergence::ConvergenceTable;

/// One panel for each table.
pub fn convergence(path: &Path, tables: &[ConvergenceTable], caption: &str) -> Result<(), Failure> {
    let columns = 3;
    let rows = tables.len().div_ceil(columns);
    draw(path, (1200, 40 + 270 * rows as u32), caption, |body| {
        for (area, table) in body.split_evenly((rows, columns)).iter().zip(tables) {
            panel(area, table)?;
        }
        Ok(())
    })
}

fn panel(area: &Area<'_>, table: &ConvergenceTable) -> Result<(), String> {
    let points: Vec<(f64, f64)> =
        table.nodes_per_side.iter().zip(&table.errors).map(|(n, error)| (1.0 / *n as f64, *error)).collect();
    let (low_h, high_h) = (points[points.len() - 1].0 / 1.2, points[0].0 * 1.2);
    // The line of the theory passes through the middle of the points.
    let middle = |value: fn(&(f64, f64)) -> f64| {
        (points.iter().map(|point| value(point).ln()).sum::<f64>() / points.len() as f64).exp()
    };
    let (middle_h, middle_error) = (middle(|point| point.0), middle(|point| point.1));
    let theory = |h: f64| middle_error * (h / middle_h).powf(table.theory);
    let all = points.iter().map(|point| point.1).chain([theory(low_h), theory(high_h)]);
    let (low, high) =
        all.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let (low, high) = (low / 1.3, high * 1.3);
    let title = format!("{} (order {:.2})", table.name, table.order);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(58)
        .build_cartesian_2d(
            (low_h..high_h).log_scale().with_key_points(points.iter().map(|point| point.0).collect()),
            (low..high).log_scale().with_key_points(ticks(low, high)),
        )
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("h")
        .x_labels(points.len())
        .y_labels(8)
        .x_label_formatter(&|h| format!("1/{:.0}", 1.0 / h))
        .y_label_formatter(&|error| format!("{error:.0e}"))
        .draw()
        .map_err(text)?;
    let slope = [(low_h, theory(low_h)), (high_h, theory(high_h))];
    chart
        .draw_series(LineSeries::new(slope, BLACK.mix(0.5)))
        .map_err(text)?
        .label(format!("slope {}", table.theory))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], BLACK.mix(0.5)));
    chart
        .draw_series(LineSeries::new(points.iter().copied(), BLUE_LINE.stroke_width(2)).point_size(3))
        .map_err(text)?
        .label("measured")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 14, y)], BLUE_LINE.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()
        .map_err(text)
}

/// `1, 2, 5 x 10^k` between `low` and `high`; whole decades alone over more than three.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = if high / low > 1e3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    (low.log10().floor() as i32..=high.log10().ceil() as i32)
        .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
        .filter(|value| (low..=high).contains(value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_ticks() {
        assert_eq!(ticks(3e-4, 1.1e-3).len(), 2);
        assert_eq!(ticks(1e-6, 1.0).len(), 7);
    }
}
