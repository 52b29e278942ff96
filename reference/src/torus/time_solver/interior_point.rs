//! The solver loop: Newton's method along the central path, every point certified.

use super::central_path::{Point, scaled_flux};
use super::game::TimeDependentProblem;
use super::options::{Start, TimeDependentOptions};
use super::solution::TimeDependentSolution;
use crate::certificate::Termination;
use crate::specification::InvalidInput;
use crate::torus::time_solver::barrier;

impl TimeDependentProblem {
    /// Solves to a primal-dual gap of at most `tolerance (1 + |value|)`.
    pub fn solve(&self, options: &TimeDependentOptions) -> Result<TimeDependentSolution, InvalidInput> {
        options.check(self)?;
        let neighbours = self.scheme.neighbours();
        let nodes = neighbours.node_count();
        let mut point = self.evaluate(match &options.start {
            Start::Zero => vec![0.0; nodes],
            Start::Potential(potential) => potential.clone(),
        });
        let mut multipliers = Vec::new();
        let (mut best, mut history) = (None, Vec::new());
        let (mut path, mut polishing) = (f64::INFINITY, 0);
        let mut termination = Termination::IterationLimit;
        for iteration in 0..=options.most_iterations {
            if multipliers.is_empty() {
                path = FIRST_PATH / nodes as f64;
                multipliers = point.slack.iter().map(|c| path / c).collect();
            }
            let certificate = self.certify(&point, &multipliers);
            history.push(certificate.upper - certificate.lower);
            let better = best.as_ref().is_none_or(|best: &Certificate| certificate.gap() <= best.gap());
            let last_path = options.tolerance / (2.0 * nodes as f64);
            let allowed = options.tolerance * (1.0 + certificate.upper.abs());
            let centred = self.optimality_error(&point, &multipliers, path);
            if better {
                best = Some(certificate);
            }
            let certified = path <= last_path && history[iteration] <= allowed;
            polishing += usize::from(certified);
            if certified && (centred <= path || polishing > POLISHING_STEPS) {
                termination = Termination::Converged;
                break;
            }
            if iteration == options.most_iterations {
                break;
            }
            if centred <= CENTRED * path {
                path = (0.1 * path).min(path.powf(1.5)).max(last_path);
            }
            let Some(direction) = self.newton_direction(&point, &multipliers, path) else {
                termination = Termination::Stalled;
                break;
            };
            let slopes = barrier::scaled_differences(neighbours, self.lipschitz, &direction);
            let toward: Vec<f64> = (0..nodes)
                .map(|i| {
                    let change: f64 = (0..slopes.len()).map(|a| point.differences[a][i] * slopes[a][i]).sum();
                    path / point.slack[i] - multipliers[i] + multipliers[i] / point.slack[i] * change
                })
                .collect();
            let step = barrier::step_to_boundary(&point.differences, &slopes, &point.slack);
            match self.line_search(&point, &direction, step, path) {
                Some(next) => point = next,
                None => {
                    termination = if polishing > 0 { Termination::Converged } else { Termination::Stalled };
                    break;
                }
            }
            let dual_step = multipliers
                .iter()
                .zip(&toward)
                .filter(|(_, change)| **change < 0.0)
                .fold(1.0f64, |step, (tau, change)| step.min(-0.995 * tau / change));
            for i in 0..nodes {
                multipliers[i] += dual_step * toward[i];
                // Keeps tau c within a wide band round mu, as the convergence theory of interior points asks.
                let central = path / point.slack[i];
                multipliers[i] = multipliers[i].clamp(central / BAND, central * BAND);
            }
        }
        let certificate = best.expect("the loop certifies its first point");
        Ok(self.assemble(certificate, termination, history))
    }

    /// Lower bound from the potential; upper bound from its flow and the flux `tau u`, completed to end exactly at `eta`.
    fn certify(&self, point: &Point, multipliers: &[f64]) -> Certificate {
        let neighbours = self.scheme.neighbours();
        let mut flux = scaled_flux(point, multipliers);
        let excess = self.stationarity(point, multipliers);
        barrier::route_excess(neighbours, self.lipschitz, &excess, &mut flux);
        let pairs = point.intermediate.iter().zip(&self.target);
        let divergence: f64 = pairs.map(|(eta, q)| self.generator.perspective(*eta, *q)).sum();
        let transport = barrier::flux_cost(&flux);
        Certificate {
            lower: point.value,
            upper: point.flow.kinetic_energy + divergence + transport,
            divergence,
            transport,
            flux,
            point: point.clone(),
        }
    }

    fn assemble(
        &self,
        certificate: Certificate,
        termination: Termination,
        gaps: Vec<f64>,
    ) -> TimeDependentSolution {
        let Certificate { lower, upper, divergence, transport, flux, point } = certificate;
        TimeDependentSolution {
            lower,
            upper,
            kinetic_energy: point.flow.kinetic_energy,
            divergence,
            transport,
            potentials: point.potentials,
            flow: point.flow,
            intermediate: point.intermediate,
            flux,
            termination,
            gaps,
        }
    }
}

#[derive(Debug, Clone)]
struct Certificate {
    lower: f64,
    upper: f64,
    divergence: f64,
    transport: f64,
    flux: Vec<Vec<f64>>,
    point: Point,
}

impl Certificate {
    fn gap(&self) -> f64 {
        self.upper - self.lower
    }
}

/// The first `mu` times the number of nodes: the gap of the first central point, of the order of the values solved for.
const FIRST_PATH: f64 = 0.1;
/// Newton steps allowed after the gap is certified, to settle on the central point (quadratic until rounding).
const POLISHING_STEPS: usize = 4;
/// `mu` falls once the optimality error is below this multiple of it.
const CENTRED: f64 = 10.0;
/// Allowed ratio between `tau c` and `mu`.
const BAND: f64 = 1e8;
