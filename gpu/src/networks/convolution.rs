//! Convolutions with stride 1 and equal padding on all sides, and their gradient in the weight.

use tch::Tensor;

#[allow(unsafe_code, reason = "a C function of convolution.cpp")]
mod shim {
    use torch_sys::C_tensor;

    unsafe extern "C" {
        pub fn proxflow_convolution_weight_gradient(
            output: *const C_tensor,
            input: *const C_tensor,
            weight: *const C_tensor,
            padding: i64,
        ) -> *mut C_tensor;
    }
}

/// `W * x` of `x (B, c, h, w)` and `W (o, c, k, k)`.
pub fn convolve(input: &Tensor, weight: &Tensor, padding: i64) -> Tensor {
    input.conv2d(weight, None::<&Tensor>, 1, padding, 1, 1)
}

/// Gradient of `sum <output, W * x>` with respect to `W`, in the shape of `weight`.
#[allow(unsafe_code, reason = "a C function over tensors of this binding")]
pub fn weight_gradient(output: &Tensor, input: &Tensor, weight: &Tensor, padding: i64) -> Tensor {
    // SAFETY: live tensors, which the function reads; it returns a tensor of its own, or null.
    unsafe {
        let gradient = shim::proxflow_convolution_weight_gradient(
            output.as_ptr(),
            input.as_ptr(),
            weight.as_ptr(),
            padding,
        );
        assert!(!gradient.is_null(), "shapes that do not belong together");
        Tensor::from_ptr(gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn weight_gradient_equals_automatic_differentiation() {
        tch::manual_seed(8);
        for kind in [Kind::Double, Kind::Float] {
            let draw = |size: [i64; 4]| Tensor::randn(size, (kind, Device::Cpu));
            let (x, weight, output) = (draw([3, 4, 9, 7]), draw([5, 4, 3, 3]), draw([3, 5, 9, 7]));
            let weight = weight.set_requires_grad(true);
            let pairing = (convolve(&x, &weight, 1) * &output).sum(kind);
            let expected = Tensor::run_backward(&[pairing], &[&weight], false, false).remove(0);
            let found = weight_gradient(&output, &x, &weight.detach(), 1);
            assert!((found - &expected).norm().double_value(&[]) <= 1e-6 * expected.norm().double_value(&[]));
        }
    }
}
