//! Newton ascent on the terminal potential on one grid: `E(phi) - ln sum_j q_j e^{phi_j}` with the smooth dual `E` of
//! [`crate::torus::large_grid::ascent::smooth_dual`], less the penalty of a [`SlopeCap`] where there is one.
//!
//! Directions come from conjugate gradients preconditioned in the Sobolev metric by FFT ([`crate::torus::large_grid::ascent::newton_direction`]), steps
//! from backtracking. After each step the potential drops to its double transform, so that every node stays where it
//! receives mass.

pub(super) mod free;
mod line_rearrangement;
mod newton_direction;
pub(super) mod slope_cap;
pub(super) mod smooth_dual;

use std::time::Instant;

use crate::torus::large_grid::ascent::newton_direction::{Metric, NewtonDirection};
use crate::torus::large_grid::ascent::slope_cap::SlopeCap;
use crate::torus::large_grid::ascent::smooth_dual::{KineticValue, SmoothDual};
use crate::torus::large_grid::level::{Level, log_partition};
use crate::torus::large_grid::tuning;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::{rotate_axes, transform_lines};
use crate::torus::lattice::spectral::SpectralSolver;
use crate::torus::lattice::vector::{add_scaled, dot, update};
use crate::torus::operators::envelope::ParabolaEnvelope;
use crate::torus::operators::hopf_lax::hopf_lax_in_place;

/// What one Newton step did, for progress displays and cost measurements.
#[derive(Debug, Clone, Copy)]
pub struct AscentStep {
    /// Nodes per side of the grid worked on.
    pub nodes_per_side: usize,
    /// Hessian products of the step, each one pass each way through all lines and one preconditioner.
    pub products: usize,
    /// Length of the step along the Newton direction.
    pub step: f64,
    /// Objective after the step.
    pub value: f64,
    /// Wall-clock seconds of the step.
    pub seconds: f64,
}

/// The ascent on one grid.
pub(crate) struct Ascent {
    pub level: Level,
    pub smooth: SmoothDual,
    newton: NewtonDirection,
    /// The cap, where it acts.
    pub cap: Option<SlopeCap>,
    pub phi: Vec<f64>,
    /// `q e^phi / Z`.
    pub tilted: Vec<f64>,
    /// `rho_T - tilted - penalty'`, the derivative of the objective.
    gradient: Vec<f64>,
    direction: Vec<f64>,
    old_phi: Vec<f64>,
    pub value: f64,
    pub kinetic: KineticValue,
    pub iterations: usize,
}

impl Ascent {
    pub(crate) fn new(level: Level, phi: Vec<f64>) -> Self {
        let zeros = || vec![0.0; phi.len()];
        let smooth = SmoothDual::new(level.grid, level.curvature(), level.source.clone());
        let metric = if level.has_empty_target_nodes() { Metric::Plain } else { Metric::Scaled };
        let spectral = SpectralSolver::new(level.grid);
        let newton = NewtonDirection::new(spectral, level.diffusion(), phi.len(), metric);
        Self {
            level,
            smooth,
            newton,
            cap: None,
            tilted: zeros(),
            gradient: zeros(),
            direction: zeros(),
            old_phi: zeros(),
            value: 0.0,
            kinetic: KineticValue { dual: 0.0, cost: 0.0 },
            iterations: 0,
            phi,
        }
    }

    /// One Newton step. The increase it predicted (to first order), or `None` when that is at most `resolution` or no step
    /// increases the objective.
    pub(crate) fn step(&mut self, resolution: f64, observe: &mut dyn FnMut(&AscentStep)) -> Option<f64> {
        let clock = Instant::now();
        let products = self.newton.solve(
            &mut self.smooth,
            self.cap.as_mut(),
            &self.tilted,
            &self.gradient,
            &mut self.direction,
        );
        let slope = dot(&self.gradient, &self.direction);
        if slope.is_nan() || slope <= resolution {
            return None;
        }
        self.old_phi.copy_from_slice(&self.phi);
        let step = self.backtrack(slope)?;
        self.iterations += 1;
        observe(&AscentStep {
            nodes_per_side: self.level.grid.nodes_per_side,
            products,
            step,
            value: self.value,
            seconds: clock.elapsed().as_secs_f64(),
        });
        Some(slope)
    }

