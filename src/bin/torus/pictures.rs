//! The pictures of `torus uniqueness`: every figure is drawn from numbers that the command also writes to a file.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use proxflow::command::{Failure, write_atomically};
use proxflow::picture::use_built_in_font;
use proxflow_reference::torus::characteristics::Paths;
use proxflow_reference::torus::convergence::ConvergenceTable;

/// A field on space-time (1-D): `values[n][i]` at `times[n]` and `x = i / nodes`.
pub struct SpaceTime<'a> {
    /// Times of the rows.
    pub times: &'a [f64],
    /// Rows of nodal values.
    pub values: &'a [Vec<f64>],
}

/// One dot of the uniqueness picture.
pub struct SpreadDot {
    /// Text on the left.
    pub label: String,
    /// Distances to show; zeros are drawn at the left edge.
    pub spreads: Vec<f64>,
    /// What the claim allows.
    pub allowance: f64,
    /// Negative controls are drawn in another colour.
    pub control: bool,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Density over time (colour), time upwards.
pub fn space_time(path: &Path, field: &SpaceTime<'_>, caption: &str, quantity: &str) -> Result<(), Failure> {
    draw(path, (760, 520), caption, |body| heat_map(body, field, quantity, &[]))
}

/// Characteristics (lines) over the potential (colour).
pub fn characteristics(
    path: &Path,
    field: &SpaceTime<'_>,
    paths: &Paths,
    caption: &str,
) -> Result<(), Failure> {
    let lines: Vec<Vec<(f64, f64)>> = paths
        .positions
        .iter()
        .flat_map(|positions| wrapped_pieces(positions.iter().map(|x| x[0]).zip(paths.times.iter().copied())))
        .collect();
    draw(path, (760, 520), caption, |body| heat_map(body, field, "U", &lines))
}

/// Snapshots of a 2-D density: `frames` of `(time, side * side values)`.
pub fn snapshots(path: &Path, side: usize, frames: &[(f64, &[f64])], caption: &str) -> Result<(), Failure> {
    let highest =
        frames.iter().flat_map(|(_, values)| values.iter()).fold(0.0f64, |high, value| high.max(*value));
    draw(path, (230 * frames.len() as u32 + 20, 280), caption, |body| {
        for (area, (time, values)) in body.split_evenly((1, frames.len())).iter().zip(frames) {
            let mut chart = ChartBuilder::on(area)
                .caption(format!("t = {time:.3}"), ("sans-serif", 14))
                .margin(8)
                .build_cartesian_2d(0.0..1.0, 0.0..1.0)
                .map_err(text)?;
            let h = 1.0 / side as f64;
            let cells = values.iter().enumerate().map(|(flat, value)| {
                let (x, y) = ((flat / side) as f64 * h, (flat % side) as f64 * h);
                Rectangle::new([(x, y), (x + h, y + h)], colour(value / highest).filled())
            });
            chart.draw_series(cells).map_err(text)?;
        }
        Ok(())
    })
}

/// Log-log errors against `h`, each panel with the theoretical slope.
pub fn convergence(path: &Path, tables: &[ConvergenceTable], caption: &str) -> Result<(), Failure> {
    let columns = 3;
    let rows = tables.len().div_ceil(columns);
    draw(path, (1200, 40 + 270 * rows as u32), caption, |body| {
        for (area, table) in body.split_evenly((rows, columns)).iter().zip(tables) {
            convergence_panel(area, table)?;
        }
        Ok(())
    })
}

fn convergence_panel(area: &Area<'_>, table: &ConvergenceTable) -> Result<(), String> {
    let points: Vec<(f64, f64)> =
        table.nodes_per_side.iter().zip(&table.errors).map(|(n, error)| (1.0 / *n as f64, *error)).collect();
    let (low_h, high_h) = (points[points.len() - 1].0 / 1.3, points[0].0 * 1.3);
    let theory = |h: f64| points[0].1 * (h / points[0].0).powf(table.theory);
    let all = points.iter().map(|point| point.1).chain([theory(low_h), theory(high_h)]);
    let (low, high) =
        all.fold((f64::INFINITY, 0.0f64), |(low, high), value| (low.min(value), high.max(value)));
    let title = format!("{} (order {:.2})", table.name, table.order);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 13))
        .margin(8)
        .x_label_area_size(32)
        .y_label_area_size(58)
        .build_cartesian_2d((low_h..high_h).log_scale(), (low / 1.5..high * 1.5).log_scale())
        .map_err(text)?;
    let format = |value: &f64| format!("{value:.0e}");
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("h")
        .x_labels(4)
        .y_labels(5)
        .x_label_formatter(&format)
        .y_label_formatter(&format)
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
        .map_err(text)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()
        .map_err(text)
}

