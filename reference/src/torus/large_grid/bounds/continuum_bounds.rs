//! Two-sided bounds of the continuum game between hat-spread densities `p^ = sum_i p_i hat_i`, `q^ = sum_j q_j hat_j`:
//!
//! ```text
//! J_c = min { lambda/(2T) W2^2(p^, rho) + L W1(rho, eta) + KL(eta | q^) } = max_{phi in Lip_L} int p^ U_phi - ln int q^ e^phi
//! ```
//!
//! **Below.** Node values `phi` stand for the quadratic B-spline `phi^ = phi_ml * box`, the multilinear interpolant averaged over
//! a box of side `h`; it is `L`-Lipschitz where the control slopes are at most `L` ([`crate::torus::lattice::control_slopes`]). Averages of infima
//! are below infima of averages, and `exp` of an average below the average of `exp`, so the boxes pass to the data:
//! `int p^ U_{phi^} >= int (p^ * box) U_{phi_ml}`, `int q^ e^{phi^} <= int (q^ * box) e^{phi_ml}`. Both are taken on a grid `M` times
//! finer, of spacing `s = h/M`, where `phi_ml` is again its own interpolant. Within a cell `|x - y|^2` is its interpolant minus
//! `sum t(1-t) s^2 <= d s^2/4`, so the transform over fine nodes exceeds `U_{phi_ml}(x_k)` by at most
//! `lambda d s^2/(8T)`; `U - lambda |x|^2/(2T)` is concave, so between nodes `U` is at least its interpolant minus
//! `lambda/(2T) sum t(1-t) s^2`, on average another `lambda d s^2/(12T)` (the fractions `t` are uniform). An `L`-Lipschitz `phi^`
//! also has `U >= phi^ - L^2 T/(2 lambda)`, better where the grid does not resolve the kink. `e^{phi_ml}` is at most its
//! interpolant. With `K` the integrals of hat * box against fine hats along each axis ((1, 76, 230, 76, 1)/384 for `M = 1`):
//!
//! ```text
//! J_c >= sum (K p)_k U_k - min(lambda d s^2 (1/8 + 1/12)/T, L^2 T/(2 lambda)) - ln sum (K q)_k e^{phi_k}
//! ```
//!
//! **Above.** A plan between nodes, spread by one hat noise common to both ends, costs the same and joins `p^` to `rho^`. It may
//! be rearranged along the lines of every pass: given the nodes of the other axes, the positions within hats along different
//! axes are independent, so whatever joins the two spread marginals of each line joins `p^` to `rho^` ([`crate::torus::large_grid::ascent::line_rearrangement`]). A
//! flux bounds `W1(rho^, eta^)` ([`crate::torus::lattice::edge_flux`]); `KL(eta^ | q^) <= KL(eta | q)`, spreading being a Markov kernel.
//! The same common noise shows `J_c <= J`, the node value of [`crate::torus::problem`]: **the lower bound holds for both**.

use rayon::prelude::*;

use crate::torus::large_grid::bounds::slope_repair::feasible;
use crate::torus::large_grid::level::{Level, PrimalPoint, log_partition};
use crate::torus::large_grid::tuning;
use crate::torus::lattice::edge_flux::EdgeFlux;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::rotate_axes;
use crate::torus::lattice::spectral::SpectralSolver;
use crate::torus::lattice::transfer::{averaged, prolong_linearly};
use crate::torus::lattice::vector::{dot, kullback_leibler, sum_pairs, update};
use crate::torus::operators::hopf_lax::hopf_lax_in_place;

/// A potential that obeys the cap and the lower bound it gives.
#[derive(Clone)]
pub(crate) struct ContinuumDual {
    pub lower: f64,
    /// Coefficients of `phi^`.
    coefficients: Vec<f64>,
}

impl ContinuumDual {
    /// `phi^` at the nodes, `L`-Lipschitz between them.
    pub(crate) fn potential(&self, level: &Level) -> Vec<f64> {
        averaged(&level.grid, &self.coefficients, &QUADRATIC)
    }

