//! Panels of points, lines and fields side by side, as one bitmap with a caption.

use std::error::Error;

use image::{ImageEncoder, codecs::png::PngEncoder};
use plotters::coord::Shift;
use plotters::prelude::*;
use proxflow_io::number::brief;
use proxflow_io::plot::axis::{TickedRange, linear_ticks};
use proxflow_io::plot::use_built_in_font;

use super::levels::{Grid, level_lines};
use super::plane::Window;
use crate::command::Failure;

/// Data.
pub const DATA: RGBColor = RGBColor(150, 150, 150);
/// Source points.
pub const SOURCE: RGBColor = RGBColor(86, 180, 233);
/// Generated points.
pub const GENERATED: RGBColor = RGBColor(213, 94, 0);
/// Paths.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);

/// One thing that is drawn.
#[derive(Debug, Clone)]
pub enum Layer {
    /// Dots.
    Points {
        /// Where.
        at: Vec<(f64, f64)>,
        /// Of which colour.
        colour: RGBColor,
        /// In pixels.
        radius: i32,
        /// 0 to 1.
        opacity: f64,
    },
    /// Broken lines.
    Lines {
        /// Each by its corners.
        lines: Vec<Vec<(f64, f64)>>,
        /// Of which colour.
        colour: RGBColor,
        /// 0 to 1.
        opacity: f64,
    },
    /// A function: shades from low (dark) to high (light), and `levels` of its level sets.
    Field {
        /// Its values.
        grid: Grid,
        /// How many level sets.
        levels: usize,
    },
}

/// One square picture with its title.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// From back to front.
    pub layers: Vec<Layer>,
    /// What is shown.
    pub window: Window,
}

/// Panels in rows of `columns`, with `caption` below.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The panels.
    pub panels: Vec<Panel>,
    /// Per row.
    pub columns: usize,
    /// Pixels per side of a panel.
    pub side: u32,
    /// Below all.
    pub caption: String,
}

const CAPTION: u32 = 24;

impl Sheet {
    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let rows = self.panels.len().div_ceil(columns) as u32;
        let lines = self.lines(columns as u32 * self.side).len() as u32;
        (columns as u32 * self.side, rows * self.side + lines * 18 + CAPTION - 14)
    }

    fn lines(&self, width: u32) -> Vec<String> {
        let most = (width as usize / 7).max(20);
        let mut lines: Vec<String> = Vec::new();
        for word in self.caption.split_whitespace() {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 1 + word.chars().count() <= most => {
                    line.push(' ');
                    line.push_str(word);
                }
                _ => lines.push(word.to_owned()),
            }
        }
        lines
    }

    /// The pixels, three bytes each, rows from above.
    pub fn pixels(&self) -> Result<Vec<u8>, Failure> {
        use_built_in_font();
        let (width, height) = self.size();
        let mut canvas = vec![255_u8; (width * height * 3) as usize];
        self.draw(&mut canvas, width, height).map_err(|error| Failure::Run(format!("picture: {error}")))?;
        Ok(canvas)
    }

    /// The picture as PNG.
    pub fn to_png(&self) -> Result<Vec<u8>, Failure> {
        let (width, height) = self.size();
        encode_png(&self.pixels()?, width, height)
    }

    fn draw(&self, canvas: &mut [u8], width: u32, height: u32) -> Result<(), Box<dyn Error>> {
        let area = BitMapBackend::with_buffer(canvas, (width, height)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| error.to_string())?;
        let lines = self.lines(width);
        let rows = self.panels.len().div_ceil(self.columns.clamp(1, self.panels.len().max(1)));
        let (body, foot) = area.split_vertically(rows as u32 * self.side);
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        for (part, panel) in body.split_evenly((rows.max(1), columns)).iter().zip(&self.panels) {
            panel.draw(part)?;
        }
        for (k, line) in lines.iter().enumerate() {
            let style = ("sans-serif", 14).into_font().color(&RGBColor(70, 70, 70));
            foot.draw(&Text::new(line.as_str(), (10, 2 + 18 * k as i32), style))
                .map_err(|error| error.to_string())?;
        }
        area.present().map_err(|error| error.to_string())?;
        Ok(())
    }
}

