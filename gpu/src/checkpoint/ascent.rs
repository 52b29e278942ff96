//! Checkpoints of an ascent of heights: the networks as in any checkpoint, and what the ascent needs to continue bit for bit.
//!
//! Tensors `ascent.heights`, `ascent.average`, `ascent.masses`, each `(K)` in f64; metadata `ascent` (JSON).

use std::path::Path;

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::file::{CheckpointError, parse, read, take, write};
use super::model::{Model, model_of};
use super::names::ASCENT;
use super::writing::json;
use crate::architecture::Features;
use crate::ascent::HeightAscent;
use crate::configuration::Configuration;
use crate::flow::FlowSpecification;
use crate::hopf_lax::HuberCost;
use crate::quantisation::Quantisation;
use crate::random::{Stream, StreamState};
use crate::train::digest;

/// A run of [`HeightAscent`] between two steps.
#[derive(Debug)]
pub struct AscentRun {
    /// Hyper-parameters; the ascent reads f, L, lambda, T, source, batch and seed.
    pub configuration: Configuration,
    /// The heights.
    pub ascent: HeightAscent,
    /// W1 between the data and the prototypes.
    pub distortion: f64,
    /// Where the noise of the next step comes from.
    pub noise: Stream,
}

#[derive(Debug, Serialize, Deserialize)]
struct AscentState {
    configuration: Configuration,
    iteration: u64,
    distortion: f64,
    noise_stream: StreamState,
    data_digest: String,
}

impl AscentRun {
    /// The cost of a configuration.
    pub fn cost(configuration: &Configuration) -> HuberCost {
        let &Configuration { lambda, horizon, lipschitz, .. } = configuration;
        HuberCost { lambda, horizon, lipschitz }
    }

    /// The networks with the averaged heights.
    pub fn model(&self) -> Model {
        let &Configuration { horizon, steps, lambda, lipschitz, source, .. } = &self.configuration;
        Model {
            potential: self.ascent.potential(),
            discriminator: self.ascent.discriminator(),
            flow: FlowSpecification { horizon, steps, lambda },
            lipschitz,
            source,
            notices: Vec::new(),
        }
    }

    /// Writes networks, heights and the position of the noise. Refuses tensors that are not finite.
    pub fn save(&self, path: &Path, data: &Tensor) -> Result<(), CheckpointError> {
        let state = AscentState {
            configuration: self.configuration.clone(),
            iteration: self.ascent.iteration,
            distortion: self.distortion,
            noise_stream: self.noise.state(),
            data_digest: digest(data),
        };
        let (mut tensors, mut metadata) = self.model().parts(path)?;
        let values = [&self.ascent.heights, &self.ascent.average, &self.ascent.masses];
        tensors.extend(ASCENT.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.copy())));
        metadata.insert("ascent".to_owned(), json(&state, path)?);
        write(path, &tensors, metadata)
    }

    /// Continues the run saved at `path` on the same `data (n, d)`; other data is refused by its digest.
    pub fn resume(path: &Path, data: &Tensor, options: (Kind, Device)) -> Result<Self, CheckpointError> {
        let content = |source| CheckpointError::Content { path: path.to_owned(), source };
        let file = |reason: String| CheckpointError::File { path: path.to_owned(), reason };
        let bytes = read(path)?;
        let container = parse(path, &bytes)?;
        let text = container
            .metadata
            .get("ascent")
            .ok_or_else(|| file("holds no ascent of heights, so there is nothing to resume".to_owned()))?;
        let state: AscentState =
            serde_json::from_str(text).map_err(|error| file(format!("ascent: {error}")))?;
        state.configuration.validate().map_err(content)?;
        let model = model_of(&container, options).map_err(content)?;
        if let Some(notice) = model.notices.first() {
            return Err(file(format!("cannot be resumed bit for bit: {notice}")));
        }
        let Features::Prototypes { count, .. } = model.potential.architecture().features else {
            return Err(content(InvalidInput::new("potential", "no prototypes", "a Hopf-Lax potential")));
        };
        let own = digest(data);
        if state.data_digest != own {
            let value = format!("other data (SHA-256 {own:.12}...)");
            let allowed = format!("the run's own (SHA-256 {:.12}...)", state.data_digest);
            return Err(content(InvalidInput::new("data", value, allowed)));
        }
        let host = |name: &str| take(&container, name, &[count], (Kind::Double, Device::Cpu));
        let [heights, average, masses] = ASCENT.map(host);
        let masses = masses.map_err(content)?;
        if masses.min().double_value(&[]) <= 0.0 {
            let value = masses.min().double_value(&[]);
            return Err(content(InvalidInput::new(ASCENT[2], value, "shares > 0")));
        }
        let quantisation = Quantisation {
            prototypes: model.potential.prototypes().0.copy(),
            masses,
            distortion: state.distortion,
        };
        let configuration = state.configuration;
        let mut ascent = HeightAscent::new(&quantisation, Self::cost(&configuration), configuration.source)
            .map_err(content)?;
        ascent.heights = heights.map_err(content)?;
        ascent.average = average.map_err(content)?;
        ascent.iteration = state.iteration;
        Ok(Self {
            configuration,
            ascent,
            distortion: state.distortion,
            noise: Stream::restore(state.noise_stream),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::random::StreamLabel;

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn data() -> Tensor {
        Tensor::from_slice(&[2.0_f32, 2.0, 2.5, 2.0, 2.0, 2.5]).reshape([3, 2])
    }

    fn run() -> AscentRun {
        let configuration = Configuration { lipschitz: 0.03, batch: 50, ..Configuration::default() };
        let quantisation = Quantisation::whole(&data());
        let ascent =
            HeightAscent::new(&quantisation, AscentRun::cost(&configuration), configuration.source).unwrap();
        let noise = Stream::new(configuration.seed, StreamLabel::Noise);
        AscentRun { configuration, ascent, distortion: 0.0, noise }
    }

    fn step(run: &mut AscentRun) {
        let _ = run.ascent.step(&run.noise.uniform(50, 2, 0.0, 0.5));
    }

    #[test]
    fn stop_and_resume_continues_bit_for_bit_and_other_data_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let (mut straight, mut stopped) = (run(), run());
        for _ in 0..5 {
            step(&mut straight);
            step(&mut stopped);
        }
        stopped.save(&path, &data()).unwrap();
        let mut resumed = AscentRun::resume(&path, &data(), OPTIONS).unwrap();
        for _ in 0..5 {
            step(&mut straight);
            step(&mut resumed);
        }
        let second = folder.path().join("second");
        straight.save(&path, &data()).unwrap();
        resumed.save(&second, &data()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&second).unwrap());
        let error = AscentRun::resume(&path, &(data() + 1.0), OPTIONS).unwrap_err().to_string();
        assert!(error.contains("data: other data"), "{error}");
        // The networks of the same file serve like those of any other.
        assert!(Model::load(&path, OPTIONS).unwrap().notices.is_empty());
        straight.model().save(&path).unwrap();
        let error = AscentRun::resume(&path, &data(), OPTIONS).unwrap_err().to_string();
        assert!(error.contains("nothing to resume"), "{error}");
    }

    #[test]
    fn a_cost_that_is_not_the_flows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let model = Model { lipschitz: 0.5, ..run().model() };
        model.save(&path).unwrap();
        let error = Model::load(&path, OPTIONS).unwrap_err().to_string();
        assert!(error.contains("lipschitz") && error.contains("0.03"), "{error}");
    }
}
