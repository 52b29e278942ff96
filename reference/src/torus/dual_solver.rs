//! The large-grid solver: ascent on the terminal potential, stopped by the primal-dual gap.
//!
//! Maximises `E(phi) - ln sum_j q_j e^{phi_j}` with the smooth dual `E` of [`super::smooth_dual`], from coarse grids to
//! fine ones. The direction is limited-memory BFGS over the Sobolev metric `(1 - (T/lambda) Laplacian)^{-1}`, scaled by
//! the density: the inverse Hessian where the density is smooth. The step is found by backtracking.
//!
//! Bounds refer to the node problem of [`TorusProblem`]: the sub-cell plan of the last ascent step from above, the exact
//! Hopf-Lax transform of an exactly `L`-Lipschitz potential from below.

use std::time::Instant;

use ndarray::ArrayD;
use rayon::prelude::*;

use super::grid::TorusGrid;
use super::hopf_lax::{hopf_lax_in_place, rotate_axes, transform_lines};
use super::lipschitz::envelope_with_apexes;
use super::newton_direction::NewtonDirection;
use super::problem::{Termination, TorusProblem, TorusSolution};
use super::smooth_dual::{KineticValue, SmoothDual};
use super::spectral::SpectralSolver;
use super::transfer::{coarser, prolong_values, restrict_masses, smoothed};
use super::vector::{add_scaled, dot, kullback_leibler, maximum, maximum_of_pairs, sum_pairs, update};
use crate::specification::{DivergenceKind, InvalidInput};

/// When to stop, and how much memory to spend.
#[derive(Debug, Clone, Copy)]
pub struct DualOptions {
    /// Stop when `upper - lower <= relative_gap * |upper|`.
    pub relative_gap: f64,
    /// Ascent steps on the finest grid.
    pub iterations: usize,
    /// Secant pairs kept (two arrays each).
    pub memory: usize,
    /// Start from coarser grids, or from `phi = 0` on this one.
    pub coarse_to_fine: bool,
}

impl Default for DualOptions {
    fn default() -> Self {
        Self { relative_gap: 1e-4, iterations: 200, memory: 5, coarse_to_fine: true }
    }
}

/// Nodes per side below which coarsening stops.
const COARSEST: usize = 16;

/// Solves `problem` (KL only) on its grid.
///
/// # Errors
/// [`InvalidInput`] for a divergence other than KL or an option out of range.
pub fn solve_dual(problem: &TorusProblem, options: &DualOptions) -> Result<TorusSolution, InvalidInput> {
    if problem.kind != DivergenceKind::KullbackLeibler {
        return Err(InvalidInput::new("f", problem.kind, "kl (the static solver takes every divergence)"));
    }
    if !(options.relative_gap >= 0.0) {
        return Err(InvalidInput::new("relative_gap", options.relative_gap, ">= 0"));
    }
    let started = Instant::now();
    let mut levels = vec![Level::of(problem)];
    while options.coarse_to_fine && levels[levels.len() - 1].grid.nodes_per_side > 2 * COARSEST {
        match levels[levels.len() - 1].coarser() {
            Some(level) => levels.push(level),
            None => break,
        }
    }
    let mut phi = Vec::new();
    while let Some(level) = levels.pop() {
        phi = if phi.is_empty() {
            vec![0.0; level.grid.node_count()]
        } else {
            prolong_values(&level.half(), &phi)
        };
        let finest = levels.is_empty();
        let mut ascent = Ascent::new(level, phi, options);
        let termination = ascent.run(finest, options);
        if finest {
            return Ok(ascent.solution(termination, started));
        }
        phi = ascent.phi;
    }
    unreachable!("the finest level returns")
}

/// The problem on one grid.
struct Level {
    grid: TorusGrid,
    source: Vec<f64>,
    target: Vec<f64>,
    /// `lambda / (2 T)`.
    kinetic: f64,
    lipschitz: f64,
}

impl Level {
    fn of(problem: &TorusProblem) -> Self {
        Self {
            grid: problem.grid,
            source: problem.source.iter().copied().collect(),
            target: problem.target.iter().copied().collect(),
            kinetic: problem.parameters.lambda / (2.0 * problem.parameters.horizon),
            lipschitz: problem.parameters.lipschitz,
        }
    }

    fn coarser(&self) -> Option<Self> {
        let grid = coarser(&self.grid)?;
        Some(Self {
            grid,
            source: restrict_masses(&grid, &self.source),
            target: restrict_masses(&grid, &self.target),
            ..*self
        })
    }

    fn half(&self) -> TorusGrid {
        TorusGrid { nodes_per_side: self.grid.nodes_per_side / 2, ..self.grid }
    }

    fn curvature(&self) -> f64 {
        self.kinetic * self.grid.spacing() * self.grid.spacing()
    }
}

