//! Fields over time: heat maps on space-time, characteristics over the potential, snapshots of 2-D densities.

use std::path::Path;

use plotters::prelude::*;

use super::cells::{LEVELS, cells, segments_on_torus};
use super::{Area, RED_LINE, draw, text};
use proxflow_io::command::Failure;
use proxflow_reference::torus::experiments::characteristics::Paths;

/// A field on space-time (1-D): `values[n][i]` at `times[n]` and `x = i / nodes`.
pub struct SpaceTime<'a> {
    /// Times of the rows.
    pub times: &'a [f64],
    /// Rows of nodal values.
    pub values: &'a [Vec<f64>],
}

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
    let horizon = field.times[field.times.len() - 1];
    let lines: Vec<[(f64, f64); 2]> = paths
        .positions
        .iter()
        .flat_map(|positions| {
            corners(positions.iter().map(|x| x[0]).zip(paths.times.iter().copied()).collect())
                .windows(2)
                .flat_map(|pair| segments_on_torus(pair[0], pair[1], horizon, false))
                .collect::<Vec<_>>()
        })
        .collect();
    draw(path, (760, 520), caption, |body| heat_map(body, field, "U", &lines))
}

/// The points where a path turns, with its ends: a straight path becomes one segment, free of the rounding to pixels.
fn corners(path: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (k, point) in path.iter().enumerate() {
        let turns = match (kept.last(), path.get(k + 1)) {
            (Some(last), Some(next)) => {
                let cross = (point.0 - last.0) * (next.1 - last.1) - (point.1 - last.1) * (next.0 - last.0);
                cross.abs() > 1e-9
            }
            _ => true,
        };
        if turns {
            kept.push(*point);
        }
    }
    kept
}

/// Snapshots of a 2-D density: `frames` of `(time, side * side values)`, one colour scale for all.
pub fn snapshots(path: &Path, side: usize, frames: &[(f64, &[f64])], caption: &str) -> Result<(), Failure> {
    let highest =
        frames.iter().flat_map(|(_, values)| values.iter()).fold(0.0f64, |high, value| high.max(*value));
    let edges = node_edges(side);
    let width = 230 * frames.len() as i32;
    draw(path, (width as u32 + 110, 292), caption, |body| {
        let (panels, bar) = body.split_horizontally(width);
        for (area, (time, values)) in panels.split_evenly((1, frames.len())).iter().zip(frames) {
            let mut chart = ChartBuilder::on(area)
                .caption(format!("t = {time:.3}"), ("sans-serif", 14))
                .margin(6)
                .x_label_area_size(24)
                .y_label_area_size(26)
                .build_cartesian_2d(0.0..1.0, 0.0..1.0)
                .map_err(text)?;
            chart
                .configure_mesh()
                .disable_mesh()
                .x_labels(3)
                .y_labels(3)
                .label_style(("sans-serif", 11))
                .draw()
                .map_err(text)?;
            chart
                .draw_series(cells(&edges, &edges, |i, j| values[i % side * side + j % side] / highest))
                .map_err(text)?;
        }
        colour_bar(&bar, "rho", 0.0, highest, 30)
    })
}

fn heat_map(
    area: &Area<'_>,
    field: &SpaceTime<'_>,
    quantity: &str,
    lines: &[[(f64, f64); 2]],
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
    let nodes = field.values[0].len();
    let x_edges = node_edges(nodes);
    let t_edges = centred_edges(field.times);
    let share = |i: usize, n: usize| (field.values[n][i % nodes] - low) / (high - low).max(f64::MIN_POSITIVE);
    chart.draw_series(cells(&x_edges, &t_edges, share)).map_err(text)?;
    for line in lines {
        chart.draw_series(LineSeries::new(*line, RED_LINE.stroke_width(1))).map_err(text)?;
    }
    colour_bar(&bar, quantity, low, high, 46)
}

/// Cells centred on the nodes of a circle: the strip of node 0 lies at both ends, half at each.
fn node_edges(nodes: usize) -> Vec<f64> {
    centred_edges(&(0..=nodes).map(|i| i as f64 / nodes as f64).collect::<Vec<_>>())
}

/// Edges halfway between `points`, with the first and the last point themselves at the ends.
fn centred_edges(points: &[f64]) -> Vec<f64> {
    let middles = points.windows(2).map(|pair| 0.5 * (pair[0] + pair[1]));
    std::iter::once(points[0]).chain(middles).chain(std::iter::once(points[points.len() - 1])).collect()
}

/// The colours from `low` to `high`.
fn colour_bar(
    area: &Area<'_>,
    quantity: &str,
    low: f64,
    high: f64,
    margin_bottom: i32,
) -> Result<(), String> {
    let high = high.max(low + 1e-12);
    let mut scale = ChartBuilder::on(area)
        .margin(10)
        .margin_bottom(margin_bottom)
        .caption(quantity, ("sans-serif", 14))
        .right_y_label_area_size(58)
        .build_cartesian_2d(0.0..1.0, low..high)
        .map_err(text)?;
    scale
        .configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .y_labels(8)
        .y_label_formatter(&|value| format!("{value:.2}"))
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(text)?;
    let edges: Vec<f64> = (0..=LEVELS).map(|k| low + (high - low) * k as f64 / LEVELS as f64).collect();
    let shades = cells(&[0.0, 1.0], &edges, |_, k| k as f64 / (LEVELS - 1) as f64);
    scale.draw_series(shades).map_err(text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_paths_become_one_segment_and_turns_are_kept() {
        let straight = (0..40).map(|k| (0.3 + 0.01 * f64::from(k), 0.005 * f64::from(k))).collect();
        assert_eq!(corners(straight).len(), 2);
        assert_eq!(corners(vec![(0.0, 0.0), (0.1, 0.1), (0.1, 0.2), (0.1, 0.3)]).len(), 3);
    }
}
