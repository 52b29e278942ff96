//! Checkpoints of Algorithm 1: networks, moments of Adam, stream positions.

use std::path::Path;

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::file::{CheckpointError, parse, read, take, write};
use super::model::model_of;
use super::names::{NETWORKS, SECTIONS, Section};
use super::writing::{architectures, collect, flow_metadata, json};
use crate::adam::Adam;
use crate::configuration::Configuration;
use crate::network::Network;
use crate::random::{Stream, StreamState};
use crate::team::Team;
use crate::train::{Source, Trainer};

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
            team: Team::single(),
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
