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
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::SOURCE_LAW;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use ascent::AscentRun;
pub use file::CheckpointError;
use file::{parse, read, take, write};
use model::model_of;

use crate::adam::Adam;
use crate::architecture::Architecture;
use crate::configuration::Configuration;
use crate::flow::FlowSpecification;
use crate::network::Network;
use crate::random::{Stream, StreamState};
use crate::train::{Source, Trainer};

/// The two networks of a checkpoint with the flow they were trained for.
#[derive(Debug)]
pub struct Model {
    /// `U_theta`.
    pub potential: Network,
    /// `phi`.
    pub discriminator: Network,
    /// Horizon, steps and kinetic weight.
    pub flow: FlowSpecification,
    /// Lipschitz constant `L`.
    pub lipschitz: f64,
    /// The source law is uniform on `[low, high)^d`; the published `[0, 0.5]` where the checkpoint does not say.
    pub source: [f64; 2],
    /// What the reader did beyond reading (prefixes removed, half precision widened, entries passed over), one sentence each.
    pub notices: Vec<String>,
}

/// What a resumed run needs beyond tensors.
#[derive(Debug, Serialize, Deserialize)]
struct TrainingState {
    configuration: Configuration,
    iteration: u64,
    updates: [i64; 2],
    batch_stream: StreamState,
    noise_stream: StreamState,
    /// [`Trainer::data_digest`]; absent in files of versions before it was kept.
    #[serde(default)]
    data_digest: Option<String>,
}

/// Description of the networks, from which names and shapes of all tensors follow.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Architectures {
    potential: Architecture,
    discriminator: Architecture,
}

impl Architectures {
    /// Each network by its name in the file.
    fn named(&self) -> [(&'static str, &Architecture); 2] {
        [(NETWORKS[0], &self.potential), (NETWORKS[1], &self.discriminator)]
    }
}

/// What a file is written from.
type Parts = (Vec<(String, Tensor)>, BTreeMap<String, String>);

const NETWORKS: [&str; 2] = ["potential", "discriminator"];

/// What a file may hold for every parameter of a network.
#[derive(Debug, Clone, Copy)]
enum Section {
    /// The parameter itself.
    Weights,
    /// First moment of Adam.
    FirstMoment,
    /// Second moment of Adam.
    SecondMoment,
}

const SECTIONS: [Section; 3] = [Section::Weights, Section::FirstMoment, Section::SecondMoment];

impl Section {
    /// What stands before the parameter's own name.
    fn prefix(self, network: &str) -> String {
        match self {
            Self::Weights => format!("{network}."),
            Self::FirstMoment => format!("optimizer.{network}.first_moment."),
            Self::SecondMoment => format!("optimizer.{network}.second_moment."),
        }
    }
}

impl Trainer {
    /// Writes networks, optimiser moments, stream positions and step count. Refuses tensors that are not finite.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let state = TrainingState {
            configuration: self.configuration.clone(),
            iteration: self.iteration,
            updates: [self.potential_optimiser.updates(), self.critic_optimiser.updates()],
            batch_stream: self.batch_stream.state(),
            noise_stream: self.noise_stream.state(),
            data_digest: Some(self.data_digest().to_owned()),
        };
        let mut tensors = Vec::new();
        let mut metadata =
            flow_metadata(self.flow(), self.configuration.lipschitz, self.configuration.source);
        for (name, network, optimiser) in [
            (NETWORKS[0], &self.potential, &self.potential_optimiser),
            (NETWORKS[1], &self.discriminator, &self.critic_optimiser),
        ] {
            let (first, second) = optimiser.moments();
            for (section, values) in SECTIONS.into_iter().zip([network.parameters(), first, second]) {
                collect(&mut tensors, &section.prefix(name), network, values);
            }
        }
        metadata.insert("training".to_owned(), json(&state, path)?);
        metadata
            .insert("architectures".to_owned(), architectures(&self.potential, &self.discriminator, path)?);
        write(path, &tensors, metadata)
    }

    /// Continues the run saved at `path` on the same `data` and `source`; other data is refused by its digest.
    pub fn resume(
        path: &Path,
        data: &Tensor,
        source: Source,
        options: (Kind, Device),
    ) -> Result<Self, CheckpointError> {
        let content = |source| CheckpointError::Content { path: path.to_owned(), source };
        let file = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
        let bytes = read(path)?;
        let container = parse(path, &bytes)?;
        let text = container.metadata.get("training").ok_or_else(|| {
            file("holds weights but no training state, so there is nothing to resume".to_owned())
        })?;
        let state: TrainingState =
            serde_json::from_str(text).map_err(|error| file(format!("training state: {error}")))?;
        state.configuration.validate().map_err(content)?;
        if state.updates.iter().any(|&updates| updates < 0) {
            return Err(content(InvalidInput::new("updates", format!("{:?}", state.updates), ">= 0")));
        }
        let model = model_of(&container, options).map_err(content)?;
        if let Some(notice) = model.notices.first() {
            return Err(file(format!("cannot be resumed bit for bit: {notice}")));
        }
        let moments = |name: &str, network: &Network, updates, adam| -> Result<Adam, InvalidInput> {
            let take = |section: Section| {
                let shapes = network.architecture().parameter_shapes();
                let prefix = section.prefix(name);
                let one = |(key, shape): &(String, Vec<i64>)| {
                    take(&container, &format!("{prefix}{key}"), shape, options)
                };
                shapes.iter().map(one).collect::<Result<Vec<_>, _>>()
            };
            Ok(Adam::restore(adam, updates, take(Section::FirstMoment)?, take(Section::SecondMoment)?))
        };
        let configuration = state.configuration;
        let potential_optimiser =
            moments(NETWORKS[0], &model.potential, state.updates[0], configuration.potential_adam)
                .map_err(content)?;
        let critic_optimiser =
            moments(NETWORKS[1], &model.discriminator, state.updates[1], configuration.critic_adam)
                .map_err(content)?;
        let trainer = Self {
            configuration,
            potential: model.potential,
            discriminator: model.discriminator,
            potential_optimiser,
            critic_optimiser,
            batch_stream: Stream::restore(state.batch_stream),
            noise_stream: Stream::restore(state.noise_stream),
            iteration: state.iteration,
            data: Tensor::new(),
            data_digest: String::new(),
            source: Source::Uniform,
        }
        .with_data(data, source)
        .map_err(content)?;
        match state.data_digest {
            Some(own) if own != trainer.data_digest() => {
                let value = format!("other data (SHA-256 {:.12}...)", trainer.data_digest());
                Err(content(InvalidInput::new(
                    "data",
                    value,
                    format!("the run's own (SHA-256 {own:.12}...)"),
                )))
            }
            _ => Ok(trainer),
        }
    }
}

