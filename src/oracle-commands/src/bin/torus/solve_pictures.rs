//! The pictures of `torus solve`: densities as heat maps (or curves), the potential with characteristics.

use std::path::Path;

use ndarray::ArrayD;
use plotters::coord::Shift;
use plotters::prelude::*;

use proxflow_io::command::Failure;
use proxflow_io::plot::use_built_in_font;
use proxflow_reference::torus::{TorusProblem, TorusSolution, hopf_lax_map};

use crate::pictures::cells::{cells, segments_on_torus};

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Room above the curves for the legend, as a multiple of their range.
const HEADROOM: f64 = 1.3;

/// Cells per side of a heat map: finer grids are averaged.
const CELLS: usize = 128;

/// Writes `densities.png` and `potential.png` (first two axes of three: the middle slice).
pub fn draw(
    folder: &Path,
    problem: &TorusProblem,
    solution: &TorusSolution,
    caption: &str,
) -> Result<(), Failure> {
    use_built_in_font();
    let failed = |error: String| Failure::Run(format!("pictures: {error}"));
    let densities = [
        ("source rho_0", &problem.source),
        ("generated rho_T", &solution.terminal_density),
        ("intermediate eta", &solution.intermediate),
        ("target pi", &problem.target),
    ];
    if problem.grid.dimension == 1 {
        curves(&folder.join("densities.png"), problem, &densities, caption).map_err(failed)?;
        space_time(&folder.join("potential.png"), problem, solution, caption).map_err(failed)
    } else {
        maps(&folder.join("densities.png"), problem, &densities, caption).map_err(failed)?;
        characteristics(&folder.join("potential.png"), problem, solution, caption).map_err(failed)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn maps(
    path: &Path,
    problem: &TorusProblem,
    densities: &[(&str, &ArrayD<f64>); 4],
    caption: &str,
) -> Result<(), String> {
    let root = BitMapBackend::new(path, (1240, 362)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let body = root.margin(8, 0, 0, 0).titled(caption, ("sans-serif", 18)).map_err(text)?;
    for (area, (name, masses)) in body.split_evenly((1, 4)).iter().zip(densities) {
        let (edges, values) = coarsened(problem, masses, problem.grid.node_count() as f64);
        let highest = values.iter().fold(0.0_f64, |a, b| a.max(*b));
        heat_map(area, &format!("{name}, 0 to {highest:.3}"), &edges, &values, &[])?;
    }
    root.present().map_err(text)
}

fn characteristics(
    path: &Path,
    problem: &TorusProblem,
    solution: &TorusSolution,
    caption: &str,
) -> Result<(), String> {
    let root = BitMapBackend::new(path, (720, 780)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let body = root.margin(8, 0, 0, 0).titled(caption, ("sans-serif", 18)).map_err(text)?;
    let (edges, values) = coarsened(problem, &solution.terminal_potential, 1.0);
    let (low, high) = range(values.iter());
    let title = format!("terminal potential phi, {low:.3} (dark) to {high:.3}; lines from x (dot) to x(T)");
    heat_map(&body, &title, &edges, &values, &lines(problem, solution)?)?;
    root.present().map_err(text)
}

/// `(x, x(T))` in the first two coordinates for about 18 starts per side, from the minimising nodes of Hopf-Lax.
fn lines(problem: &TorusProblem, solution: &TorusSolution) -> Result<Vec<[(f64, f64); 2]>, String> {
    let grid = problem.grid;
    let parameters = problem.parameters;
    let (_, nodes) = hopf_lax_map(&grid, &solution.terminal_potential, parameters.lambda, parameters.horizon)
        .map_err(text)?;
    let stride = grid.nodes_per_side.div_ceil(18);
    let nearest = |d: f64| d - d.round();
    Ok(nodes
        .iter()
        .enumerate()
        .filter(|(x, _)| {
            let index = grid.multi_index(*x);
            let middle = if grid.dimension == 3 { grid.nodes_per_side / 2 } else { 0 };
            index[0] % stride == stride / 2 && index[1] % stride == stride / 2 && index[2] == middle
        })
        .map(|(x, y)| {
            let (x, y) = (grid.position(x), grid.position(*y));
            [(x[0], x[1]), (x[0] + nearest(y[0] - x[0]), x[1] + nearest(y[1] - x[1]))]
        })
        .collect())
}

fn heat_map(
    area: &Area<'_>,
    caption: &str,
    edges: &[f64],
    values: &[f64],
    lines: &[[(f64, f64); 2]],
) -> Result<(), String> {
    let (low, high) = range(values.iter());
    let low = if lines.is_empty() { 0.0 } else { low };
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(36)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)
        .map_err(text)?;
    chart.configure_mesh().disable_mesh().x_labels(5).y_labels(5).draw().map_err(text)?;
    // The first strip continues behind the last one: the square is a torus.
    let side = edges.len() - 2;
    let share =
        |i: usize, j: usize| (values[i % side * side + j % side] - low) / (high - low).max(f64::MIN_POSITIVE);
    chart.draw_series(cells(edges, edges, share)).map_err(text)?;
    for line in lines {
        for part in segments_on_torus(line[0], line[1], 1.0, true) {
            chart.draw_series(LineSeries::new(part, WHITE.stroke_width(1))).map_err(text)?;
        }
    }
    chart
        .draw_series(lines.iter().map(|line| Circle::new(line[0], 2, RGBColor(214, 60, 36).filled())))
        .map_err(text)?;
    Ok(())
}

/// Block means (times `scale`) of the middle slice on at most [`CELLS`] cells per side, and the edges of the cells: each
/// reaches half a spacing beyond its nodes.
fn coarsened(problem: &TorusProblem, values: &ArrayD<f64>, scale: f64) -> (Vec<f64>, Vec<f64>) {
    let n = problem.grid.nodes_per_side;
    let block = n.div_ceil(CELLS);
    let side = n.div_ceil(block);
    let mut sums = vec![(0.0, 0.0); side * side];
    let middle = if problem.grid.dimension == 3 { n / 2 } else { 0 };
    for (flat, value) in values.iter().enumerate() {
        let index = problem.grid.multi_index(flat);
        if index[2] == middle {
            let cell = &mut sums[index[0] / block * side + index[1] / block];
            *cell = (cell.0 + value, cell.1 + 1.0);
        }
    }
    let inner = (1..=side).map(|k| (((k * block) as f64 - 0.5) / n as f64).min(1.0));
    let edges = std::iter::once(0.0).chain(inner).chain(std::iter::once(1.0)).collect();
    (edges, sums.iter().map(|(sum, count)| scale * sum / count).collect())
}

fn curves(
    path: &Path,
    problem: &TorusProblem,
    densities: &[(&str, &ArrayD<f64>); 4],
    caption: &str,
) -> Result<(), String> {
    let n = problem.grid.nodes_per_side;
    let highest = densities.iter().flat_map(|(_, d)| d.iter()).fold(0.0_f64, |a, b| a.max(*b)) * n as f64;
    let root = BitMapBackend::new(path, (900, 520)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..1.0, 0.0..HEADROOM * highest)
        .map_err(text)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("x").y_desc("density").draw().map_err(text)?;
    // rho_T is drawn wider than eta, which covers it where W1 moves nothing.
    let styles = [
        RGBColor(90, 90, 90).stroke_width(2),
        RGBColor(31, 119, 180).stroke_width(5),
        RGBColor(44, 160, 44).stroke_width(2),
        RGBColor(214, 60, 36).stroke_width(2),
    ];
    for ((name, masses), style) in densities.iter().zip(styles) {
        let points = closed(masses).into_iter().map(|(x, mass)| (x, mass * n as f64));
        chart
            .draw_series(LineSeries::new(points, style))
            .map_err(text)?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(text)?;
    root.present().map_err(text)
}

/// Values at the nodes and at `x = 1`, where the circle closes.
fn closed(values: &ArrayD<f64>) -> Vec<(f64, f64)> {
    let n = values.len();
    (0..=n).zip(values.iter().cycle()).map(|(i, value)| (i as f64 / n as f64, *value)).collect()
}

fn range<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// Characteristics in space-time above the potentials.
fn space_time(
    path: &Path,
    problem: &TorusProblem,
    solution: &TorusSolution,
    caption: &str,
) -> Result<(), String> {
    let grid = problem.grid;
    let n = grid.nodes_per_side;
    let parameters = problem.parameters;
    let (_, nodes) = hopf_lax_map(&grid, &solution.terminal_potential, parameters.lambda, parameters.horizon)
        .map_err(text)?;
    let root = BitMapBackend::new(path, (900, 720)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let body = root.margin(8, 0, 0, 0).titled(caption, ("sans-serif", 18)).map_err(text)?;
    let (top, bottom) = body.split_vertically(330);
    let mut chart = ChartBuilder::on(&top)
        .caption("characteristics x(t)", ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, 0.0..parameters.horizon)
        .map_err(text)?;
    chart.configure_mesh().disable_mesh().x_desc("x").y_desc("t").draw().map_err(text)?;
    let stride = (n / 96).max(1);
    for x in (0..n).step_by(stride) {
        let start = x as f64 / n as f64;
        let step = nodes[x] as f64 / n as f64 - start;
        let end = start + step - step.round();
        for part in segments_on_torus((start, 0.0), (end, parameters.horizon), parameters.horizon, false) {
            chart.draw_series(LineSeries::new(part, RGBColor(31, 119, 180).stroke_width(1))).map_err(text)?;
        }
    }
    let fields = [
        ("phi = U(., T)", &solution.terminal_potential, RGBColor(214, 60, 36)),
        ("U(., 0)", &solution.initial_potential, RGBColor(31, 119, 180)),
    ];
    let (low, high) = range(fields.iter().flat_map(|(_, field, _)| field.iter()));
    let margin = 0.05 * (high - low).max(1e-12);
    let mut chart = ChartBuilder::on(&bottom)
        .caption("potentials", ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..1.0, low - margin..low + HEADROOM * (high - low).max(1e-12))
        .map_err(text)?;
    chart.configure_mesh().light_line_style(WHITE).x_desc("x").draw().map_err(text)?;
    for (name, field, shade) in fields {
        chart
            .draw_series(LineSeries::new(closed(field), shade.stroke_width(2)))
            .map_err(text)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], shade.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .draw()
        .map_err(text)?;
    root.present().map_err(text)
}
