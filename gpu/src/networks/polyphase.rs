//! One convolutional block `x -> ReLU(maxpool_2x2(W * x))`, its adjoint and its tangent, in polyphase form.
//!
//! Cut an image into cells of `f x f` pixels. A pixel is then a *cell* and a *phase* `(e_y, e_x) in {0..f-1}^2`, and a 7x7
//! convolution with "same" padding becomes one small convolution over cells, from `f^2 c_in` to `f^2 c_out` channels:
//!
//! `W'[(d, o), (i, e), j_y, j_x] = W[o, i, f (j_y - r) + e_y - d_y + 3, f (j_x - r) + e_x - d_x + 3]`
//!
//! (zero where the index leaves `0..7`; radius `r = 2` for f = 2, else 1). With the pooling position slowest in `d`, the 2x2 pool is
//! a maximum over four contiguous channel groups, and its result is the next block's input with cells of `f/2`: a chain of n
//! blocks runs wholly on the final grid, starting from `f = 2^n`. This is exact. On the CPU it makes the adjoint of the first block, an
//! 8-to-1 channel convolution that libtorch runs at a fraction of its speed, several times cheaper (docs/records/results.md).
//!
//! Signals lie with their channels last in memory: a pooling window is then four neighbouring runs of channels, and convolutions
//! need no other order inside.
//!
//! The block has no bias, so one 0/1 selection per sample describes it locally: `block(x) = S W' x`, with adjoint `W'^T S^T`.

use tch::{Device, Kind, Tensor};

use crate::convolution::{convolve, weight_gradient};
use crate::winners::{WINDOW, Winners};

/// Width of the square kernel.
pub const KERNEL: i64 = 7;
/// Weights of a kernel.
const TAPS: i64 = KERNEL * KERNEL;

/// The polyphase weights of one block.
#[derive(Debug)]
pub struct PolyphaseBlock {
    forward: Tensor,
    adjoint: Tensor,
    /// Where each polyphase weight comes from in the flattened 7x7 kernel; 49 stands for zero.
    table: Tensor,
    outputs: i64,
    inputs: i64,
    cell: i64,
}

/// The local linear map of a block at a batch of inputs.
pub struct BlockState {
    /// The input, where the gradient in the weights will be asked for.
    recorded: Option<Tensor>,
    /// The winning pixel of each window.
    winners: Winners,
}

impl PolyphaseBlock {
    /// Builds the polyphase weights of `weight (out, in, 7, 7)` for cells of `cell x cell` pixels, `cell` even.
    pub fn new(weight: &Tensor, cell: i64) -> Self {
        Self::placed(weight, cell, kernel_table(cell).to_device(weight.device()))
    }

    /// The same block with another weight.
    pub fn with_weight(&self, weight: &Tensor) -> Self {
        Self::placed(weight, self.cell, self.table.shallow_clone())
    }

    /// The same block under another handle, for another thread.
    pub fn share(&self) -> Self {
        let [forward, adjoint, table] =
            [&self.forward, &self.adjoint, &self.table].map(Tensor::shallow_clone);
        Self { forward, adjoint, table, ..*self }
    }

    fn placed(weight: &Tensor, cell: i64, table: Tensor) -> Self {
        let weight = weight.detach();
        let (outputs, inputs) = (weight.size()[0], weight.size()[1]);
        let zero = Tensor::zeros([outputs, inputs, 1], (weight.kind(), weight.device()));
        let padded = Tensor::cat(&[weight.reshape([outputs, inputs, TAPS]), zero], 2);
        let (pooled, width) = (cell * cell / 4, kernel_width(cell));
        let forward = padded
            .index_select(2, &table)
            .reshape([outputs, inputs, WINDOW, pooled, cell * cell, width * width])
            .permute([2, 0, 3, 1, 4, 5])
            .reshape([WINDOW * outputs * pooled, inputs * cell * cell, width, width]);
        let adjoint = forward.flip([2, 3]).transpose(0, 1).contiguous();
        Self { forward, adjoint, table, outputs, inputs, cell }
    }

    /// `(B, f^2 c_in, h, w)` to `(B, (f/2)^2 c_out, h, w)` with the state for the adjoint and tangent maps.
    /// With `record`, the state keeps what [`Self::weight_gradient`] needs.
    pub fn forward(&self, input: &Tensor, record: bool) -> (Tensor, BlockState) {
        let convolved = convolve(input, &self.forward, self.padding());
        let (output, winners) = Winners::of(&self.windows(&convolved));
        let recorded = record.then(|| input.shallow_clone());
        (channels_second(&output), BlockState { recorded, winners })
    }

