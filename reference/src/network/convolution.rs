//! 'Same' convolutions with ReLU and 2x2 max-pool: the plain loops for any scalar and the batched stage with its
//! adjoint. The two share no code.

use ndarray::{Array2, ArrayView2};
use num_traits::Float;

use super::architecture::rectify;

/// 'Same' convolution with zero padding, then ReLU; `features` is (inputs, side, side) flattened.
pub(super) fn convolve<S: Float>(
    features: &[S],
    weight: &[S],
    outputs: usize,
    side: usize,
    kernel: usize,
) -> Vec<S> {
    let (inputs, half) = (features.len() / (side * side), kernel / 2);
    let mut result = vec![S::zero(); outputs * side * side];
    for output in 0..outputs {
        for row in 0..side {
            for column in 0..side {
                let mut sum = S::zero();
                for input in 0..inputs {
                    for i in half.saturating_sub(row)..kernel.min(side + half - row) {
                        for j in half.saturating_sub(column)..kernel.min(side + half - column) {
                            let w = weight[((output * inputs + input) * kernel + i) * kernel + j];
                            let pixel = (input * side + row + i - half) * side + column + j - half;
                            sum = sum + w * features[pixel];
                        }
                    }
                }
                result[(output * side + row) * side + column] = rectify(sum);
            }
        }
    }
    result
}

/// 2x2 max-pool with stride 2; the first of equal entries wins, as in libtorch.
pub(super) fn maximum_pool<S: Float>(features: &[S], channels: usize, side: usize) -> Vec<S> {
    let half = side / 2;
    let mut result = Vec::with_capacity(channels * half * half);
    for channel in 0..channels {
        for row in 0..half {
            for column in 0..half {
                let corner = (channel * side + 2 * row) * side + 2 * column;
                let window = [corner, corner + 1, corner + side, corner + side + 1];
                let largest = window[1..].iter().fold(features[window[0]], |best, &i| {
                    if features[i] > best { features[i] } else { best }
                });
                result.push(largest);
            }
        }
    }
    result
}

/// One convolution, ReLU and pool of a batch, with the pixel that won each pool window.
pub(super) struct ConvolutionStage<'a> {
    weight: ArrayView2<'a, f64>,
    inputs: usize,
    side: usize,
    kernel: usize,
    /// Index of the winning pixel in (outputs, side, side), or `usize::MAX` where ReLU is off; (n, pooled).
    winners: Array2<usize>,
}

impl<'a> ConvolutionStage<'a> {
    pub(super) fn run(
        weight: ArrayView2<'a, f64>,
        features: ArrayView2<f64>,
        inputs: usize,
        side: usize,
        kernel: usize,
    ) -> (Self, Array2<f64>) {
        let (outputs, half) = (weight.nrows(), side / 2);
        let mut winners = Array2::from_elem((features.nrows(), outputs * half * half), usize::MAX);
        let mut pooled = Array2::zeros(winners.raw_dim());
        let mut unfolded = Array2::zeros((inputs * kernel * kernel, side * side));
        for (n, image) in features.rows().into_iter().enumerate() {
            visit_taps(inputs, side, kernel, |tap, position, pixel| {
                unfolded[[tap, position]] = image[pixel];
            });
            let convolved = weight.dot(&unfolded);
            for ((output, position), &value) in convolved.indexed_iter() {
                let (row, column) = (position / side / 2, position % side / 2);
                let window = (output * half + row) * half + column;
                // Positive and strictly larger: ReLU and 'first of equals' at once.
                if row < half && column < half && value > pooled[[n, window]] {
                    pooled[[n, window]] = value;
                    winners[[n, window]] = output * side * side + position;
                }
            }
        }
        (Self { weight, inputs, side, kernel, winners }, pooled)
    }

    /// The adjoint with respect to the stage's input, `(n, inputs * side * side)`.
    pub(super) fn pull_back(&self, adjoint: &Array2<f64>) -> Array2<f64> {
        let pixels = self.side * self.side;
        let mut result = Array2::zeros((adjoint.nrows(), self.inputs * pixels));
        for n in 0..adjoint.nrows() {
            let mut convolved = Array2::zeros((self.weight.nrows(), pixels));
            for (&winner, &a) in self.winners.row(n).iter().zip(adjoint.row(n)) {
                if winner != usize::MAX {
                    convolved[[winner / pixels, winner % pixels]] = a;
                }
            }
            let unfolded = self.weight.t().dot(&convolved);
            let mut image = result.row_mut(n);
            visit_taps(self.inputs, self.side, self.kernel, |tap, position, pixel| {
                image[pixel] += unfolded[[tap, position]];
            });
        }
        result
    }
}

/// Visits every (kernel tap, output position, input pixel) inside the image.
fn visit_taps(inputs: usize, side: usize, kernel: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let half = kernel / 2;
    for input in 0..inputs {
        for i in 0..kernel {
            for j in 0..kernel {
                let tap = (input * kernel + i) * kernel + j;
                for row in half.saturating_sub(i)..side.min(side + half - i) {
                    for column in half.saturating_sub(j)..side.min(side + half - j) {
                        let pixel = (input * side + row + i - half) * side + column + j - half;
                        visit(tap, row * side + column, pixel);
                    }
                }
            }
        }
    }
}