/// The best certified bounds so far.
struct Certificate {
    lower: f64,
    upper: f64,
}

struct Ascent {
    level: Level,
    smooth: SmoothDual,
    newton: NewtonDirection,
    phi: Vec<f64>,
    /// `q e^phi / Z`.
    tilted: Vec<f64>,
    /// `rho_T - tilted`, the derivative of the objective.
    gradient: Vec<f64>,
    value: f64,
    kinetic: KineticValue,
    certificate: Certificate,
    iterations: usize,
}

impl Ascent {
    fn new(level: Level, phi: Vec<f64>, _options: &DualOptions) -> Self {
        let zeros = vec![0.0; phi.len()];
        let smooth = SmoothDual::new(level.grid, level.curvature(), level.source.clone());
        let newton = NewtonDirection::new(SpectralSolver::new(level.grid), 0.5 / level.kinetic, phi.len());
        let mut ascent = Self {
            level,
            smooth,
            newton,
            tilted: zeros.clone(),
            gradient: zeros,
            phi,
            value: 0.0,
            kinetic: KineticValue { dual: 0.0, cost: 0.0 },
            certificate: Certificate { lower: f64::NEG_INFINITY, upper: f64::INFINITY },
            iterations: 0,
        };
        ascent.evaluate();
        ascent
    }

    /// `min_j rho_T / tilted`: zero once a node receives no mass, where the dual is no longer strictly curved.
    fn activity(&self) -> f64 {
        -maximum_of_pairs(
            &self.smooth.marginal,
            &self.tilted,
            |rho, eta| if eta > 0.0 { -rho / eta } else { -1.0 },
        )
    }

    fn lower_to_chords(&mut self) {
        let cc: usize = std::env::var("CCMAX").map_or(64, |x| x.parse().unwrap());
        if self.level.grid.nodes_per_side > cc {
            let curvature = self.level.curvature();
            let mut scratch = vec![0.0; self.phi.len()];
            for _ in 0..self.level.grid.dimension {
                transform_lines(&self.level.grid, &self.phi, &mut scratch, |envelope, line, out| {
                    envelope.build(line, curvature);
                    envelope.chord(out);
                });
                rotate_axes(&scratch, self.level.grid.nodes_per_side, &mut self.phi);
            }
            return;
        }
        let m: usize = std::env::var("OVER").map_or(4, |x| x.parse().unwrap());
        let fine = TorusGrid { nodes_per_side: m * self.level.grid.nodes_per_side, ..self.level.grid };
        let mut values = vec![f64::INFINITY; fine.node_count()];
        let position =
            |flat: usize| fine.flat_index(self.level.grid.multi_index(flat).map(|i| (m * i) as isize));
        for (flat, value) in self.phi.iter().enumerate() {
            values[position(flat)] = *value;
        }
        let curvature = self.level.curvature() / (m * m) as f64;
        let mut scratch = vec![0.0; values.len()];
        hopf_lax_in_place(&fine, curvature, &mut values, &mut scratch);
        values.par_iter_mut().for_each(|value| *value = -*value);
        hopf_lax_in_place(&fine, curvature, &mut values, &mut scratch);
        for flat in 0..self.phi.len() {
            self.phi[flat] = -values[position(flat)];
        }
    }

    /// Objective, derivative, and plan at `phi`.
    fn evaluate(&mut self) {
        self.kinetic = self.smooth.evaluate(&self.phi);
        let log_partition = log_partition(&self.phi, &self.level.target, &mut self.tilted);
        self.value = self.kinetic.dual - log_partition;
        self.gradient.copy_from_slice(&self.smooth.marginal);
        update(&mut self.gradient, &self.tilted, |rho, eta| rho - eta);
    }

