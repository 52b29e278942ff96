//! Where the computation runs: CPU, CUDA or MPS, chosen by name.

mod cuda;

use std::fmt;
use std::str::FromStr;

use proxflow_reference::InvalidInput;
use tch::{Cuda, Device};

pub use cuda::{Arithmetic, peak_memory_mib, set_arithmetic};

/// A device as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA when there is one, else MPS, else CPU.
    Auto,
    /// The host.
    Cpu,
    /// An NVIDIA GPU by index.
    Cuda(usize),
    /// Apple's GPU.
    Mps,
}

const ALLOWED: &str = "auto, cpu, cuda, cuda:INDEX, mps";

impl FromStr for DeviceChoice {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "mps" => Ok(Self::Mps),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| InvalidInput::new("device", text, ALLOWED)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(index) => write!(formatter, "cuda:{index}"),
            Self::Mps => formatter.write_str("mps"),
        }
    }
}

impl DeviceChoice {
    /// Resolves the choice on this machine; a device that is absent is bad input.
    pub fn resolve(self) -> Result<Device, InvalidInput> {
        cuda::load();
        let cuda_count = Cuda::device_count().max(0) as usize;
        if cuda_count > 0 {
            set_arithmetic(Arithmetic::Full);
        }
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) if index < cuda_count => Ok(Device::Cuda(index)),
            Self::Cuda(_) => {
                Err(InvalidInput::new("device", self, format!("{cuda_count} CUDA devices were found; cpu")))
            }
            Self::Mps if tch::utils::has_mps() => Ok(Device::Mps),
            Self::Mps => Err(InvalidInput::new("device", self, "libtorch finds no MPS here; cpu")),
            Self::Auto if cuda_count > 0 => Ok(Device::Cuda(0)),
            Self::Auto if tch::utils::has_mps() => Ok(Device::Mps),
            Self::Auto => Ok(Device::Cpu),
        }
    }
}

/// The device's name in reports and on the command line.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".to_owned(),
        _ => "cpu".to_owned(),
    }
}

/// The libtorch release this package is built for.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// Lets glibc keep large freed blocks instead of returning them to the system: tensors of a few MiB come and go thousands of
/// times a second, and zeroing their pages anew costs a fifth of a training step on the CPU.
#[allow(unsafe_code, reason = "a call of the C library")]
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const TRIM_THRESHOLD: i32 = -1;
        const MMAP_THRESHOLD: i32 = -3;
        unsafe extern "C" {
            fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // SAFETY: a documented call of glibc with documented parameters; failure leaves the defaults.
        unsafe {
            mallopt(MMAP_THRESHOLD, 32 << 20);
            mallopt(TRIM_THRESHOLD, i32::MAX);
        }
    }
}

/// Makes the threads of libtorch's OpenMP pool sleep, not spin, while they wait for each other: beside other load a spinning thread
/// takes the processor from the one that it waits for. The library reads its settings when it is loaded, before `main`, so this starts the
/// program anew, once, unless the environment already says how to wait. To be called before anything else is done.
pub fn wait_passively() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let settings = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"];
        if settings.iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        if let Ok(program) = std::env::current_exe() {
            let mut arguments = std::env::args_os();
            let mut command = std::process::Command::new(program);
            if let Some(name) = arguments.next() {
                command.arg0(name);
            }
            // Returns on failure only; the program then goes on as it is.
            let _ = command.args(arguments).env("OMP_WAIT_POLICY", "passive").exec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_list_the_allowed() {
        for text in ["auto", "cpu", "cuda:1", "mps"] {
            assert_eq!(text.parse::<DeviceChoice>().map(|choice| choice.to_string()), Ok(text.to_owned()));
        }
        for text in ["gpu", "cuda:", "cuda:x", ""] {
            assert!(text.parse::<DeviceChoice>().is_err_and(|error| error.to_string().contains("mps")));
        }
    }

    #[test]
    fn an_absent_cuda_device_is_bad_input() {
        assert!(DeviceChoice::Cuda(99).resolve().is_err());
    }
}
