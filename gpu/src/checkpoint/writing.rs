//! Writing networks and what describes them.

use std::collections::BTreeMap;
use std::path::Path;

use proxflow_reference::checkpoint::SOURCE_LAW;
use serde::Serialize;
use tch::Tensor;

use super::file::{CheckpointError, write};
use super::model::Model;
use super::names::{Architectures, NETWORKS, Section};
use crate::flow::FlowSpecification;
use crate::network::Network;

/// What a file is written from.
type Parts = (Vec<(String, Tensor)>, BTreeMap<String, String>);

impl Model {
    /// Writes the networks alone.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let (tensors, metadata) = self.parts(path)?;
        write(path, &tensors, metadata)
    }

    /// Tensors by name, and metadata.
    pub(super) fn parts(&self, path: &Path) -> Result<Parts, CheckpointError> {
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

/// The metadata that every file has.
pub(super) fn flow_metadata(
    flow: FlowSpecification,
    lipschitz: f64,
    source: [f64; 2],
) -> BTreeMap<String, String> {
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

/// `value` as the text of a metadata entry.
pub(super) fn json<T: Serialize>(value: &T, path: &Path) -> Result<String, CheckpointError> {
    serde_json::to_string(value)
        .map_err(|error| CheckpointError::File { path: path.to_owned(), reason: error.to_string() })
}

fn described(potential: &Network, discriminator: &Network) -> Architectures {
    Architectures {
        potential: potential.architecture().clone(),
        discriminator: discriminator.architecture().clone(),
    }
}

/// Both architectures as the text of a metadata entry.
pub(super) fn architectures(
    potential: &Network,
    discriminator: &Network,
    path: &Path,
) -> Result<String, CheckpointError> {
    json(&described(potential, discriminator), path)
}

/// Adds the tensors of one section of a network.
pub(super) fn collect(
    tensors: &mut Vec<(String, Tensor)>,
    prefix: &str,
    network: &Network,
    values: &[Tensor],
) {
    for ((name, _), value) in network.architecture().parameter_shapes().into_iter().zip(values) {
        tensors.push((format!("{prefix}{name}"), value.detach()));
    }
}
