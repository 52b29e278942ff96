//! One convolutional block `x -> ReLU(maxpool_2x2(W * x))`, its adjoint and its tangent, in polyphase form.
//!
//! A 7x7 convolution with "same" padding followed by a 2x2 pool reads every pixel at one of four phases
//! `(e_y, e_x) in {0,1}^2`. Written on the half-resolution grid, it is **one 5x5 convolution** from `4 c_in` to
//! `4 c_out` channels, and the pool is a maximum over four channel groups:
//!
//! `W'[(d_y,d_x,o), (i,e_y,e_x), j_y, j_x] = W[o, i, 2 (j_y-2) + e_y - d_y + 3, 2 (j_x-2) + e_x - d_x + 3]`
//!
//! (zero where the index leaves `0..7`). This is exact, and on the CPU it makes the block's adjoint, an 8-to-1 channel
//! convolution that libtorch runs at a fraction of its speed, several times cheaper.
//!
//! The block is piecewise linear without bias, so one 0/1 selection per sample describes it locally:
//! `block(x) = S W' x`, its adjoint is `W'^T S^T` and its tangent `S W'`.

use tch::Tensor;

/// Width of the square kernel.
pub const KERNEL: i64 = 7;
/// Width of the polyphase kernel on the half-resolution grid.
const POLYPHASE_KERNEL: i64 = 5;
/// The four positions of a 2x2 window.
const PHASES: i64 = 4;

/// The polyphase weights of one block, built from `(out, in, 7, 7)` weights.
pub struct PooledConvolution {
    forward: Tensor,
    adjoint: Tensor,
    outputs: i64,
    inputs: i64,
}

/// The local linear map of a block at a batch of inputs.
pub struct BlockState {
    /// Input in polyphase form, `(B, 4 c_in, H/2, W/2)`.
    input: Tensor,
    /// 0/1 selection `(B, 4, c_out, H/2, W/2)`: the winning pixel of each window, where its value is positive.
    selection: Tensor,
}

impl PooledConvolution {
    /// Builds the polyphase weights from `weight (out, in, 7, 7)`.
    pub fn new(weight: &Tensor) -> Self {
        let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
        let zero = Tensor::zeros([outputs, inputs, 1], (weight.kind(), weight.device()));
        let padded = Tensor::cat(&[weight.reshape([outputs, inputs, KERNEL * KERNEL]), zero], 2);
        let forward = padded
            .index_select(2, &kernel_table().to_device(weight.device()))
            .reshape([outputs, inputs, PHASES, PHASES, POLYPHASE_KERNEL, POLYPHASE_KERNEL])
            .permute([2, 0, 1, 3, 4, 5])
            .reshape([PHASES * outputs, inputs * PHASES, POLYPHASE_KERNEL, POLYPHASE_KERNEL]);
        let adjoint = channels_last(&forward.flip([2, 3]).transpose(0, 1));
        Self { forward: channels_last(&forward), adjoint, outputs, inputs }
    }

    /// `x (B, c_in, H, W)` to `(B, c_out, H/2, W/2)` with the state for the adjoint and tangent maps.
    pub fn forward(&self, x: &Tensor) -> (Tensor, BlockState) {
        let input = channels_last(&x.pixel_unshuffle(2));
        let windows = self.windows(&convolve(&input, &self.forward));
        let maximum = windows.amax([3], true);
        let selection = first_of_ties(&windows.eq_tensor(&maximum).logical_and(&maximum.gt(0.0)));
        let output = maximum.squeeze_dim(3).relu().permute([0, 3, 1, 2]);
        (output, BlockState { input, selection: selection.to_kind(x.kind()) })
    }

    /// Adjoint: `delta (B, c_out, H/2, W/2)` at the block's output to the gradient at its convolution's output.
    pub fn select(&self, state: &BlockState, delta: &Tensor) -> Tensor {
        let spread = &state.selection * delta.permute([0, 2, 3, 1]).unsqueeze(3);
        let size = spread.size();
        spread.reshape([size[0], size[1], size[2], PHASES * self.outputs]).permute([0, 3, 1, 2])
    }