    /// Adjoint of pool and ReLU: `delta (B, (f/2)^2 c_out, h, w)` at the block's output to the convolution's output.
    pub fn select(&self, state: &BlockState, delta: &Tensor) -> Tensor {
        let spread = state.winners.spread(&channels_last(delta));
        channels_second(&spread.flatten(3, 4))
    }

    /// Adjoint of the convolution: `selected`, from [`Self::select`], to the gradient at the input `(B, f^2 c_in, h, w)`.
    pub fn backward(&self, selected: &Tensor) -> Tensor {
        convolve(selected, &self.adjoint, self.padding())
    }

    /// Tangent: moves `direction (B, f^2 c_in, h, w)` through the local linear map.
    pub fn tangent(&self, state: &BlockState, direction: &Tensor) -> Tensor {
        let moved = convolve(direction, &self.forward, self.padding());
        channels_second(&state.winners.collect(&self.windows(&moved)))
    }

    /// Gradient of `sum_b <selected_b, W' x_b>` with respect to the `(out, in, 7, 7)` weights, `x` any input of the convolution.
    pub fn pairing_gradient(&self, selected: &Tensor, x: &Tensor) -> Tensor {
        self.fold(&weight_gradient(selected, x, &self.forward, self.padding()))
    }

    /// [`Self::pairing_gradient`] at the block's own input, for a state that was recorded.
    pub fn weight_gradient(&self, state: &BlockState, selected: &Tensor) -> Tensor {
        self.pairing_gradient(selected, state.recorded.as_ref().expect("a recorded forward pass"))
    }

    /// Adjoint of the map from `(out, in, 7, 7)` weights to polyphase weights.
    fn fold(&self, gradient: &Tensor) -> Tensor {
        let (pooled, width) = (self.cell * self.cell / 4, kernel_width(self.cell));
        let expanded = gradient
            .reshape([WINDOW, self.outputs, pooled, self.inputs, self.cell * self.cell, width * width])
            .permute([1, 3, 0, 2, 4, 5])
            .reshape([self.outputs, self.inputs, -1]);
        let options = (gradient.kind(), gradient.device());
        let folded = match options.1 {
            Device::Cpu => Tensor::zeros([self.outputs, self.inputs, TAPS + 1], options).index_add(
                2,
                &self.table,
                &expanded,
            ),
            // Elsewhere `index_add` adds in an order that differs from run to run.
            _ => {
                let taps = Tensor::arange(TAPS + 1, (Kind::Int64, options.1));
                expanded.matmul(&self.table.unsqueeze(1).eq_tensor(&taps).to_kind(options.0))
            }
        };
        folded.narrow(2, 0, TAPS).reshape([self.outputs, self.inputs, KERNEL, KERNEL])
    }

    /// `(B, f^2 c, h, w)` as `(B, h, w, 4, (f/2)^2 c)`: the four positions of each pooling window.
    fn windows(&self, z: &Tensor) -> Tensor {
        let z = channels_last(z);
        let size = z.size();
        z.view([size[0], size[1], size[2], WINDOW, size[3] / WINDOW])
    }

    fn padding(&self) -> i64 {
        kernel_width(self.cell) / 2
    }
}

/// An image batch `(B, 1, c h, c w)` cut into cells: `(B, c^2, h, w)`, channels last in memory.
pub fn into_cells(x: &Tensor, cell: i64) -> Tensor {
    let size = x.size();
    let (height, width) = (size[size.len() - 2] / cell, size[size.len() - 1] / cell);
    let cells = x.reshape([-1, size[1], height, cell, width, cell]).permute([0, 2, 4, 1, 3, 5]).contiguous();
    channels_second(&cells.view([size[0], height, width, size[1] * cell * cell]))
}

/// The adjoint and inverse of [`into_cells`] for one channel: `(B, c^2, h, w)` to pixels `(B, c h c w)`.
pub fn from_cells(cells: &Tensor, cell: i64) -> Tensor {
    let size = cells.size();
    let cells = channels_last(cells).view([size[0], size[2], size[3], cell, cell]);
    cells.permute([0, 1, 3, 2, 4]).reshape([size[0], -1])
}

/// `(B, c, h, w)` as contiguous `(B, h, w, c)`; a view where the memory is so ordered already, as all signals between blocks are.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous()
}

/// `(B, h, w, c)` seen as `(B, c, h, w)`: libtorch's convolutions take it as it lies.
fn channels_second(x: &Tensor) -> Tensor {
    x.permute([0, 3, 1, 2])
}

/// Width of the kernel over cells: `2 r + 1`.
fn kernel_width(cell: i64) -> i64 {
    if cell == 2 { 5 } else { 3 }
}

