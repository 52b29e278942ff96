//! Sample grids: images side by side in one PNG, with a caption.

use std::path::Path;

use image::{GrayImage, ImageEncoder, codecs::png::PngEncoder};
use ndarray::ArrayView2;
use plotters::prelude::*;
use proxflow_io::plot::use_built_in_font;

use crate::command::{Failure, write_atomically};
use crate::dataset::SIDE;

/// Magnification of every pixel.
const SCALE: usize = 2;
/// Empty pixels between images.
const GAP: usize = 2;
/// Height of one caption line in pixels of the picture.
const LINE: usize = 20;
/// Empty pixels around the caption.
const MARGIN: usize = 8;

/// Writes images `(n, 784)` with values in `[0, 1]` (clipped) as a grid of `columns`, captioned, to a PNG.
pub fn write_grid(
    path: &Path,
    images: ArrayView2<'_, f32>,
    columns: usize,
    caption: &str,
) -> Result<(), Failure> {
    let columns = columns.clamp(1, images.nrows().max(1));
    let rows = images.nrows().div_ceil(columns);
    let cell = SIDE * SCALE + GAP;
    let width = columns * cell + GAP;
    let lines = wrap(caption, width.saturating_sub(2 * MARGIN) / 8);
    let top = rows * cell + GAP;
    let height = top + lines.len() * LINE + 2 * MARGIN - GAP;
    let mut canvas = vec![255_u8; width * height * 3];
    for (index, image) in images.rows().into_iter().enumerate() {
        let (left, up) = (GAP + index % columns * cell, GAP + index / columns * cell);
        for y in 0..SIDE * SCALE {
            for x in 0..SIDE * SCALE {
                let value = image[y / SCALE * SIDE + x / SCALE].clamp(0.0, 1.0);
                let at = 3 * ((up + y) * width + left + x);
                canvas[at..at + 3].fill((value * 255.0).round() as u8);
            }
        }
    }
    use_built_in_font();
    {
        let area = BitMapBackend::with_buffer(&mut canvas, (width as u32, height as u32)).into_drawing_area();
        let style = TextStyle::from(("sans-serif", 15).into_font()).color(&BLACK);
        for (index, line) in lines.iter().enumerate() {
            let at = (MARGIN as i32, (top + index * LINE + MARGIN) as i32);
            area.draw(&Text::new(line.as_str(), at, style.clone()))
                .map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
        }
    }
    let grey: Vec<u8> = canvas.chunks_exact(3).map(|rgb| rgb[0]).collect();
    let grey = GrayImage::from_raw(width as u32, height as u32, grey)
        .ok_or_else(|| Failure::Run(format!("{}: picture of impossible size", path.display())))?;
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&grey, grey.width(), grey.height(), image::ExtendedColorType::L8)
        .map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
    write_atomically(path, &png)
}

/// Breaks `text` at spaces into lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn a_grid_holds_every_image_and_ink_in_its_caption() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        write_grid(
            &path,
            Array2::<f32>::zeros((7, SIDE * SIDE)).view(),
            3,
            "w1w2, seed 1, step 20, a caption",
        )
        .unwrap();
        let picture = image::open(&path).unwrap().to_luma8();
        let cell = (SIDE * SCALE + GAP) as u32;
        assert_eq!(picture.width(), 3 * cell + GAP as u32);
        assert_eq!(picture.get_pixel(GAP as u32, GAP as u32).0[0], 0);
        let caption =
            picture.rows().skip((3 * cell) as usize + GAP).flatten().filter(|pixel| pixel.0[0] < 128).count();
        assert!(caption > 50, "{caption} dark pixels of text");
    }
}
