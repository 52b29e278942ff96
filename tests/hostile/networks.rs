//! Inputs of `mnist` and `validate`: checkpoints made from a good one, every way in which one can be bad, and configuration files.

use std::borrow::Cow;
use std::path::Path;

use proxflow_reference::checkpoint::container::{CHECKSUM, Container};
use safetensors::Dtype;

/// Changes a checkpoint.
type Change = fn(&mut Container<'_>);

fn fill(container: &mut Container<'_>, name: &str, value: f32) {
    let part = container.tensors.get_mut(name).unwrap();
    part.bytes.to_mut()[..4].copy_from_slice(&value.to_le_bytes());
}

fn scale(container: &mut Container<'_>, network: &str, factor: f32) {
    for (_, part) in container.tensors.iter_mut().filter(|(name, _)| name.starts_with(network)) {
        for word in part.bytes.to_mut().as_chunks_mut::<4>().0 {
            *word = (f32::from_le_bytes(*word) * factor).to_le_bytes();
        }
    }
}

fn rename(container: &mut Container<'_>, from: &str, to: &str) {
    let part = container.tensors.remove(from).unwrap();
    container.tensors.insert(to.to_owned(), part);
}

fn set(container: &mut Container<'_>, key: &str, value: &str) {
    container.metadata.insert(key.to_owned(), value.to_owned());
}

fn empty(container: &mut Container<'_>, name: &str, shape: &[usize]) {
    let part = container.tensors.get_mut(name).unwrap();
    (part.shape, part.bytes) = (shape.to_vec(), Cow::Owned(Vec::new()));
}

/// The architectures of the file with a piece of their JSON replaced.
fn describe(container: &mut Container<'_>, from: &str, to: &str) {
    let text = container.metadata["architectures"].replacen(from, to, 1);
    assert_ne!(text, container.metadata["architectures"], "{from}");
    set(container, "architectures", &text);
}

/// Named in `data/networks.tsv` as `in/NAME.safetensors`.
const CHANGED: [(&str, Change); 44] = [
    ("whole", |_| {}),
    ("nan", |c| fill(c, "potential.fc.0.weight", f32::NAN)),
    ("nan-bias", |c| fill(c, "potential.fc.3.bias", f32::NAN)),
    ("inf", |c| fill(c, "potential.conv.0.weight", f32::INFINITY)),
    ("nan-critic", |c| fill(c, "discriminator.fc.0.weight", f32::NAN)),
    ("overflow", |c| scale(c, "potential.", 1e20)),
    ("overflow-critic", |c| scale(c, "discriminator.", 1e20)),
    ("no-conv", |c| drop(c.tensors.remove("potential.conv.0.weight"))),
    ("no-bias", |c| drop(c.tensors.remove("potential.fc.3.bias"))),
    ("no-critic", |c| c.tensors.retain(|name, _| !name.starts_with("discriminator."))),
    ("no-potential", |c| c.tensors.retain(|name, _| !name.starts_with("potential."))),
    ("nothing", |c| c.tensors.clear()),
    ("renamed-conv", |c| rename(c, "potential.conv.1.weight", "potential.conv.7.weight")),
    ("renamed-fc", |c| rename(c, "potential.fc.0.weight", "potential.fc0.weight")),
    ("renamed-all", |c| rename(c, "potential.fc.3.bias", "Potential.fc.3.bias")),
    ("added", |c| {
        let part = c.tensors["potential.fc.3.bias"].clone();
        c.tensors.insert("potential.fc.4.bias".to_owned(), part);
    }),
    ("transposed", |c| c.tensors.get_mut("potential.fc.0.weight").unwrap().shape.reverse()),
    ("flat", |c| {
        let part = c.tensors.get_mut("potential.fc.1.weight").unwrap();
        part.shape = vec![part.shape.iter().product()];
    }),
    ("empty-conv", |c| empty(c, "potential.conv.0.weight", &[0, 1, 7, 7])),
    ("empty-fc", |c| empty(c, "potential.fc.1.weight", &[0, 0])),
    ("whole-numbers", |c| c.tensors.get_mut("potential.fc.3.bias").unwrap().dtype = Dtype::I32),
    ("undescribed-no-conv", |c| {
        c.metadata.remove("architectures");
        c.tensors.remove("potential.conv.0.weight");
    }),
    ("no-metadata", |c| c.metadata.clear()),
    ("no-horizon", |c| drop(c.metadata.remove("horizon"))),
    ("no-steps", |c| drop(c.metadata.remove("steps"))),
    ("no-lambda", |c| drop(c.metadata.remove("lambda"))),
    ("horizon-nan", |c| set(c, "horizon", "nan")),
    ("horizon-39", |c| set(c, "horizon", "1e39")),
    ("horizon-text", |c| set(c, "horizon", "five")),
    ("steps-0", |c| set(c, "steps", "0")),
    ("steps-half", |c| set(c, "steps", "5.5")),
    ("steps-12", |c| set(c, "steps", "1000000000000")),
    ("lambda-0", |c| set(c, "lambda", "0")),
    ("lambda-minus", |c| set(c, "lambda", "-0.05")),
    ("lipschitz-inf", |c| set(c, "lipschitz", "inf")),
    ("law-turned", |c| set(c, "source-law", "0.5,0")),
    ("law-text", |c| set(c, "source-law", "normal")),
    ("law-three", |c| set(c, "source-law", "0,1,2")),
    ("described-empty", |c| set(c, "architectures", "{}")),
    ("described-text", |c| set(c, "architectures", "\u{1b}[31mred\n")),
    ("described-zero", |c| describe(c, "\"side\":28", "\"side\":0")),
    ("described-huge", |c| describe(c, "\"side\":28", "\"side\":1000000000000")),
    ("described-minus", |c| describe(c, "\"side\":28", "\"side\":-28")),
    ("described-key", |c| describe(c, "\"side\":28", "\"side\":28,\"colour\":1")),
];

/// Configurations, named in `data/configurations.tsv` as `in/NAME.toml`.
const CONFIGURATIONS: [(&str, &str); 34] = [
    ("syntax", "iterations = \n"),
    ("text", "not a table"),
    ("unknown", "colour = 1\n"),
    ("unknown-table", "[colour]\nx = 1\n"),
    ("unknown-nested", "[training]\ncolour = 1\n"),
    ("unknown-adam", "[training.critic-adam]\nlearning-rate = 1e-4\nbeta1 = 0.5\nbeta2 = 0.9\nepsilon = 1\n"),
    ("twice", "iterations = 1\niterations = 2\n"),
    ("type-text", "[training]\nbatch = \"ten\"\n"),
    ("type-number", "dataset = 3\n"),
    ("type-table", "training = 3\n"),
    ("type-list", "[training]\nhorizon = [5.0]\n"),
    ("type-float", "[training]\nsteps = 5.5\n"),
    ("type-adam", "[training.potential-adam]\nlearning-rate = 1e-4\nbeta1 = \"half\"\nbeta2 = 0.9\n"),
    ("minus", "train-size = -1\n"),
    ("source-three", "[training]\nsource = [0.0, 0.5, 1.0]\n"),
    ("source-one", "[training]\nsource = [0.5]\n"),
    ("source-turned", "[training]\nsource = [0.5, 0.0]\n"),
    ("source-inf", "[training]\nsource = [0.0, inf]\n"),
    ("adam-cut", "[training.critic-adam]\nbeta1 = 0.5\nbeta2 = 0.9\n"),
    ("adam-beta", "[training.critic-adam]\nlearning-rate = 1e-4\nbeta1 = 1.0\nbeta2 = 0.9\n"),
    ("adam-rate", "[training.critic-adam]\nlearning-rate = nan\nbeta1 = 0.5\nbeta2 = 0.9\n"),
    ("horizon-nan", "[training]\nhorizon = nan\n"),
    ("horizon-39", "[training]\nhorizon = 1e39\n"),
    ("lambda-0", "[training]\nlambda = 0.0\n"),
    ("lipschitz-minus", "[training]\nlipschitz = -1.0\n"),
    ("penalty-nan", "[training]\npenalty-weight = nan\n"),
    ("batch-0", "[training]\nbatch = 0\n"),
    ("batch-12", "[training]\nbatch = 1000000000000\n"),
    ("critic-steps-12", "[training]\ncritic-steps = 1000000000000\n"),
    ("steps-12", "[training]\nsteps = 1000000000000\n"),
    ("f", "[training]\nf = \"kullback\"\n"),
    ("case", "[training]\ncase = \"w3\"\n"),
    ("schedule", "[training]\nlearning-rate-schedule = \"linear:0\"\n"),
    ("threads", "threads = 0\n"),
];

/// Writes all of them beside the arrays; `checkpoint` is a good one of a run.
pub fn make(folder: &Path, checkpoint: &Path) {
    let bytes = std::fs::read(checkpoint).unwrap();
    let write = |name: &str, container: &Container<'_>| {
        let path = folder.join(format!("{name}.safetensors"));
        std::fs::write(path, container.serialise().unwrap()).unwrap();
    };
    for (name, change) in CHANGED {
        let mut container = Container::parse(&bytes).unwrap();
        container.tensors.retain(|tensor, _| !tensor.starts_with("optimizer"));
        for key in ["training", CHECKSUM] {
            container.metadata.remove(key);
        }
        change(&mut container);
        write(name, &container);
    }
    let whole = std::fs::read(folder.join("whole.safetensors")).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (name, bytes) in [
        ("flipped", &flipped[..]),
        ("halved", &whole[..whole.len() / 2]),
        ("headless", &whole[8..]),
        ("void", &[]),
    ] {
        std::fs::write(folder.join(format!("{name}.safetensors")), bytes).unwrap();
    }
    for (name, text) in CONFIGURATIONS {
        std::fs::write(folder.join(format!("{name}.toml")), text).unwrap();
    }
    std::fs::write(folder.join("latin.toml"), b"dataset = \"\xff\"\n").unwrap();
    std::fs::write(folder.join("long.toml"), "# long\n".repeat(1 << 18)).unwrap();
}
