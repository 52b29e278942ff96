//! Networks from the tensors and metadata of a checkpoint.

use std::collections::HashMap;

use proxflow_reference::InvalidInput;
use safetensors::tensor::SafeTensors;
use tch::{Device, Kind};

use super::file::take;
use super::{Architectures, Model, NETWORKS};
use crate::architecture::{Activation, Architecture, Features};
use crate::flow::FlowSpecification;
use crate::network::Network;

pub(super) fn model_of(
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
    let source = source_of(metadata.get("source-law").map_or("0,0.5", String::as_str))?;
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
        source,
    })
}

/// `low,high` of a uniform source law.
fn source_of(text: &str) -> Result<[f64; 2], InvalidInput> {
    let numbers: Vec<f64> =
        text.split(',').filter_map(|part| part.parse().ok()).filter(|n: &f64| n.is_finite()).collect();
    match numbers.as_slice() {
        [low, high] if low < high => Ok([*low, *high]),
        _ => Err(InvalidInput::new("source-law", text, "low,high with low < high")),
    }
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
