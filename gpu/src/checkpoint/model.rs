//! Networks from the tensors and metadata of a checkpoint, the whole of it checked before the first use.

use std::collections::BTreeSet;
use std::path::Path;

use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::container::{CHECKSUM, Container};
use proxflow_reference::checkpoint::{MOST_STEPS, SOURCE_LAW, parse_source_law};
use tch::{Device, Kind};

use super::file::{CheckpointError, notices, parse, read, take};
use super::names::{ASCENT, Architectures, NETWORKS, SECTIONS};
use crate::architecture::{Activation, Architecture, Features};
use crate::flow::FlowSpecification;
use crate::network::Network;

/// Metadata keys that this program reads, and those that others write without a meaning for the networks.
const KEYS: [&str; 10] = [
    "horizon",
    "steps",
    "lambda",
    "lipschitz",
    SOURCE_LAW,
    "architectures",
    "training",
    "ascent",
    CHECKSUM,
    "format",
];
/// Said of the published weights.
const PROVENANCE: &str = "source";

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

impl Model {
    /// Reads the networks of any checkpoint in this format, with or without training state. Names, shapes and metadata of the whole
    /// file are checked before the first use: a missing, misshapen or unknown tensor, a wrong checksum and values that are not finite are refused.
    pub fn load(path: &Path, options: (Kind, Device)) -> Result<Self, CheckpointError> {
        let bytes = read(path)?;
        let container = parse(path, &bytes)?;
        model_of(&container, options)
            .map_err(|source| CheckpointError::Content { path: path.to_owned(), source })
    }
}

/// Reads and checks everything but training state: metadata, architectures, names and shapes of all tensors, values, checksum.
pub(super) fn model_of(container: &Container<'_>, options: (Kind, Device)) -> Result<Model, InvalidInput> {
    let metadata = &container.metadata;
    let number = |key: &str| -> Result<f64, InvalidInput> {
        let text = metadata.get(key).map(String::as_str).unwrap_or("missing");
        let value = text.parse().map_err(|_| InvalidInput::new(key, text, "a number > 0 in the metadata"))?;
        InvalidInput::require_positive(key, value)
    };
    let steps = number("steps")?;
    if steps.fract() != 0.0 || steps > MOST_STEPS as f64 {
        return Err(InvalidInput::new("steps", steps, format!("a whole number in 1..={MOST_STEPS}")));
    }
    let flow = FlowSpecification::new(number("horizon")?, steps as usize, number("lambda")?)?;
    let lipschitz = number("lipschitz")?;
    let source = metadata.get(SOURCE_LAW).map_or(Ok(PUBLISHED_SOURCE), |text| parse_source_law(text))?;
    let architectures = architectures(container)?;
    for (name, architecture) in architectures.named() {
        require_cost(name, architecture, flow, lipschitz)?;
    }
    let mut notices = notices(container);
    check_names(container, &architectures, &mut notices)?;
    let model = Model {
        potential: network_of(container, NETWORKS[0], architectures.potential, options)?,
        discriminator: network_of(container, NETWORKS[1], architectures.discriminator, options)?,
        flow,
        lipschitz,
        source,
        notices,
    };
    container.verify()?;
    Ok(model)
}

/// Prototypes carry the cost that their slopes follow: it must be that of the flow.
fn require_cost(
    name: &str,
    architecture: &Architecture,
    flow: FlowSpecification,
    lipschitz: f64,
) -> Result<(), InvalidInput> {
    let Features::Prototypes { cost, .. } = architecture.features else { return Ok(()) };
    for (field, own, outer) in [
        ("lambda", cost.lambda, flow.lambda),
        ("horizon", cost.horizon, flow.horizon),
        ("lipschitz", cost.lipschitz, lipschitz),
    ] {
        if own != outer {
            let allowed = format!("{outer}, the {field} of the checkpoint");
            return Err(InvalidInput::new(format!("{name} cost {field}"), own, allowed));
        }
    }
    Ok(())
}

/// The source law of the published set-up, for files that do not say.
const PUBLISHED_SOURCE: [f64; 2] = [0.0, 0.5];

/// The description in the metadata, else what the tensor shapes tell; both networks live in one dimension.
fn architectures(container: &Container<'_>) -> Result<Architectures, InvalidInput> {
    let both = match container.metadata.get("architectures") {
        Some(text) => serde_json::from_str(text).map_err(|error| {
            InvalidInput::new("architectures", error, "the JSON that a checkpoint is saved with")
        })?,
        None => Architectures {
            potential: infer(container, NETWORKS[0], true)?,
            discriminator: infer(container, NETWORKS[1], false)?,
        },
    };
    both.potential.validate()?;
    both.discriminator.validate()?;
    let [first, second] = [&both.potential, &both.discriminator].map(|network| network.dimension());
    if first != second {
        let value = format!("a network on {second} coordinates");
        return Err(InvalidInput::new(NETWORKS[1], value, format!("{first} coordinates, as the potential")));
    }
    Ok(both)
}