    /// Adjoint of the convolution: `selected`, from [`Self::select`], to the gradient at the input `(B, c_in, H, W)`.
    pub fn backward(&self, selected: &Tensor) -> Tensor {
        convolve(selected, &self.adjoint).contiguous().pixel_shuffle(2)
    }

    /// Tangent: moves `direction (B, c_in, H, W)` through the local linear map. Returns the direction at the output and
    /// the gradient, with respect to the `(out, in, 7, 7)` weights, of `sum <selected, W' direction>`.
    pub fn tangent(&self, state: &BlockState, direction: &Tensor, selected: &Tensor) -> (Tensor, Tensor) {
        let direction = channels_last(&direction.pixel_unshuffle(2));
        let (moved, gradient) = self.convolve_and_differentiate(&direction, selected);
        let moved = (&state.selection * self.windows(&moved)).sum_dim_intlist(3, false, moved.kind());
        (moved.permute([0, 3, 1, 2]), gradient)
    }

    /// Gradient of `sum_b <selected_b, W' x_b>` with respect to the `(out, in, 7, 7)` weights.
    pub fn weight_gradient(&self, state: &BlockState, selected: &Tensor) -> Tensor {
        self.convolve_and_differentiate(&state.input, selected).1
    }

    /// `W' input` and the weight gradient of `<selected, W' input>`.
    fn convolve_and_differentiate(&self, input: &Tensor, selected: &Tensor) -> (Tensor, Tensor) {
        tch::with_grad(|| {
            let weight = self.forward.detach().set_requires_grad(true);
            let moved = convolve(input, &weight);
            let pairing = (&moved * selected).sum(moved.kind());
            let gradient = Tensor::run_backward(&[pairing], &[&weight], false, false).remove(0);
            (moved.detach(), self.fold(&gradient))
        })
    }

    /// Adjoint of the map from `(out, in, 7, 7)` weights to polyphase weights.
    fn fold(&self, gradient: &Tensor) -> Tensor {
        let expanded = gradient
            .reshape([PHASES, self.outputs, self.inputs, PHASES, POLYPHASE_KERNEL, POLYPHASE_KERNEL])
            .permute([1, 2, 0, 3, 4, 5])
            .reshape([self.outputs, self.inputs, -1]);
        let taps = KERNEL * KERNEL;
        Tensor::zeros([self.outputs, self.inputs, taps + 1], (gradient.kind(), gradient.device()))
            .index_add(2, &kernel_table().to_device(gradient.device()), &expanded)
            .narrow(2, 0, taps)
            .reshape([self.outputs, self.inputs, KERNEL, KERNEL])
    }

    /// `(B, 4 c, h, w)` in channels-last memory to a view `(B, h, w, 4, c)`.
    fn windows(&self, z: &Tensor) -> Tensor {
        let size = z.size();
        z.permute([0, 2, 3, 1]).reshape([size[0], size[2], size[3], PHASES, self.outputs])
    }
}

/// Positions in the flattened 7x7 kernel (49 stands for zero), ordered `(d, e, j_y, j_x)` over output and input phases.
fn kernel_table() -> Tensor {
    let mut table = Vec::new();
    let tap = |output: i64, input: i64, j: i64| 2 * (j - 2) + input - output + 3;
    for (d, e) in (0..PHASES).flat_map(|d| (0..PHASES).map(move |e| (d, e))) {
        for (jy, jx) in (0..POLYPHASE_KERNEL).flat_map(|y| (0..POLYPHASE_KERNEL).map(move |x| (y, x))) {
            let (ky, kx) = (tap(d / 2, e / 2, jy), tap(d % 2, e % 2, jx));
            let inside = (0..KERNEL).contains(&ky) && (0..KERNEL).contains(&kx);
            table.push(if inside { ky * KERNEL + kx } else { KERNEL * KERNEL });
        }
    }
    Tensor::from_slice(&table)
}

