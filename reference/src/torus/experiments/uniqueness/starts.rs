//! Random starts: admissible potentials for the Newton method, relabelled nodes for the active-set method.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

use crate::torus::lattice::neighbour_table::NeighbourTable;
use crate::torus::time_solver::barrier::{norm_at, scaled_differences};

/// A random trigonometric potential of six modes whose steepest slope is a random fraction (5% to 95%) of `L`.
pub fn random_potential(neighbours: &NeighbourTable, lipschitz: f64, seed: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let modes: Vec<(Vec<f64>, f64, f64)> = (0..6)
        .map(|_| {
            let wave = (0..neighbours.dimension).map(|_| f64::from(random.random_range(-3i32..=3))).collect();
            (wave, random.random_range(0.0..TAU), random.random_range(-1.0..1.0))
        })
        .collect();
    let potential = neighbours.sample(|x| {
        modes
            .iter()
            .map(|(wave, phase, amplitude)| {
                let angle: f64 = wave.iter().zip(x).map(|(k, x)| TAU * k * x).sum();
                amplitude * (angle + phase).cos()
            })
            .sum()
    });
    let differences = scaled_differences(neighbours, lipschitz, &potential);
    let steepest = (0..potential.len()).map(|i| norm_at(&differences, i)).fold(f64::MIN_POSITIVE, f64::max);
    let factor = random.random_range(0.05..0.95) / steepest;
    potential.iter().map(|value| factor * value).collect()
}

/// A random permutation of the nodes.
pub fn random_relabelling(nodes: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::lattice::grid::TorusGrid;

    #[test]
    fn starts_are_admissible_and_differ() {
        let neighbours = NeighbourTable::new(TorusGrid::new(2, 12).unwrap()).unwrap();
        let starts: Vec<Vec<f64>> = (0..8).map(|seed| random_potential(&neighbours, 0.7, seed)).collect();
        for (k, start) in starts.iter().enumerate() {
            let differences = scaled_differences(&neighbours, 0.7, start);
            assert!((0..144).all(|i| norm_at(&differences, i) < 0.96));
            assert!(starts[..k].iter().all(|other| other != start));
        }
    }
}
