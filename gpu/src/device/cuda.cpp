// Settings and statistics of libtorch's CUDA backend that its Rust binding does not reach, as C functions. No CUDA header is needed:
// the calls are virtual or global, so that one build serves machines with and without CUDA.
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

extern "C" {

// Convolutions by algorithms that add in one order; single-precision products in full, or in TF32.
void proxflow_cuda_arithmetic(bool tf32) {
  at::Context& context = at::globalContext();
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuDNN(tf32);
  context.setAllowTF32CuBLAS(tf32);
}

// Most bytes that tensors have held at once on a CUDA device; -1 where libtorch cannot tell.
int64_t proxflow_cuda_peak_bytes(int index) {
  constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  try {
    auto* allocator = c10::getDeviceAllocator(c10::DeviceType::CUDA);
    if (allocator == nullptr || !allocator->initialized()) {
      return -1;
    }
    return allocator->getDeviceStats(static_cast<c10::DeviceIndex>(index)).allocated_bytes[all].peak;
  } catch (...) {
    return -1;
  }
}

} // extern "C"