fn convolve(input: &Tensor, weight: &Tensor) -> Tensor {
    let padding = POLYPHASE_KERNEL / 2;
    input.conv2d(weight, None::<&Tensor>, 1, padding, 1, 1)
}

/// Same values, channel index fastest in memory: the layout in which libtorch's convolutions run fastest here.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Keeps the first `true` along the phase dimension, as max-pooling does when several pixels tie.
fn first_of_ties(selected: &Tensor) -> Tensor {
    let mut taken = selected.select(3, 0);
    let mut phases = vec![taken.shallow_clone()];
    for phase in 1..PHASES {
        let here = selected.select(3, phase);
        phases.push(here.logical_and(&taken.logical_not()));
        taken = taken.logical_or(&here);
    }
    Tensor::stack(&phases, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// The block as libtorch defines it.
    fn plain(x: &Tensor, weight: &Tensor) -> Tensor {
        x.conv2d(weight, None::<&Tensor>, 1, KERNEL / 2, 1, 1).relu().max_pool2d(2, 2, 0, 1, false)
    }

    fn example(inputs: i64) -> (Tensor, Tensor) {
        tch::manual_seed(7);
        let x = Tensor::randn([3, inputs, 12, 8], (Kind::Double, Device::Cpu));
        (x, Tensor::randn([5, inputs, KERNEL, KERNEL], (Kind::Double, Device::Cpu)))
    }

    fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
        f64::try_from((a - b).norm() / b.norm()).unwrap()
    }

    #[test]
    fn polyphase_block_equals_convolution_relu_and_pool() {
        for inputs in [1, 4] {
            let (x, weight) = example(inputs);
            let (output, _) = PooledConvolution::new(&weight).forward(&x);
            assert!(relative_error(&output, &plain(&x, &weight)) < 1e-14);
        }
    }

    #[test]
    fn adjoint_and_weight_gradient_equal_automatic_differentiation() {
        let (x, weight) = example(3);
        let (x, weight) = (x.set_requires_grad(true), weight.set_requires_grad(true));
        let delta = Tensor::randn([3, 5, 6, 4], (Kind::Double, Device::Cpu));
        let expected = Tensor::run_backward(
            &[(plain(&x, &weight) * &delta).sum(Kind::Double)],
            &[&x, &weight],
            false,
            false,
        );
        let block = PooledConvolution::new(&weight.detach());
        let (_, state) = block.forward(&x.detach());
        let selected = block.select(&state, &delta);
        assert!(relative_error(&block.backward(&selected), &expected[0]) < 1e-13);
        assert!(relative_error(&block.weight_gradient(&state, &selected), &expected[1]) < 1e-13);
    }

    #[test]
    fn tangent_equals_a_finite_difference_inside_one_linear_piece() {
        let (x, weight) = example(2);
        let direction = Tensor::randn_like(&x);
        let block = PooledConvolution::new(&weight);
        let (output, state) = block.forward(&x);
        let selected = block.select(&state, &Tensor::ones_like(&output));
        let (moved, _) = block.tangent(&state, &direction, &selected);
        let step = 1e-7;
        let difference = (plain(&(&x + &direction * step), &weight) - &output) / step;
        // Rounding over the step: 1e-16 * |z| / 1e-7.
        assert!(relative_error(&moved, &difference) < 1e-6);
    }

    #[test]
    fn tied_pixels_select_one_position() {
        let weight = Tensor::ones([1, 1, KERNEL, KERNEL], (Kind::Double, Device::Cpu));
        let x = Tensor::ones([1, 1, 16, 16], (Kind::Double, Device::Cpu));
        let (_, state) = PooledConvolution::new(&weight).forward(&x);
        let count = state.selection.sum_dim_intlist(3, false, Kind::Double);
        assert_eq!(f64::try_from(count.max()).unwrap(), 1.0);
        assert_eq!(f64::try_from(count.min()).unwrap(), 1.0);
    }
}