impl Panel {
    fn draw(&self, area: &DrawingArea<BitMapBackend<'_>, Shift>) -> Result<(), Box<dyn Error>> {
        let text = |error: DrawingAreaErrorKind<_>| -> Box<dyn Error> { error.to_string().into() };
        let axis = |[low, high]: [f64; 2]| TickedRange::new(low..high, linear_ticks(low, high, 6));
        let mut chart = ChartBuilder::on(area)
            .margin(6)
            .caption(&self.title, ("sans-serif", 16))
            .x_label_area_size(22)
            .y_label_area_size(34)
            .build_cartesian_2d(axis(self.window.x), axis(self.window.y))
            .map_err(text)?;
        chart
            .configure_mesh()
            .bold_line_style(RGBColor(235, 237, 240))
            .light_line_style(TRANSPARENT)
            .axis_style(RGBColor(150, 155, 160))
            .label_style(("sans-serif", 12))
            .x_label_formatter(&|value| brief(*value))
            .y_label_formatter(&|value| brief(*value))
            .draw()
            .map_err(text)?;
        let inside = |&(x, y): &(f64, f64)| {
            let Window { x: [left, right], y: [low, high] } = self.window;
            (left..=right).contains(&x) && (low..=high).contains(&y)
        };
        for layer in &self.layers {
            match layer {
                Layer::Points { at, colour, radius, opacity } => {
                    let style = colour.mix(*opacity).filled();
                    let dots = at
                        .iter()
                        .filter(|point| inside(point))
                        .map(|&point| Circle::new(point, *radius, style));
                    chart.draw_series(dots).map_err(text)?;
                }
                Layer::Lines { lines, colour, opacity } => {
                    let style = colour.mix(*opacity).stroke_width(1);
                    let shown = lines.iter().filter(|line| line.iter().all(inside));
                    chart
                        .draw_series(shown.map(|line| PathElement::new(line.clone(), style)))
                        .map_err(text)?;
                }
                Layer::Field { grid, levels } => {
                    let chosen = grid.levels(*levels);
                    let (low, high) =
                        (chosen.first().copied().unwrap_or(0.0), chosen.last().copied().unwrap_or(1.0));
                    let half = |[a, b]: [f64; 2]| 0.5 * (b - a) / grid.side as f64;
                    let (w, h) = (half(grid.window.x), half(grid.window.y));
                    let squares = grid.values.iter().enumerate().map(|(k, value)| {
                        let (x, y) = Grid::centre(grid.window, grid.side, k % grid.side, k / grid.side);
                        let part = ((value - low) / (high - low).max(1e-300)).clamp(0.0, 1.0);
                        Rectangle::new([(x - w, y - h), (x + w, y + h)], shade(part).filled())
                    });
                    chart.draw_series(squares).map_err(text)?;
                    let style = RGBColor(40, 50, 80).mix(0.55).stroke_width(1);
                    for level in chosen {
                        let lines = level_lines(grid, level);
                        chart
                            .draw_series(lines.into_iter().map(|line| PathElement::new(line.to_vec(), style)))
                            .map_err(text)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// From dark blue over white-green to light yellow, by brightness alone.
fn shade(part: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 5] = [
        [62.0, 73.0, 137.0],
        [49.0, 120.0, 160.0],
        [80.0, 170.0, 170.0],
        [160.0, 213.0, 180.0],
        [245.0, 245.0, 215.0],
    ];
    let place = part * 4.0;
    let k = (place.floor() as usize).min(3);
    let rest = place - k as f64;
    let mix = |c: usize| (STOPS[k][c] + rest * (STOPS[k + 1][c] - STOPS[k][c])).round() as u8;
    RGBColor(mix(0), mix(1), mix(2))
}

/// Encodes pixels, three bytes each, rows from above.
pub fn encode_png(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, Failure> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(pixels, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| Failure::Run(format!("picture: {error}")))?;
    Ok(png)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sheet(layers: Vec<Layer>) -> Sheet {
        let window = Window { x: [-1.0, 1.0], y: [-1.0, 1.0] };
        let panel = Panel { title: "title".into(), layers, window };
        Sheet {
            panels: vec![panel.clone(), panel],
            columns: 2,
            side: 200,
            caption: "moons, seed 1, a caption".into(),
        }
    }

    fn count(pixels: &[u8], colour: RGBColor) -> usize {
        pixels.chunks_exact(3).filter(|rgb| **rgb == [colour.0, colour.1, colour.2]).count()
    }

    #[test]
    fn points_are_drawn_inside_the_window_alone_in_both_panels() {
        let dots = |at| Layer::Points { at, colour: GENERATED, radius: 4, opacity: 1.0 };
        let inside = sheet(vec![dots(vec![(0.0, 0.0)])]).pixels().unwrap();
        let one = count(&inside, GENERATED);
        assert!((60..160).contains(&one), "{one}");
        assert_eq!(count(&sheet(vec![dots(vec![(3.0, 0.0)])]).pixels().unwrap(), GENERATED), 0);
    }

    #[test]
    fn a_png_has_the_size_of_the_sheet() {
        let sheet = sheet(Vec::new());
        let picture = image::load_from_memory(&sheet.to_png().unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), sheet.size());
    }
}