    /// `U` of that potential, minimised over nodes.
    pub(crate) fn initial_potential(&self, level: &Level) -> Vec<f64> {
        let mut values = self.potential(level);
        let mut scratch = vec![0.0; values.len()];
        hopf_lax_in_place(&level.grid, level.curvature(), &mut values, &mut scratch);
        values
    }
}

/// `K p`, `K q` and the Poisson solver of one grid.
pub(crate) struct ContinuumBounds {
    /// `M`.
    refinement: usize,
    fine: TorusGrid,
    spread_source: Vec<f64>,
    spread_target: Vec<f64>,
    spectral: SpectralSolver,
    /// Index of the best length so far.
    absorption: usize,
}

/// The quadratic B-spline at 0, 1.
const QUADRATIC: [f64; 2] = [0.75, 0.125];

impl ContinuumBounds {
    pub(crate) fn new(level: &Level) -> Self {
        let grid = level.grid;
        let nodes = |refinement: usize| (refinement * grid.nodes_per_side).pow(grid.dimension as u32);
        let affordable = |refinement: &usize| nodes(*refinement) <= tuning::FINE_NODES;
        Self::with_refinement(level, tuning::FINE_REFINEMENTS.into_iter().find(affordable).unwrap_or(1))
    }

    fn with_refinement(level: &Level, refinement: usize) -> Self {
        let grid = level.grid;
        let kernel = hat_box_kernel(refinement);
        Self {
            refinement,
            fine: TorusGrid { nodes_per_side: refinement * grid.nodes_per_side, ..grid },
            spread_source: spread(&grid, &level.source, refinement, &kernel),
            spread_target: spread(&grid, &level.target, refinement, &kernel),
            spectral: SpectralSolver::new(grid),
            absorption: tuning::ABSORPTION.len() - 1,
        }
    }

    /// The lower bound of a potential near `phi` that obeys the cap; slopes that break it by the part `tolerance` are
    /// scaled, which costs at most that part of the bound.
    pub(crate) fn below(&self, level: &Level, phi: &[f64], tolerance: f64) -> ContinuumDual {
        let value = |phi: &[f64]| level.node_value(phi);
        self.claim(level, feasible(&level.grid, phi, level.lipschitz, tolerance, value))
    }

    /// The lower bound that `phi` gives if it obeys the cap.
    fn claim(&self, level: &Level, coefficients: Vec<f64>) -> ContinuumDual {
        let (mut grid, mut phi) = (level.grid, coefficients.clone());
        while grid != self.fine {
            phi = prolong_linearly(&grid, &phi);
            grid.nodes_per_side *= 2;
        }
        let mut initial = phi.clone();
        let mut scratch = vec![0.0; phi.len()];
        let curvature = level.curvature() / (self.refinement * self.refinement) as f64;
        hopf_lax_in_place(&grid, curvature, &mut initial, &mut scratch);
        let lower = dot(&self.spread_source, &initial)
            - interpolation_loss(level, self.refinement)
            - log_partition(&phi, &self.spread_target, &mut scratch);
        ContinuumDual { lower, coefficients }
    }

    /// The upper bound of a plan from `p` to `rho` of cost `kinetic_cost`, continued by `flux` to near `tilted`. What is
    /// left over is shared between `eta` and a gradient flux, at the best of a few lengths.
    pub(crate) fn above(
        &mut self,
        level: &Level,
        (kinetic_cost, rho): (f64, &[f64]),
        tilted: &[f64],
        flux: &EdgeFlux,
    ) -> PrimalPoint {
        let mut best = self.joined(level, (kinetic_cost, rho), tilted, flux, self.absorption);
        for next in [-1_isize, 1] {
            let mut index = self.absorption;
            while let Some(neighbour) =
                index.checked_add_signed(next).filter(|i| *i < tuning::ABSORPTION.len())
            {
                let point = self.joined(level, (kinetic_cost, rho), tilted, flux, neighbour);
                if point.value() >= best.value() {
                    break;
                }
                (best, index, self.absorption) = (point, neighbour, neighbour);
            }
        }
        best
    }

