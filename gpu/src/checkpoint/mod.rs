//! Checkpoints: safetensors by fixed names, written atomically, holding all that a run needs to continue bit for bit.
//!
//! `potential.conv.{i}.weight (out, in, 7, 7)`, `potential.fc.{i}.{weight (out, in), bias (out)}`, the same under `discriminator.`;
//! with training state also `optimizer.{potential,discriminator}.{first,second}_moment.{parameter}`. Metadata strings `horizon`, `steps`,
//! `lambda`, `lipschitz`; with training state also `training` (JSON).

mod file;
mod model;

use std::collections::HashMap;
use std::path::Path;

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

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
}

/// What a resumed run needs beyond tensors.
#[derive(Debug, Serialize, Deserialize)]
struct TrainingState {
    configuration: Configuration,
    iteration: u64,
    updates: [i64; 2],
    batch_stream: StreamState,
    noise_stream: StreamState,
}

/// Optional description of networks that shapes alone do not determine.
#[derive(Debug, Serialize, Deserialize)]
struct Architectures {
    potential: Architecture,
    discriminator: Architecture,
}

const NETWORKS: [&str; 2] = ["potential", "discriminator"];

impl Trainer {
    /// Writes networks, optimiser moments, stream positions and step count. Refuses tensors that are not finite.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let state = TrainingState {
            configuration: self.configuration.clone(),
            iteration: self.iteration,
            updates: [self.potential_optimiser.updates(), self.critic_optimiser.updates()],
            batch_stream: self.batch_stream.state(),
            noise_stream: self.noise_stream.state(),
        };
        let mut tensors = Vec::new();
        let mut metadata =
            flow_metadata(self.flow(), self.configuration.lipschitz, self.configuration.source);
        for (prefix, network, optimiser) in [
            (NETWORKS[0], &self.potential, &self.potential_optimiser),
            (NETWORKS[1], &self.discriminator, &self.critic_optimiser),
        ] {
            let (first, second) = optimiser.moments();
            collect(&mut tensors, &format!("{prefix}."), network, network.parameters());
            collect(&mut tensors, &format!("optimizer.{prefix}.first_moment."), network, first);
            collect(&mut tensors, &format!("optimizer.{prefix}.second_moment."), network, second);
        }
        metadata.insert("training".to_owned(), json(&state, path)?);
        metadata
            .insert("architectures".to_owned(), architectures(&self.potential, &self.discriminator, path)?);
        write(path, &tensors, metadata)
    }

    /// Continues the run saved at `path` on the same `data` and `source`.
    pub fn resume(
        path: &Path,
        data: &Tensor,
        source: Source,
        options: (Kind, Device),
    ) -> Result<Self, CheckpointError> {
        let content = |source| CheckpointError::Content { path: path.to_owned(), source };
        let file = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
        let bytes = read(path)?;
        let (tensors, metadata) = parse(path, &bytes)?;
        let text = metadata.get("training").ok_or_else(|| {
            file("holds weights but no training state, so there is nothing to resume".to_owned())
        })?;
        let state: TrainingState =
            serde_json::from_str(text).map_err(|error| file(format!("training state: {error}")))?;
        state.configuration.validate().map_err(content)?;
        let model = model_of(&tensors, &metadata, options).map_err(content)?;
        let moments = |name: &str, network: &Network, updates, adam| -> Result<Adam, InvalidInput> {
            let take = |order: &str| {
                network
                    .architecture()
                    .parameter_shapes()
                    .iter()
                    .map(|(key, shape)| {
                        take(
                            &tensors,
                            &format!("optimizer.{name}.{order}_moment.{key}"),
                            Some(shape),
                            options,
                        )
                    })
                    .collect::<Result<Vec<_>, _>>()
            };
            Ok(Adam::restore(adam, updates, take("first")?, take("second")?))
        };
        let configuration = state.configuration;
        let potential_optimiser =
            moments(NETWORKS[0], &model.potential, state.updates[0], configuration.potential_adam)
                .map_err(content)?;
        let critic_optimiser =
            moments(NETWORKS[1], &model.discriminator, state.updates[1], configuration.critic_adam)
                .map_err(content)?;
        Self {
            configuration,
            potential: model.potential,
            discriminator: model.discriminator,
            potential_optimiser,
            critic_optimiser,
            batch_stream: Stream::restore(state.batch_stream),
            noise_stream: Stream::restore(state.noise_stream),
            iteration: state.iteration,
            data: Tensor::new(),
            source: Source::Uniform,
            team: crate::team::Team::single(),
        }
        .with_data(data, source)
        .map_err(content)
    }
}

impl Model {
    /// Reads the networks of any checkpoint in this format, with or without training state.
    pub fn load(path: &Path, options: (Kind, Device)) -> Result<Self, CheckpointError> {
        let bytes = read(path)?;
        let (tensors, metadata) = parse(path, &bytes)?;
        model_of(&tensors, &metadata, options)
            .map_err(|source| CheckpointError::Content { path: path.to_owned(), source })
    }

    /// Writes the networks alone.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let mut tensors = Vec::new();
        collect(&mut tensors, "potential.", &self.potential, self.potential.parameters());
        collect(&mut tensors, "discriminator.", &self.discriminator, self.discriminator.parameters());
        let mut metadata = flow_metadata(self.flow, self.lipschitz, self.source);
        metadata
            .insert("architectures".to_owned(), architectures(&self.potential, &self.discriminator, path)?);
        write(path, &tensors, metadata)
    }
}