impl Model {
    /// Reads the networks of any checkpoint in this format, with or without training state. Names, shapes and metadata of the whole
    /// file are checked before the first use: a missing, misshapen or unknown tensor, a wrong checksum and values that are not finite are refused.
    pub fn load(path: &Path, options: (Kind, Device)) -> Result<Self, CheckpointError> {
        let bytes = read(path)?;
        let container = parse(path, &bytes)?;
        model_of(&container, options)
            .map_err(|source| CheckpointError::Content { path: path.to_owned(), source })
    }

    /// Writes the networks alone.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let (tensors, metadata) = self.parts(path)?;
        write(path, &tensors, metadata)
    }

    /// Tensors by name, and metadata.
    fn parts(&self, path: &Path) -> Result<Parts, CheckpointError> {
        let mut tensors = Vec::new();
        for (name, network) in [(NETWORKS[0], &self.potential), (NETWORKS[1], &self.discriminator)] {
            collect(&mut tensors, &Section::Weights.prefix(name), network, network.parameters());
        }
        let mut metadata = flow_metadata(self.flow, self.lipschitz, self.source);
        metadata
            .insert("architectures".to_owned(), architectures(&self.potential, &self.discriminator, path)?);
        Ok((tensors, metadata))
    }

    /// The two architectures as JSON, as the metadata entry `architectures` holds them.
    pub fn architectures(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(described(&self.potential, &self.discriminator))
    }
}

fn flow_metadata(flow: FlowSpecification, lipschitz: f64, source: [f64; 2]) -> BTreeMap<String, String> {
    [
        ("horizon", flow.horizon.to_string()),
        ("steps", flow.steps.to_string()),
        ("lambda", flow.lambda.to_string()),
        ("lipschitz", lipschitz.to_string()),
        (SOURCE_LAW, format!("{},{}", source[0], source[1])),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn json<T: Serialize>(value: &T, path: &Path) -> Result<String, CheckpointError> {
    serde_json::to_string(value)
        .map_err(|error| CheckpointError::File { path: path.to_owned(), reason: error.to_string() })
}

fn described(potential: &Network, discriminator: &Network) -> Architectures {
    Architectures {
        potential: potential.architecture().clone(),
        discriminator: discriminator.architecture().clone(),
    }
}

fn architectures(
    potential: &Network,
    discriminator: &Network,
    path: &Path,
) -> Result<String, CheckpointError> {
    json(&described(potential, discriminator), path)
}

fn collect(tensors: &mut Vec<(String, Tensor)>, prefix: &str, network: &Network, values: &[Tensor]) {
    for ((name, _), value) in network.architecture().parameter_shapes().into_iter().zip(values) {
        tensors.push((format!("{prefix}{name}"), value.detach()));
    }
}
