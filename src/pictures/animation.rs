//! Animated PNG, which every browser shows: frames of equal size after each other, for ever.

use super::panel::Sheet;
use crate::command::Failure;

/// Encodes `frames` (equal sizes), each shown for `milliseconds`, the last `hold` times as long.
pub fn write_animation(frames: &[Sheet], milliseconds: u16, hold: u16) -> Result<Vec<u8>, Failure> {
    let failed = |error: png::EncodingError| Failure::Run(format!("animation: {error}"));
    let Some(first) = frames.first() else { return Err(Failure::Run("animation: no frames".to_owned())) };
    let (width, height) = first.size();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_animated(frames.len() as u32, 0).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    for (k, frame) in frames.iter().enumerate() {
        if frame.size() != (width, height) {
            return Err(Failure::Run("animation: frames of different sizes".to_owned()));
        }
        let last = k + 1 == frames.len();
        writer
            .set_frame_delay(if last { milliseconds.saturating_mul(hold) } else { milliseconds }, 1000)
            .map_err(failed)?;
        writer.write_image_data(&frame.pixels()?).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pictures::{GENERATED, Layer, Panel, Window};

    #[test]
    fn every_frame_is_in_the_file_and_they_differ() {
        let frame = |x: f64| Sheet {
            panels: vec![Panel {
                title: String::new(),
                layers: vec![Layer::Points {
                    at: vec![(x, 0.0)],
                    colour: GENERATED,
                    radius: 3,
                    opacity: 1.0,
                }],
                window: Window { x: [-1.0, 1.0], y: [-1.0, 1.0] },
            }],
            columns: 1,
            side: 120,
            caption: "a caption".into(),
        };
        let bytes = write_animation(&[frame(-0.5), frame(0.5), frame(0.9)], 50, 10).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().unwrap();
        assert_eq!(reader.info().animation_control.map(|control| control.num_frames), Some(3));
        let mut pictures = Vec::new();
        for _ in 0..3 {
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            pictures.push(pixels);
        }
        assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2]);
        assert!(write_animation(&[], 50, 1).is_err());
    }
}
