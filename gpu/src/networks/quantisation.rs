//! Prototypes of a data set: `K` points `y_j` and the cells of data around them, by alternating minimisation of
//! `W1 = mean_i min_j |z_i - y_j|` (K-medians; Lloyd's alternation with Weiszfeld's step for the geometric median).
//!
//! A data set of n points is its own quantisation with `K = n`: [`Quantisation::whole`].

use tch::{Kind, Tensor};

use crate::hopf_lax::distances;
use crate::host::f64_of;
use crate::random::Stream;

/// Prototypes with the share and the mean distance of their cells.
#[derive(Debug)]
pub struct Quantisation {
    /// `y_j (K, d)`.
    pub prototypes: Tensor,
    /// `nu_j (K)`, f64: share of the data in cell j, positive, sum 1.
    pub masses: Tensor,
    /// `mean_i min_j |z_i - y_j|`: W1 between the data and `sum_j nu_j delta_{y_j}`.
    pub distortion: f64,
}

/// A squared distance below which Weiszfeld's weight `1 / r` is held, for data in the unit cube.
const WEISZFELD_FLOOR: f64 = 0.5;

impl Quantisation {
    /// Every data point `(n, d)` its own prototype: distortion zero.
    pub fn whole(data: &Tensor) -> Self {
        let count = data.size()[0];
        let masses = Tensor::full([count], 1.0 / count as f64, (Kind::Double, data.device()));
        Self { prototypes: data.copy(), masses, distortion: 0.0 }
    }

    /// `count` prototypes of `data (n, d)`, `count <= n`, started at distinct data points drawn from `stream`. The
    /// distortion falls (Weiszfeld's step never raises a cell's sum of distances while the weights are not held) until `rounds` are
    /// made. A cell that loses all its points is dropped, so fewer than `count` may remain.
    pub fn medians(data: &Tensor, count: i64, rounds: usize, stream: &mut Stream) -> Self {
        tch::no_grad(|| {
            let start = stream.distinct(count, data.size()[0]).to_device(data.device());
            let mut prototypes = data.index_select(0, &start);
            for _ in 0..rounds {
                let (distance, cell) = distances(data, &prototypes).min_dim(1, false);
                let weights = distance.clamp_min(WEISZFELD_FLOOR).reciprocal();
                let totals =
                    prototypes.narrow(1, 0, 1).squeeze_dim(1).zeros_like().index_add(0, &cell, &weights);
                let sums = prototypes.zeros_like().index_add(0, &cell, &(data * weights.unsqueeze(1)));
                let occupied = totals.gt(0.0).nonzero().squeeze_dim(1);
                prototypes = sums.index_select(0, &occupied) / totals.index_select(0, &occupied).unsqueeze(1);
            }
            let (distance, cell) = distances(data, &prototypes).min_dim(1, false);
            let counts = cell.bincount(None::<&Tensor>, prototypes.size()[0]);
            let occupied = counts.gt(0).nonzero().squeeze_dim(1);
            Self {
                prototypes: prototypes.index_select(0, &occupied),
                masses: counts.index_select(0, &occupied).to_kind(Kind::Double) / data.size()[0] as f64,
                distortion: f64_of(&distance.mean(Kind::Double)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::StreamLabel;
    use tch::Device;

    fn clusters() -> Tensor {
        tch::manual_seed(6);
        let centres = Tensor::from_slice(&[0.0_f32, 0.0, 10.0, 0.0, 0.0, 10.0]).reshape([3, 2]);
        let noise = Tensor::randn([300, 2], (Kind::Float, Device::Cpu));
        centres.repeat([100, 1]) + noise
    }

    #[test]
    fn distortion_falls_with_rounds_and_with_prototypes() {
        let data = clusters();
        let distortion = |count, rounds| {
            Quantisation::medians(&data, count, rounds, &mut Stream::new(1, StreamLabel::Data)).distortion
        };
        let over_rounds: Vec<f64> = [0, 1, 2, 4, 8, 16].map(|rounds| distortion(20, rounds)).to_vec();
        assert!(over_rounds.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6), "{over_rounds:?}");
        assert!(over_rounds[5] < 0.95 * over_rounds[0]);
        assert!(distortion(40, 8) < distortion(10, 8));
    }

    #[test]
    fn every_prototype_is_a_stationary_point_of_the_distances_of_its_cell() {
        let data = clusters();
        let found = Quantisation::medians(&data, 6, 400, &mut Stream::new(2, StreamLabel::Data));
        let (_, cell) = distances(&data, &found.prototypes).min_dim(1, false);
        let difference = &data - found.prototypes.index_select(0, &cell);
        let distance = difference.square().sum_dim_intlist(1, true, Kind::Float).sqrt();
        // Stationary for the sum of distances with the weight 1 / r held below the floor.
        let pull = difference / distance.clamp_min(WEISZFELD_FLOOR);
        let total = found.prototypes.zeros_like().index_add(0, &cell, &pull);
        let counts = found.masses.to_kind(Kind::Float).unsqueeze(1) * 300.0;
        assert!(f64_of(&(total / counts).abs().max()) < 1e-3);
        assert!((f64_of(&found.masses.sum(Kind::Double)) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_whole_data_set_is_its_own_quantisation() {
        let data = clusters();
        let whole = Quantisation::whole(&data);
        assert!(whole.prototypes.equal(&data) && whole.distortion == 0.0);
        assert!((f64_of(&whole.masses.sum(Kind::Double)) - 1.0).abs() < 1e-12);
    }
}
