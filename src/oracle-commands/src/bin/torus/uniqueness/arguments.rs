//! The options of `torus uniqueness`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use proxflow_io::command::Failure;
use proxflow_io::output::{Outputs, require_own_report};

/// Arguments of `torus uniqueness`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example: torus uniqueness --starts 32 --out runs/uniqueness --json -")]
pub struct UniquenessArguments {
    /// Random starts of every case (at least 2)
    #[arg(long, default_value_t = 32)]
    pub starts: usize,
    /// Certified gap asked of every solve, relative to 1 + |value| (1e-12 to 1e-4)
    #[arg(long, default_value_t = 1e-9)]
    pub tolerance: f64,
    /// Root of the random starts
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Smaller grids and no convergence study: a smoke test of a few seconds
    #[arg(long)]
    pub quick: bool,
    /// Folder for tables, fields and pictures (created)
    #[arg(long, default_value = "runs/torus-uniqueness")]
    pub out: PathBuf,
    /// Write the report as JSON to this file as well (`-`: standard output)
    #[arg(long)]
    pub json: Option<String>,
}

impl Default for UniquenessArguments {
    fn default() -> Self {
        Self {
            starts: 32,
            tolerance: 1e-9,
            seed: 0,
            quick: false,
            out: PathBuf::from("runs/torus-uniqueness"),
            json: None,
        }
    }
}

impl UniquenessArguments {
    /// Every range and every output, before the work.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.starts < 2 {
            return Err(Failure::bad_input("starts", self.starts, ">= 2"));
        }
        if !(1e-12..=1e-4).contains(&self.tolerance) {
            return Err(Failure::bad_input("tolerance", self.tolerance, "1e-12 to 1e-4"));
        }
        let failed = |error: std::io::Error| {
            Failure::bad_input("out", format!("{} ({error})", self.out.display()), "a writable folder")
        };
        fs::create_dir_all(&self.out).map_err(failed)?;
        require_own_report(
            &self.out.join("report.json"),
            &["uniqueness", "controls"],
            "--out in a folder of its own",
        )?;
        tempfile::tempfile_in(&self.out).map(drop).map_err(failed)?;
        Outputs::new().json(self.json.as_deref()).check()
    }
}
