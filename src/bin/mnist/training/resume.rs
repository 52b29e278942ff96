//! Whether `--resume` continues the same run: what decides its numbers may not change.

use proxflow::command::Failure;
use proxflow::dataset::Dataset;
use proxflow_gpu::checkpoint::CheckpointError;
use proxflow_gpu::configuration::Configuration;
use serde::Serialize;
use toml::Value;

use crate::convert::bad_checkpoint;
use crate::training::run_configuration::RunConfiguration;

/// Refuses a training option, `train-size` or `dataset` that is not the run's own, naming it with both values. Lengths, intervals, device,
/// threads and the place of the data may change; `--dataset auto` means the run's own.
pub fn require_same_run(configuration: &mut RunConfiguration, own: &RunConfiguration) -> Result<(), Failure> {
    if configuration.dataset == "auto" {
        configuration.dataset.clone_from(&own.dataset);
    }
    if own.dataset != "auto" && configuration.dataset != own.dataset {
        return Err(refused("dataset", &configuration.dataset, &own.dataset));
    }
    if configuration.train_size != own.train_size {
        return Err(refused("train-size", configuration.train_size, own.train_size));
    }
    if configuration.model != own.model {
        return Err(refused("model", configuration.model.name(), own.model.name()));
    }
    if configuration.prototypes != own.prototypes {
        return Err(refused("prototypes", configuration.prototypes, own.prototypes));
    }
    require_same_training(&configuration.training, &own.training)
}

/// A checkpoint that cannot be resumed; other data is named by its origin.
pub fn bad_resume(error: CheckpointError, dataset: &Dataset) -> Failure {
    match error {
        CheckpointError::Content { source, .. } if source.field == "data" => {
            let value = format!("{}: {}", dataset.origin, source.value);
            Failure::bad_input("--resume with --data", value, source.allowed)
        }
        other => bad_checkpoint(other),
    }
}

/// Refuses the first training option that differs from the run's.
pub fn require_same_training(given: &Configuration, own: &Configuration) -> Result<(), Failure> {
    let (given, own) = (flat(given)?, flat(own)?);
    let absent = Value::String("absent".to_owned());
    let keys = given.iter().chain(&own).map(|(key, _)| key);
    let value = |list: &[(String, Value)], key: &String| {
        list.iter().find(|(own, _)| own == key).map_or_else(|| absent.clone(), |(_, value)| value.clone())
    };
    for key in keys {
        let (ours, theirs) = (value(&given, key), value(&own, key));
        if ours != theirs {
            return Err(refused(key, text(&ours), text(&theirs)));
        }
    }
    Ok(())
}

fn refused(key: &str, given: impl std::fmt::Display, own: impl std::fmt::Display) -> Failure {
    let allowed = format!("{own}, with which the run was started; another --out starts another run");
    Failure::bad_input(format!("--resume with --{key}"), given, allowed)
}

/// Leaves of a configuration by dotted key.
fn flat<T: Serialize>(value: &T) -> Result<Vec<(String, Value)>, Failure> {
    fn walk(prefix: &str, value: Value, leaves: &mut Vec<(String, Value)>) {
        match value {
            Value::Table(table) => table.into_iter().for_each(|(key, value)| {
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                walk(&key, value, leaves);
            }),
            leaf => leaves.push((prefix.to_owned(), leaf)),
        }
    }
    let mut leaves = Vec::new();
    walk("", Value::try_from(value).map_err(|error| Failure::Run(error.to_string()))?, &mut leaves);
    Ok(leaves)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::training::model::Model;

    #[test]
    fn an_option_that_differs_is_named_with_both_values() {
        let own = RunConfiguration { dataset: "mnist".to_owned(), ..RunConfiguration::default() };
        let with = |change: fn(&mut RunConfiguration)| {
            let mut given = own.clone();
            change(&mut given);
            require_same_run(&mut given, &own).map_err(|error| error.to_string())
        };
        for (change, expected) in [
            ((|c| c.training.lambda = 1.0) as fn(&mut RunConfiguration), ["--lambda: 1.0", "0.05"]),
            (|c| c.training.critic_adam.learning_rate = 1.0, ["--critic-adam.learning-rate: 1.0", "0.0001"]),
            (|c| c.training.seed = 9, ["--seed: 9", "allowed: 1,"]),
            (|c| c.train_size = 50, ["--train-size: 50", "6000"]),
            (|c| c.dataset = "strokes".to_owned(), ["--dataset: strokes", "mnist"]),
            (|c| c.model = Model::Exact, ["--model: exact", "published"]),
            (|c| c.prototypes = 7, ["--prototypes: 7", "500"]),
        ] {
            let error = with(change).unwrap_err();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
        }
        assert!(with(|c| (c.dataset, c.iterations, c.device) = ("auto".into(), 9, "cpu".into())).is_ok());
    }
}
