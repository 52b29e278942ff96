//! Networks from checkpoints: the architecture is read off the tensor shapes.

use super::{Activation, Architecture, HuberCost, Network};
use crate::checkpoint::NamedArrays;
use crate::specification::InvalidInput;

impl Network {
    /// Reads the network named `prefix` (`potential` or `discriminator`) from a checkpoint, the architecture being
    /// read off the tensor shapes. `time_input` says whether `t` is the last feature.
    pub fn from_checkpoint(
        checkpoint: &NamedArrays,
        prefix: &str,
        time_input: bool,
    ) -> Result<Self, InvalidInput> {
        if checkpoint.arrays.contains_key(&format!("{prefix}.prototypes")) {
            let architecture = prototypes_of(checkpoint, prefix)?;
            return Self::new(prefix, architecture, time_input, &checkpoint.arrays);
        }
        let shapes = |kind: &str| -> Vec<Vec<usize>> {
            (0..)
                .map_while(|i| checkpoint.arrays.get(&format!("{prefix}.{kind}.{i}.weight")))
                .map(|array| array.shape().to_vec())
                .collect()
        };
        let (convolutions, dense) = (shapes("conv"), shapes("fc"));
        let first = dense
            .first()
            .filter(|shape| shape.len() == 2)
            .ok_or_else(|| InvalidInput::new(format!("{prefix}.fc.0.weight"), "missing", "a matrix"))?;
        let features = first[1].saturating_sub(usize::from(time_input));
        let hidden: Vec<usize> = dense[..dense.len() - 1].iter().map(|shape| shape[0]).collect();
        let architecture = if convolutions.is_empty() {
            let (activation, periodic) = dense_metadata(checkpoint, prefix)?;
            let inputs = if periodic { features / 2 } else { features };
            Architecture::MultilayerPerceptron { inputs, periodic, hidden, activation }
        } else {
            if convolutions.iter().any(|shape| shape.len() != 4 || shape[2] % 2 == 0 || shape[2] != shape[3])
            {
                return Err(InvalidInput::new(
                    format!("{prefix}.conv"),
                    format!("{convolutions:?}"),
                    "(out, in, k, k) with one odd k",
                ));
            }
            let channels: Vec<usize> = convolutions.iter().map(|shape| shape[0]).collect();
            let pixels = features / channels[channels.len() - 1];
            let side = pixels.isqrt() << channels.len();
            Architecture::Convolutional { side, channels, kernel: convolutions[0][2], hidden }
        };
        Self::new(prefix, architecture, time_input, &checkpoint.arrays)
    }
}

/// The prototypes' number, dimension and cost: `{"potential": {"features": {"kind": "prototypes", "cost": {"lambda", "horizon",
/// "lipschitz"}}}}` of the metadata entry `architectures`.
fn prototypes_of(checkpoint: &NamedArrays, prefix: &str) -> Result<Architecture, InvalidInput> {
    let refuse = |found: &dyn std::fmt::Display| {
        InvalidInput::new("architectures", found, "JSON by network name with the cost of its prototypes")
    };
    let text = checkpoint.metadata.get("architectures").ok_or_else(|| refuse(&"missing"))?;
    let all: serde_json::Value = serde_json::from_str(text).map_err(|error| refuse(&error))?;
    let cost: HuberCost =
        serde_json::from_value(all[prefix]["features"]["cost"].clone()).map_err(|error| refuse(&error))?;
    for (field, value) in [("lambda", cost.lambda), ("horizon", cost.horizon), ("lipschitz", cost.lipschitz)]
    {
        InvalidInput::require_positive(field, value)?;
    }
    match checkpoint.arrays[&format!("{prefix}.prototypes")].shape() {
        &[count, inputs] if count > 0 && inputs > 0 => Ok(Architecture::Prototypes { inputs, count, cost }),
        shape => {
            let found = format!("shape {shape:?}");
            Err(InvalidInput::new(format!("{prefix}.prototypes"), found, "(K, d) with K, d >= 1"))
        }
    }
}

/// Activation and periodicity of a dense network, which shapes do not tell: the metadata entry `architectures` (JSON,
/// `{"potential": {"activation": "tanh", "features": {"kind": "periodic-coordinates"}}}`); ReLU on coordinates without it.
fn dense_metadata(checkpoint: &NamedArrays, prefix: &str) -> Result<(Activation, bool), InvalidInput> {
    let Some(text) = checkpoint.metadata.get("architectures") else { return Ok((Activation::Relu, false)) };
    let refuse =
        |error: &dyn std::fmt::Display| InvalidInput::new("architectures", error, "JSON by network name");
    let all: serde_json::Value = serde_json::from_str(text).map_err(|error| refuse(&error))?;
    let activation =
        serde_json::from_value(all[prefix]["activation"].clone()).map_err(|error| refuse(&error))?;
    Ok((activation, all[prefix]["features"]["kind"] == "periodic-coordinates"))
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
}
