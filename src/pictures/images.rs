//! Images of any size side by side.

use ndarray::ArrayView2;

use super::panel::encode_png;
use crate::command::Failure;

/// Images `(n, h w)` as grey squares in rows of `columns`, the range `[low, high]` from black to white, as PNG.
pub fn image_grid(
    rows: ArrayView2<'_, f64>,
    [height, width]: [usize; 2],
    columns: usize,
    [low, high]: [f64; 2],
) -> Result<Vec<u8>, Failure> {
    const GAP: usize = 2;
    if rows.nrows() == 0 || rows.ncols() != height * width {
        let value = format!("{} rows of {} pixels", rows.nrows(), rows.ncols());
        return Err(Failure::bad_input("images", value, format!("at least one of {height}x{width}")));
    }
    let scale = (56 / height.max(width)).max(1);
    let columns = columns.clamp(1, rows.nrows());
    let (cell_x, cell_y) = (width * scale + GAP, height * scale + GAP);
    let size = [columns * cell_x + GAP, rows.nrows().div_ceil(columns) * cell_y + GAP];
    let mut canvas = vec![255_u8; size[0] * size[1] * 3];
    for (index, image) in rows.rows().into_iter().enumerate() {
        let (left, up) = (GAP + index % columns * cell_x, GAP + index / columns * cell_y);
        for y in 0..height * scale {
            for x in 0..width * scale {
                let value = (image[y / scale * width + x / scale] - low) / (high - low).max(1e-300);
                let at = 3 * ((up + y) * size[0] + left + x);
                canvas[at..at + 3].fill((value.clamp(0.0, 1.0) * 255.0).round() as u8);
            }
        }
    }
    encode_png(&canvas, size[0] as u32, size[1] as u32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn every_image_is_in_its_place() {
        let rows = Array2::from_shape_fn((3, 6), |(i, _)| i as f64);
        let png = image_grid(rows.view(), [2, 3], 2, [0.0, 2.0]).unwrap();
        let picture = image::load_from_memory(&png).unwrap().to_luma8();
        let scale = 56 / 3;
        assert_eq!((picture.width(), picture.height()), (2 * (3 * scale + 2) + 2, 2 * (2 * scale + 2) + 2));
        let middle =
            |x: u32, y: u32| picture.get_pixel(2 + x * (3 * scale + 2) + 5, 2 + y * (2 * scale + 2) + 5).0[0];
        assert_eq!([middle(0, 0), middle(1, 0), middle(0, 1)], [0, 128, 255]);
        assert!(image_grid(rows.view(), [2, 2], 2, [0.0, 1.0]).is_err());
    }
}
