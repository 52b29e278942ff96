//! Generated digits beside the training digits nearest to them: memorisation, variety, and whether the flow decides at its start.

use proxflow::command::Failure;
use proxflow::dataset::Dataset;
use proxflow_gpu::flow::FlowSpecification;
use proxflow_gpu::network::Network;
use proxflow_gpu::random::place;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::convert::tensor_of;

/// Indices `(n)` of the nearest rows and the distances `(n)` to them.
fn nearest(points: &Tensor, among: &Tensor) -> (Vec<usize>, Tensor) {
    let (mut indices, mut distances) = (Vec::new(), Vec::new());
    // In slices, so that no distance matrix is larger than 256 rows.
    for rows in points.split(256, 0) {
        let (distance, index) = Tensor::cdist(&rows, among, 2.0, None::<i64>).min_dim(1, false);
        indices.extend((0..index.numel()).map(|row| index.int64_value(&[row as i64]) as usize));
        distances.push(distance);
    }
    (indices, Tensor::cat(&distances, 0))
}

/// A share of `count` samples with its standard error.
fn share(hits: usize, count: usize) -> (f64, f64) {
    let share = hits as f64 / count as f64;
    (share, (share * (1.0 - share) / count as f64).sqrt())
}

fn mean(values: &Tensor) -> (f64, f64) {
    let values = values.to_kind(Kind::Double);
    let count = values.numel() as f64;
    let (mean, deviation) = (values.mean(Kind::Double), values.std(true));
    (mean.double_value(&[]), deviation.double_value(&[]) / count.sqrt())
}

/// Of `end = x_N` from `start = x_0`, both `(n, d)`, against `train_size` training digits and `n` held-out ones:
///
/// - `commitment`: share of samples whose nearest training digit is that of `x_0 + T v_0`, `v_0 = -grad U(x_0, 0) / lambda`: the choice is
///   made at the start, as at the optimum, where it is 1; `commitment_class` the same for the digit's class.
/// - `distance`, `held_out_distance`: mean distance to the nearest training digit, of generated and of held-out digits.
/// - `nearer_than_held_out`: share of samples nearer to a training digit than the closest of the held-out digits is.
/// - `distinct`: number of different nearest training digits.
pub fn compare(
    start: &Tensor,
    end: &Tensor,
    potential: &Network,
    flow: FlowSpecification,
    dataset: &Dataset,
    [train_size, seed]: [u64; 2],
) -> Result<Value, Failure> {
    let options = potential.options();
    let count = end.size()[0] as usize;
    let subset = dataset.train.training_subset(train_size as usize, seed);
    let train = place(&tensor_of(&subset)?, options);
    let held_out = place(&tensor_of(&dataset.test.training_subset(count, seed))?, options);
    let straight = start - potential.gradient(start, 0.0) * (flow.horizon / flow.lambda);
    let (own, distances) = nearest(end, &train);
    let (intended, _) = nearest(&straight, &train);
    let (_, held_out_distances) = nearest(&held_out, &train);
    let label = |index: &usize| subset.labels[*index];
    let pairs = || own.iter().zip(&intended);
    let commitment = share(pairs().filter(|(a, b)| a == b).count(), count);
    let class = share(pairs().filter(|(a, b)| label(a) == label(b)).count(), count);
    let closest = held_out_distances.min();
    let memorised = distances.lt_tensor(&closest).sum(Kind::Int64).int64_value(&[]) as usize;
    let nearer = share(memorised, count);
    let (generated, real) = (mean(&distances), mean(&held_out_distances));
    let mut distinct = own;
    distinct.sort_unstable();
    distinct.dedup();
    Ok(json!({
        "commitment": commitment.0, "commitment_stderr": commitment.1,
        "commitment_class": class.0, "commitment_class_stderr": class.1,
        "distance": generated.0, "distance_stderr": generated.1,
        "held_out_distance": real.0, "held_out_distance_stderr": real.1,
        "nearer_than_held_out": nearer.0, "nearer_than_held_out_stderr": nearer.1,
        "distinct": distinct.len(),
        "atoms": { "generated": count, "held_out": held_out.size()[0], "train": train.size()[0] }
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proxflow::dataset::{Images, PIXELS};
    use proxflow_gpu::architecture::{Activation, Architecture};
    use tch::Device;

    fn images(values: &[f32]) -> Images {
        let pixels = ndarray::Array2::from_shape_fn((values.len(), PIXELS), |(row, _)| values[row]);
        Images { pixels, labels: (0..values.len() as u8).collect() }
    }

    /// `U(x, t) = <w, x>`: a flow that is straight from the start.
    fn constant_velocity(slope: f64) -> Network {
        let options = (Kind::Double, Device::Cpu);
        let weight = Tensor::full([1, PIXELS as i64 + 1], slope, options);
        let _ = weight.narrow(1, PIXELS as i64, 1).fill_(0.0);
        let architecture = Architecture::dense(PIXELS as i64, &[], Activation::Relu, true);
        Network::from_parameters(architecture, vec![weight, Tensor::zeros([1], options)]).unwrap()
    }

    #[test]
    fn a_straight_flow_commits_at_its_start_and_a_bent_one_does_not() {
        let dataset = Dataset {
            name: "test",
            origin: String::new(),
            train: images(&[0.0, 1.0]),
            test: images(&[0.25, 0.75]),
        };
        let flow = FlowSpecification::new(1.0, 1, 1.0).unwrap();
        let start = Tensor::zeros([2, PIXELS as i64], (Kind::Double, Device::Cpu));
        let potential = constant_velocity(-0.9);
        let compare = |end: &Tensor| compare(&start, end, &potential, flow, &dataset, [2, 1]).unwrap();
        let straight = compare(&(&start + 0.9));
        let close = |value: &Value, expected: f64| assert!((value.as_f64().unwrap() - expected).abs() < 1e-9);
        close(&straight["commitment"], 1.0);
        // sqrt(784) = 28 times the difference of one pixel; the held-out digits are 0.25 away.
        close(&straight["distance"], 2.8);
        close(&straight["held_out_distance"], 7.0);
        close(&straight["nearer_than_held_out"], 1.0);
        assert_eq!(straight["distinct"], 1);
        let bent = compare(&(&start + 0.3));
        close(&bent["commitment"], 0.0);
        close(&bent["commitment_class"], 0.0);
        close(&bent["nearer_than_held_out"], 0.0);
    }
}
