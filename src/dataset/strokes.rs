//! `strokes`: 28x28 digits drawn by code, so that the main job runs without any download.
//!
//! Each digit is a fixed set of polylines in the unit square. An image applies one random map with eight parameters (rotation,
//! two scales, shear, two shifts, bend, pen width) and draws the lines anti-aliased, with intensity
//! `clamp((w - distance) / softness + 1/2, 0, 1)`. The data manifold of one digit therefore has dimension [`PARAMETERS`].

use ndarray::{Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Images, PIXELS, SIDE};

/// Continuous parameters of an image: the dimension of the data manifold of one digit.
pub const PARAMETERS: usize = 8;

/// Width, in pixels, over which intensity falls from one to zero at the edge of a stroke.
const SOFTNESS: f64 = 1.2;

type Point = [f64; 2];

/// Draws `count` digits; digit, parameters and order are decided by `(seed, stream)`.
pub fn draw(count: usize, seed: u64, stream: u64) -> Images {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(1 << 32 | stream);
    let plans: Vec<(u8, [f64; PARAMETERS])> = (0..count)
        .map(|_| {
            let digit = generator.random_range(0..10);
            (digit, std::array::from_fn(|_| generator.random_range(-1.0..1.0)))
        })
        .collect();
    let mut pixels = Array2::zeros((count, PIXELS));
    pixels.axis_iter_mut(Axis(0)).into_par_iter().zip(&plans).for_each(|(mut row, (digit, parameters))| {
        let image = render(*digit, parameters);
        row.iter_mut().zip(image).for_each(|(pixel, value)| *pixel = value);
    });
    Images { pixels, labels: plans.iter().map(|(digit, _)| *digit).collect() }
}

/// One digit with parameters in `[-1, 1]`: rotation, scale x, scale y, shear, shift x, shift y, bend, pen width.
pub fn render(digit: u8, parameters: &[f64; PARAMETERS]) -> [f32; PIXELS] {
    let [rotation, scale_x, scale_y, shear, shift_x, shift_y, bend, pen] = *parameters;
    let (sine, cosine) = (0.25 * rotation).sin_cos();
    let place = |[x, y]: Point| -> Point {
        let x = (x - 0.5) * 13.0 * (1.0 + 0.2 * scale_x) + 2.5 * bend * (2.0 * (y - 0.5)).powi(2);
        let y = (y - 0.5) * 18.0 * (1.0 + 0.1 * scale_y);
        let x = x - 0.25 * shear * y;
        [cosine * x - sine * y + 13.5 + 1.5 * shift_x, sine * x + cosine * y + 13.5 + 1.5 * shift_y]
    };
    let lines: Vec<Vec<Point>> =
        skeleton(digit).into_iter().map(|line| line.into_iter().map(place).collect()).collect();
    let half_width = 1.2 + 0.4 * pen;
    std::array::from_fn(|pixel| {
        let at = [(pixel % SIDE) as f64, (pixel / SIDE) as f64];
        let distance = lines
            .iter()
            .flat_map(|line| line.windows(2))
            .map(|ends| segment_distance(at, ends[0], ends[1]))
            .fold(f64::INFINITY, f64::min);
        ((half_width - distance) / SOFTNESS + 0.5).clamp(0.0, 1.0) as f32
    })
}

/// Distance from `p` to the segment from `a` to `b`.
fn segment_distance(p: Point, a: Point, b: Point) -> f64 {
    let (along, to) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
    let length_squared = along[0] * along[0] + along[1] * along[1];
    let position = if length_squared > 0.0 {
        ((to[0] * along[0] + to[1] * along[1]) / length_squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (to[0] - position * along[0]).hypot(to[1] - position * along[1])
}

/// Polylines of a digit in the unit square, y downwards.
fn skeleton(digit: u8) -> Vec<Vec<Point>> {
    let arc = |cx: f64, cy: f64, rx: f64, ry: f64, from: f64, to: f64| -> Vec<Point> {
        (0..=16)
            .map(|step| {
                let angle = (from + (to - from) * f64::from(step) / 16.0).to_radians();
                [cx + rx * angle.cos(), cy + ry * angle.sin()]
            })
            .collect()
    };
    let join = |first: Vec<Point>, rest: &[Point]| -> Vec<Point> {
        first.into_iter().chain(rest.iter().copied()).collect()
    };
    match digit {
        0 => vec![arc(0.5, 0.5, 0.42, 0.5, 0.0, 360.0)],
        1 => vec![vec![[0.3, 0.18], [0.55, 0.0], [0.55, 1.0]]],
        2 => vec![join(arc(0.5, 0.28, 0.4, 0.28, 190.0, 390.0), &[[0.1, 1.0], [0.95, 1.0]])],
        3 => vec![arc(0.45, 0.26, 0.4, 0.26, 200.0, 450.0), arc(0.45, 0.75, 0.45, 0.25, 270.0, 520.0)],
        4 => vec![vec![[0.7, 1.0], [0.7, 0.0], [0.05, 0.68], [1.0, 0.68]]],
        5 => vec![
            vec![[0.9, 0.0], [0.2, 0.0], [0.15, 0.45]],
            join(vec![[0.15, 0.45]], &arc(0.45, 0.68, 0.45, 0.32, 240.0, 510.0)),
        ],
        6 => {
            vec![join(vec![[0.75, 0.0], [0.35, 0.3], [0.12, 0.6]], &[]), arc(0.5, 0.7, 0.4, 0.3, 0.0, 360.0)]
        }
        7 => vec![vec![[0.05, 0.0], [0.95, 0.0], [0.4, 1.0]]],
        8 => vec![arc(0.5, 0.25, 0.35, 0.25, 0.0, 360.0), arc(0.5, 0.75, 0.42, 0.25, 0.0, 360.0)],
        _ => vec![arc(0.5, 0.3, 0.4, 0.3, 0.0, 360.0), vec![[0.9, 0.3], [0.85, 0.6], [0.6, 1.0]]],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_is_deterministic_and_streams_differ() {
        let (first, again, other) = (draw(20, 5, 0), draw(20, 5, 0), draw(20, 5, 1));
        assert_eq!(first.pixels, again.pixels);
        assert_ne!(first.pixels, other.pixels);
        assert!(first.pixels.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
    }

    #[test]
    fn every_digit_has_ink_inside_the_frame_and_digits_differ() {
        let images: Vec<_> = (0..10).map(|digit| render(digit, &[0.0; PARAMETERS])).collect();
        for (digit, image) in images.iter().enumerate() {
            let ink: f32 = image.iter().sum();
            assert!((30.0..250.0).contains(&ink), "digit {digit}: ink {ink}");
            let border = (0..SIDE).map(|n| image[n] + image[n * SIDE]).sum::<f32>();
            assert_eq!(border, 0.0, "digit {digit} touches the border");
            for other in &images[..digit] {
                let difference: f32 = image.iter().zip(other).map(|(a, b)| (a - b).abs()).sum();
                assert!(difference > 15.0);
            }
        }
    }

    #[test]
    fn the_image_depends_on_every_one_of_its_parameters() {
        for index in 0..PARAMETERS {
            let mut parameters = [0.0; PARAMETERS];
            parameters[index] = 0.5;
            let change: f32 = render(3, &parameters)
                .iter()
                .zip(render(3, &[0.0; PARAMETERS]))
                .map(|(a, b)| (a - b).abs())
                .sum();
            assert!(change > 1.0, "parameter {index}: {change}");
        }
    }
}
