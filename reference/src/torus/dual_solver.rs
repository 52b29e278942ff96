//! The large-grid solver: Newton ascent on the terminal potential, stopped by the primal-dual gap.
//!
//! Maximises `E(phi) - ln sum_j q_j e^{phi_j}` with the smooth dual `E` of [`super::smooth_dual`], from coarse grids to
//! fine ones. Directions come from conjugate gradients preconditioned in the Sobolev metric by FFT
//! ([`super::newton_direction`]), steps from backtracking. After each step the potential drops to its double transform, so
//! that every node stays where it receives mass.
//!
//! Bounds refer to the node problem of [`TorusProblem`]: a sub-cell plan from above, the exact Hopf-Lax transform of an
//! exactly `L`-Lipschitz potential from below. Where the Lipschitz cap acts, or the target has empty nodes, the plans of
//! [`super::conditional_gradient`] take over.

use std::time::Instant;

use ndarray::ArrayD;

use super::conditional_gradient::polish;
use super::grid::TorusGrid;
use super::hopf_lax::{hopf_lax_in_place, rotate_axes, transform_lines};
use super::level::{DualPoint, Level, PrimalPoint, log_partition};
use super::newton_direction::NewtonDirection;
use super::problem::{Termination, TorusProblem, TorusSolution};
use super::smooth_dual::{KineticValue, SmoothDual};
use super::spectral::SpectralSolver;
use super::transfer::prolong_values;
use super::vector::{add_scaled, dot, update};
use crate::specification::{DivergenceKind, InvalidInput};

/// Where to start and when to stop.
#[derive(Debug, Clone)]
pub struct DualOptions {
    /// Stop when `upper - lower <= relative_gap * |upper|`.
    pub relative_gap: f64,
    /// Newton steps on the finest grid.
    pub iterations: usize,
    /// Conditional-gradient steps, taken only where the Lipschitz cap acts or the target has empty nodes.
    pub mixing_steps: usize,
    /// Start from coarser grids, or from `phi = 0` on this one.
    pub coarse_to_fine: bool,
    /// Start from this potential: one value for each node in C order. No coarser grid is used then.
    pub start: Option<Vec<f64>>,
}

impl Default for DualOptions {
    /// Gap 1e-4, 40 Newton steps, 100 mixing steps, coarse to fine.
    fn default() -> Self {
        Self { relative_gap: 1e-4, iterations: 40, mixing_steps: 100, coarse_to_fine: true, start: None }
    }
}

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

/// Nodes per side below which coarsening stops.
const COARSEST: usize = 32;

/// Up to this many nodes per side the double transform uses all directions; above, the axes alone.
const FULL_TRANSFORM: usize = 64;

/// Newton steps on each coarser grid: its only purpose is a start within the discretisation error.
const COARSE_ITERATIONS: usize = 30;

/// Solves `problem` (KL only) on its grid.
///
/// # Errors
/// [`InvalidInput`] for a divergence other than KL or an option out of range.
pub fn solve_dual(problem: &TorusProblem, options: &DualOptions) -> Result<TorusSolution, InvalidInput> {
    solve_dual_observed(problem, options, &mut |_| ())
}

/// [`solve_dual`] that reports every Newton step.
///
/// # Errors
/// As [`solve_dual`].
pub fn solve_dual_observed(
    problem: &TorusProblem,
    options: &DualOptions,
    observe: &mut dyn FnMut(&AscentStep),
) -> Result<TorusSolution, InvalidInput> {
    if problem.kind != DivergenceKind::KullbackLeibler {
        return Err(InvalidInput::new("f", problem.kind, "kl (the static solver takes every divergence)"));
    }
    if options.relative_gap.is_nan() || options.relative_gap < 0.0 {
        return Err(InvalidInput::new("relative_gap", options.relative_gap, ">= 0"));
    }
    if let Some(start) = &options.start {
        let start = ArrayD::from_shape_vec(problem.grid.shape(), start.clone())
            .map_err(|error| InvalidInput::new("start", error, "one value for each node"))?;
        problem.grid.require_potential("start", &start)?;
    }
    let started = Instant::now();
    let level = Level::of(problem);
    if level.target.contains(&0.0) {
        return Ok(mixed_solution(&level, None, options, started));
    }
    let mut levels = vec![level];
    while options.coarse_to_fine
        && options.start.is_none()
        && levels[levels.len() - 1].grid.nodes_per_side >= 2 * COARSEST
    {
        match levels[levels.len() - 1].coarser() {
            Some(level) => levels.push(level),
            None => break,
        }
    }
    let node_count = levels[levels.len() - 1].grid.node_count();
    let mut phi = options.start.clone().unwrap_or_else(|| vec![0.0; node_count]);
    let finest = levels.remove(0);
    while let Some(level) = levels.pop() {
        let grid = level.grid;
        let mut ascent = Ascent::new(level, phi);
        ascent.run(COARSE_ITERATIONS, None, observe);
        phi = prolong_values(&grid, &ascent.phi);
    }
    let mut ascent = Ascent::new(finest, phi);
    let (termination, primal, dual) = ascent.run(options.iterations, Some(options.relative_gap), observe);
    if termination != Termination::Gap && dual.phi != ascent.phi {
        return Ok(mixed_solution(&ascent.level, Some((primal, dual)), options, started));
    }
    Ok(solution(&ascent.level, primal, dual, (termination, ascent.iterations), started))
}

