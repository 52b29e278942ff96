//! Networks from checkpoints: the architecture is the one that the metadata describes, else read off the tensor shapes.

use serde::Deserialize;

use super::{Activation, Architecture, HuberCost, Network};
use crate::checkpoint::NamedArrays;
use crate::specification::InvalidInput;

impl Network {
    /// Reads the network named `prefix` (`potential` or `discriminator`) from a checkpoint. The metadata entry `architectures`
    /// describes it; without one it is read off the tensor shapes, `time_input` saying whether `t` is the last feature, dense
    /// layers being ReLU. A missing, misshapen or unknown tensor under `prefix` is refused by name.
    pub fn from_checkpoint(
        checkpoint: &NamedArrays,
        prefix: &str,
        time_input: bool,
    ) -> Result<Self, InvalidInput> {
        let (architecture, time_input) = match described(checkpoint, prefix)? {
            Some(description) => (description.architecture()?, description.time),
            None => (inferred(checkpoint, prefix, time_input)?, time_input),
        };
        let network = Self::new(prefix, architecture, time_input, &checkpoint.arrays)?;
        let own = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        match checkpoint.arrays.keys().find(|name| own(name) && !network.names.contains(name)) {
            Some(name) => {
                Err(InvalidInput::new(name, "unknown", format!("{} alone", network.names.join(", "))))
            }
            None => Ok(network),
        }
    }
}

/// One network in the metadata entry `architectures`, a JSON object by network name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    features: Features,
    hidden: Vec<usize>,
    activation: Activation,
    time: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
enum Features {
    Coordinates { dimension: usize },
    PeriodicCoordinates { dimension: usize },
    Image { side: usize, channels: Vec<usize> },
    Prototypes { dimension: usize, count: usize, cost: HuberCost },
}

/// Nothing in a network is wider: the numbers of a description stay far from overflow.
const WIDEST: usize = 1 << 20;

impl Description {
    fn architecture(&self) -> Result<Architecture, InvalidInput> {
        let width = |field: &str, value: usize| match value {
            1..=WIDEST => Ok(value),
            _ => Err(InvalidInput::new(field, value, format!("1..={WIDEST}"))),
        };
        for &hidden in &self.hidden {
            width("hidden width", hidden)?;
        }
        let (hidden, activation) = (self.hidden.clone(), self.activation);
        match &self.features {
            Features::Coordinates { dimension } | Features::PeriodicCoordinates { dimension } => {
                let periodic = matches!(self.features, Features::PeriodicCoordinates { .. });
                let inputs = width("dimension", *dimension)?;
                Ok(Architecture::MultilayerPerceptron { inputs, periodic, hidden, activation })
            }
            Features::Image { side, channels } => {
                for &outputs in channels {
                    width("channels", outputs)?;
                }
                if activation != Activation::Relu || channels.is_empty() {
                    let allowed = "relu, with at least one convolution";
                    return Err(InvalidInput::new("image network", format!("{activation:?}"), allowed));
                }
                if channels.len() > 15 || !width("side", *side)?.is_multiple_of(1 << channels.len()) {
                    let allowed = format!("a multiple of 2^{}, at most 15 convolutions", channels.len());
                    return Err(InvalidInput::new("side", side, allowed));
                }
                Ok(Architecture::Convolutional { side: *side, channels: channels.clone(), kernel: 7, hidden })
            }
            Features::Prototypes { dimension, count, cost } => {
                for (field, value) in
                    [("lambda", cost.lambda), ("horizon", cost.horizon), ("lipschitz", cost.lipschitz)]
                {
                    InvalidInput::require_positive(field, value)?;
                }
                let (inputs, count) = (width("dimension", *dimension)?, width("prototypes", *count)?);
                Ok(Architecture::Prototypes { inputs, count, cost: *cost })
            }
        }
    }
}

fn described(checkpoint: &NamedArrays, prefix: &str) -> Result<Option<Description>, InvalidInput> {
    let Some(text) = checkpoint.metadata.get("architectures") else { return Ok(None) };
    let refuse = |error: &dyn std::fmt::Display| {
        InvalidInput::new("architectures", error, "JSON that describes every network by its name")
    };
    let mut all: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| refuse(&error))?;
    let own = all.remove(prefix).ok_or_else(|| refuse(&format!("no entry {prefix}")))?;
    serde_json::from_value(own).map(Some).map_err(|error| refuse(&format!("{prefix}: {error}")))
}

