#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proxflow_reference::checkpoint::container::Container;
use tch::{Device, Kind, Tensor};

use super::file::write;
use super::writing::{collect, flow_metadata};
use super::*;
use crate::architecture::{Activation, Architecture};
use crate::configuration::Configuration;
use crate::objective::Case;
use crate::schedule::Schedule;
use crate::train::{Source, Trainer};

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
    assert!(load().unwrap_err().contains("allowed: a whole safetensors file"));
    std::fs::write(&path, b"nonsense").unwrap();
    assert!(load().unwrap_err().contains("allowed: a whole safetensors file"));

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

    write(&path, &tensors, BTreeMap::new()).unwrap();
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

fn saved() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    trainer().save(&path).unwrap();
    (folder, path)
}

/// Loads the file at `path` after `change` to its content; the checksum is that of the changed content.
fn changed(path: &Path, change: impl FnOnce(&mut Container<'_>)) -> Result<Model, String> {
    let bytes = std::fs::read(path).unwrap();
    let mut container = Container::parse(&bytes).unwrap();
    change(&mut container);
    let other = path.with_file_name("changed.safetensors");
    std::fs::write(&other, container.serialise().unwrap()).unwrap();
    Model::load(&other, OPTIONS).map_err(|error| error.to_string())
}

#[test]
fn two_equal_runs_write_byte_identical_files_and_other_runs_do_not() {
    let ((_a, first), (_b, second)) = (saved(), saved());
    let bytes = |path: &Path| std::fs::read(path).unwrap();
    assert!(bytes(&first) == bytes(&second));
    let mut further = trainer();
    further.step().unwrap();
    further.save(&second).unwrap();
    assert!(bytes(&first) != bytes(&second));
}

#[test]
fn every_removed_renamed_or_added_tensor_of_a_network_is_refused_by_name() {
    let (_folder, path) = saved();
    let bytes = std::fs::read(&path).unwrap();
    let weights: Vec<String> = Container::parse(&bytes)
        .unwrap()
        .tensors
        .into_keys()
        .filter(|name| !name.starts_with("optimizer"))
        .collect();
    assert_eq!(weights.len(), 12);
    for described in [true, false] {
        for name in &weights {
            let forget = |container: &mut Container<'_>| {
                if !described {
                    container.metadata.remove("architectures");
                }
            };
            let removed = changed(&path, |container| {
                forget(container);
                container.tensors.remove(name);
            })
            .unwrap_err();
            if described {
                assert!(removed.contains(&format!("{name}: missing")), "{name}: {removed}");
            }
            let renamed = changed(&path, |container| {
                forget(container);
                let part = container.tensors.remove(name).unwrap();
                container.tensors.insert(format!("{name}.old"), part);
            });
            assert!(renamed.is_err(), "{name} renamed");
        }
    }
    let extra = |name: &'static str| {
        move |container: &mut Container<'_>| {
            let part = container.tensors["potential.fc.0.bias"].clone();
            container.tensors.insert(name.to_owned(), part);
        }
    };
    assert!(
        changed(&path, extra("potential.norm.weight"))
            .unwrap_err()
            .contains("potential.norm.weight: unknown")
    );
    let model = changed(&path, extra("step_counter")).unwrap();
    assert!(model.notices.iter().any(|notice| notice.contains("step_counter")), "{:?}", model.notices);
}

