//! The node problem on one grid of the hierarchy, and the two sides of its certificate (KL).

use rayon::prelude::*;

use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::transfer::{BINOMIAL, averaged, coarser, prolong_linearly, restrict_masses};
use crate::torus::lattice::vector::{dot, kullback_leibler, maximum, sum_pairs, update};
use crate::torus::operators::hopf_lax::hopf_lax_in_place;
use crate::torus::operators::lipschitz::envelope_with_apexes;
use crate::torus::problem::TorusProblem;

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

    /// The same hat-spread densities on a grid of twice the nodes per side: a hat is the sum of finer hats with weights
    /// `(1, 2, 1)/4` along each axis.
    pub fn refined(&self) -> Option<Self> {
        let grid = TorusGrid::new(self.grid.dimension, 2 * self.grid.nodes_per_side).ok()?;
        let part = 0.5_f64.powi(grid.dimension as i32);
        let refine = |masses: &[f64]| -> Vec<f64> {
            prolong_linearly(&self.grid, masses).into_iter().map(|mass| part * mass).collect()
        };
        Some(Self { grid, source: refine(&self.source), target: refine(&self.target), ..*self })
    }

    /// Whether nodes without target mass exist.
    pub fn has_empty_target_nodes(&self) -> bool {
        self.target.contains(&0.0)
    }

    /// Mass of `marginal` on nodes without target mass.
    pub fn stray_mass(&self, marginal: &[f64]) -> f64 {
        sum_pairs(marginal, &self.target, |mass, q| if q > 0.0 { 0.0 } else { mass })
    }

    /// Raises `phi` on nodes without target mass to the cone of slope `slope` (for one spacing) above its values elsewhere.
    /// `Lambda` does not see those nodes, and the transform can only gain.
    pub fn lift_empty_target_nodes(&self, phi: &mut [f64], slope: f64) {
        if !self.has_empty_target_nodes() {
            return;
        }
        let mut seen = phi.to_vec();
        update(&mut seen, &self.target, |phi, q| if q > 0.0 { phi } else { f64::INFINITY });
        let (cone, _) = envelope_with_apexes(&self.grid, &seen, slope);
        update(&mut seen, &cone, |seen, cone| if seen.is_finite() { seen } else { cone });
        phi.copy_from_slice(&seen);
    }

    /// `lambda h^2 / (2 T)`.
    pub fn curvature(&self) -> f64 {
        self.kinetic * self.grid.spacing() * self.grid.spacing()
    }

    /// `lambda d h^2 / (12 T)`: what it costs to spread a node's mass over its hat.
    pub fn spread_cost(&self) -> f64 {
        self.curvature() * self.grid.dimension as f64 / 6.0
    }

    /// `T / lambda`.
    pub fn diffusion(&self) -> f64 {
        0.5 / self.kinetic
    }

    /// `L h`.
    pub fn slope(&self) -> f64 {
        self.lipschitz * self.grid.spacing()
    }

    /// The dual value of the Lipschitz envelope of `psi`.
    pub fn dual_point(&self, psi: &[f64]) -> DualPoint {
        let (phi, _) = envelope_with_apexes(&self.grid, psi, self.slope());
        let (lower, initial) = self.value_and_transform(&phi);
        DualPoint { lower, phi, initial }
    }

    /// `sum p U - ln sum q e^phi` over nodes, whatever the slopes of `phi`.
    pub fn node_value(&self, phi: &[f64]) -> f64 {
        self.value_and_transform(phi).0
    }

    fn value_and_transform(&self, phi: &[f64]) -> (f64, Vec<f64>) {
        let mut initial = phi.to_vec();
        let mut scratch = vec![0.0; phi.len()];
        hopf_lax_in_place(&self.grid, self.curvature(), &mut initial, &mut scratch);
        let value = dot(&self.source, &initial) - log_partition(phi, &self.target, &mut scratch);
        (value, initial)
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
            let next = point(cost, averaged(&self.grid, &best.terminal, &BINOMIAL));
            if next.value() < best.value() {
                best = next;
            } else {
                return best;
            }
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