fn inferred(checkpoint: &NamedArrays, prefix: &str, time_input: bool) -> Result<Architecture, InvalidInput> {
    let shapes = |kind: &str, axes: usize| -> Result<Vec<Vec<usize>>, InvalidInput> {
        (0..)
            .map(|i| format!("{prefix}.{kind}.{i}.weight"))
            .map_while(|name| checkpoint.arrays.get(&name).map(|array| (name, array.shape().to_vec())))
            .map(|(name, shape)| match shape.len() == axes && !shape.contains(&0) {
                true => Ok(shape),
                false => Err(InvalidInput::new(
                    name,
                    format!("shape {shape:?}"),
                    format!("{axes} axes, none empty"),
                )),
            })
            .collect()
    };
    let (convolutions, dense) = (shapes("conv", 4)?, shapes("fc", 2)?);
    let key = format!("{prefix}.fc.0.weight");
    let first = dense.first().ok_or_else(|| InvalidInput::new(&key, "missing", "a matrix (out, in)"))?;
    let features = first[1].saturating_sub(usize::from(time_input));
    let hidden: Vec<usize> = dense[..dense.len() - 1].iter().map(|shape| shape[0]).collect();
    let Some(last) = convolutions.last().map(|shape| shape[0]) else {
        let activation = Activation::Relu;
        return Ok(Architecture::MultilayerPerceptron {
            inputs: features,
            periodic: false,
            hidden,
            activation,
        });
    };
    if convolutions.len() > 15 || convolutions.iter().any(|shape| shape[2] % 2 == 0 || shape[2] != shape[3]) {
        let allowed = "(out, in, k, k) with one odd k, at most 15 convolutions";
        return Err(InvalidInput::new(format!("{prefix}.conv"), format!("{convolutions:?}"), allowed));
    }
    let reduced = (features / last).isqrt();
    if reduced * reduced * last != features || reduced > WIDEST {
        let allowed = format!("{last} square maps after the convolutions");
        return Err(InvalidInput::new(&key, format!("{features} features"), allowed));
    }
    let channels: Vec<usize> = convolutions.iter().map(|shape| shape[0]).collect();
    let side = reduced << channels.len();
    Ok(Architecture::Convolutional { side, channels, kernel: convolutions[0][2], hidden })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{perceptron, random, small_convolutional};
    use super::*;

    #[test]
    fn architecture_is_read_off_the_tensor_shapes() {
        for (architecture, time_input) in
            [(small_convolutional(), true), (perceptron(Activation::Relu), false)]
        {
            let network = random(architecture.clone(), time_input, 0);
            let arrays = network.names.iter().cloned().zip(network.parameters.iter().cloned()).collect();
            let checkpoint = NamedArrays { arrays, ..NamedArrays::default() };
            let read = Network::from_checkpoint(&checkpoint, "potential", time_input).unwrap();
            assert_eq!(read.architecture(), &architecture);
        }
    }
    fn sample() -> (Architecture, NamedArrays) {
        let architecture =
            Architecture::Convolutional { side: 8, channels: vec![3, 2], kernel: 7, hidden: vec![7, 5] };
        let network = random(architecture.clone(), true, 0);
        let arrays = network.names.iter().cloned().zip(network.parameters.iter().cloned()).collect();
        (architecture, NamedArrays { arrays, ..NamedArrays::default() })
    }

    fn described_as(arrays: &NamedArrays, text: String) -> Result<Network, InvalidInput> {
        let metadata = [("architectures".to_owned(), text)].into();
        Network::from_checkpoint(&NamedArrays { metadata, ..arrays.clone() }, "potential", true)
    }

    #[test]
    fn every_missing_or_unknown_tensor_is_refused_by_name_where_the_metadata_describes_the_network() {
        let (architecture, whole) = sample();
        let text = r#"{"potential":{"features":{"kind":"image","side":8,"channels":[3,2]},"hidden":[7,5],"activation":"relu","time":true}}"#.to_owned();
        assert_eq!(described_as(&whole, text.clone()).unwrap().architecture(), &architecture);
        for name in whole.arrays.keys() {
            let mut damaged = whole.clone();
            damaged.arrays.remove(name);
            assert!(described_as(&damaged, text.clone()).is_err(), "without {name}");
        }
        let mut more = whole.clone();
        let extra = whole.arrays.values().next().unwrap().clone();
        more.arrays.insert("potential.conv.7.weight".to_owned(), extra);
        let error = Network::from_checkpoint(&more, "potential", true).unwrap_err();
        assert_eq!((error.field.as_str(), error.value.as_str()), ("potential.conv.7.weight", "unknown"));
    }

    #[test]
    fn descriptions_that_mean_nothing_are_refused() {
        let (_, whole) = sample();
        for (features, expected) in [
            (r#"{"kind":"fourier","dimension":4}"#, "fourier"),
            (r#"{"kind":"image","side":0,"channels":[2]}"#, "side"),
            (r#"{"kind":"image","side":4,"channels":[0]}"#, "channels"),
            (r#"{"kind":"image","side":18446744073709551615,"channels":[1]}"#, "side"),
            (r#"{"kind":"coordinates","dimension":0}"#, "dimension"),
        ] {
            let text = format!(
                r#"{{"potential":{{"features":{features},"hidden":[2],"activation":"relu","time":true}}}}"#
            );
            let error = described_as(&whole, text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(
            described_as(&whole, "{}".to_owned()).unwrap_err().to_string().contains("no entry potential")
        );
    }
}