#[test]
fn metadata_is_used_or_refused() {
    let (_folder, path) = saved();
    let with = |key: &str, value: &str| {
        changed(&path, |container| drop(container.metadata.insert(key.to_owned(), value.to_owned())))
    };
    assert_eq!(with("source-law", "-1,2").unwrap().source, [-1.0, 2.0]);
    assert_eq!(with("steps", "7").unwrap().flow.steps, 7);
    assert!(with("colour", "red").unwrap().notices[0].contains("colour"));
    for (key, value) in
        [("source-law", "1,0"), ("steps", "0"), ("steps", "1e12"), ("horizon", "1e39"), ("lambda", "x")]
    {
        assert!(with(key, value).unwrap_err().contains(key), "{key} {value}");
    }
    let network = |features: &str| {
        let one =
            |time| format!(r#"{{"features":{features},"hidden":[16,16],"activation":"relu","time":{time}}}"#);
        format!(r#"{{"potential":{},"discriminator":{}}}"#, one(true), one(false))
    };
    for (features, expected) in [
        (r#"{"kind":"fourier","dimension":2}"#, "fourier"),
        (r#"{"kind":"coordinates","dimension":0}"#, "dimension"),
        (r#"{"kind":"coordinates","dimension":3}"#, "shape"),
        (r#"{"kind":"image","side":0,"channels":[8]}"#, "side"),
        (r#"{"kind":"image","side":4,"channels":[0]}"#, "channels"),
        (r#"{"kind":"image","side":4611686018427387904,"channels":[1]}"#, "side"),
        (r#"{"kind":"image","side":4,"channels":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}"#, "at most 15"),
    ] {
        let error = with("architectures", &network(features)).unwrap_err();
        assert!(error.contains(expected), "{features}: {error}");
    }
}

#[test]
fn a_convolution_that_is_missing_never_gives_another_network() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.safetensors");
    let shape = |time| Architecture {
        features: crate::architecture::Features::Image { side: 8, channels: vec![2, 2] },
        hidden: vec![4],
        activation: Activation::Relu,
        time,
    };
    let data = Tensor::zeros([3, 64], OPTIONS);
    let trainer =
        Trainer::new(Configuration::default(), shape(true), shape(false), &data, Source::Uniform, OPTIONS);
    trainer.unwrap().save(&path).unwrap();
    for described in [true, false] {
        for name in ["potential.conv.0.weight", "potential.conv.1.weight", "discriminator.conv.1.weight"] {
            let outcome = changed(&path, |container| {
                container.tensors.remove(name);
                if !described {
                    container.metadata.remove("architectures");
                }
            });
            assert!(outcome.is_err(), "{name}, described: {described}");
        }
    }
    let whole = changed(&path, |container| drop(container.metadata.remove("architectures"))).unwrap();
    assert_eq!(whole.potential.architecture(), &shape(true));
    let empty = changed(&path, |container| {
        container.metadata.remove("architectures");
        let part = container.tensors.get_mut("potential.conv.1.weight").unwrap();
        (part.shape, part.bytes) = (vec![0, 2, 7, 7], Vec::new().into());
    });
    assert!(empty.unwrap_err().contains("potential.conv.1.weight"));
}

#[test]
fn a_flipped_bit_fails_the_checksum_and_wrapped_or_half_precise_weights_are_read_with_a_word() {
    let (_folder, path) = saved();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len() - 4;
    bytes[end] ^= 1;
    let other = path.with_file_name("flipped.safetensors");
    std::fs::write(&other, &bytes).unwrap();
    assert!(Model::load(&other, OPTIONS).unwrap_err().to_string().contains("checksum"));

    let plain = Model::load(&path, OPTIONS).unwrap();
    assert!(plain.notices.is_empty(), "{:?}", plain.notices);
    let wrapped = changed(&path, |container| {
        let tensors = std::mem::take(&mut container.tensors);
        container.tensors =
            tensors.into_iter().map(|(name, part)| (format!("module.{name}"), part)).collect();
    })
    .unwrap();
    assert!(wrapped.notices[0].contains("module."), "{:?}", wrapped.notices);
    assert!(wrapped.potential.parameters()[0].equal(&plain.potential.parameters()[0]));
    for (dtype, kind) in [(safetensors::Dtype::F16, Kind::Half), (safetensors::Dtype::BF16, Kind::BFloat16)] {
        let short = plain.potential.parameters()[0].to_kind(kind);
        let half = changed(&path, |container| {
            let part = container.tensors.get_mut("potential.fc.0.weight").unwrap();
            let mut bytes = vec![0; 2 * short.numel()];
            short.copy_data_u8(&mut bytes, short.numel());
            (part.dtype, part.bytes) = (dtype, bytes.into());
        })
        .unwrap();
        assert!(half.potential.parameters()[0].equal(&short.to_kind(Kind::Float)));
        assert!(half.notices.iter().any(|notice| notice.contains("half precision")), "{:?}", half.notices);
    }
}

#[test]
fn a_run_resumes_on_its_own_data_alone() {
    let (_folder, path) = saved();
    let other = data() + 1e-3;
    let error = Trainer::resume(&path, &other, Source::Uniform, OPTIONS).err().unwrap().to_string();
    assert!(error.contains("data: other data"), "{error}");
    assert!(Trainer::resume(&path, &data(), Source::Uniform, OPTIONS).is_ok());
}
