//! `ReLU(max over a window)` in one pass, with what its adjoint and tangent need: which of the four positions won.
//!
//! A window lies in memory as four runs of `c` channels, `(.., 4, c)`. libtorch needs some fifteen passes over such a tensor (maximum,
//! comparisons, masks, products); on the CPU each of the three maps is one pass of [`host`] here. Other devices take the definition
//! in libtorch's operations.

use tch::{Device, Kind, Tensor};

/// Positions of a 2x2 pooling window.
pub const WINDOW: i64 = 4;

/// The position that won each window, `(B, h, w, c)`: the first that attains the maximum, where that is positive.
pub enum Winners {
    /// On the host: the position `0..4`, or 4 for none.
    Host(Tensor),
    /// Elsewhere: 0/1 selection `(B, h, w, 4, c)`.
    Selection(Tensor),
}

impl Winners {
    /// `ReLU(max)` of `windows (B, h, w, 4, c)`, `(B, h, w, c)`, and the winners.
    pub fn of(windows: &Tensor) -> (Tensor, Self) {
        if !host::takes(windows) {
            let (maximum, selection) = selection(windows);
            return (maximum.relu(), Self::Selection(selection));
        }
        let output = Tensor::empty(pooled(windows), (windows.kind(), Device::Cpu));
        let winners = Tensor::empty(pooled(windows), (Kind::Uint8, Device::Cpu));
        host::pool(windows, &output, &winners);
        (output, Self::Host(winners))
    }

    /// Adjoint: `delta (B, h, w, c)` to the position that won, zeros to the others, `(B, h, w, 4, c)`.
    pub fn spread(&self, delta: &Tensor) -> Tensor {
        match self {
            Self::Selection(selection) => selection * delta.unsqueeze(3),
            Self::Host(winners) => {
                let size = delta.size();
                let spread =
                    Tensor::empty([size[0], size[1], size[2], WINDOW, size[3]], (delta.kind(), Device::Cpu));
                host::spread(winners, &delta.contiguous(), &spread);
                spread
            }
        }
    }

    /// Tangent: of `moved (B, h, w, 4, c)` the position that won, zero where none did, `(B, h, w, c)`.
    pub fn collect(&self, moved: &Tensor) -> Tensor {
        match self {
            Self::Selection(selection) => (selection * moved).sum_dim_intlist(3, false, moved.kind()),
            Self::Host(winners) => {
                let collected = Tensor::empty(pooled(moved), (moved.kind(), Device::Cpu));
                host::collect(winners, &moved.contiguous(), &collected);
                collected
            }
        }
    }
}

fn pooled(windows: &Tensor) -> [i64; 4] {
    let size = windows.size();
    [size[0], size[1], size[2], size[4]]
}

/// The definition: the maximum, and a 0/1 selection of the first position that attains it where it is positive.
fn selection(windows: &Tensor) -> (Tensor, Tensor) {
    let maximum = windows.amax([3], false);
    let mut free = maximum.gt(0.0);
    let mut positions = Vec::with_capacity(WINDOW as usize);
    for position in 0..WINDOW {
        let wins = windows.select(3, position).eq_tensor(&maximum).logical_and(&free);
        free = free.logical_and(&wins.logical_not());
        positions.push(wins);
    }
    (maximum, Tensor::stack(&positions, 3).to_kind(windows.kind()))
}

/// The three maps over slices of the tensors' memory.
#[allow(
    unsafe_code,
    reason = "slices of contiguous host tensors; vector instructions, after asking the processor for them"
)]
mod host {
    use tch::{Device, Kind, Tensor};

    /// Whether the host's loops can read the tensor.
    pub fn takes(windows: &Tensor) -> bool {
        windows.device() == Device::Cpu
            && windows.is_contiguous()
            && matches!(windows.kind(), Kind::Float | Kind::Double)
    }

    trait Number: Copy + PartialOrd {
        const ZERO: Self;
    }

    impl Number for f32 {
        const ZERO: Self = 0.0;
    }

    impl Number for f64 {
        const ZERO: Self = 0.0;
    }

    fn channels(pooled: &Tensor) -> usize {
        *pooled.size().last().unwrap_or(&1) as usize
    }

