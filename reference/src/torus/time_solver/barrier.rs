//! The discrete Lipschitz constraint `|D phi|_i <= 1` and its dual, the Beckmann flux of W1.
//!
//! `u_i = (D phi)_i = ((phi_{i+} - phi_i) / (L h))_axis` collects the forward differences of node `i` over the axes. Then
//!
//! `max_phi { <phi, rho> - Lambda(phi) : |u_i|_2 <= 1 } = min_m { D_f(rho - D^T m | pi) + sum_i |m_i|_2 }`,
//!
//! the flux form of `D_f^L` (1.2): exact in 1-D (graph distance = geodesic distance at nodes), isotropic with a first
//! order error in `h` in 2-D and 3-D. The interior-point method keeps `c_i = (1 - |u_i|^2)/2 > 0` with multipliers
//! `tau_i > 0`, `m_i = tau_i u_i` and complementarity `tau_i c_i = mu`.

use ndarray::Array2;

use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::neighbour_table::NeighbourTable;

/// Differences `u`, one `Vec` per axis, of a potential scaled by `1/(L h)`.
pub fn scaled_differences(neighbours: &NeighbourTable, lipschitz: f64, potential: &[f64]) -> Vec<Vec<f64>> {
    let scale = 1.0 / (lipschitz * neighbours.spacing());
    (0..neighbours.dimension)
        .map(|axis| {
            let forward = neighbours.forward(axis);
            (0..potential.len()).map(|i| scale * (potential[forward[i] as usize] - potential[i])).collect()
        })
        .collect()
}

/// `D^T m`: the mass that the flux removes from each node, so that `eta = rho - D^T m`.
pub fn removed_mass(neighbours: &NeighbourTable, lipschitz: f64, flux: &[Vec<f64>]) -> Vec<f64> {
    let scale = 1.0 / (lipschitz * neighbours.spacing());
    let mut removed = vec![0.0; neighbours.node_count()];
    for (axis, component) in flux.iter().enumerate() {
        for (i, j) in neighbours.forward(axis).iter().enumerate() {
            removed[i] -= scale * component[i];
            removed[*j as usize] += scale * component[i];
        }
    }
    removed
}

/// `sum_i |m_i|_2`, the W1 part `L W1` of the primal (an upper bound for any flux).
pub fn flux_cost(flux: &[Vec<f64>]) -> f64 {
    (0..flux[0].len()).map(|i| norm_at(flux, i)).sum()
}

/// `|field_i|_2` over the axes.
pub fn norm_at(field: &[Vec<f64>], i: usize) -> f64 {
    field.iter().map(|component| component[i] * component[i]).sum::<f64>().sqrt()
}

/// Slacks `c_i = (1 - |u_i|^2)/2`.
pub fn slacks(differences: &[Vec<f64>]) -> Vec<f64> {
    (0..differences[0].len())
        .map(|i| {
            let norm = norm_at(differences, i);
            0.5 * (1.0 - norm) * (1.0 + norm)
        })
        .collect()
}

/// Adds a flux that removes exactly `excess` (sum 0): along the last axis to the first node of each line, then along
/// the axis before it, and so on. Used on residuals near rounding, where the route does not matter.
pub fn route_excess(neighbours: &TorusGrid, lipschitz: f64, excess: &[f64], flux: &mut [Vec<f64>]) {
    let scale = lipschitz * neighbours.spacing();
    let n = neighbours.nodes_per_side;
    let mut excess = excess.to_vec();
    for axis in (0..neighbours.dimension).rev() {
        let stride = neighbours.stride(axis);
        for start in (0..excess.len()).filter(|i| (i / stride).is_multiple_of(n)) {
            // m on the arc (k-1, k) removes its value at k and adds it at k-1: walk the excess down to the line's start.
            for k in (1..n).rev() {
                let (here, before) = (start + k * stride, start + (k - 1) * stride);
                let carried = std::mem::take(&mut excess[here]);
                flux[axis][before] += scale * carried;
                excess[before] += carried;
            }
        }
    }
}

