// Gradient of a convolution with respect to its weight, which libtorch has as an operator of its own and its Rust binding reaches only
// through a recorded graph and a product that is thrown away.
#include <ATen/ATen.h>

extern "C" {

// Gradient of <output, conv2d(input, weight)> in the weight, stride 1 and equal padding on all sides; null after an exception.
at::Tensor* proxflow_convolution_weight_gradient(const at::Tensor* output, const at::Tensor* input, const at::Tensor* weight, int64_t padding) {
  try {
    const auto gradients = at::convolution_backward(*output, *input, *weight, std::nullopt, {1, 1}, {padding, padding}, {1, 1}, false, {0, 0}, 1,
                                                    {false, true, false});
    return new at::Tensor(std::get<1>(gradients));
  } catch (...) {
    return nullptr;
  }
}

} // extern "C"