    fn joined(
        &mut self,
        level: &Level,
        (kinetic_cost, rho): (f64, &[f64]),
        tilted: &[f64],
        flux: &EdgeFlux,
        absorption: usize,
    ) -> PrimalPoint {
        let grid = level.grid;
        let mut left = vec![0.0; rho.len()];
        flux.divergence(&mut left);
        update(&mut left, rho, |divergence, rho| rho - divergence);
        let length = tuning::ABSORPTION[absorption] * grid.spacing();
        let mut intermediate = tilted.to_vec();
        if length.is_finite() {
            let mut absorbed = left.clone();
            update(&mut absorbed, tilted, |left, eta| left - eta);
            self.spectral.apply(&mut absorbed, |square| 1.0 / (1.0 + length * length * square));
            // eta stays positive and absolutely continuous; the flux carries whatever is cut off here.
            update(&mut intermediate, &absorbed, |eta, change| (eta + change).max(tuning::KEPT * eta));
            update(&mut intermediate, &level.target, |eta, q| if q > 0.0 { eta } else { 0.0 });
            let total = sum_pairs(&intermediate, rho, |eta, _| eta);
            intermediate.iter_mut().for_each(|eta| *eta /= total);
        }
        update(&mut left, &intermediate, |left, eta| left - eta);
        let mut flux = flux.clone();
        flux.add_gradient_flux(&mut self.spectral, &left);
        flux.subtract_median();
        PrimalPoint {
            kinetic_cost,
            lipschitz_cost: level.lipschitz * flux.cost(),
            divergence: kullback_leibler(&intermediate, &level.target),
            terminal: rho.to_vec(),
            intermediate,
        }
    }
}

/// What interpolation between the nodes of a grid `refinement` times finer can cost the lower bound at most.
pub(crate) fn interpolation_loss(level: &Level, refinement: usize) -> f64 {
    let curvature = level.curvature() / (refinement * refinement) as f64;
    let resolved = curvature * level.grid.dimension as f64 * (1.0 / 4.0 + 1.0 / 6.0);
    resolved.min(0.25 * level.lipschitz / level.kinetic * level.lipschitz)
}

/// `K` along one axis, from its first nonzero entry to its last: the quadratic B-spline of spacing `M` (three boxes, each of
/// `M` small ones) against a hat of spacing 1 (two small boxes) is a sum of quartic B-splines of spacing 1. An even `M`
/// puts them half-way between nodes.
fn hat_box_kernel(refinement: usize) -> Vec<f64> {
    let mut kernel = match refinement % 2 {
        0 => [1.0, 11.0, 11.0, 1.0].map(|value| value / 24.0).to_vec(),
        _ => [1.0, 76.0, 230.0, 76.0, 1.0].map(|value| value / 384.0).to_vec(),
    };
    for _ in 0..3 {
        let mut wider = vec![0.0; kernel.len() + refinement - 1];
        for (first, value) in kernel.iter().enumerate() {
            wider[first..first + refinement].iter_mut().for_each(|out| *out += value / refinement as f64);
        }
        kernel = wider;
    }
    kernel
}

/// Node masses on the grid `refinement` times finer, each spread by `kernel` along every axis.
fn spread(grid: &TorusGrid, masses: &[f64], refinement: usize, kernel: &[f64]) -> Vec<f64> {
    let (n, fine) = (grid.nodes_per_side, grid.nodes_per_side * refinement);
    let reach = kernel.len() / 2;
    let mut current = masses.to_vec();
    for _ in 0..grid.dimension {
        let mut wider = vec![0.0; current.len() * refinement];
        wider.par_chunks_mut(fine).zip(current.par_chunks(n)).for_each(|(out, line)| {
            for (i, mass) in line.iter().enumerate() {
                for (k, weight) in kernel.iter().enumerate() {
                    // Far enough ahead that the index stays positive.
                    out[(refinement * i + k + fine * reach - reach) % fine] += weight * mass;
                }
            }
        });
        current.resize(wider.len(), 0.0);
        rotate_axes(&wider, fine, &mut current);
    }
    current
}

#[cfg(test)]
mod tests;