/// Positions in the flattened 7x7 kernel, ordered (window position, pooled phase, input phase, j_y, j_x).
fn kernel_table(cell: i64) -> Tensor {
    let square = |width: i64| (0..width * width).map(move |n| (n / width, n % width));
    let width = kernel_width(cell);
    let tap = |d: i64, e: i64, j: i64| cell * (j - width / 2) + e - d + KERNEL / 2;
    let mut table = Vec::new();
    for (wy, wx) in square(2) {
        for (py, px) in square(cell / 2) {
            for (ey, ex) in square(cell) {
                for (jy, jx) in square(width) {
                    let (ky, kx) = (tap(2 * py + wy, ey, jy), tap(2 * px + wx, ex, jx));
                    let inside = (0..KERNEL).contains(&ky) && (0..KERNEL).contains(&kx);
                    table.push(if inside { ky * KERNEL + kx } else { KERNEL * KERNEL });
                }
            }
        }
    }
    Tensor::from_slice(&table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

    /// The block as libtorch defines it.
    fn plain(x: &Tensor, weight: &Tensor) -> Tensor {
        x.conv2d(weight, None::<&Tensor>, 1, KERNEL / 2, 1, 1).relu().max_pool2d(2, 2, 0, 1, false)
    }

    fn example(inputs: i64) -> (Tensor, Tensor) {
        tch::manual_seed(7);
        let x = Tensor::randn([3, inputs, 16, 8], OPTIONS);
        (x, Tensor::randn([5, inputs, KERNEL, KERNEL], OPTIONS))
    }

    fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
        f64::try_from((a - b).norm() / b.norm()).unwrap()
    }

    #[test]
    fn polyphase_block_equals_convolution_relu_and_pool() {
        for (inputs, cell) in [(1, 2), (4, 2), (1, 4), (3, 4), (2, 8)] {
            let (x, weight) = example(inputs);
            let (output, _) = PolyphaseBlock::new(&weight, cell).forward(&x.pixel_unshuffle(cell), false);
            let output = output.pixel_shuffle(cell / 2);
            assert!(relative_error(&output, &plain(&x, &weight)) < 1e-14, "cell {cell}");
        }
    }

    #[test]
    fn adjoint_and_weight_gradient_equal_automatic_differentiation() {
        for cell in [2, 4, 8] {
            let (x, weight) = example(3);
            let (x, weight) = (x.set_requires_grad(true), weight.set_requires_grad(true));
            let delta = Tensor::randn([3, 5, 8, 4], OPTIONS);
            let pairing = (plain(&x, &weight) * &delta).sum(Kind::Double);
            let expected = Tensor::run_backward(&[pairing], &[&x, &weight], false, false);
            let block = PolyphaseBlock::new(&weight.detach(), cell);
            let (_, state) = block.forward(&x.detach().pixel_unshuffle(cell), true);
            let selected = block.select(&state, &delta.pixel_unshuffle(cell / 2));
            assert!(relative_error(&block.backward(&selected).pixel_shuffle(cell), &expected[0]) < 1e-13);
            assert!(relative_error(&block.weight_gradient(&state, &selected), &expected[1]) < 1e-13);
        }
    }

    #[test]
    fn tangent_equals_a_finite_difference_inside_one_linear_piece() {
        let (x, weight) = example(2);
        let direction = Tensor::randn_like(&x);
        let block = PolyphaseBlock::new(&weight, 4);
        let (output, state) = block.forward(&x.pixel_unshuffle(4), false);
        let _ = output;
        let moved = block.tangent(&state, &direction.pixel_unshuffle(4));
        let step = 1e-7;
        let difference = (plain(&(&x + &direction * step), &weight) - plain(&x, &weight)) / step;
        // Rounding over the step: 1e-16 * |z| / 1e-7.
        assert!(relative_error(&moved.pixel_shuffle(2), &difference) < 1e-6);
    }

    #[test]
    fn cutting_into_cells_is_a_pixel_unshuffle_and_has_its_inverse() {
        let (x, _) = example(3);
        assert!(into_cells(&x, 4).equal(&x.pixel_unshuffle(4)));
        let image = x.narrow(1, 0, 1);
        assert!(from_cells(&into_cells(&image, 4), 4).equal(&image.flatten(1, -1)));
    }

    #[test]
    fn tied_pixels_select_one_position() {
        let weight = Tensor::ones([1, 1, KERNEL, KERNEL], OPTIONS);
        let x = Tensor::ones([1, 1, 16, 16], OPTIONS);
        let block = PolyphaseBlock::new(&weight, 2);
        let (_, state) = block.forward(&x.pixel_unshuffle(2), false);
        let selected = block.select(&state, &Tensor::ones([1, 1, 8, 8], OPTIONS));
        let count = selected.view([1, WINDOW, 8, 8]).sum_dim_intlist(1, false, Kind::Double);
        assert_eq!(f64::try_from(count.max()).unwrap(), 1.0);
        assert_eq!(f64::try_from(count.min()).unwrap(), 1.0);
    }
}