    fn run(&mut self, finest: bool, options: &DualOptions) -> Termination {
        let mut direction = vec![0.0; self.phi.len()];
        let mut old_phi = vec![0.0; self.phi.len()];
        let budget = if finest { options.iterations } else { COARSE_ITERATIONS };
        self.lower_to_chords();
        self.evaluate();
        loop {
            if finest && self.bounds_meet(options.relative_gap) {
                return Termination::Gap;
            }
            if self.iterations == budget {
                return Termination::Budget;
            }
            let started = Instant::now();
            let products =
                self.newton.solve(&mut self.smooth, &self.tilted, &self.gradient, &mut direction, (0.1, 30));
            let slope = dot(&self.gradient, &direction);
            let floor = self.level.curvature() * self.level.grid.dimension as f64 / 6.0;
            let resolution = if finest { 1e-3 * floor } else { 1e-1 * floor };
            if slope <= resolution.max(64.0 * f64::EPSILON * self.value.abs()) {
                return Termination::Floor;
            }
            old_phi.copy_from_slice(&self.phi);
            let old_value = self.value;
            let mut step = 1.0;
            loop {
                add_scaled(&mut self.phi, step, &direction);
                self.lower_to_chords();
                self.evaluate();
                if self.value >= old_value + 1e-4 * step * slope {
                    break;
                }
                self.phi.copy_from_slice(&old_phi);
                let curvature = 2.0 * (old_value + step * slope - self.value) / (step * step);
                step = if curvature > 0.0 {
                    (slope / curvature).clamp(0.1 * step, 0.5 * step)
                } else {
                    0.5 * step
                };
                if step < 1e-10 {
                    self.evaluate();
                    return Termination::Floor;
                }
            }
            self.iterations += 1;
            if std::env::var("TRACE").is_ok() {
                let upper = self.kinetic.cost + kullback_leibler(&self.smooth.marginal, &self.level.target);
                eprintln!(
                    "N {} it {} cg {products} step {step:.3} slope {slope:.3e} value {:.8} upper {upper:.8} gap {:.3e} s {:.3} act {:.2e}",
                    self.level.grid.nodes_per_side,
                    self.iterations,
                    self.value,
                    upper - self.value,
                    started.elapsed().as_secs_f64(),
                    self.activity()
                );
            }
        }
    }

    /// Least primal value over binomial smoothings of the plan's far end.
    fn best_primal(&self) -> f64 {
        let mut density = self.smooth.marginal.clone();
        let mut best = f64::INFINITY;
        let mut cost = self.kinetic.cost;
        for k in 0..12 {
            let value = cost + kullback_leibler(&density, &self.level.target);
            if std::env::var("TRACE").is_ok() {
                eprintln!("   k {k} {value:.8} {:.2e}", value - self.value);
            }
            if value >= best {
                break;
            }
            best = value;
            density = smoothed(&self.level.grid, &density);
            cost += 0.5 * self.level.curvature() * self.level.grid.dimension as f64;
        }
        best
    }

    /// Updates the certificate; the lower bound is computed only once the smooth dual says that it can suffice.
    fn bounds_meet(&mut self, relative_gap: f64) -> bool {
        self.certificate.upper = self.best_primal();
        if self.certificate.upper - self.value > relative_gap * self.certificate.upper.abs() {
            return false;
        }
        self.certificate.lower = self.lower_bound().0;
        self.certificate.upper - self.certificate.lower <= relative_gap * self.certificate.upper.abs()
    }

    /// Dual value, feasible potential and its transform.
    fn lower_bound(&self) -> (f64, Vec<f64>, Vec<f64>) {
        let slope = self.level.lipschitz * self.level.grid.spacing();
        let (phi, _) = envelope_with_apexes(&self.level.grid, &self.phi, slope);
        let mut initial = phi.clone();
        let mut scratch = vec![0.0; phi.len()];
        hopf_lax_in_place(&self.level.grid, self.level.curvature(), &mut initial, &mut scratch);
        let log_partition = log_partition(&phi, &self.level.target, &mut scratch);
        (dot(&self.level.source, &initial) - log_partition, phi, initial)
    }

    fn solution(mut self, termination: Termination, started: Instant) -> TorusSolution {
        self.bounds_meet(f64::INFINITY);
        let (lower, phi, initial) = self.lower_bound();
        let array = |values: Vec<f64>| {
            ArrayD::from_shape_vec(self.level.grid.shape(), values).expect("one value for each node")
        };
        TorusSolution {
            lower,
            upper: self.certificate.upper,
            terminal_potential: array(phi),
            initial_potential: array(initial),
            kinetic_cost: self.kinetic.cost,
            lipschitz_cost: 0.0,
            divergence: kullback_leibler(&self.smooth.marginal, &self.level.target),
            terminal_density: array(self.smooth.marginal.clone()),
            intermediate: array(self.smooth.marginal),
            termination,
            iterations: self.iterations,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

/// Ascent steps on each coarser grid: its only purpose is a start within the discretisation error.
const COARSE_ITERATIONS: usize = 30;

/// Part of the least ratio of `rho_T` to the tilted target that a step must keep.
const KEPT_ACTIVITY: f64 = 0.3;

/// `ln sum_j q_j e^{phi_j}`; fills `tilted` with `q e^phi / Z`.
fn log_partition(phi: &[f64], target: &[f64], tilted: &mut [f64]) -> f64 {
    let shift = maximum(phi);
    tilted.copy_from_slice(phi);
    update(tilted, target, |phi, q| if q > 0.0 { q * (phi - shift).exp() } else { 0.0 });
    let total = sum_pairs(tilted, tilted, |x, _| x);
    tilted.par_iter_mut().for_each(|x| *x /= total);
    shift + total.ln()
}
