//! Options that several subcommands share.

use std::path::PathBuf;

use clap::Args;
use proxflow::command::Failure;
use proxflow_gpu::device::DeviceChoice;
use proxflow_reference::DivergenceKind;

/// Options that every subcommand has.
#[derive(Args, Clone)]
pub struct Common {
    /// Device: auto, cpu, cuda, cuda:INDEX or mps
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Threads on the CPU [default: all cores]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Write the result as JSON to FILE, or to standard output for -
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
}

/// Where images come from.
#[derive(Args, Clone)]
pub struct DataArguments {
    /// Data set: auto (MNIST, else strokes), mnist, strokes
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Folder with the four files of MNIST or of a data set in its format, .gz or plain, or a torchvision root [default: $PROXFLOW_MNIST, data/mnist, the cache, a download]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl DataArguments {
    /// A folder without a use is refused, not ignored.
    pub fn check(&self) -> Result<(), Failure> {
        match (&self.data, self.dataset.as_deref()) {
            (Some(folder), Some("strokes")) => {
                let value = format!("{} with --dataset strokes", folder.display());
                Err(Failure::bad_input("--data", value, "with --dataset auto or mnist; strokes are built in"))
            }
            _ => Ok(()),
        }
    }
}

/// Parses a divergence name; a clap value parser.
pub fn divergence(text: &str) -> Result<DivergenceKind, String> {
    text.parse().map_err(|error: proxflow_reference::InvalidInput| error.to_string())
}

/// Resolves the device and sets the number of threads.
pub fn prepare_device(choice: DeviceChoice, threads: Option<usize>) -> Result<tch::Device, Failure> {
    if let Some(count) = threads.filter(|count| !(1..=1024).contains(count)) {
        return Err(Failure::bad_input("threads", count, "1..=1024"));
    }
    if threads != Some(1) {
        proxflow_gpu::device::wait_passively();
    }
    if let Some(count) = threads {
        tch::set_num_threads(count as i32);
    }
    Ok(choice.resolve()?)
}
