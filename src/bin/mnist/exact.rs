//! `--exact`: certified divergences of generated and held-out images to the training set, W1 to held-out images, and how far the
//! flow is from the certified optimum.

use ndarray::{Array2, ArrayView2, s};
use proxflow::command::Failure;
use proxflow::dataset::Dataset;
use proxflow_gpu::indicators::to_host;
use proxflow_reference::divergence::LipschitzRegularisedDivergence;
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::transport::{Order, wasserstein};
use proxflow_reference::{Bounds, Divergence, DivergenceKind, Measure, Options, ProximalParameters};
use serde_json::{Value, json};
use tch::Tensor;

/// Of the kinetic energy of a flow in single precision.
const ROUNDING: f64 = 1e-6;

/// Rows of a tensor `(n, d)` as points of the oracle.
pub fn points(rows: &Tensor, count: usize) -> Result<Array2<f64>, Failure> {
    let values: Vec<f64> = to_host(rows).into_iter().map(f64::from).collect();
    let columns = values.len() / count.max(1);
    Array2::from_shape_vec((count, columns), values).map_err(|error| Failure::Run(error.to_string()))
}

/// What the oracle compares: a flow from source samples, simulated by libtorch.
pub struct Generated {
    /// `x_0 (n, d)`.
    pub start: Array2<f64>,
    /// `x_N (n, d)`.
    pub end: Array2<f64>,
    /// `K_h` of the flow on these samples.
    pub kinetic_energy: f64,
    /// `L`, `lambda`, `T` of the model.
    pub parameters: ProximalParameters,
}

/// `D_KL^L` of n generated and of n held-out images to `train_size` training images; W1 of the generated and of n training images
/// to n held-out images (the divergence alone cannot judge: a collapsed generator may score better than real digits); and the
/// optimality gap `lambda K_h + D_KL^L - J*`, with `J*` certified on the same samples.
pub fn compare(
    generated: Generated,
    dataset: &Dataset,
    train_size: usize,
    seed: u64,
) -> Result<Value, Failure> {
    if train_size > dataset.train.labels.len() {
        let allowed = format!("1..={}", dataset.train.labels.len());
        return Err(Failure::bad_input("train-size", train_size, allowed));
    }
    let Generated { start, end, kinetic_energy, parameters } = generated;
    let held_out = dataset.test.training_subset(end.nrows(), seed).pixels.mapv(f64::from);
    let train = dataset.train.training_subset(train_size, seed).pixels.mapv(f64::from);
    let spinner = indicatif::ProgressBar::new_spinner();
    let (kind, options) = (DivergenceKind::KullbackLeibler, Options::new());
    let (data, functional) =
        (Measure::uniform(train.view())?, Divergence::of(kind).lipschitz(parameters.lipschitz));
    let divergence = |model: ArrayView2<'_, f64>| functional.between(&Measure::uniform(model)?, &data);
    let entry = |found: &LipschitzRegularisedDivergence| {
        json!({ "lower": found.lower, "upper": found.upper, "gap": found.gap(), "transport": found.transport,
            "divergence": found.divergence, "seconds": found.seconds })
    };
    spinner.set_message("certified divergence of the generated images");
    let of_generated = divergence(end.view())?;
    spinner.set_message("certified optimum from the same source samples");
    let optimum = combined_proximal(&Measure::uniform(start.view())?, &data, kind, parameters, &options)?;
    let running = parameters.lambda * kinetic_energy;
    spinner.set_message("certified divergence of held-out images");
    let of_held_out = divergence(held_out.view())?;
    spinner.set_message("exact W1 to held-out images");
    let real = Measure::uniform(held_out.view())?;
    let equal = end.slice(s![..held_out.nrows(), ..]);
    let same_size = train.slice(s![..held_out.nrows().min(train.nrows()), ..]);
    let coverage =
        |model: ArrayView2<'_, f64>| wasserstein(&Measure::uniform(model)?, &real, Order::One, &options);
    let (of_generated_w1, of_train_w1) = (coverage(equal)?, coverage(same_size)?);
    spinner.finish_and_clear();
    // Bounds that meet may cross by rounding; without a positive divisor the ratio is not known.
    let ends =
        |found: &LipschitzRegularisedDivergence| [found.lower.min(found.upper), found.upper.max(found.lower)];
    let ([low, high], [least, most]) = (ends(&of_generated), ends(&of_held_out));
    let ratio = [(low, most), (high, least)].map(|(a, b)| (b > 0.0).then(|| a / b));
    for (name, bounds) in [
        ("of the generated digits", of_generated.bounds()),
        ("of held-out digits", of_held_out.bounds()),
        ("of the optimum", optimum.bounds()),
        ("of W1 to held-out digits", of_generated_w1.bounds()),
        ("of W1 of training digits to held-out digits", of_train_w1.bounds()),
    ] {
        if !bounds.is_finite() {
            return Err(Failure::Run(format!("failed: no bounds {name} can be given")));
        }
    }
    // The kinetic energy of the flow was measured in the network's precision.
    let rounding = ROUNDING * (running + of_generated.upper + optimum.upper);
    let lower = running + of_generated.lower - optimum.upper;
    let upper = running + of_generated.upper - optimum.lower;
    let gap = Bounds { lower, upper }.of_a_non_negative(rounding).ok_or_else(|| {
        Failure::Run(format!("failed: J(flow) - J* between {lower:e} and {upper:e}, which cannot be"))
    })?;
    Ok(json!({
        "generated": entry(&of_generated),
        "held_out": entry(&of_held_out),
        // D_KL^L of the generated digits over that of held-out ones; 1 where they are as close to the training digits as real ones.
        "divergence_ratio": { "lower": ratio[0], "upper": ratio[1] },
        "atoms": { "generated": end.nrows(), "held_out": held_out.nrows(), "train": train.nrows() },
        "w1_to_held_out": {
            "generated": of_generated_w1.upper, "generated_gap": of_generated_w1.upper - of_generated_w1.lower,
            "train": of_train_w1.upper, "train_gap": of_train_w1.upper - of_train_w1.lower,
            "atoms": [held_out.nrows(), same_size.nrows()]
        },
        "optimality_gap": {
            "lower": gap.lower,
            "upper": gap.upper,
            "objective": running + of_generated.upper,
            "optimum": { "lower": optimum.lower, "upper": optimum.upper, "kinetic_energy": optimum.kinetic_energy }
        }
    }))
}