/// Spreads of every case (blue) and control (orange) on one logarithmic axis, with the allowance as a bar.
pub fn spreads(path: &Path, dots: &[SpreadDot], caption: &str) -> Result<(), Failure> {
    const FLOOR: f64 = 1e-17;
    const CEILING: f64 = 1e3;
    let rows = dots.len();
    draw(path, (1000, 80 + 17 * rows as u32), caption, |body| {
        let mut chart = ChartBuilder::on(body)
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(330)
            .build_cartesian_2d((FLOOR..CEILING).log_scale(), 0.0..rows as f64)
            .map_err(text)?;
        let label = |value: &f64| {
            let row = rows as f64 - value - 0.5;
            if row >= 0.0 && (row - row.round()).abs() < 1e-6 {
                dots.get(row.round() as usize).map(|dot| dot.label.clone()).unwrap_or_default()
            } else {
                String::new()
            }
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_labels(11)
            .y_labels(0)
            .x_label_formatter(&|value| format!("{value:.0e}"))
            .x_desc("largest pairwise distance: U(.,0), rho(T), v   (bar: allowed, 10 x gap tolerance)")
            .draw()
            .map_err(text)?;
        for row in 0..rows {
            let dot = &dots[row];
            let y = rows as f64 - row as f64 - 0.5;
            let (left, pixel_y) = chart.backend_coord(&(FLOOR, y));
            let style =
                TextStyle::from(("sans-serif", 12).into_font()).pos(plotters::style::text_anchor::Pos::new(
                    plotters::style::text_anchor::HPos::Right,
                    plotters::style::text_anchor::VPos::Center,
                ));
            let (origin_x, origin_y) = body.get_base_pixel();
            body.draw(&Text::new(label(&y), (left - origin_x - 8, pixel_y - origin_y), style))
                .map_err(text)?;
            let bar = [(dot.allowance, y - 0.35), (dot.allowance, y + 0.35)];
            chart.draw_series(LineSeries::new(bar, BLACK.stroke_width(2))).map_err(text)?;
            let colour = if dot.control { ORANGE_LINE } else { BLUE_LINE };
            let marks = dot
                .spreads
                .iter()
                .map(|spread| Circle::new((spread.clamp(FLOOR, CEILING), y), 4, colour.filled()));
            chart.draw_series(marks).map_err(text)?;
        }
        Ok(())
    })
}

fn heat_map(
    area: &Area<'_>,
    field: &SpaceTime<'_>,
    quantity: &str,
    lines: &[Vec<(f64, f64)>],
) -> Result<(), String> {
    let (low, high) =
        field.values.iter().flatten().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        });
    let horizon = field.times[field.times.len() - 1];
    let (map, bar) = area.split_horizontally(area.dim_in_pixel().0 as i32 - 110);
    let mut chart = ChartBuilder::on(&map)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..1.0, 0.0..horizon)
        .map_err(text)?;
    chart.configure_mesh().disable_mesh().x_desc("x").y_desc("t").draw().map_err(text)?;
    let h = 1.0 / field.values[0].len() as f64;
    let half = 0.5 * horizon / (field.times.len() - 1) as f64;
    let cells = field.values.iter().zip(field.times).flat_map(|(row, t)| {
        // Node 0 is drawn at both ends of the circle.
        row.iter().chain(row.first()).enumerate().map(move |(i, value)| {
            let x = i as f64 * h;
            // Cells are centred on nodes; the strip of node 0 that wraps is cut at the edge.
            let corners = [
                ((x - 0.5 * h).max(0.0), (t - half).max(0.0)),
                ((x + 0.5 * h).min(1.0), (t + half).min(horizon)),
            ];
            Rectangle::new(corners, colour((value - low) / (high - low).max(1e-300)).filled())
        })
    });
    chart.draw_series(cells).map_err(text)?;
    for line in lines {
        let points = line.iter().copied();
        chart.draw_series(LineSeries::new(points, RGBColor(214, 60, 36).stroke_width(1))).map_err(text)?;
    }
    let mut scale = ChartBuilder::on(&bar)
        .margin(10)
        .margin_bottom(46)
        .caption(quantity, ("sans-serif", 14))
        .right_y_label_area_size(58)
        .build_cartesian_2d(0.0..1.0, low..high.max(low + 1e-12))
        .map_err(text)?;
    scale
        .configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .y_label_formatter(&|value| format!("{value:.3}"))
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(text)?;
    let steps = (0..64).map(|k| {
        let at = |k: i32| low + (high - low) * f64::from(k) / 64.0;
        Rectangle::new([(0.0, at(k)), (1.0, at(k + 1))], colour(f64::from(k) / 63.0).filled())
    });
    scale.draw_series(steps).map_err(text)?;
    Ok(())
}

/// A path on the circle cut where it passes from 1 to 0.
fn wrapped_pieces(points: impl Iterator<Item = (f64, f64)>) -> Vec<Vec<(f64, f64)>> {
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut turn = f64::NAN;
    for (x, t) in points {
        if x.floor() != turn {
            turn = x.floor();
            pieces.push(Vec::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push((x - turn, t));
        }
    }
    pieces
}

/// A dark-to-bright map (viridis stops), for `t` in \[0, 1\].
pub fn colour(t: f64) -> RGBColor {
    const STOPS: [(f64, f64, f64); 5] = [
        (68.0, 1.0, 84.0),
        (59.0, 82.0, 139.0),
        (33.0, 145.0, 140.0),
        (94.0, 201.0, 98.0),
        (253.0, 231.0, 37.0),
    ];
    let place = (t.clamp(0.0, 1.0) * 4.0).min(3.999_999);
    let (k, share) = (place as usize, place.fract());
    let mix = |a: f64, b: f64| (a + share * (b - a)).round() as u8;
    let (a, b) = (STOPS[k], STOPS[k + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// Draws `body` under a caption line and writes the picture atomically.
fn draw(
    path: &Path,
    size: (u32, u32),
    caption: &str,
    body: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> Result<(), Failure> {
    use_built_in_font();
    let failed = |error: String| Failure::Run(format!("{}: {error}", path.display()));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(error.to_string()))?;
        let (title, rest) = root.split_vertically(30);
        title
            .draw(&Text::new(caption.to_owned(), (12, 10), ("sans-serif", 14).into_font()))
            .map_err(|error| failed(error.to_string()))?;
        body(&rest).map_err(failed)?;
        root.present().map_err(|error| failed(error.to_string()))?;
    }
    write_atomically(path, svg.as_bytes())
}

fn text(error: DrawingAreaErrorKind<std::io::Error>) -> String {
    error.to_string()
}

const BLUE_LINE: RGBColor = RGBColor(31, 93, 168);
const ORANGE_LINE: RGBColor = RGBColor(214, 96, 36);
