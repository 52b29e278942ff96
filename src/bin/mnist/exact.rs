//! `--exact`: certified divergences of generated and held-out images to the training set, and W1 to held-out images.

use ndarray::{Array2, ArrayView2};
use proxflow::command::Failure;
use proxflow::dataset::Dataset;
use proxflow_gpu::indicators::to_host;
use proxflow_reference::DivergenceKind;
use proxflow_reference::divergence::{RegularisedOptions, lipschitz_regularised_divergence};
use proxflow_reference::transport::w1;
use serde_json::{Value, json};
use tch::Tensor;

/// Rows of a tensor `(n, d)` as points of the oracle.
pub fn points(rows: &Tensor, count: usize) -> Result<Array2<f64>, Failure> {
    let values: Vec<f64> = to_host(rows).into_iter().map(f64::from).collect();
    let columns = values.len() / count.max(1);
    Array2::from_shape_vec((count, columns), values).map_err(|error| Failure::Run(error.to_string()))
}

/// `D_KL^L` of `generated (n, d)` and of n held-out images to `train_size` training images; W1 of generated and of n training images
/// to n held-out images. The divergence alone cannot judge: a collapsed generator may score better than real digits.
pub fn compare(
    generated: Array2<f64>,
    dataset: &Dataset,
    train_size: usize,
    seed: u64,
    lipschitz: f64,
) -> Result<Value, Failure> {
    if train_size > dataset.train.labels.len() {
        let allowed = format!("1..={}", dataset.train.labels.len());
        return Err(Failure::bad_input("train-size", train_size, allowed));
    }
    let held_out = dataset.test.training_subset(generated.nrows(), seed).pixels.mapv(f64::from);
    let generated = generated.slice_move(ndarray::s![..held_out.nrows(), ..]);
    let train = dataset.train.training_subset(train_size, seed).pixels.mapv(f64::from);
    let spinner = indicatif::ProgressBar::new_spinner();
    let divergence = |model: ArrayView2<'_, f64>| -> Result<Value, Failure> {
        let found = lipschitz_regularised_divergence(
            model,
            None,
            train.view(),
            None,
            DivergenceKind::KullbackLeibler,
            lipschitz,
            &RegularisedOptions::default(),
        )?;
        Ok(
            json!({ "lower": found.lower, "upper": found.upper, "gap": found.gap(), "transport": found.transport,
            "divergence": found.divergence, "atoms": [model.nrows(), train.nrows()], "seconds": found.seconds }),
        )
    };
    spinner.set_message("certified divergence of the generated images");
    let of_generated = divergence(generated.view())?;
    spinner.set_message("certified divergence of held-out images");
    let of_held_out = divergence(held_out.view())?;
    spinner.set_message("exact W1 to held-out images");
    let count = held_out.nrows();
    let uniform = vec![1.0 / count as f64; count];
    let same_size = train.slice(ndarray::s![..count.min(train.nrows()), ..]);
    let train_uniform = vec![1.0 / same_size.nrows() as f64; same_size.nrows()];
    let of_generated_w1 = w1(generated.view(), &uniform, held_out.view(), &uniform)?;
    let of_train_w1 = w1(same_size, &train_uniform, held_out.view(), &uniform)?;
    spinner.finish_and_clear();
    Ok(json!({ "generated": of_generated, "held_out": of_held_out, "w1_to_held_out": {
        "generated": of_generated_w1.upper, "generated_gap": of_generated_w1.upper - of_generated_w1.lower,
        "train": of_train_w1.upper, "train_gap": of_train_w1.upper - of_train_w1.lower,
        "atoms": [count, same_size.nrows()] } }))
}
