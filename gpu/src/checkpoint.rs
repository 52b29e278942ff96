//! Checkpoints: safetensors by fixed names, written atomically, holding all that a run needs to continue bit for bit.
//!
//! `potential.conv.{i}.weight (out, in, 7, 7)`, `potential.fc.{i}.{weight (out, in), bias (out)}`, the same under `discriminator.`;
//! with training state also `optimizer.{potential,discriminator}.{first,second}_moment.{parameter}`. Metadata strings `horizon`, `steps`,
//! `lambda`, `lipschitz`; with training state also `training` (JSON).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use proxflow_reference::InvalidInput;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::adam::Adam;
use crate::architecture::{Activation, Architecture, Features};
use crate::configuration::Configuration;
use crate::flow::FlowSpecification;
use crate::network::Network;
use crate::random::{Stream, StreamState, place};
use crate::train::{Source, Trainer};

/// Why a checkpoint cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file is missing, truncated, or holds something else.
    #[error("checkpoint {path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor or a metadata entry is at fault.
    #[error("checkpoint {path}: {source}", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Field, value and allowed range.
        source: InvalidInput,
    },
}

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
        let mut metadata = flow_metadata(self.flow(), self.configuration.lipschitz);
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
        let mut metadata = flow_metadata(self.flow, self.lipschitz);
        metadata
            .insert("architectures".to_owned(), architectures(&self.potential, &self.discriminator, path)?);
        write(path, &tensors, metadata)
    }
}

fn flow_metadata(flow: FlowSpecification, lipschitz: f64) -> HashMap<String, String> {
    [
        ("horizon", flow.horizon.to_string()),
        ("steps", flow.steps.to_string()),
        ("lambda", flow.lambda.to_string()),
        ("lipschitz", lipschitz.to_string()),
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

/// Serialises to a temporary file in the same folder and renames it, so that a kill or a full disk loses nothing.
fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: HashMap<String, String>,
) -> Result<(), CheckpointError> {
    use std::io::Write;
    let failed = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
    let mut buffers = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        if tensor.isfinite().all().int64_value(&[]) == 0 {
            return Err(failed(format!("not written: {name} is not finite")));
        }
        let dtype = if tensor.kind() == Kind::Double { Dtype::F64 } else { Dtype::F32 };
        let host = tensor.to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0_u8; host.numel() * if dtype == Dtype::F64 { 8 } else { 4 }];
        host.f_copy_data_u8(&mut bytes, host.numel()).map_err(|error| failed(error.to_string()))?;
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        buffers.push((name, dtype, shape, bytes));
    }
    let views = buffers
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| failed(error.to_string()))?;
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| failed(error.to_string()))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |error: std::io::Error| failed(format!("cannot be written: {error}"));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.as_file().sync_all()).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    std::fs::read(path).map_err(|error| CheckpointError::File {
        path: path.to_owned(),
        reason: format!("cannot be read: {error}"),
    })
}

