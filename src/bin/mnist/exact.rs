//! `--exact`: certified divergences of generated and held-out images to the training set, W1 to held-out images, and how far the
//! flow is from the certified optimum.

use ndarray::{Array2, ArrayView2, s};
use proxflow::command::Failure;
use proxflow::dataset::Dataset;
use proxflow_gpu::indicators::to_host;
use proxflow_reference::divergence::LipschitzRegularisedDivergence;
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::transport::{Order, wasserstein};
use proxflow_reference::{Divergence, DivergenceKind, Measure, Options, ProximalParameters};
use serde_json::{Value, json};
use tch::Tensor;

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
    /// `x_0 + T v_0 (n, d)`: where each sample would end if it kept its first velocity.
    pub predicted: Array2<f64>,
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
    let Generated { start, end, predicted, kinetic_energy, parameters } = generated;
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
    let (near, committed) = (Nearest::of(&end, &train), Nearest::of(&predicted, &train));
    let near_held_out = Nearest::of(&held_out, &train);
    let kept = near.digits.iter().zip(&committed.digits).filter(|(a, b)| a == b).count();
    Ok(json!({
        "nearest_training_digit": {
            "generated": near.mean(), "held_out": near_held_out.mean(), "distinct": near.distinct(),
            "nearer_than_closest_held_out": near.share_below(near_held_out.closest()),
            "commitment": kept as f64 / end.nrows() as f64
        },
        "generated": entry(&of_generated),
        "held_out": entry(&of_held_out),
        "atoms": { "generated": end.nrows(), "held_out": held_out.nrows(), "train": train.nrows() },
        "w1_to_held_out": {
            "generated": of_generated_w1.upper, "generated_gap": of_generated_w1.upper - of_generated_w1.lower,
            "train": of_train_w1.upper, "train_gap": of_train_w1.upper - of_train_w1.lower,
            "atoms": [held_out.nrows(), same_size.nrows()]
        },
        "optimality_gap": {
            "lower": running + of_generated.lower - optimum.upper,
            "upper": running + of_generated.upper - optimum.lower,
            "objective": running + of_generated.upper,
            "optimum": { "lower": optimum.lower, "upper": optimum.upper, "kinetic_energy": optimum.kinetic_energy }
        }
    }))
}

/// Distances to the nearest training digit.
struct Nearest {
    distances: Vec<f64>,
    digits: Vec<usize>,
}

impl Nearest {
    fn of(points: &Array2<f64>, train: &Array2<f64>) -> Self {
        let squares =
            |rows: &Array2<f64>| rows.rows().into_iter().map(|row| row.dot(&row)).collect::<Vec<_>>();
        let (of_points, of_train, products) = (squares(points), squares(train), points.dot(&train.t()));
        let (distances, digits) = products
            .rows()
            .into_iter()
            .zip(of_points)
            .map(|(row, own)| {
                let square = |j: usize| own + of_train[j] - 2.0 * row[j];
                let best = (1..row.len()).fold(0, |best, j| if square(j) < square(best) { j } else { best });
                (square(best).max(0.0).sqrt(), best)
            })
            .unzip();
        Self { distances, digits }
    }

    fn mean(&self) -> f64 {
        self.distances.iter().sum::<f64>() / self.distances.len() as f64
    }

    fn closest(&self) -> f64 {
        self.distances.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn share_below(&self, distance: f64) -> f64 {
        self.distances.iter().filter(|&&own| own < distance).count() as f64 / self.distances.len() as f64
    }

    fn distinct(&self) -> usize {
        self.digits.iter().collect::<std::collections::BTreeSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn nearest_digits_their_number_and_the_share_that_copies() {
        let train = array![[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]];
        let near = Nearest::of(&array![[0.0, 1.0], [3.0, 4.0], [0.0, -2.0]], &train);
        assert_eq!(near.digits, [0, 1, 0]);
        assert_eq!((near.mean(), near.closest(), near.distinct()), (1.0, 0.0, 2));
        assert_eq!(near.share_below(1.5), 2.0 / 3.0);
    }
}