/// Every tensor under a name of ours must be one that the architectures have; other tensors and keys are passed over with a word.
fn check_names(
    container: &Container<'_>,
    architectures: &Architectures,
    notices: &mut Vec<String>,
) -> Result<(), InvalidInput> {
    let known: BTreeSet<String> = architectures
        .named()
        .iter()
        .flat_map(|(network, architecture)| {
            let names = architecture.parameter_shapes().into_iter().map(|(name, _)| name);
            let names: Vec<String> = names.collect();
            SECTIONS.iter().flat_map(move |section| {
                names.iter().map(|name| format!("{}{name}", section.prefix(network))).collect::<Vec<_>>()
            })
        })
        .chain(ASCENT.iter().map(|name| (*name).to_owned()))
        .collect();
    let ours = |name: &str| {
        name.split('.')
            .next()
            .is_some_and(|head| NETWORKS.contains(&head) || ["optimizer", "ascent"].contains(&head))
    };
    let (unknown, foreign): (Vec<&String>, Vec<&String>) =
        container.tensors.keys().filter(|name| !known.contains(*name)).partition(|name| ours(name));
    if let Some(name) = unknown.first() {
        // The missing tensor says more than the one that stands in its place.
        let missing = architectures.named().into_iter().find_map(|(network, architecture)| {
            let shapes = architecture.parameter_shapes();
            let absent = |(key, shape): (String, Vec<i64>)| {
                let full = format!("{network}.{key}");
                (!container.tensors.contains_key(&full)).then_some((full, shape))
            };
            shapes.into_iter().find_map(absent)
        });
        return Err(match missing {
            Some((full, shape)) => InvalidInput::new(
                full,
                format!("missing, with a tensor {name} that the architecture does not have"),
                format!("a tensor {shape:?}"),
            ),
            None => InvalidInput::new(name, "unknown", "the tensors of the two architectures"),
        });
    }
    if !foreign.is_empty() {
        notices.push(format!(
            "{} tensors that are no part of the networks are not used: {} ...",
            foreign.len(),
            foreign[0]
        ));
    }
    let unused: Vec<&str> = container
        .metadata
        .keys()
        .map(String::as_str)
        .filter(|key| !KEYS.contains(key) && *key != PROVENANCE)
        .collect();
    if !unused.is_empty() {
        notices.push(format!("metadata not used: {}", unused.join(", ")));
    }
    Ok(())
}

fn network_of(
    container: &Container<'_>,
    name: &str,
    architecture: Architecture,
    options: (Kind, Device),
) -> Result<Network, InvalidInput> {
    let parameters = architecture
        .parameter_shapes()
        .iter()
        .map(|(key, shape)| take(container, &format!("{name}.{key}"), shape, options))
        .collect::<Result<_, _>>()?;
    Network::from_parameters(architecture, parameters)
}

/// Reads an architecture off the tensor shapes; dense layers are taken as ReLU.
fn infer(container: &Container<'_>, name: &str, time: bool) -> Result<Architecture, InvalidInput> {
    let rows = |kind: &str, axes: usize| -> Result<Vec<Vec<i64>>, InvalidInput> {
        (0..)
            .map(|index| format!("{name}.{kind}.{index}.weight"))
            .map_while(|key| container.tensors.get(&key).map(|part| (key, &part.shape)))
            .map(|(key, shape)| {
                if shape.len() != axes || shape.contains(&0) {
                    let allowed = format!("{axes} axes, none of them empty");
                    return Err(InvalidInput::new(key, format!("shape {shape:?}"), allowed));
                }
                Ok(shape.iter().map(|&n| n as i64).collect())
            })
            .collect()
    };
    let (convolutions, dense) = (rows("conv", 4)?, rows("fc", 2)?);
    let key = format!("{name}.fc.0.weight");
    let first = dense.first().ok_or_else(|| InvalidInput::new(&key, "missing", "a tensor (out, in)"))?;
    let features = first[1] - i64::from(time);
    let hidden: Vec<i64> = dense[..dense.len() - 1].iter().map(|shape| shape[0]).collect();
    let channels: Vec<i64> = convolutions.iter().map(|shape| shape[0]).collect();
    let features = match channels.last() {
        None => Features::Coordinates { dimension: features },
        Some(&last) => {
            let reduced = ((features / last) as f64).sqrt().round() as i64;
            if reduced * reduced * last != features || channels.len() > 15 {
                let allowed = format!("{last} square maps after at most 15 convolutions");
                return Err(InvalidInput::new(&key, format!("{features} features"), allowed));
            }
            Features::Image { side: reduced << channels.len(), channels }
        }
    };
    Ok(Architecture { features, hidden, activation: Activation::Relu, time })
}
