//! The smooth dual of the kinetic part: cell averages instead of node values, and its exact derivative.
//!
//! `E(phi) = sum_i p_i U_i(phi)` with `U_i` the Hopf-Lax transform averaged over the cell of node `i`, one axis after
//! the other: source mass counts as spread over its cell. Averages of minima are differentiable in `phi`, and the
//! derivative is the marginal `rho_T` of an explicit plan (each cell's mass, cut where the minimising node changes):
//! the *sub-cell map*. That plan moves all of node `i`'s mass from node `i`, so its cost between nodes is exact and it
//! certifies the node problem from above; both it and `E` are within O(h^2) of the optimum on smooth data.

use rayon::prelude::*;

use crate::torus::large_grid::ascent::line_rearrangement::LineRearrangement;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::{LINES_PER_TASK, rotate_axes, rotate_axes_back};
use crate::torus::lattice::vector::dot;
use crate::torus::operators::envelope::ParabolaEnvelope;

/// One axis' pass: the envelope of every line, and the mass that goes through it.
struct Stage {
    envelopes: Vec<ParabolaEnvelope>,
    /// Mass at the sources of this pass' lines.
    mass: Vec<f64>,
    /// Second-derivative weights of the springs along this pass' lines, and where on its line the spring of each node ends.
    weights: Vec<f64>,
    next: Vec<u32>,
}

/// The last evaluation, and scratch memory.
pub(crate) struct SmoothDual {
    grid: TorusGrid,
    curvature: f64,
    source: Vec<f64>,
    stages: Vec<Stage>,
    scratch: [Vec<f64>; 2],
    /// The cell averages `U_i` at the last potential.
    pub initial: Vec<f64>,
    /// `rho_T`, the derivative of `E` at the last potential.
    pub marginal: Vec<f64>,
}

/// `E(phi)` and the cost of the sub-cell plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KineticValue {
    /// `E(phi) = sum_i p_i U_i`.
    pub dual: f64,
    /// `<c, G> >= lambda / (2 T) W2^2(p, rho_T)` between nodes.
    pub cost: f64,
}

impl SmoothDual {
    pub(crate) fn new(grid: TorusGrid, curvature: f64, source: Vec<f64>) -> Self {
        let zeros = || vec![0.0; source.len()];
        let lines = grid.node_count() / grid.nodes_per_side;
        let stages = (0..grid.dimension)
            .map(|_| Stage {
                envelopes: vec![ParabolaEnvelope::new(); lines],
                mass: zeros(),
                weights: zeros(),
                next: vec![0; source.len()],
            })
            .collect();
        let (scratch, initial, marginal) = ([zeros(), zeros()], zeros(), zeros());
        Self { grid, curvature, source, stages, scratch, initial, marginal }
    }

    /// Evaluates `E`, the plan and its marginal at `phi`.
    pub(crate) fn evaluate(&mut self, phi: &[f64]) -> KineticValue {
        let (n, curvature) = (self.grid.nodes_per_side, self.curvature);
        let [averages, rotated] = &mut self.scratch;
        self.initial.copy_from_slice(phi);
        for stage in &mut self.stages {
            averages
                .par_chunks_mut(n)
                .zip(self.initial.par_chunks(n))
                .zip(&mut stage.envelopes)
                .with_min_len(LINES_PER_TASK)
                .for_each(|((out, line), envelope)| {
                    envelope.build(line, curvature);
                    envelope.hat_averages(out);
                });
            rotate_axes(averages, n, &mut self.initial);
        }
        let dual = dot(&self.source, &self.initial);
        self.marginal.copy_from_slice(&self.source);
        let mut cost = 0.0;
        for stage in self.stages.iter_mut().rev() {
            rotate_axes_back(&self.marginal, n, rotated);
            std::mem::swap(rotated, &mut stage.mass);
            let costs: Vec<f64> = self
                .marginal
                .par_chunks_mut(n)
                .zip(stage.mass.par_chunks(n))
                .zip(&stage.envelopes)
                .with_min_len(LINES_PER_TASK)
                .map(|((out, mass), envelope)| {
                    out.fill(0.0);
                    envelope.scatter(mass, out)
                })
                .collect();
            cost += costs.iter().sum::<f64>();
        }
        KineticValue { dual, cost }
    }

