//! Pictures: every figure is drawn from numbers that the command also writes to a file.

pub mod cells;
pub mod convergence;
pub mod space_time;
pub mod spreads;

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use proxflow_io::command::{Failure, write_atomically};
use proxflow_io::plot::use_built_in_font;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const BLUE_LINE: RGBColor = RGBColor(31, 93, 168);
const ORANGE_LINE: RGBColor = RGBColor(214, 96, 36);
const RED_LINE: RGBColor = RGBColor(214, 60, 36);
const GREY_LINE: RGBColor = RGBColor(130, 130, 130);

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

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
