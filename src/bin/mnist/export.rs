//! `mnist export`: a checkpoint as a folder that model hubs know: weights without optimiser state, `config.json`, a model card.

use std::path::{Path, PathBuf};

use clap::Args;
use proxflow::command::{COMMIT, Failure, write_atomically, write_json};
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::device::{DeviceChoice, keep_freed_memory};
use proxflow_gpu::flow;
use proxflow_gpu::indicators::{self, Estimate, FlowIndicators};
use proxflow_gpu::random::{Stream, StreamLabel, place};
use proxflow_io::output::{Outputs, require_folder};
use serde_json::json;
use tch::Kind;

use crate::convert::{bad_checkpoint, load_model};
use crate::evaluate::overflow;
use crate::memory;
use crate::options::{Common, prepare_device};

/// Options of `mnist export`.
#[derive(Args, Clone)]
#[command(
    after_help = "Example:\n  mnist export --checkpoint runs/first/checkpoint.safetensors --hub proxflow-mnist --samples 500"
)]
pub struct Arguments {
    /// Checkpoint in the format of a run directory
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Folder for model.safetensors, config.json and README.md; files that are there already are refused
    #[arg(long, value_name = "DIR")]
    hub: PathBuf,
    /// Source samples behind the indicators of the model card
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// Root seed of the source samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    common: Common,
}

/// The step-size deviation compares with a flow of this many times more steps.
const REFINEMENT: usize = 8;
const FILES: [&str; 3] = ["model.safetensors", "config.json", "README.md"];

/// Measures the indicators of the checkpoint and writes the folder.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.samples < 2 {
        return Err(Failure::bad_input("samples", arguments.samples, ">= 2"));
    }
    memory::require("samples", arguments.samples, memory::SAMPLE)?;
    let outputs = Outputs::new().input("--checkpoint", Some(&arguments.checkpoint));
    outputs.json(arguments.common.json.as_deref()).check()?;
    let files = FILES.map(|name| arguments.hub.join(name));
    if let Some(path) = files.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failure::bad_input(
            "hub",
            format!("{} exists", path.display()),
            "a folder without these files",
        ));
    }
    require_folder("hub", &arguments.hub)?;
    let device =
        prepare_device(arguments.common.device.unwrap_or(DeviceChoice::Auto), arguments.common.threads)?;
    keep_freed_memory();
    let model = load_model(&arguments.checkpoint, (Kind::Float, device))?;
    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let ([low, high], dimension) = (model.source, model.potential.architecture().dimension());
    let x0 = place(&stream.uniform(arguments.samples as i64, dimension, low, high), (Kind::Float, device));
    let fine = model.flow.with_steps(REFINEMENT * model.flow.steps);
    let reference = flow::endpoint(&model.potential, &x0, fine);
    let found =
        indicators::evaluate(&model.potential, &model.discriminator, &x0, model.flow, Some(&reference));
    if let Some(reason) = overflow(std::slice::from_ref(&found), &model) {
        return Err(Failure::Run(format!(
            "{}: {reason}; nothing is written",
            arguments.checkpoint.display()
        )));
    }
    let config = config(&model)?;
    std::fs::create_dir_all(&arguments.hub).map_err(|error| {
        Failure::bad_input(
            "hub",
            format!("{} ({error})", arguments.hub.display()),
            "a folder that can be made",
        )
    })?;
    model.save(&files[0]).map_err(bad_checkpoint)?;
    write_atomically(&files[1], format!("{config:#}\n").as_bytes())?;
    write_atomically(&files[2], card(&model, &found, &arguments).as_bytes())?;
    match &arguments.common.json {
        Some(target) => {
            write_json(target, &json!({ "status": "done", "hub": arguments.hub, "files": FILES }))
        }
        None => Ok(()),
    }
}

/// `config.json`: everything beside the weights that the flow needs.
fn config(model: &Model) -> Result<serde_json::Value, Failure> {
    let architectures = model.architectures().map_err(|error| Failure::Run(error.to_string()))?;
    Ok(json!({
        "library_name": "proxflow", "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT,
        "architectures": architectures,
        "horizon": model.flow.horizon, "steps": model.flow.steps, "lambda": model.flow.lambda,
        "lipschitz": model.lipschitz, "source": { "law": "uniform", "low": model.source[0], "high": model.source[1] }
    }))
}

/// `README.md`: what the weights are, their indicators with standard errors, how to use and to check them.
fn card(model: &Model, found: &FlowIndicators, arguments: &Arguments) -> String {
    let flow = model.flow;
    let row = |name: &str, optimum: &str, estimate: Option<Estimate>| {
        let value = estimate
            .map_or_else(|| "not measured".to_owned(), |e| format!("{:.4} +- {:.4}", e.mean, e.stderr));
        format!("| {name} | {value} | {optimum} |\n")
    };
    let table: String = [
        row("kinetic energy K_h", "K*", Some(found.kinetic_energy)),
        row("displacement energy", "K_h", Some(found.displacement_energy)),
        row("straightness", "1", Some(found.straightness)),
        row("step-size deviation from 8 times more steps", "0", found.deviation),
        row("Hamilton-Jacobi residual / (lambda K_h)", "0", Some(found.hj_residual_relative)),
        row("the same, gauged", "0", Some(found.hj_residual_gauged_relative)),
        row("terminal residual", "0", Some(found.terminal_residual)),
        row("critic slope at x_N, mean", "at most L", Some(found.critic_slope)),
    ]
    .concat();
    let name = arguments.checkpoint.file_name().map(Path::new).unwrap_or(&arguments.checkpoint).display();
    format!(
        "---\nlibrary_name: proxflow\nlicense: other\ntags:\n- generative-flow\n- wasserstein-proximal\n- optimal-transport\n---\n\n\
         # Combined W1/W2 proximal flow on 28x28 images\n\n\
         Potential U and discriminator phi of the flow `x' = -grad U(x, t) / lambda` of arXiv:2407.11901, from the checkpoint\n\
         `{name}`: T = {}, N = {}, lambda = {}, L = {}, source uniform on [{}, {})^784.\n\n\
         ## Indicators\n\nMeans over {} source samples (seed {}) with their standard errors, h = {}; largest critic slope at x_N {:.4}.\n\n\
         | indicator | measured | optimum |\n|---|---|---|\n{table}\n\
         ## Use\n\n```sh\nmnist sample --checkpoint model.safetensors --count 100 --png samples.png\n\
         mnist evaluate --checkpoint model.safetensors --json -\nvalidate --checkpoint model.safetensors\n```\n\n\
         `model.safetensors` holds the tensors `potential.*` and `discriminator.*` by the architectures of `config.json`: input NCHW, flattened\n\
         in the order C, H, W, the time t appended last. Written by proxflow {} (commit {COMMIT}).\n",
        flow.horizon,
        flow.steps,
        flow.lambda,
        model.lipschitz,
        model.source[0],
        model.source[1],
        arguments.samples,
        arguments.seed,
        found.step,
        found.critic_slope_max,
        env!("CARGO_PKG_VERSION"),
    )
}