fn flow_metadata(flow: FlowSpecification, lipschitz: f64, source: [f64; 2]) -> HashMap<String, String> {
    [
        ("horizon", flow.horizon.to_string()),
        ("steps", flow.steps.to_string()),
        ("lambda", flow.lambda.to_string()),
        ("lipschitz", lipschitz.to_string()),
        ("source-law", format!("{},{}", source[0], source[1])),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn json<T: Serialize>(value: &T, path: &Path) -> Result<String, CheckpointError> {
    serde_json::to_string(value)
        .map_err(|error| CheckpointError::File { path: path.to_owned(), reason: error.to_string() })
}

fn architectures(
    potential: &Network,
    discriminator: &Network,
    path: &Path,
) -> Result<String, CheckpointError> {
    let both = Architectures {
        potential: potential.architecture().clone(),
        discriminator: discriminator.architecture().clone(),
    };
    json(&both, path)
}

fn collect(tensors: &mut Vec<(String, Tensor)>, prefix: &str, network: &Network, values: &[Tensor]) {
    for ((name, _), value) in network.architecture().parameter_shapes().into_iter().zip(values) {
        tensors.push((format!("{prefix}{name}"), value.detach()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::Activation;
    use crate::objective::Case;
    use crate::schedule::Schedule;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn data() -> Tensor {
        Tensor::from_slice(&[2.0_f32, 2.0, 2.5, 2.0, 2.0, 2.5]).reshape([3, 2])
    }

    fn trainer() -> Trainer {
        scheduled_trainer(Schedule::Constant)
    }

    fn scheduled_trainer(learning_rate_schedule: Schedule) -> Trainer {
        let configuration =
            Configuration { case: Case::W1W2, batch: 8, learning_rate_schedule, ..Configuration::default() };
        let shape = |time| Architecture::dense(2, &[16, 16], Activation::Relu, time);
        Trainer::new(configuration, shape(true), shape(false), &data(), Source::Uniform, OPTIONS).unwrap()
    }

    #[test]
    fn stop_and_resume_continues_bit_for_bit() {
        continues_bit_for_bit(Schedule::Constant);
    }

    #[test]
    fn stop_and_resume_continues_a_schedule_bit_for_bit() {
        continues_bit_for_bit(Schedule::Cosine { steps: 10 });
    }

    fn continues_bit_for_bit(schedule: Schedule) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let mut straight = scheduled_trainer(schedule);
        let mut stopped = scheduled_trainer(schedule);
        for _ in 0..4 {
            straight.step().unwrap();
            stopped.step().unwrap();
        }
        stopped.save(&path).unwrap();
        drop(stopped);
        let mut resumed = Trainer::resume(&path, &data(), Source::Uniform, OPTIONS).unwrap();
        for _ in 0..4 {
            assert_eq!(straight.step(), resumed.step());
        }
        for (a, b) in straight.potential.parameters().iter().zip(resumed.potential.parameters()) {
            assert!(a.equal(b));
        }
        for (a, b) in straight.discriminator.parameters().iter().zip(resumed.discriminator.parameters()) {
            assert!(a.equal(b));
        }
    }

    #[test]
    fn faults_name_the_tensor_and_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let trainer = trainer();
        trainer.save(&path).unwrap();
        let load = || Model::load(&path, OPTIONS).map_err(|error| error.to_string());
        assert!(load().is_ok());

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
        assert!(load().unwrap_err().contains("not a whole safetensors file"));
        std::fs::write(&path, b"nonsense").unwrap();
        assert!(load().unwrap_err().contains("not a whole safetensors file"));

        let model = Model::load(
            &{
                std::fs::write(&path, &whole).unwrap();
                path.clone()
            },
            OPTIONS,
        )
        .unwrap();
        let metadata = || flow_metadata(model.flow, 1.0, [0.0, 0.5]);
        let mut tensors = Vec::new();
        collect(&mut tensors, "potential.", &model.potential, model.potential.parameters());
        write(&path, &tensors, metadata()).unwrap();
        assert!(load().unwrap_err().contains("discriminator.fc.0.weight: missing"));

        collect(&mut tensors, "discriminator.", &model.discriminator, model.discriminator.parameters());
        let mut poisoned = tensors[1].1.copy();
        let _ = poisoned.fill_(f64::NAN);
        let sound = std::mem::replace(&mut tensors[1].1, poisoned);
        assert!(
            write(&path, &tensors, metadata())
                .unwrap_err()
                .to_string()
                .contains("potential.fc.0.bias is not finite")
        );
        tensors[1].1 = sound;

        write(&path, &tensors, HashMap::new()).unwrap();
        assert!(load().unwrap_err().contains("steps: missing"));
        write(&path, &tensors, metadata()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        assert!(load().unwrap_err().contains("NaN or infinite"));
        write(&path, &tensors, metadata()).unwrap();
        assert_eq!(load().unwrap().potential.architecture(), trainer.potential.architecture());
        let error = Trainer::resume(&path, &data(), Source::Uniform, OPTIONS).err().unwrap();
        assert!(error.to_string().contains("nothing to resume"));
        assert!(
            Model::load(Path::new("/nonexistent/file"), OPTIONS)
                .unwrap_err()
                .to_string()
                .contains("cannot be read")
        );
    }
}
