//! The node problem on one grid of the hierarchy, and the two sides of its certificate (KL).

use rayon::prelude::*;

use super::grid::TorusGrid;
use super::hopf_lax::hopf_lax_in_place;
use super::lipschitz::envelope_with_apexes;
use super::problem::TorusProblem;
use super::transfer::{coarser, restrict_masses, smoothed};
use super::vector::{dot, kullback_leibler, maximum, sum_pairs, update};

/// Masses and parameters on one grid.
pub(crate) struct Level {
    pub grid: TorusGrid,
    pub source: Vec<f64>,
    pub target: Vec<f64>,
    /// `lambda / (2 T)`.
    pub kinetic: f64,
    pub lipschitz: f64,
}

/// A feasible dual point: `lower` is its value.
pub(crate) struct DualPoint {
    pub lower: f64,
    /// `L`-Lipschitz on the nodes.
    pub phi: Vec<f64>,
    /// `U(., 0)`.
    pub initial: Vec<f64>,
    /// For every node the apex that carries its mass to the target.
    pub apexes: Vec<u32>,
}

/// A feasible primal point: costs of a plan, and its marginals.
#[derive(Clone)]
pub(crate) struct PrimalPoint {
    pub kinetic_cost: f64,
    pub lipschitz_cost: f64,
    pub divergence: f64,
    pub terminal: Vec<f64>,
    pub intermediate: Vec<f64>,
}

impl PrimalPoint {
    pub fn value(&self) -> f64 {
        self.kinetic_cost + self.lipschitz_cost + self.divergence
    }
}

impl Level {
    pub fn of(problem: &TorusProblem) -> Self {
        Self {
            grid: problem.grid,
            source: problem.source.iter().copied().collect(),
            target: problem.target.iter().copied().collect(),
            kinetic: problem.parameters.lambda / (2.0 * problem.parameters.horizon),
            lipschitz: problem.parameters.lipschitz,
        }
    }

    /// The same problem on every second node.
    pub fn coarser(&self) -> Option<Self> {
        let grid = coarser(&self.grid)?;
        Some(Self {
            grid,
            source: restrict_masses(&grid, &self.source),
            target: restrict_masses(&grid, &self.target),
            ..*self
        })
    }

    /// `lambda h^2 / (2 T)`.
    pub fn curvature(&self) -> f64 {
        self.kinetic * self.grid.spacing() * self.grid.spacing()
    }

    /// `L h`.
    pub fn slope(&self) -> f64 {
        self.lipschitz * self.grid.spacing()
    }

    /// The dual value of the Lipschitz envelope of `psi` (entries `+inf` allowed where the target is empty).
    pub fn dual_point(&self, psi: &[f64]) -> DualPoint {
        let (phi, apexes) = envelope_with_apexes(&self.grid, psi, self.slope());
        let mut initial = phi.clone();
        let mut scratch = vec![0.0; phi.len()];
        hopf_lax_in_place(&self.grid, self.curvature(), &mut initial, &mut scratch);
        let lower = dot(&self.source, &initial) - log_partition(&phi, &self.target, &mut scratch);
        DualPoint { lower, phi, initial, apexes }
    }

    /// The plan with `eta = rho_T`, its far end spread by as many binomial steps `(1, 2, 1)/4` as pay off: each keeps the
    /// mean position, adds `lambda h^2 / (4 T)` for each axis to the cost and removes the oscillation of `rho_T` between
    /// neighbouring nodes, which the divergence would charge.
    pub fn spread_primal(&self, cost: f64, marginal: &[f64]) -> PrimalPoint {
        let point = |kinetic_cost: f64, terminal: Vec<f64>| PrimalPoint {
            kinetic_cost,
            lipschitz_cost: 0.0,
            divergence: kullback_leibler(&terminal, &self.target),
            intermediate: terminal.clone(),
            terminal,
        };
        let mut best = point(cost, marginal.to_vec());
        loop {
            let cost = best.kinetic_cost + 0.5 * self.curvature() * self.grid.dimension as f64;
            let next = point(cost, smoothed(&self.grid, &best.terminal));
            if next.value() < best.value() {
                best = next;
            } else {
                return best;
            }
        }
    }

    /// The plan that carries `marginal` on to the apexes of `dual`.
    pub fn carried_primal(&self, cost: f64, marginal: &[f64], dual: &DualPoint) -> PrimalPoint {
        let mut intermediate = vec![0.0; marginal.len()];
        let mut lipschitz_cost = 0.0;
        for (node, (mass, apex)) in marginal.iter().zip(&dual.apexes).enumerate() {
            let apex = *apex as usize;
            intermediate[apex] += mass;
            if apex != node && *mass > 0.0 {
                let distance = self.grid.squared_distance(self.grid.position(node), self.grid.position(apex));
                lipschitz_cost += mass * self.lipschitz * distance.sqrt();
            }
        }
        PrimalPoint {
            kinetic_cost: cost,
            lipschitz_cost,
            divergence: kullback_leibler(&intermediate, &self.target),
            terminal: marginal.to_vec(),
            intermediate,
        }
    }
}

/// `ln sum_j q_j e^{phi_j}`; fills `tilted` with `q e^phi / Z`.
pub(crate) fn log_partition(phi: &[f64], target: &[f64], tilted: &mut [f64]) -> f64 {
    // The shift is the largest value where the target has mass, so that some exponential is 1.
    tilted.copy_from_slice(phi);
    update(tilted, target, |phi, q| if q > 0.0 { phi } else { f64::NEG_INFINITY });
    let shift = maximum(tilted);
    update(tilted, target, |phi, q| if q > 0.0 { q * (phi - shift).exp() } else { 0.0 });
    let total = sum_pairs(tilted, tilted, |x, _| x);
    tilted.par_iter_mut().for_each(|x| *x /= total);
    shift + total.ln()
}
