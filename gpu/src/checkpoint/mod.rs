//! Checkpoints: safetensors by fixed names, written atomically, holding all that a run needs to continue bit for bit.
//!
//! `potential.conv.{i}.weight (out, in, 7, 7)`, `potential.fc.{i}.{weight (out, in), bias (out)}`, the same under `discriminator.`;
//! with training state also `optimizer.{potential,discriminator}.{first,second}_moment.{parameter}`. Metadata strings `horizon`, `steps`,
//! `lambda`, `lipschitz`, `source-law` (`low,high`), `architectures` (JSON: what shapes alone do not tell) and `sha256` (checksum, defined in
//! [`proxflow_reference::checkpoint::container`]); with training state also `training` (JSON). Prototypes are
//! `{network}.prototypes (K, d)`, `{network}.heights (K)`; their training state is that of [`AscentRun`]. Equal runs write byte-identical files.

mod ascent;
mod file;
mod model;
mod names;
#[cfg(test)]
mod tests;
mod training;
mod writing;

pub use ascent::AscentRun;
pub use file::CheckpointError;
pub use model::Model;