    /// Shortens the step until the objective increases by the usual part of the prediction; `None` when none does.
    fn backtrack(&mut self, slope: f64) -> Option<f64> {
        let old_value = self.value;
        let mut step = 1.0;
        while step > tuning::SHORTEST_STEP {
            // A drop always helps E - Lambda, but may raise the penalty of a cap.
            for drops in [true, false] {
                self.phi.copy_from_slice(&self.old_phi);
                add_scaled(&mut self.phi, step, &self.direction);
                if drops {
                    self.drop_to_double_transform();
                }
                self.evaluate();
                if self.value >= old_value + tuning::SUFFICIENT_INCREASE * step * slope {
                    return Some(step);
                }
                if self.cap.is_none() {
                    break;
                }
            }
            let curvature = 2.0 * (old_value + step * slope - self.value) / (step * step);
            let [least, most] = tuning::SHORTENED;
            step = (slope / curvature).clamp(least * step, most * step);
        }
        self.phi.copy_from_slice(&self.old_phi);
        self.evaluate();
        None
    }

    /// Objective, derivative, and plan at `phi`.
    pub(crate) fn evaluate(&mut self) {
        self.kinetic = self.smooth.evaluate(&self.phi);
        let log_partition = log_partition(&self.phi, &self.level.target, &mut self.tilted);
        self.value = self.kinetic.dual - log_partition;
        self.gradient.copy_from_slice(&self.smooth.marginal);
        update(&mut self.gradient, &self.tilted, |rho, eta| rho - eta);
        if let Some(cap) = &mut self.cap {
            self.value -= cap.evaluate(&self.phi);
            cap.add_derivative(-1.0, &mut self.gradient);
        }
    }

    /// Lowers `phi` towards the least potential with the same transform: nodes that would receive no mass are put where
    /// they start to. The transform keeps its value and `Lambda` falls, so the objective gains. Nodes without target mass
    /// stay where they are: `Lambda` does not see them, and no mass should land there.
    pub(crate) fn drop_to_double_transform(&mut self) {
        let kept = self.level.has_empty_target_nodes().then(|| self.phi.clone());
        self.drop_every_node();
        if let Some(kept) = kept {
            let empty = |q: &f64| *q <= 0.0;
            let entries = self.phi.iter_mut().zip(kept).zip(&self.level.target);
            entries.filter(|(_, q)| empty(q)).for_each(|((phi, kept), _)| *phi = kept);
        }
    }

    /// The same on every node: the smoothest potential with this transform, to start a finer grid from.
    pub(crate) fn drop_every_node(&mut self) {
        let (grid, curvature) = (self.level.grid, self.level.curvature());
        if grid.dimension == 1 || grid.nodes_per_side > tuning::FULL_TRANSFORM_SIDE {
            let mut scratch = vec![0.0; self.phi.len()];
            for _ in 0..grid.dimension {
                transform_lines(
                    &grid,
                    &self.phi,
                    &mut scratch,
                    ParabolaEnvelope::new,
                    |envelope, line, out| {
                        envelope.build(line, curvature);
                        envelope.chord(out);
                    },
                );
                rotate_axes(&scratch, grid.nodes_per_side, &mut self.phi);
            }
        } else {
            self.phi = double_transform(&grid, curvature, &self.phi);
        }
    }
}

/// `max_x min_z phi(z) + c(x, z) - c(x, .)` with `x` on a grid four times finer: nearly every direction of the plane.
fn double_transform(grid: &TorusGrid, curvature: f64, phi: &[f64]) -> Vec<f64> {
    const REFINEMENT: usize = tuning::FULL_TRANSFORM_REFINEMENT;
    let fine = TorusGrid { nodes_per_side: REFINEMENT * grid.nodes_per_side, ..*grid };
    let position = |flat: usize| fine.flat_index(grid.multi_index(flat).map(|i| (REFINEMENT * i) as isize));
    let mut values = vec![f64::INFINITY; fine.node_count()];
    for (flat, value) in phi.iter().enumerate() {
        values[position(flat)] = *value;
    }
    let mut scratch = vec![0.0; values.len()];
    let curvature = curvature / (REFINEMENT * REFINEMENT) as f64;
    for _ in 0..2 {
        hopf_lax_in_place(&fine, curvature, &mut values, &mut scratch);
        values.iter_mut().for_each(|value| *value = -*value);
    }
    (0..phi.len()).map(|flat| values[position(flat)]).collect()
}
