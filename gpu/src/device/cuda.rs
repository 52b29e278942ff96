//! libtorch's CUDA backend: its loading, its arithmetic and its memory.

use tch::Device;

#[allow(unsafe_code, reason = "C functions of cuda.cpp")]
mod shim {
    unsafe extern "C" {
        pub safe fn proxflow_cuda_arithmetic(tf32: bool);
        pub safe fn proxflow_cuda_peak_bytes(index: i32) -> i64;
    }
}

/// How CUDA multiplies matrices and convolves in single precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// 24 bits of mantissa, as on the CPU; libtorch alone would convolve in TF32.
    Full,
    /// TF32: the factors rounded to 11 bits of mantissa, sums in single precision.
    Tf32,
}

/// Sets how CUDA multiplies; convolutions take algorithms that add in one order, so that a run repeats itself bit for bit.
pub fn set_arithmetic(arithmetic: Arithmetic) {
    shim::proxflow_cuda_arithmetic(arithmetic == Arithmetic::Tf32);
}

/// The most memory, in MiB, that tensors have held at once on a CUDA device; `None` elsewhere and where libtorch does not tell.
pub fn peak_memory_mib(device: Device) -> Option<f64> {
    match device {
        Device::Cuda(index) => {
            let bytes = shim::proxflow_cuda_peak_bytes(i32::try_from(index).ok()?);
            (bytes >= 0).then(|| bytes as f64 / f64::from(1 << 20))
        }
        _ => None,
    }
}

/// CUDA registers itself when `libtorch_cuda.so` is loaded, so one binary serves machines with and without it.
#[allow(unsafe_code, reason = "loading a library runs its initialisers")]
pub(super) fn load() {
    #[cfg(target_os = "linux")]
    {
        use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
        static LOADED: std::sync::Once = std::sync::Once::new();
        LOADED.call_once(|| {
            // SAFETY: libtorch's own backend; its initialisers only register kernels.
            if let Ok(library) = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
                std::mem::forget(library);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_taken_without_cuda_and_the_host_has_no_device_memory() {
        for arithmetic in [Arithmetic::Tf32, Arithmetic::Full] {
            set_arithmetic(arithmetic);
        }
        assert_eq!(peak_memory_mib(Device::Cpu), None);
        if !tch::Cuda::is_available() {
            assert_eq!(peak_memory_mib(Device::Cuda(0)), None);
        }
    }
}
