//! Spreads of every case and control on one logarithmic axis, with what the claim allows.

use std::path::Path;

use plotters::coord::CoordTranslate;
use plotters::element::{Cross, TriangleMarker};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, BLUE_LINE, GREY_LINE, ORANGE_LINE, draw, text};
use proxflow_io::command::Failure;

/// One row of the picture.
pub struct SpreadRow {
    /// Text on the left.
    pub label: String,
    /// Distance between the random starts themselves, where they are potentials.
    pub starts: Option<f64>,
    /// Distances to show: U(.,0), rho(T), v, or the one distance of a control. Zeros are drawn at the left edge.
    pub spreads: Vec<f64>,
    /// What the claim allows.
    pub allowance: f64,
    /// Decides the colour.
    pub kind: RowKind,
}

/// What a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// A case that must stay below its allowance.
    Case,
    /// A case without a useful certificate.
    Uncertified,
    /// A negative control, which must exceed its allowance.
    Control,
}

const FLOOR: f64 = 1e-17;
const CEILING: f64 = 1e3;

/// Draws every row, first on top.
pub fn spreads(path: &Path, rows: &[SpreadRow], caption: &str) -> Result<(), Failure> {
    let count = rows.len();
    draw(path, (1000, 110 + 17 * count as u32), caption, |body| {
        let mut chart = ChartBuilder::on(body)
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(260)
            .build_cartesian_2d((FLOOR..CEILING).log_scale(), 0.0..count as f64 + 1.6)
            .map_err(text)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .light_line_style(WHITE)
            .x_labels(11)
            .y_labels(0)
            .x_label_formatter(&|value| format!("{value:.0e}"))
            .x_desc("largest pairwise distance; black bar: what the claim allows, 10 x gap tolerance")
            .draw()
            .map_err(text)?;
        let top = count as f64 + 0.7;
        for (kind, x, name) in
            [(0, 3e-17, "U(.,0)"), (1, 3e-14, "rho(T)"), (2, 3e-11, "v"), (3, 3e-9, "random starts, U(.,T)")]
        {
            mark(&mut chart, kind, (x, top), if kind == 3 { GREY_LINE } else { BLUE_LINE })?;
            beside(body, chart.backend_coord(&(x, top)), 9, HPos::Left, name)?;
        }
        mark(&mut chart, 0, (1e-3, top), ORANGE_LINE)?;
        beside(body, chart.backend_coord(&(1e-3, top)), 9, HPos::Left, "negative control")?;
        for (index, row) in rows.iter().enumerate() {
            let y = count as f64 - index as f64 - 0.5;
            let label = match row.kind {
                RowKind::Uncertified => format!("{} (no certificate)", row.label),
                RowKind::Case | RowKind::Control => row.label.clone(),
            };
            beside(body, chart.backend_coord(&(FLOOR, y)), -8, HPos::Right, &label)?;
            let bar = [(row.allowance, y - 0.35), (row.allowance, y + 0.35)];
            chart.draw_series(LineSeries::new(bar, BLACK.stroke_width(2))).map_err(text)?;
            let colour = match row.kind {
                RowKind::Case => BLUE_LINE,
                RowKind::Uncertified => GREY_LINE,
                RowKind::Control => ORANGE_LINE,
            };
            for (kind, spread) in row.spreads.iter().enumerate() {
                mark(&mut chart, kind, (spread.clamp(FLOOR, CEILING), y), colour)?;
            }
            if let Some(starts) = row.starts {
                mark(&mut chart, 3, (starts.clamp(FLOOR, CEILING), y), GREY_LINE)?;
            }
        }
        Ok(())
    })
}

/// Disc, triangle, cross, ring.
fn mark<CT: CoordTranslate<From = (f64, f64)>>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, CT>,
    kind: usize,
    at: (f64, f64),
    colour: RGBColor,
) -> Result<(), String> {
    match kind {
        0 => chart.draw_series([Circle::new(at, 4, colour.filled())]).map(drop),
        1 => chart.draw_series([TriangleMarker::new(at, 5, colour.filled())]).map(drop),
        2 => chart.draw_series([Cross::new(at, 4, colour.stroke_width(2))]).map(drop),
        _ => chart.draw_series([Circle::new(at, 4, colour.stroke_width(1))]).map(drop),
    }
    .map_err(text)
}

/// Text `offset` pixels beside a point given in pixels of the whole picture.
fn beside(body: &Area<'_>, at: (i32, i32), offset: i32, side: HPos, words: &str) -> Result<(), String> {
    let (origin_x, origin_y) = body.get_base_pixel();
    let style = TextStyle::from(("sans-serif", 12).into_font()).pos(Pos::new(side, VPos::Center));
    body.draw(&Text::new(words.to_owned(), (at.0 - origin_x + offset, at.1 - origin_y), style)).map_err(text)
}