fn parse<'a>(
    path: &Path,
    bytes: &'a [u8],
) -> Result<(SafeTensors<'a>, HashMap<String, String>), CheckpointError> {
    let failed = |error: safetensors::SafeTensorError| CheckpointError::File {
        path: path.to_owned(),
        reason: format!("not a whole safetensors file: {error:?}"),
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(failed)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok((SafeTensors::deserialize(bytes).map_err(failed)?, metadata))
}

fn model_of(
    tensors: &SafeTensors<'_>,
    metadata: &HashMap<String, String>,
    options: (Kind, Device),
) -> Result<Model, InvalidInput> {
    let number = |key: &str| -> Result<f64, InvalidInput> {
        let text = metadata.get(key).map(String::as_str).unwrap_or("missing");
        let value = text.parse().map_err(|_| InvalidInput::new(key, text, "a number > 0 in the metadata"))?;
        InvalidInput::require_positive(key, value)
    };
    let steps = number("steps")?;
    if steps.fract() != 0.0 {
        return Err(InvalidInput::new("steps", steps, "a whole number >= 1"));
    }
    let flow = FlowSpecification::new(number("horizon")?, steps as usize, number("lambda")?)?;
    let lipschitz = number("lipschitz")?;
    let (potential, discriminator) = match metadata.get("architectures") {
        Some(text) => {
            let both: Architectures = serde_json::from_str(text).map_err(|error| {
                InvalidInput::new("architectures", error, "the JSON that a checkpoint is saved with")
            })?;
            (both.potential, both.discriminator)
        }
        None => (infer(tensors, NETWORKS[0], true)?, infer(tensors, NETWORKS[1], false)?),
    };
    Ok(Model {
        potential: network_of(tensors, NETWORKS[0], potential, options)?,
        discriminator: network_of(tensors, NETWORKS[1], discriminator, options)?,
        flow,
        lipschitz,
    })
}

fn network_of(
    tensors: &SafeTensors<'_>,
    name: &str,
    architecture: Architecture,
    options: (Kind, Device),
) -> Result<Network, InvalidInput> {
    architecture.validate()?;
    let parameters = architecture
        .parameter_shapes()
        .iter()
        .map(|(key, shape)| take(tensors, &format!("{name}.{key}"), Some(shape), options))
        .collect::<Result<_, _>>()?;
    Network::from_parameters(architecture, parameters)
}

/// Reads an architecture off the tensor shapes; dense layers are taken as ReLU.
fn infer(tensors: &SafeTensors<'_>, name: &str, time: bool) -> Result<Architecture, InvalidInput> {
    let shape = |key: String| -> Option<Vec<i64>> {
        tensors.tensor(&key).ok().map(|view| view.shape().iter().map(|&n| n as i64).collect())
    };
    let rows = |kind: &str| -> Vec<i64> {
        (0..).map_while(|index| shape(format!("{name}.{kind}.{index}.weight"))).map(|s| s[0]).collect()
    };
    let (channels, mut hidden) = (rows("conv"), rows("fc"));
    let key = format!("{name}.fc.0.weight");
    let first = shape(key.clone()).ok_or_else(|| InvalidInput::new(&key, "missing", "a tensor (out, in)"))?;
    let features = first.get(1).copied().unwrap_or(0) - i64::from(time);
    hidden.pop();
    let features = match channels.last() {
        None => Features::Coordinates { dimension: features },
        Some(&last) => {
            let reduced = ((features / last) as f64).sqrt().round() as i64;
            if reduced * reduced * last != features {
                return Err(InvalidInput::new(
                    &key,
                    format!("{features} features"),
                    format!("{last} square maps"),
                ));
            }
            Features::Image { side: reduced << channels.len(), channels }
        }
    };
    Ok(Architecture { features, hidden, activation: Activation::Relu, time })
}

/// One tensor: present, of the right shape, f32 or f64, finite.
fn take(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: Option<&[i64]>,
    options: (Kind, Device),
) -> Result<Tensor, InvalidInput> {
    let view = tensors
        .tensor(name)
        .map_err(|_| InvalidInput::new(name, "missing", format!("a tensor {:?}", shape.unwrap_or(&[]))))?;
    let found: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
    if shape.is_some_and(|shape| shape != found) {
        return Err(InvalidInput::new(
            name,
            format!("shape {found:?}"),
            format!("shape {:?}", shape.unwrap_or(&[])),
        ));
    }
    let kind = match view.dtype() {
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        other => return Err(InvalidInput::new(name, format!("{other:?}"), "F32 or F64")),
    };
    let tensor = Tensor::f_from_data_size(view.data(), &found, kind)
        .map_err(|error| InvalidInput::new(name, error, "readable data"))?;
    let bad = tensor.numel() as i64 - tensor.isfinite().sum(Kind::Int64).int64_value(&[]);
    if bad > 0 {
        return Err(InvalidInput::new(
            name,
            format!("{bad} values that are NaN or infinite"),
            "finite values",
        ));
    }
    Ok(place(&tensor, options))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::objective::Case;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn data() -> Tensor {
        Tensor::from_slice(&[2.0_f32, 2.0, 2.5, 2.0, 2.0, 2.5]).reshape([3, 2])
    }

    fn trainer() -> Trainer {
        let configuration = Configuration { case: Case::W1W2, batch: 8, ..Configuration::default() };
        let shape = |time| Architecture::dense(2, &[16, 16], Activation::Relu, time);
        Trainer::new(configuration, shape(true), shape(false), &data(), Source::Uniform, OPTIONS).unwrap()
    }

    #[test]
    fn stop_and_resume_continues_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let mut straight = trainer();
        let mut stopped = trainer();
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
        let metadata = || flow_metadata(model.flow, 1.0);
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
