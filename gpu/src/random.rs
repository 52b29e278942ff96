//! Randomness: one root seed, labelled ChaCha streams, no global generator.
//!
//! The numbers are drawn on the host, so that every device sees the same ones.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// A named purpose of randomness; each has its own ChaCha stream under the root seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLabel {
    /// Choice of the training subset.
    Data,
    /// Initial weights of the potential.
    PotentialInit,
    /// Initial weights of the discriminator.
    DiscriminatorInit,
    /// Indices of data batches and interpolation weights of the penalty.
    Batch,
    /// Source samples `x_0` of the training.
    Noise,
    /// Source samples of the indicators and of sample grids.
    Evaluation,
    /// Source samples of a population certificate, which nothing else has seen.
    Certificate,
}

/// Position of a stream, enough to continue it bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    seed: u64,
    stream: u64,
    /// Position in 32-bit words.
    position: u64,
}

/// A labelled random stream.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: ChaCha8Rng,
    seed: u64,
}

impl Stream {
    /// The stream `label` of the root `seed`, at its start.
    pub fn new(seed: u64, label: StreamLabel) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(label as u64 + 1);
        Self { generator, seed }
    }

    /// Where the stream stands.
    pub fn state(&self) -> StreamState {
        let position = self.generator.get_word_pos() as u64;
        StreamState { seed: self.seed, stream: self.generator.get_stream(), position }
    }

    /// The stream that stands at `state`.
    pub fn restore(state: StreamState) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(state.seed);
        generator.set_stream(state.stream);
        generator.set_word_pos(u128::from(state.position));
        Self { generator, seed: state.seed }
    }

    /// The generator, for host-side draws.
    pub fn generator(&mut self) -> &mut ChaCha8Rng {
        &mut self.generator
    }

    /// `(rows, columns)` independent uniforms on `[low, high)`, drawn as f32 multiples of 2^-24.
    pub fn uniform(&mut self, rows: i64, columns: i64, low: f64, high: f64) -> Tensor {
        let count = (rows * columns) as usize;
        let mut values = Vec::with_capacity(count);
        values.extend((0..count).map(|_| self.generator.random::<f32>()));
        Tensor::from_slice(&values).reshape([rows, columns]) * (high - low) + low
    }

    /// Standard normals of the given `shape`, f32.
    pub fn normal(&mut self, shape: &[i64]) -> Tensor {
        let count = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..count).map(|_| StandardNormal.sample(&mut self.generator)).collect();
        Tensor::from_slice(&values).reshape(shape)
    }

    /// `count` indices, uniform and independent in `0..bound`.
    pub fn indices(&mut self, count: i64, bound: i64) -> Tensor {
        let values: Vec<i64> = (0..count).map(|_| self.generator.random_range(0..bound)).collect();
        Tensor::from_slice(&values)
    }
}

impl Stream {
    /// `count` distinct indices, a uniform draw without replacement from `0..bound`; `count <= bound`.
    pub fn distinct(&mut self, count: i64, bound: i64) -> Tensor {
        let drawn = rand::seq::index::sample(&mut self.generator, bound as usize, count as usize);
        Tensor::from_slice(&drawn.into_iter().map(|index| index as i64).collect::<Vec<_>>())
    }
}

/// Moves a host tensor to where the computation runs.
pub fn place(tensor: &Tensor, options: (Kind, Device)) -> Tensor {
    tensor.to_kind(options.0).to_device(options.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_stream_continues_with_the_same_numbers() {
        let mut stream = Stream::new(3, StreamLabel::Noise);
        let _ = stream.uniform(7, 5, 0.0, 1.0);
        let mut copy = Stream::restore(stream.state());
        assert!(stream.uniform(4, 4, 0.0, 0.5).equal(&copy.uniform(4, 4, 0.0, 0.5)));
        assert_eq!(stream.state(), copy.state());
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let mut noise = Stream::new(3, StreamLabel::Noise);
        let mut batch = Stream::new(3, StreamLabel::Batch);
        assert!(!noise.uniform(2, 2, 0.0, 1.0).equal(&batch.uniform(2, 2, 0.0, 1.0)));
    }
}