fn mixed_solution(
    level: &Level,
    start: Option<(PrimalPoint, DualPoint)>,
    options: &DualOptions,
    started: Instant,
) -> TorusSolution {
    let polished = polish(level, start, options.relative_gap, options.mixing_steps);
    let gap = polished.primal.value() - polished.dual.lower;
    let met = gap <= options.relative_gap * polished.primal.value().abs();
    let termination = if met { Termination::Gap } else { Termination::Budget };
    solution(level, polished.primal, polished.dual, (termination, polished.steps), started)
}

fn solution(
    level: &Level,
    primal: PrimalPoint,
    dual: DualPoint,
    (termination, iterations): (Termination, usize),
    started: Instant,
) -> TorusSolution {
    let array = |values: Vec<f64>| {
        ArrayD::from_shape_vec(level.grid.shape(), values).expect("one value for each node")
    };
    TorusSolution {
        lower: dual.lower,
        upper: primal.value(),
        kinetic_cost: primal.kinetic_cost,
        lipschitz_cost: primal.lipschitz_cost,
        divergence: primal.divergence,
        terminal_potential: array(dual.phi),
        initial_potential: array(dual.initial),
        terminal_density: array(primal.terminal),
        intermediate: array(primal.intermediate),
        termination,
        iterations,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// The ascent on one grid.
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
    iterations: usize,
}

impl Ascent {
    fn new(level: Level, phi: Vec<f64>) -> Self {
        let zeros = vec![0.0; phi.len()];
        let smooth = SmoothDual::new(level.grid, level.curvature(), level.source.clone());
        let diffusion = 0.5 / level.kinetic;
        let newton = NewtonDirection::new(SpectralSolver::new(level.grid), diffusion, phi.len());
        let kinetic = KineticValue { dual: 0.0, cost: 0.0 };
        Self {
            level,
            smooth,
            newton,
            phi,
            tilted: zeros.clone(),
            gradient: zeros,
            value: 0.0,
            kinetic,
            iterations: 0,
        }
    }

    /// Newton steps until the certified gap is met (when asked for), the objective no longer changes by what the grid can
    /// resolve, or the limit.
    fn run(
        &mut self,
        limit: usize,
        relative_gap: Option<f64>,
        observe: &mut dyn FnMut(&AscentStep),
    ) -> (Termination, PrimalPoint, DualPoint) {
        let mut direction = vec![0.0; self.phi.len()];
        let mut old_phi = vec![0.0; self.phi.len()];
        let resolution = self.resolution(relative_gap);
        self.drop_to_double_transform();
        self.evaluate();
        let mut best: Option<PrimalPoint> = None;
        let termination = loop {
            if let Some(relative_gap) = relative_gap {
                let primal = self.level.spread_primal(self.kinetic.cost, &self.smooth.marginal);
                let allowed = relative_gap * primal.value().abs();
                let smooth_gap = primal.value() - self.value;
                if best.as_ref().is_none_or(|best| primal.value() < best.value()) {
                    best = Some(primal);
                }
                // The smooth dual exceeds the node dual by O(h^2) at most: no exact bound before it says yes.
                if smooth_gap <= allowed {
                    let dual = self.level.dual_point(&self.phi);
                    let upper = best.as_ref().map_or(f64::INFINITY, PrimalPoint::value);
                    if upper - dual.lower <= allowed {
                        break Termination::Gap;
                    }
                }
            }
            if self.iterations == limit {
                break Termination::Budget;
            }
            let clock = Instant::now();
            let products = self.newton.solve(&mut self.smooth, &self.tilted, &self.gradient, &mut direction);
            let slope = dot(&self.gradient, &direction);
            if slope <= resolution {
                break Termination::Floor;
            }
            old_phi.copy_from_slice(&self.phi);
            let Some(step) = self.backtrack(&old_phi, &direction, slope) else { break Termination::Floor };
            self.iterations += 1;
            observe(&AscentStep {
                nodes_per_side: self.level.grid.nodes_per_side,
                products,
                step,
                value: self.value,
                seconds: clock.elapsed().as_secs_f64(),
            });
        };
        let primal =
            best.unwrap_or_else(|| self.level.spread_primal(self.kinetic.cost, &self.smooth.marginal));
        let dual = self.level.dual_point(&self.phi);
        (termination, primal, dual)
    }

    /// Predicted increase below which steps stop: a small part of what the plan's spread over cells costs.
    fn resolution(&self, relative_gap: Option<f64>) -> f64 {
        let spread = self.level.curvature() * self.level.grid.dimension as f64 / 6.0;
        // The divergence of the plan sees node-to-node oscillations long after the objective stops seeing them.
        let part = if relative_gap.is_some() { 1e-7 } else { 1e-1 };
        (part * spread).max(16.0 * f64::EPSILON * self.value.abs())
    }

    /// Shortens the step until the objective increases by the usual part of the prediction; `None` when none does.
    fn backtrack(&mut self, old_phi: &[f64], direction: &[f64], slope: f64) -> Option<f64> {
        let old_value = self.value;
        let mut step = 1.0;
        while step > 1e-8 {
            self.phi.copy_from_slice(old_phi);
            add_scaled(&mut self.phi, step, direction);
            self.drop_to_double_transform();
            self.evaluate();
            if self.value >= old_value + 1e-4 * step * slope {
                return Some(step);
            }
            let curvature = 2.0 * (old_value + step * slope - self.value) / (step * step);
            step = (slope / curvature).clamp(0.1 * step, 0.5 * step);
        }
        self.phi.copy_from_slice(old_phi);
        self.evaluate();
        None
    }

    /// Objective, derivative, and plan at `phi`.
    fn evaluate(&mut self) {
        self.kinetic = self.smooth.evaluate(&self.phi);
        let log_partition = log_partition(&self.phi, &self.level.target, &mut self.tilted);
        self.value = self.kinetic.dual - log_partition;
        self.gradient.copy_from_slice(&self.smooth.marginal);
        update(&mut self.gradient, &self.tilted, |rho, eta| rho - eta);
    }

    /// Lowers `phi` towards the least potential with the same transform: nodes that would receive no mass are put where
    /// they start to. The transform keeps its value and `Lambda` falls, so the objective gains.
    fn drop_to_double_transform(&mut self) {
        let (grid, curvature) = (self.level.grid, self.level.curvature());
        if grid.dimension == 1 || grid.nodes_per_side > FULL_TRANSFORM {
            let mut scratch = vec![0.0; self.phi.len()];
            for _ in 0..grid.dimension {
                transform_lines(&grid, &self.phi, &mut scratch, |envelope, line, out| {
                    envelope.build(line, curvature);
                    envelope.chord(out);
                });
                rotate_axes(&scratch, grid.nodes_per_side, &mut self.phi);
            }
        } else {
            self.phi = double_transform(&grid, curvature, &self.phi);
        }
    }
}

/// `max_x min_z phi(z) + c(x, z) - c(x, .)` with `x` on a grid four times finer: nearly every direction of the plane.
fn double_transform(grid: &TorusGrid, curvature: f64, phi: &[f64]) -> Vec<f64> {
    const REFINEMENT: usize = 4;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::specification::ProximalParameters;
    use crate::torus::{MiddlePoint, NamedDensity, solve_static};
    use crate::transport::SemiRelaxedOptions;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn problem(
        (dimension, n): (usize, usize),
        (source, target): (NamedDensity, NamedDensity),
        (lipschitz, lambda, horizon): (f64, f64, f64),
    ) -> TorusProblem {
        let grid = TorusGrid::new(dimension, n).unwrap();
        let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
        let kind = DivergenceKind::KullbackLeibler;
        TorusProblem::new(grid, &source.on(&grid), &target.on(&grid), parameters, kind).unwrap()
    }

    fn solve(problem: &TorusProblem, relative_gap: f64) -> TorusSolution {
        let options = DualOptions { relative_gap, mixing_steps: 60, ..DualOptions::default() };
        solve_dual(problem, &options).unwrap()
    }

    #[test]
    fn static_and_large_grid_solvers_agree_to_their_certified_gaps() {
        use NamedDensity::{Bump, Checkerboard, Circle, Gaussian, Mixture, Point, TwoBumps};
        for (grid, densities, parameters) in [
            ((1, 128), (Bump, TwoBumps), (10.0, 1.0, 1.0)),
            ((2, 24), (Bump, Mixture), (10.0, 1.0, 1.0)),
            ((2, 20), (Bump, Mixture), (0.1, 1.0, 1.0)),
            ((2, 20), (Gaussian, Circle), (1.0, 0.5, 1.0)),
            ((1, 64), (Point, Checkerboard), (1.0, 1.0, 1.0)),
        ] {
            let problem = problem(grid, densities, parameters);
            let exact =
                solve_static(&problem, MiddlePoint::Node, &SemiRelaxedOptions::default()).unwrap().solution;
            let large = solve(&problem, 0.0);
            let rounding = 1e-11;
            assert!(large.lower <= exact.upper + rounding, "{densities:?}: {} {}", large.lower, exact.upper);
            assert!(large.upper >= exact.lower - rounding, "{densities:?}: {} {}", large.upper, exact.lower);
            assert!(large.mass_error() < 1e-11); // rounding
            // Negative control: the bounds of the same game with a dearer kinetic energy do not hold for this one.
            let (lipschitz, lambda, horizon) = parameters;
            let other = self::problem(grid, densities, (lipschitz, 2.0 * lambda, horizon));
            if large.relative_gap() < 0.05 {
                assert!(solve(&other, 0.0).lower > exact.upper, "{densities:?}");
            }
        }
    }

    #[test]
    fn a_random_start_reaches_the_same_bounds_and_a_bad_one_is_refused() {
        let problem = problem((2, 32), (NamedDensity::Bump, NamedDensity::Mixture), (10.0, 1.0, 1.0));
        let from_zero = solve(&problem, 0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let start = (0..1024).map(|_| rng.random_range(-0.2..0.2)).collect();
        let options = DualOptions { relative_gap: 0.0, start: Some(start), ..DualOptions::default() };
        let from_random = solve_dual(&problem, &options).unwrap();
        assert!(from_random.upper >= from_zero.lower && from_random.lower <= from_zero.upper);
        assert!(from_random.gap() < 1.5 * from_zero.gap(), "{} {}", from_random.gap(), from_zero.gap());
        for bad in [vec![0.0; 1023], vec![f64::NAN; 1024]] {
            let options = DualOptions { start: Some(bad), ..DualOptions::default() };
            assert!(solve_dual(&problem, &options).unwrap_err().to_string().contains("start"));
        }
    }

    #[test]
    fn the_gap_falls_with_second_order_in_the_spacing() {
        let gap = |n: usize| {
            let densities = (NamedDensity::Bump, NamedDensity::TwoBumps);
            solve(&problem((1, n), densities, (10.0, 1.0, 1.0)), 0.0).gap()
        };
        let gaps = [64, 128, 256, 512].map(gap);
        let order = (gaps[0] / gaps[3]).log2() / 3.0;
        assert!((order - 2.0).abs() < 0.3, "{gaps:?}"); // where breaks fall among nodes varies from grid to grid
    }

    #[test]
    fn two_dimensional_gaps_shrink_with_the_spacing() {
        let gap = |n: usize| {
            let densities = (NamedDensity::Bump, NamedDensity::Mixture);
            solve(&problem((2, n), densities, (10.0, 1.0, 1.0)), 0.0).gap()
        };
        let gaps = [32, 64, 128].map(gap);
        assert!(gaps[0] > 2.5 * gaps[1] && gaps[1] > 2.5 * gaps[2], "{gaps:?}");
    }

    #[test]
    fn extreme_parameters_keep_valid_bounds() {
        for parameters in
            [(1e6, 1.0, 1.0), (10.0, 1e6, 1.0), (10.0, 1.0, 1e-6), (1e-6, 1.0, 1.0), (1.0, 1e-6, 1.0)]
        {
            let problem = problem((1, 48), (NamedDensity::Bump, NamedDensity::Mixture), parameters);
            let exact =
                solve_static(&problem, MiddlePoint::Node, &SemiRelaxedOptions::default()).unwrap().solution;
            let large = solve(&problem, 1e-6);
            let rounding = 1e-9 * (1.0 + exact.upper);
            assert!(large.lower <= exact.upper + rounding, "{parameters:?}: {} {}", large.lower, exact.upper);
            assert!(large.upper >= exact.lower - rounding, "{parameters:?}: {} {}", large.upper, exact.lower);
        }
    }

    #[test]
    fn other_divergences_are_refused_with_the_way_out() {
        let mut problem = problem((1, 16), (NamedDensity::Bump, NamedDensity::Mixture), (1.0, 1.0, 1.0));
        problem.kind = DivergenceKind::ChiSquared;
        let error = solve_dual(&problem, &DualOptions::default()).unwrap_err().to_string();
        assert!(error.contains("static"), "{error}");
    }
}
