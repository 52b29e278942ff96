//! The barrier function of the central path at a terminal potential: value, gradient, Newton direction, line search.

use ndarray::{Array1, Array2};

use super::game::{TimeDependentProblem, dot};
use crate::torus::time_solver::barrier;
use crate::torus::time_solver::continuity::DensityFlow;
use crate::torus::time_solver::curvature::dense_curvature;

#[derive(Debug, Clone)]
pub(super) struct Point {
    pub(super) potentials: Vec<Vec<f64>>,
    pub(super) flow: DensityFlow,
    pub(super) shift: f64,
    pub(super) intermediate: Vec<f64>,
    pub(super) differences: Vec<Vec<f64>>,
    pub(super) slack: Vec<f64>,
    pub(super) value: f64,
}

impl TimeDependentProblem {
    /// Everything that depends on the terminal potential alone.
    pub(super) fn evaluate(&self, terminal: Vec<f64>) -> Point {
        let neighbours = self.scheme.neighbours();
        let differences = barrier::scaled_differences(neighbours, self.lipschitz, &terminal);
        let slack = barrier::slacks(&differences);
        let cumulant = self.cumulant(&terminal);
        let potentials = self.scheme.solve(&terminal);
        let flow = self.scheme.flow(&potentials, &self.source);
        let value = dot(&self.source, &potentials[0]) - cumulant.value;
        Point {
            potentials,
            flow,
            shift: cumulant.shift,
            intermediate: cumulant.weights,
            differences,
            slack,
            value,
        }
    }

    /// The central-path function `dual + mu sum_i ln c_i`.
    pub(super) fn barrier_value(&self, point: &Point, path: f64) -> f64 {
        point.value + path * point.slack.iter().map(|c| c.ln()).sum::<f64>()
    }

    /// `rho_T - eta - D^T (weight_i u_i)` for nodal weights.
    pub(super) fn stationarity(&self, point: &Point, weights: &[f64]) -> Vec<f64> {
        let flux = scaled_flux(point, weights);
        let removed = barrier::removed_mass(self.scheme.neighbours(), self.lipschitz, &flux);
        let last = &point.flow.weights[self.scheme.steps()];
        (0..removed.len()).map(|i| last[i] - point.intermediate[i] - removed[i]).collect()
    }

    /// `max(|stationarity|_1, max_i |tau_i c_i - mu|)`.
    pub(super) fn optimality_error(&self, point: &Point, multipliers: &[f64], path: f64) -> f64 {
        let stationarity: f64 = self.stationarity(point, multipliers).iter().map(|value| value.abs()).sum();
        let complementarity =
            multipliers.iter().zip(&point.slack).map(|(tau, c)| (tau * c - path).abs()).fold(0.0, f64::max);
        stationarity.max(complementarity)
    }

    /// Solves `(curvature + eta-curvature + constraint curvature) d = gradient of the barrier function`.
    pub(super) fn newton_direction(&self, point: &Point, multipliers: &[f64], path: f64) -> Option<Vec<f64>> {
        let neighbours = self.scheme.neighbours();
        let nodes = neighbours.node_count();
        let mut matrix = if self.scheme.steps() == 0 {
            Array2::zeros((nodes, nodes))
        } else {
            dense_curvature(&self.scheme, &point.potentials, &point.flow.moving)
        };
        // d^2 Lambda = diag(w) - w w^T / sum w with w = pi (f*)''(phi - nu); w = eta for KL.
        let terminal = &point.potentials[self.scheme.steps()];
        let weight: Vec<f64> = (0..nodes)
            .map(|i| {
                if self.target[i] > 0.0 {
                    self.target[i] * self.generator.conjugate_second_derivative(terminal[i] - point.shift)
                } else {
                    0.0
                }
            })
            .collect();
        let total = weight.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        for i in 0..nodes {
            matrix[[i, i]] += weight[i];
            for j in 0..nodes {
                // The value ignores constants; the second term fixes them and leaves the direction's shape alone.
                matrix[[i, j]] += 1.0 / (nodes * nodes) as f64 - weight[i] * weight[j] / total;
            }
        }
        barrier::add_constraint_curvature(
            neighbours,
            self.lipschitz,
            &point.differences,
            &point.slack,
            multipliers,
            &mut matrix,
        );
        let central: Vec<f64> = point.slack.iter().map(|c| path / c).collect();
        let gradient = Array1::from(self.stationarity(point, &central));
        let ridge = 1e-15 * matrix.diag().iter().fold(0.0f64, |largest, value| largest.max(*value));
        for attempt in 0..6 {
            let solution = crate::positive_definite::solve(&matrix, &gradient);
            if let Some(direction) = solution.filter(|d| d.iter().all(|value| value.is_finite())) {
                return Some(direction.to_vec());
            }
            matrix.diag_mut().iter_mut().for_each(|value| *value += ridge * 10f64.powi(attempt));
        }
        None
    }

    /// Backtracks until the barrier function grows by the usual fraction, or is flat to rounding.
    pub(super) fn line_search(
        &self,
        point: &Point,
        direction: &[f64],
        first: f64,
        path: f64,
    ) -> Option<Point> {
        let start = self.barrier_value(point, path);
        let central: Vec<f64> = point.slack.iter().map(|c| path / c).collect();
        let slope = dot(&self.stationarity(point, &central), direction);
        let noise = 100.0 * f64::EPSILON * (1.0 + start.abs());
        let mut step = first;
        for _ in 0..40 {
            let terminal: Vec<f64> = point.potentials[self.scheme.steps()]
                .iter()
                .zip(direction)
                .map(|(value, change)| value + step * change)
                .collect();
            let next = self.evaluate(terminal);
            let inside = next.slack.iter().all(|c| *c > 0.0);
            if inside && self.barrier_value(&next, path) >= start + 1e-4 * step * slope - noise {
                return Some(next);
            }
            step *= 0.5;
        }
        None
    }
}

pub(super) fn scaled_flux(point: &Point, weights: &[f64]) -> Vec<Vec<f64>> {
    point.differences.iter().map(|u| u.iter().zip(weights).map(|(u, w)| u * w).collect()).collect()
}