    /// An upper bound of `lambda / (2 T) W2^2` between the hat-spread densities of the source and of [`Self::marginal`]: the
    /// last plan, rearranged along every line of every pass ([`crate::torus::large_grid::ascent::line_rearrangement`]).
    pub(crate) fn rearranged_cost(&self) -> f64 {
        let n = self.grid.nodes_per_side;
        let cost = |stage: &Stage| -> f64 {
            let lines = stage.mass.par_chunks(n).zip(&stage.envelopes).with_min_len(LINES_PER_TASK);
            let costs: Vec<f64> = lines
                .map_init(
                    || (LineRearrangement::default(), vec![0.0; n]),
                    |(rearrangement, landed), (mass, envelope)| {
                        landed.fill(0.0);
                        let between_nodes = envelope.scatter(mass, landed);
                        between_nodes.min(self.curvature * rearrangement.cost(envelope, mass, landed))
                    },
                )
                .collect();
            costs.iter().sum()
        };
        self.stages.iter().map(cost).sum()
    }

    pub(crate) fn dimension(&self) -> usize {
        self.grid.dimension
    }

    /// Prepares [`SmoothDual::apply_curvature`] at the last potential. Nodes that minimise nowhere count as lying on the
    /// envelope's chords, which keeps the form elliptic: all of them, or, for a `target` with empty nodes, those that receive
    /// nothing although the target has mass there. (Empty nodes never receive mass; to count them, or lines of which only other
    /// nodes do, made the form up to ten times too stiff, and Newton's method slow.)
    pub(crate) fn linearise(&mut self, target: Option<&[f64]>) {
        let n = self.grid.nodes_per_side;
        let mut waiting: Vec<bool> = match target {
            Some(target) => {
                target.iter().zip(&self.marginal).map(|(q, rho)| *q > 0.0 && *rho <= 0.0).collect()
            }
            None => vec![true; self.marginal.len()],
        };
        for Stage { envelopes, mass, weights, next } in &mut self.stages {
            weights
                .par_chunks_mut(n)
                .zip(next.par_chunks_mut(n))
                .zip(mass.par_chunks(n).zip(waiting.par_chunks(n)))
                .zip(envelopes.par_iter())
                .with_min_len(LINES_PER_TASK)
                .for_each(|(((weights, next), (mass, waiting)), envelope)| {
                    envelope.spring_weights(mass, waiting, weights, next);
                });
            // A node of the next pass stands for a whole line of this one.
            let rows = waiting.len() / n;
            let lines: Vec<bool> = waiting.chunks(n).map(|line| line.contains(&true)).collect();
            waiting = (0..waiting.len()).map(|flat| lines[flat % rows]).collect();
        }
    }

    /// `out <- - E''(phi) direction`: along every axis a weighted graph Laplacian on what the earlier passes average.
    pub(crate) fn apply_curvature(&mut self, direction: &[f64], out: &mut [f64]) {
        let n = self.grid.nodes_per_side;
        let mut rises = Vec::with_capacity(self.stages.len());
        let mut current = direction.to_vec();
        let [averages, rotated] = &mut self.scratch;
        for stage in &self.stages {
            averages
                .par_chunks_mut(n)
                .zip(current.par_chunks(n))
                .zip(&stage.envelopes)
                .with_min_len(LINES_PER_TASK)
                .for_each(|((out, line), envelope)| envelope.gather(line, out));
            rotate_axes(averages, n, rotated);
            rises.push(std::mem::replace(&mut current, rotated.clone()));
        }
        out.fill(0.0);
        for (stage, rise) in self.stages.iter().zip(&rises).rev() {
            rotate_axes_back(out, n, rotated);
            out.par_chunks_mut(n)
                .zip(rotated.par_chunks(n))
                .zip(&stage.envelopes)
                .zip(rise.par_chunks(n).zip(stage.weights.par_chunks(n).zip(stage.next.par_chunks(n))))
                .with_min_len(LINES_PER_TASK)
                .for_each(|(((out, mass), envelope), (rise, (weights, next)))| {
                    out.fill(0.0);
                    envelope.scatter(mass, out);
                    for j in 0..n {
                        let next = next[j] as usize;
                        let flux = weights[j] * (rise[next] - rise[j]);
                        out[j] -= flux;
                        out[next] += flux;
                    }
                });
        }
    }

