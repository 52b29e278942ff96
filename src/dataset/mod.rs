//! Image data: 28x28 grey digits in `[0, 1]`, one row of 784 pixels per image.

use ndarray::{Array2, Axis};
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub mod idx;
pub mod resolve;
pub mod strokes;

/// Pixels per side.
pub const SIDE: usize = 28;
/// Pixels per image.
pub const PIXELS: usize = SIDE * SIDE;

/// Images with their labels and where they came from.
#[derive(Debug, Clone)]
pub struct Images {
    /// `(n, 784)`, values in `[0, 1]`.
    pub pixels: Array2<f32>,
    /// Digit of each image.
    pub labels: Vec<u8>,
}

impl Images {
    /// A random subset of `size` images without replacement, in random order; all of them when `size >= n`.
    pub fn subset(&self, size: usize, generator: &mut impl Rng) -> Self {
        let count = self.labels.len();
        let chosen = sample(generator, count, size.min(count)).into_vec();
        Self {
            pixels: self.pixels.select(Axis(0), &chosen),
            labels: chosen.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    /// The training subset of a run: `size` images by the `data` stream of the root `seed`.
    pub fn training_subset(&self, size: usize, seed: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(1);
        self.subset(size, &mut generator)
    }
}

/// Training and held-out images.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `mnist`, `strokes`, or `idx` for other files in the format of MNIST.
    pub name: &'static str,
    /// The folder, or how the images were made.
    pub origin: String,
    /// Training images.
    pub train: Images,
    /// Held-out images.
    pub test: Images,
}

impl Dataset {
    /// The data as a caption calls them.
    pub fn called(&self) -> &'static str {
        match self.name {
            "strokes" => "built-in strokes (not MNIST)",
            "idx" => "images in the format of MNIST (not MNIST)",
            name => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_subset_is_random_without_repeats_and_decided_by_the_seed() {
        let pixels = Array2::from_shape_fn((50, PIXELS), |(row, _)| row as f32);
        let all = Images { pixels, labels: (0..50).collect() };
        let first = all.training_subset(20, 1);
        assert_eq!(first.labels, all.training_subset(20, 1).labels);
        assert_ne!(first.labels, all.training_subset(20, 2).labels);
        let mut sorted = first.labels.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), 20);
        assert!(
            first.labels.iter().zip(first.pixels.column(0)).all(|(&label, &pixel)| f32::from(label) == pixel)
        );
        assert_eq!(all.training_subset(900, 1).labels.len(), 50);
    }
}