/// Adds `D^T (tau_i I + tau_i/c_i u_i u_i^T) D` to the Newton matrix.
pub fn add_constraint_curvature(
    neighbours: &NeighbourTable,
    lipschitz: f64,
    differences: &[Vec<f64>],
    slack: &[f64],
    multipliers: &[f64],
    matrix: &mut Array2<f64>,
) {
    let scale = (lipschitz * neighbours.spacing()).powi(-2);
    let axes = neighbours.dimension;
    for i in 0..slack.len() {
        for a in 0..axes {
            for b in 0..axes {
                let identity = if a == b { 1.0 } else { 0.0 };
                let weight =
                    scale * multipliers[i] * (identity + differences[a][i] * differences[b][i] / slack[i]);
                let (next_a, next_b) = (neighbours.forward(a)[i] as usize, neighbours.forward(b)[i] as usize);
                matrix[[next_a, next_b]] += weight;
                matrix[[i, i]] += weight;
                matrix[[next_a, i]] -= weight;
                matrix[[i, next_b]] -= weight;
            }
        }
    }
}

/// Largest step in `[0, 1]` that keeps every `|u_i + step du_i| < 1`, shortened by `0.995` when a constraint blocks.
pub fn step_to_boundary(differences: &[Vec<f64>], directions: &[Vec<f64>], slack: &[f64]) -> f64 {
    let mut step = 1.0f64;
    for i in 0..slack.len() {
        let quadratic: f64 = directions.iter().map(|d| d[i] * d[i]).sum();
        let linear: f64 = directions.iter().zip(differences).map(|(d, u)| d[i] * u[i]).sum();
        // |u + t du|^2 = 1 has the positive root 2c / (linear + sqrt(linear^2 + 2 c quadratic)).
        let root = 2.0 * slack[i] / (linear + (linear * linear + 2.0 * slack[i] * quadratic).sqrt());
        if root.is_finite() && root > 0.0 {
            step = step.min(0.995 * root);
        }
    }
    step
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(count: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
        (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn removed_mass_is_the_adjoint_of_the_scaled_differences() {
        let mut generator = ChaCha8Rng::seed_from_u64(3);
        let neighbours = NeighbourTable::new(TorusGrid::new(2, 6).unwrap()).unwrap();
        let potential = random(36, &mut generator);
        let flux = vec![random(36, &mut generator), random(36, &mut generator)];
        let differences = scaled_differences(&neighbours, 1.3, &potential);
        let left: f64 =
            (0..2).map(|a| differences[a].iter().zip(&flux[a]).map(|(u, m)| u * m).sum::<f64>()).sum();
        let right: f64 =
            removed_mass(&neighbours, 1.3, &flux).iter().zip(&potential).map(|(r, p)| r * p).sum();
        assert!((left - right).abs() < 1e-12);
    }

    #[test]
    fn routing_removes_exactly_the_excess() {
        let mut generator = ChaCha8Rng::seed_from_u64(4);
        for dimension in 1..=3 {
            let neighbours = NeighbourTable::new(TorusGrid::new(dimension, 5).unwrap()).unwrap();
            let mut excess = random(neighbours.node_count(), &mut generator);
            let mean = excess.iter().sum::<f64>() / excess.len() as f64;
            excess.iter_mut().for_each(|value| *value -= mean);
            let mut flux = vec![vec![0.0; neighbours.node_count()]; dimension];
            route_excess(&neighbours, 0.7, &excess, &mut flux);
            let removed = removed_mass(&neighbours, 0.7, &flux);
            for i in 0..excess.len() {
                assert!((removed[i] - excess[i]).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn step_stops_just_inside_the_boundary() {
        let differences = vec![vec![0.5, 0.0], vec![0.0, 0.2]];
        let directions = vec![vec![1.0, 0.1], vec![0.0, 0.1]];
        let step = step_to_boundary(&differences, &directions, &slacks(&differences));
        assert!((step - 0.995 * 0.5).abs() < 1e-14);
    }
}