    fn slice<T>(tensor: &Tensor) -> &[T] {
        assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu);
        // SAFETY: contiguous host memory of `numel` elements of the kind that the caller has matched on, alive as long as the tensor.
        unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast_const().cast(), tensor.numel()) }
    }

    #[allow(clippy::mut_from_ref, reason = "fresh tensors of this module alone")]
    fn slice_mut<T>(tensor: &Tensor) -> &mut [T] {
        assert!(tensor.is_contiguous() && tensor.device() == Device::Cpu);
        // SAFETY: as above; the tensor has just been made and nobody else sees it.
        unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
    }

    macro_rules! vectorised {
        ($(#[$doc:meta])* $name:ident, $body:ident, ($($argument:ident: $kind:ty),*)) => {
            $(#[$doc])*
            fn $name<T: Number>($($argument: $kind,)* channels: usize) {
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                    fn widest<T: Number>($($argument: $kind,)* channels: usize) {
                        $body($($argument,)* channels);
                    }
                    #[target_feature(enable = "avx2")]
                    fn wide<T: Number>($($argument: $kind,)* channels: usize) {
                        $body($($argument,)* channels);
                    }
                    let has_widest = is_x86_feature_detected!("avx512f")
                        && is_x86_feature_detected!("avx512bw")
                        && is_x86_feature_detected!("avx512dq")
                        && is_x86_feature_detected!("avx512vl");
                    if has_widest {
                        // SAFETY: the processor has just been asked.
                        return unsafe { widest($($argument,)* channels) };
                    }
                    if is_x86_feature_detected!("avx2") {
                        // SAFETY: the processor has just been asked.
                        return unsafe { wide($($argument,)* channels) };
                    }
                }
                $body($($argument,)* channels);
            }
        };
    }

    vectorised!(pool_slices, pool_loop, (windows: &[T], output: &mut [T], winners: &mut [u8]));
    vectorised!(spread_slices, spread_loop, (winners: &[u8], delta: &[T], spread: &mut [T]));
    vectorised!(collect_slices, collect_loop, (winners: &[u8], moved: &[T], collected: &mut [T]));

    #[inline(always)]
    fn pool_loop<T: Number>(windows: &[T], output: &mut [T], winners: &mut [u8], channels: usize) {
        let cells = windows.chunks_exact(4 * channels);
        let pooled = output.chunks_exact_mut(channels).zip(winners.chunks_exact_mut(channels));
        for (window, (output, winners)) in cells.zip(pooled) {
            let (first, rest) = window.split_at(channels);
            let (second, rest) = rest.split_at(channels);
            let (third, fourth) = rest.split_at(channels);
            for c in 0..channels {
                // NaN propagates as in libtorch: a comparison with it is false, so it must be looked for.
                let (mut best, mut winner) = (first[c], 0);
                for (position, value) in [(1, second[c]), (2, third[c]), (3, fourth[c])] {
                    let better = value > best || value.partial_cmp(&value).is_none();
                    best = if better { value } else { best };
                    winner = if better { position } else { winner };
                }
                let dead = best <= T::ZERO;
                output[c] = if dead { T::ZERO } else { best };
                winners[c] = if dead { 4 } else { winner };
            }
        }
    }

    #[inline(always)]
    fn spread_loop<T: Number>(winners: &[u8], delta: &[T], spread: &mut [T], channels: usize) {
        let pooled = delta.chunks_exact(channels).zip(winners.chunks_exact(channels));
        for (window, (delta, winners)) in spread.chunks_exact_mut(4 * channels).zip(pooled) {
            for (position, run) in window.chunks_exact_mut(channels).enumerate() {
                for c in 0..channels {
                    run[c] = if winners[c] == position as u8 { delta[c] } else { T::ZERO };
                }
            }
        }
    }

    #[inline(always)]
    fn collect_loop<T: Number>(winners: &[u8], moved: &[T], collected: &mut [T], channels: usize) {
        let pooled = collected.chunks_exact_mut(channels).zip(winners.chunks_exact(channels));
        for (window, (collected, winners)) in moved.chunks_exact(4 * channels).zip(pooled) {
            collected.fill(T::ZERO);
            for (position, run) in window.chunks_exact(channels).enumerate() {
                for c in 0..channels {
                    collected[c] = if winners[c] == position as u8 { run[c] } else { collected[c] };
                }
            }
        }
    }

    /// `output = ReLU(max)`, with the winners.
    pub fn pool(windows: &Tensor, output: &Tensor, winners: &Tensor) {
        let channels = channels(output);
        match windows.kind() {
            Kind::Double => {
                pool_slices::<f64>(slice(windows), slice_mut(output), slice_mut(winners), channels)
            }
            _ => pool_slices::<f32>(slice(windows), slice_mut(output), slice_mut(winners), channels),
        }
    }

    /// `spread` is `delta` where a position won and zero elsewhere.
    pub fn spread(winners: &Tensor, delta: &Tensor, spread: &Tensor) {
        let channels = channels(winners);
        match delta.kind() {
            Kind::Double => spread_slices::<f64>(slice(winners), slice(delta), slice_mut(spread), channels),
            _ => spread_slices::<f32>(slice(winners), slice(delta), slice_mut(spread), channels),
        }
    }

    /// `collected` is the winner's entry of `moved`.
    pub fn collect(winners: &Tensor, moved: &Tensor, collected: &Tensor) {
        let channels = channels(winners);
        match moved.kind() {
            Kind::Double => {
                collect_slices::<f64>(slice(winners), slice(moved), slice_mut(collected), channels)
            }
            _ => collect_slices::<f32>(slice(winners), slice(moved), slice_mut(collected), channels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_equals_the_definition_bit_for_bit_also_with_ties_and_dead_windows() {
        tch::manual_seed(3);
        for kind in [Kind::Float, Kind::Double] {
            for channels in [1, 8, 13, 32] {
                let size = [5, 3, 4, WINDOW, channels];
                // Multiples of 1/2 in -1..1: ties and dead windows abound.
                let windows = (Tensor::rand(size, (kind, Device::Cpu)) * 4.0).floor() / 2.0 - 1.0;
                let (maximum, selection) = selection(&windows);
                let definition = Winners::Selection(selection);
                let (output, winners) = Winners::of(&windows);
                assert!(matches!(winners, Winners::Host(_)));
                assert!(output.equal(&maximum.relu()));
                let delta = Tensor::randn(pooled(&windows), (kind, Device::Cpu));
                assert!(winners.spread(&delta).equal(&definition.spread(&delta)));
                let moved = Tensor::randn(size, (kind, Device::Cpu));
                assert!(winners.collect(&moved).equal(&definition.collect(&moved)));
            }
        }
    }
}