    /// The diagonal of the first pass' Laplacian: how stiff the dual is at each node.
    pub(crate) fn stiffness(&self, out: &mut [f64]) {
        let n = self.grid.nodes_per_side;
        out.copy_from_slice(&self.stages[0].weights);
        for (out, weights) in out.chunks_mut(n).zip(self.stages[0].weights.chunks(n)) {
            for j in 0..n {
                out[j] += weights[if j == 0 { n - 1 } else { j - 1 }];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::NamedDensity;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_marginal_is_the_derivative_of_the_smooth_dual() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for (dimension, n) in [(1, 24), (2, 10), (3, 6)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let source: Vec<f64> = NamedDensity::Bump.on(&grid).into_iter().collect();
            let curvature = 0.5 / (n * n) as f64;
            let phi: Vec<f64> = (0..source.len()).map(|_| rng.random_range(0.0..0.1)).collect();
            let direction: Vec<f64> = (0..source.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut dual = SmoothDual::new(grid, curvature, source);
            let step = 1e-6;
            let mut value = |s: f64| {
                let shifted: Vec<f64> = phi.iter().zip(&direction).map(|(a, b)| a + s * b).collect();
                dual.evaluate(&shifted).dual
            };
            let numeric = (value(step) - value(-step)) / (2.0 * step);
            dual.evaluate(&phi);
            let exact = dot(&dual.marginal, &direction);
            // truncation: second derivative jumps ~ p / (2 curvature); rounding: eps / step
            assert!((numeric - exact).abs() < 1e-8 + step / curvature, "{dimension}: {numeric} {exact}");
            assert!((dual.marginal.iter().sum::<f64>() - 1.0).abs() < 1e-12); // rounding
        }
    }

    #[test]
    fn the_curvature_is_the_derivative_of_the_marginal_where_every_node_is_active() {
        // Smooth potentials keep every node on the envelope, where the quadratic form is exact.
        for (dimension, n) in [(1, 32), (2, 16), (3, 8)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let source: Vec<f64> = NamedDensity::Bump.on(&grid).into_iter().collect();
            let curvature = 0.5 / (n * n) as f64;
            let tau = 2.0 * std::f64::consts::PI;
            let phi: Vec<f64> = grid
                .tabulate(|x| 0.01 * (tau * (x[0] + 0.013)).sin() * (tau * (x[dimension - 1] + 0.1)).cos())
                .into_iter()
                .collect();
            let direction: Vec<f64> = grid
                .tabulate(|x| (tau * x[0]).cos() + (2.0 * tau * x[dimension - 1]).sin())
                .into_iter()
                .collect();
            let mut dual = SmoothDual::new(grid, curvature, source);
            let step = 1e-7;
            let mut marginal = |s: f64| {
                let shifted: Vec<f64> = phi.iter().zip(&direction).map(|(a, b)| a + s * b).collect();
                dual.evaluate(&shifted);
                dual.marginal.clone()
            };
            let (plus, minus) = (marginal(step), marginal(-step));
            dual.evaluate(&phi);
            dual.linearise(None);
            let mut applied = vec![0.0; phi.len()];
            dual.apply_curvature(&direction, &mut applied);
            let size = applied.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            for j in 0..phi.len() {
                let numeric = (minus[j] - plus[j]) / (2.0 * step);
                // truncation relative to the size, which a break crossing a cell edge within the step would show
                assert!(
                    (numeric - applied[j]).abs() < 1e-4 * size,
                    "{dimension} {j}: {numeric} {}",
                    applied[j]
                );
            }
        }
    }

    #[test]
    fn on_a_singular_target_the_curvature_is_the_derivative_unless_empty_nodes_are_counted() {
        let grid = TorusGrid::new(2, 24).unwrap();
        let list = |density: NamedDensity| -> Vec<f64> { density.on(&grid).into_iter().collect() };
        let (source, target) = (list(NamedDensity::Mixture), list(NamedDensity::Circle));
        let level = crate::torus::large_grid::level::Level {
            grid,
            source: source.clone(),
            target: target.clone(),
            kinetic: 0.5,
            lipschitz: 10.0,
        };
        let on_cones = |values: &[f64]| {
            let mut phi = values.to_vec();
            level.lift_empty_target_nodes(&mut phi, level.kinetic * 2.0_f64.sqrt() * grid.spacing());
            phi
        };
        let values: Vec<f64> = grid.tabulate(|x| 1e-3 * (6.3 * x[0]).sin()).into_iter().collect();
        let direction: Vec<f64> =
            grid.tabulate(|x| (6.3 * x[0]).cos() + (12.6 * x[1]).sin()).into_iter().collect();
        let mut dual = SmoothDual::new(grid, level.curvature(), source);
        let step = 1e-7;
        let mut marginal = |s: f64| {
            let moved: Vec<f64> = values.iter().zip(&direction).map(|(a, b)| a + s * b).collect();
            dual.evaluate(&on_cones(&moved));
            dual.marginal.clone()
        };
        let (plus, minus) = (marginal(step), marginal(-step));
        dual.evaluate(&on_cones(&values));
        assert!(dual.marginal.iter().zip(&target).all(|(rho, q)| (*q > 0.0) == (*rho > 0.0)));
        let mut error = |target: Option<&[f64]>| {
            dual.linearise(target);
            let mut applied = vec![0.0; values.len()];
            dual.apply_curvature(&direction, &mut applied);
            let size = applied.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            let numeric = plus.iter().zip(&minus).map(|(plus, minus)| (minus - plus) / (2.0 * step));
            numeric.zip(&applied).fold(0.0_f64, |worst, (a, b)| worst.max((a - b).abs() / size))
        };
        assert!(error(Some(&target)) < 1e-4); // truncation, as above
        assert!(error(None) > 0.1);
    }

    #[test]
    fn the_plan_cost_bounds_the_dual_of_every_other_potential() {
        // Weak duality between nodes: E_node(psi) - <rho_T, psi> <= <c, G> for the plan of any other potential.
        let grid = TorusGrid::new(2, 12).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let source: Vec<f64> = NamedDensity::Mixture.on(&grid).into_iter().collect();
        let (lambda, time) = (1.0, 0.4);
        let curvature = lambda / (2.0 * time) / 144.0;
        let mut dual = SmoothDual::new(grid, curvature, source.clone());
        for _ in 0..20 {
            let mut draw = || (0..144).map(|_| rng.random_range(0.0..0.05)).collect::<Vec<f64>>();
            let (phi, psi) = (draw(), draw());
            let cost = dual.evaluate(&phi).cost;
            for potential in [&phi, &psi] {
                let array = ndarray::ArrayD::from_shape_vec(grid.shape(), potential.clone()).unwrap();
                let initial = crate::torus::hopf_lax(&grid, &array, lambda, time).unwrap();
                let value = dot(initial.as_slice().unwrap(), &source) - dot(&dual.marginal, potential);
                assert!(value <= cost + 1e-14); // rounding
            }
        }
    }
}
