//! The ground costs of the problems, with what is derived from a plan and a potential: the envelope of the cost at new
//! points, and the gradient of the transport part in the positions of the atoms.

use ndarray::{Array2, ArrayView2};
use proxflow_reference::transport::PointwiseCost;
use proxflow_reference::transport::certificate::SparsePlan;
use rayon::prelude::*;

/// `c'(r) / r`, so that the gradient of `c(|x - z|)` in `x` is this times `x - z`; zero where the points coincide.
fn slope_over_distance(cost: PointwiseCost, r: f64) -> f64 {
    if r == 0.0 {
        return 0.0;
    }
    match cost {
        PointwiseCost::Distance => 1.0 / r,
        PointwiseCost::SquaredDistance => 2.0,
        PointwiseCost::Lipschitz { lipschitz } => lipschitz / r,
        PointwiseCost::Huber(parameters) if r <= parameters.kink() => parameters.lambda / parameters.horizon,
        PointwiseCost::Huber(parameters) => parameters.lipschitz / r,
    }
}

/// `sum_ij G_ij grad c(x_i - z_j)` in the sources `(n, d)` and in the targets `(m, d)`, times `scale`.
pub fn position_gradients(
    cost: PointwiseCost,
    x: ArrayView2<f64>,
    z: ArrayView2<f64>,
    plan: &SparsePlan,
    scale: f64,
) -> (Array2<f64>, Array2<f64>) {
    let (mut at_sources, mut at_targets) = (Array2::zeros(x.raw_dim()), Array2::zeros(z.raw_dim()));
    for &(i, j, mass) in plan {
        let (i, j) = (i as usize, j as usize);
        let difference = &x.row(i) - &z.row(j);
        let r = difference.dot(&difference).sqrt();
        let factor = scale * mass * slope_over_distance(cost, r);
        at_sources.row_mut(i).scaled_add(factor, &difference);
        at_targets.row_mut(j).scaled_add(-factor, &difference);
    }
    (at_sources, at_targets)
}

/// `min_j (c(|y - z_j|) + psi_j)` and its gradient at every row of `y` `(k, d)`.
pub fn envelope(
    cost: PointwiseCost,
    z: ArrayView2<f64>,
    psi: &[f64],
    cap: f64,
    y: ArrayView2<f64>,
) -> (Vec<f64>, Array2<f64>) {
    let rows: Vec<(f64, Vec<f64>)> = (0..y.nrows())
        .into_par_iter()
        .map(|k| {
            let (mut least, mut nearest) = (cap, None);
            for (j, psi) in psi.iter().enumerate() {
                let squared: f64 = y.row(k).iter().zip(z.row(j)).map(|(y, z)| (y - z) * (y - z)).sum();
                let value = cost.of_squared_distance(squared) + psi;
                if value < least {
                    (least, nearest) = (value, Some((j, squared)));
                }
            }
            let gradient = match nearest {
                Some((j, squared)) => {
                    let factor = slope_over_distance(cost, squared.sqrt());
                    y.row(k).iter().zip(z.row(j)).map(|(y, z)| factor * (y - z)).collect()
                }
                None => vec![0.0; y.ncols()],
            };
            (least, gradient)
        })
        .collect();
    let mut gradients = Array2::zeros(y.raw_dim());
    for (mut row, (_, gradient)) in gradients.rows_mut().into_iter().zip(&rows) {
        row.iter_mut().zip(gradient).for_each(|(out, value)| *out = *value);
    }
    (rows.into_iter().map(|(value, _)| value).collect(), gradients)
}
