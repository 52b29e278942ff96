//! The coupled system (3.1) as one discrete convex problem, solved by an interior-point Newton method.
//!
//! Dual, concave in the terminal potential because the monotone scheme is a composition of concave non-decreasing maps:
//!
//! `max_phi { <rho_0, U^0[phi]> - Lambda_pi(phi) : |D phi| <= 1 }`     (for KL, `Lambda_pi(phi) = ln E_pi e^phi`)
//!
//! Primal, over walks of [`super::continuity`] from `rho_0` to `rho_T` and fluxes of [`super::lipschitz_barrier`]:
//!
//! `min { kinetic energy + D_f(rho_T - D^T m | pi) + sum_i |m_i|_2 }`.
//!
//! Any `phi` gives a lower bound, and its own flow with any flux that ends at `eta = grad Lambda_pi(phi)` an upper bound; their
//! difference certifies the result. The optimality conditions are the discrete mean-field game: Hamilton-Jacobi back
//! from `phi`, continuity forward from `rho_0`, and `phi` the variational derivative of `D_f^L(. | pi)` at `rho_T` (1.6).
//!
//! Newton's method follows the central path `tau_i c_i = mu` down to `mu = tolerance / (2 nodes)` (continuation), each
//! step safeguarded by a line search on the concave barrier function, so it converges from any strictly admissible start.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD};
use ndarray_linalg::{FactorizeC, SolveC, UPLO};

use super::continuity::DensityFlow;
use super::hamilton_jacobi::HamiltonJacobiScheme;
use super::lipschitz_barrier as barrier;
use super::problem::{BoundedProblem, Termination, TorusProblem, TorusSolution};
use super::stencil::Stencil;
use super::value_curvature::dense_curvature;
use crate::divergence::{Cumulant, Generator, generalised_cumulant};
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};

/// A discrete mean-field game: scheme, source, target, divergence and Lipschitz constant.
#[derive(Clone)]
pub struct TimeDependentProblem {
    scheme: HamiltonJacobiScheme,
    lipschitz: f64,
    generator: Arc<Generator>,
    source: Vec<f64>,
    target: Vec<f64>,
}

impl TimeDependentProblem {
    /// The game on `stencil` with viscosity `s >= 0`; `source` and `target` hold node weights of mass 1.
    ///
    /// Refused as [`InvalidInput`]: more than 4096 nodes (the Newton matrix is dense), and a target with empty nodes
    /// under a divergence of finite recession slope (its cumulant then has a kink that Newton's method cannot cross).
    pub fn new(
        stencil: Stencil,
        parameters: ProximalParameters,
        viscosity: f64,
        kind: DivergenceKind,
        source: Vec<f64>,
        target: Vec<f64>,
    ) -> Result<Self, InvalidInput> {
        let ProximalParameters { lipschitz, lambda, horizon } = parameters;
        stencil.require_density("source", &source)?;
        stencil.require_density("target", &target)?;
        if stencil.nodes() > MOST_NODES {
            let allowed = format!("at most {MOST_NODES} for the time-dependent solver (dense Newton matrix)");
            return Err(InvalidInput::new("nodes", stencil.nodes(), allowed));
        }
        let generator = Generator::new(kind)?;
        if generator.recession_slope().is_finite() && target.contains(&0.0) {
            let allowed =
                "a positive target on every node for the time-dependent solver, or kl, chi2, alpha > 1";
            return Err(InvalidInput::new("f", kind, allowed));
        }
        let scheme = HamiltonJacobiScheme::new(stencil, lambda, horizon, viscosity, lipschitz)?;
        Ok(Self { scheme, lipschitz, generator: Arc::new(generator), source, target })
    }

    /// The problem of the static and the large-grid solver, with viscosity.
    pub fn from_torus(problem: &TorusProblem, viscosity: f64) -> Result<Self, InvalidInput> {
        Self::new(
            Stencil::new(problem.grid.dimension, problem.grid.nodes_per_side)?,
            problem.parameters,
            viscosity,
            problem.kind,
            problem.source.iter().copied().collect(),
            problem.target.iter().copied().collect(),
        )
    }

    /// `D_f^L(law | target)` alone: the same problem at horizon 0, without kinetic energy.
    pub fn divergence_of(&self, law: Vec<f64>) -> Result<Self, InvalidInput> {
        let stencil = self.scheme.stencil().clone();
        stencil.require_density("law", &law)?;
        let scheme = HamiltonJacobiScheme::new(stencil, self.scheme.lambda(), 0.0, 0.0, self.lipschitz)?;
        Ok(Self { scheme, source: law, ..self.clone() })
    }

    /// The Hamilton-Jacobi scheme and its grid.
    pub fn scheme(&self) -> &HamiltonJacobiScheme {
        &self.scheme
    }

    /// Lipschitz constant `L`.
    pub fn lipschitz(&self) -> f64 {
        self.lipschitz
    }

    /// Source weights `rho_0`.
    pub fn source(&self) -> &[f64] {
        &self.source
    }

    /// Target weights `pi`.
    pub fn target(&self) -> &[f64] {
        &self.target
    }

    /// `Lambda_pi(phi)` with `eta = grad Lambda_pi(phi)` (1.5).
    pub fn cumulant(&self, potential: &[f64]) -> Cumulant {
        generalised_cumulant(&self.generator, potential, &self.target)
    }

    /// The dual value `<rho_0, U^0[phi]> - Lambda(phi)`: a lower bound when `|D phi| <= 1`.
    pub fn dual_value(&self, terminal: &[f64]) -> f64 {
        let potentials = self.scheme.solve(terminal);
        dot(&self.source, &potentials[0]) - self.cumulant(terminal).value
    }

    /// Solves to a primal-dual gap of at most `tolerance (1 + |value|)`.
    pub fn solve(&self, options: &TimeDependentOptions) -> Result<TimeDependentSolution, InvalidInput> {
        options.check(self)?;
        let stencil = self.scheme.stencil();
        let nodes = stencil.nodes();
        let mut terminal = match &options.start {
            Start::Zero => vec![0.0; nodes],
            Start::Potential(potential) => potential.clone(),
        };
        let mut point = self.evaluate(terminal.clone());
        let mut multipliers = Vec::new();
        let (mut best, mut history) = (None, Vec::new());
        let (mut path, mut polishing) = (f64::INFINITY, 0);
        let mut termination = Termination::Budget;
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
                termination = Termination::Gap;
                break;
            }
            if iteration == options.most_iterations {
                break;
            }
            if centred <= CENTRED * path {
                path = (0.1 * path).min(path.powf(1.5)).max(last_path);
            }
            let Some(direction) = self.newton_direction(&point, &multipliers, path) else {
                termination = Termination::Floor;
                break;
            };
            let slopes = barrier::scaled_differences(stencil, self.lipschitz, &direction);
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
                    termination = if polishing > 0 { Termination::Gap } else { Termination::Floor };
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
        terminal.clone_from(&point.potentials[self.scheme.steps()]);
        let certificate = best.expect("the loop certifies its first point");
        Ok(self.assemble(certificate, termination, history))
    }

    /// Everything that depends on the terminal potential alone.
    fn evaluate(&self, terminal: Vec<f64>) -> Point {
        let stencil = self.scheme.stencil();
        let differences = barrier::scaled_differences(stencil, self.lipschitz, &terminal);
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
    fn barrier_value(&self, point: &Point, path: f64) -> f64 {
        point.value + path * point.slack.iter().map(|c| c.ln()).sum::<f64>()
    }

    /// `rho_T - eta - D^T (weight_i u_i)` for nodal weights.
    fn stationarity(&self, point: &Point, weights: &[f64]) -> Vec<f64> {
        let flux = scaled_flux(point, weights);
        let removed = barrier::removed_mass(self.scheme.stencil(), self.lipschitz, &flux);
        let last = &point.flow.weights[self.scheme.steps()];
        (0..removed.len()).map(|i| last[i] - point.intermediate[i] - removed[i]).collect()
    }

    /// `max(|stationarity|_1, max_i |tau_i c_i - mu|)`.
    fn optimality_error(&self, point: &Point, multipliers: &[f64], path: f64) -> f64 {
        let stationarity: f64 = self.stationarity(point, multipliers).iter().map(|value| value.abs()).sum();
        let complementarity =
            multipliers.iter().zip(&point.slack).map(|(tau, c)| (tau * c - path).abs()).fold(0.0, f64::max);
        stationarity.max(complementarity)
    }

    /// Solves `(curvature + eta-curvature + constraint curvature) d = gradient of the barrier function`.
    fn newton_direction(&self, point: &Point, multipliers: &[f64], path: f64) -> Option<Vec<f64>> {
        let stencil = self.scheme.stencil();
        let nodes = stencil.nodes();
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
            stencil,
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
            let solution = matrix.factorizec(UPLO::Lower).and_then(|factor| factor.solvec(&gradient)).ok();
            if let Some(direction) = solution.filter(|d| d.iter().all(|value| value.is_finite())) {
                return Some(direction.to_vec());
            }
            matrix.diag_mut().iter_mut().for_each(|value| *value += ridge * 10f64.powi(attempt));
        }
        None
    }

    /// Backtracks until the barrier function grows by the usual fraction, or is flat to rounding.
    fn line_search(&self, point: &Point, direction: &[f64], first: f64, path: f64) -> Option<Point> {
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

    /// Lower bound from the potential; upper bound from its flow and the flux `tau u`, completed to end exactly at `eta`.
    fn certify(&self, point: &Point, multipliers: &[f64]) -> Certificate {
        let stencil = self.scheme.stencil();
        let mut flux = scaled_flux(point, multipliers);
        let excess = self.stationarity(point, multipliers);
        barrier::route_excess(stencil, self.lipschitz, &excess, &mut flux);
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

/// How the solver starts and stops.
#[derive(Debug, Clone)]
pub struct TimeDependentOptions {
    /// Gap to reach, relative to `1 + |value|`; also fixes the last `mu`.
    pub tolerance: f64,
    /// Limit on Newton steps.
    pub most_iterations: usize,
    /// First potential.
    pub start: Start,
}

impl Default for TimeDependentOptions {
    /// Gap `1e-9`, at most 200 Newton steps, from `phi = 0`.
    fn default() -> Self {
        Self { tolerance: 1e-9, most_iterations: 200, start: Start::Zero }
    }
}

impl TimeDependentOptions {
    fn check(&self, problem: &TimeDependentProblem) -> Result<(), InvalidInput> {
        if !(self.tolerance >= 1e-13 && self.tolerance <= 1.0) {
            return Err(InvalidInput::new("tolerance", self.tolerance, "1e-13 to 1"));
        }
        if let Start::Potential(potential) = &self.start {
            let stencil = problem.scheme.stencil();
            stencil.require_field("start", potential)?;
            let slack = barrier::slacks(&barrier::scaled_differences(stencil, problem.lipschitz, potential));
            if let Some(slack) = slack.iter().find(|c| **c <= 0.0) {
                return Err(InvalidInput::new(
                    "start",
                    format!("slope {} L", (1.0 - 2.0 * slack).sqrt()),
                    "slope strictly below L at every node",
                ));
            }
        }
        Ok(())
    }
}

/// First potential of the method.
#[derive(Debug, Clone)]
pub enum Start {
    /// `phi = 0`.
    Zero,
    /// A potential of slope strictly below `L` at every node.
    Potential(Vec<f64>),
}

/// The discrete mean-field game solved: potentials, densities and their certificate.
#[derive(Debug, Clone)]
pub struct TimeDependentSolution {
    /// Dual value, a lower bound of the discrete optimum.
    pub lower: f64,
    /// Primal value, an upper bound.
    pub upper: f64,
    /// `lambda int int rho |v|^2 / 2`.
    pub kinetic_energy: f64,
    /// `D_f(eta | pi)`.
    pub divergence: f64,
    /// `L W1(rho_T, eta)`, bounded above by the flux.
    pub transport: f64,
    /// `U^0, .., U^N`; `U^N` is the terminal potential.
    pub potentials: Vec<Vec<f64>>,
    /// `rho^0, .., rho^N` and the moving masses.
    pub flow: DensityFlow,
    /// `eta = grad Lambda_pi(phi)`; for KL `pi e^phi / Z`.
    pub intermediate: Vec<f64>,
    /// Beckmann flux from `rho_T` to `eta`, one field per axis (units of [`super::lipschitz_barrier`]).
    pub flux: Vec<Vec<f64>>,
    /// Why the method stopped.
    pub termination: Termination,
    /// Certified gap after each Newton step.
    pub gaps: Vec<f64>,
}

impl TimeDependentSolution {
    /// `upper - lower`.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }

    /// Terminal potential `phi`.
    pub fn terminal_potential(&self) -> &[f64] {
        &self.potentials[self.potentials.len() - 1]
    }

    /// Generated weights `rho_T`.
    pub fn generated(&self) -> &[f64] {
        &self.flow.weights[self.flow.weights.len() - 1]
    }

    /// The fields and bounds as the other solvers report them, on the grid of `problem`; `seconds` is the caller's.
    pub fn to_torus(&self, problem: &TorusProblem, seconds: f64) -> TorusSolution {
        let field = |values: &[f64]| {
            ArrayD::from_shape_vec(problem.grid.shape(), values.to_vec()).expect("one value for each node")
        };
        TorusSolution {
            bounded: BoundedProblem::Scheme,
            lower: self.lower,
            upper: self.upper,
            terminal_potential: field(self.terminal_potential()),
            initial_potential: field(&self.potentials[0]),
            terminal_density: field(self.generated()),
            intermediate: field(&self.intermediate),
            kinetic_cost: self.kinetic_energy,
            lipschitz_cost: self.transport,
            divergence: self.divergence,
            termination: self.termination,
            iterations: self.gaps.len(),
            seconds,
        }
    }

    /// Largest `|sum rho^n - 1|` over time.
    pub fn mass_error(&self) -> f64 {
        self.flow.weights.iter().map(|w| (w.iter().sum::<f64>() - 1.0).abs()).fold(0.0, f64::max)
    }
}

#[derive(Debug, Clone)]
struct Point {
    potentials: Vec<Vec<f64>>,
    flow: DensityFlow,
    shift: f64,
    intermediate: Vec<f64>,
    differences: Vec<Vec<f64>>,
    slack: Vec<f64>,
    value: f64,
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

fn scaled_flux(point: &Point, weights: &[f64]) -> Vec<Vec<f64>> {
    point.differences.iter().map(|u| u.iter().zip(weights).map(|(u, w)| u * w).collect()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The first `mu` times the number of nodes: the gap of the first central point, of the order of the values solved for.
const FIRST_PATH: f64 = 0.1;
/// Newton steps allowed after the gap is certified, to settle on the central point (quadratic until rounding).
const POLISHING_STEPS: usize = 4;
/// `mu` falls once the optimality error is below this multiple of it.
const CENTRED: f64 = 10.0;
/// Allowed ratio between `tau c` and `mu`.
const BAND: f64 = 1e8;
/// A dense matrix of this many rows takes 128 MiB.
const MOST_NODES: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bump(stencil: &Stencil, centre: f64, width: f64) -> Vec<f64> {
        let raw = stencil.sample(|x| {
            let r2: f64 = x
                .iter()
                .map(|x| ((std::f64::consts::PI * (x - centre)).sin() / std::f64::consts::PI).powi(2))
                .sum();
            (-r2 / (2.0 * width * width)).exp() + 1e-6
        });
        let mass: f64 = raw.iter().sum();
        raw.iter().map(|value| value / mass).collect()
    }

    fn problem(dimension: usize, side: usize, viscosity: f64, kind: DivergenceKind) -> TimeDependentProblem {
        let stencil = Stencil::new(dimension, side).unwrap();
        let (source, target) = (bump(&stencil, 0.3, 0.08), bump(&stencil, 0.6, 0.1));
        let parameters = ProximalParameters::new(1.0, 1.0, 0.25).unwrap();
        TimeDependentProblem::new(stencil, parameters, viscosity, kind, source, target).unwrap()
    }

    const KL: DivergenceKind = DivergenceKind::KullbackLeibler;

    #[test]
    fn certified_gap_reaches_the_tolerance_with_and_without_viscosity() {
        for (dimension, side, viscosity) in
            [(1, 96, 0.0), (1, 64, 0.02), (2, 12, 0.0), (2, 10, 0.02), (3, 5, 0.0)]
        {
            let problem = problem(dimension, side, viscosity, KL);
            let options = TimeDependentOptions { tolerance: 1e-10, ..Default::default() };
            let solution = problem.solve(&options).unwrap();
            assert_eq!(solution.termination, Termination::Gap);
            // Rounding of sums over nodes can take the gap below zero by this much.
            assert!(solution.gap() > -1e-13 && solution.gap() <= 1e-10 * (1.0 + solution.upper.abs()));
            assert!(solution.mass_error() < 1e-12);
            assert!(solution.flow.weights.iter().flatten().all(|weight| *weight >= 0.0));
        }
    }

    #[test]
    fn every_divergence_is_solved_to_the_same_certificate() {
        for name in ["kl", "reverse-kl", "alpha:0.5", "alpha:1.5", "chi2", "js", "hellinger"] {
            let problem = problem(1, 40, 0.0, name.parse().unwrap());
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            assert_eq!(solution.termination, Termination::Gap, "{name}");
            assert!(solution.gap() <= 1e-9 * (1.0 + solution.upper), "{name}");
        }
    }

    #[test]
    fn any_admissible_potential_is_a_lower_bound() {
        let problem = problem(1, 40, 0.0, KL);
        let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
        for amplitude in [-0.15, -0.05, 0.05, 0.15] {
            let potential =
                problem.scheme.stencil().sample(|x| amplitude * (std::f64::consts::TAU * x[0]).cos());
            assert!(problem.dual_value(&potential) < solution.upper);
        }
    }

    #[test]
    fn terminal_potential_is_optimal_for_the_divergence_of_the_generated_density() {
        // 2.3: recomputing D_f^L(rho_T | pi) alone returns the same value, and phi attains it.
        for kind in [KL, DivergenceKind::ChiSquared] {
            let problem = problem(1, 64, 0.0, kind);
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            let alone = problem.divergence_of(solution.generated().to_vec()).unwrap();
            let divergence = alone.solve(&TimeDependentOptions::default()).unwrap();
            let certified = 2.0 * (solution.gap() + divergence.gap());
            assert!((solution.upper - solution.kinetic_energy - divergence.upper).abs() < certified);
            assert!((alone.dual_value(solution.terminal_potential()) - divergence.upper).abs() < certified);
            assert!(solution.transport > 0.01, "W1 is meant to be active");
        }
    }

    #[test]
    fn solution_does_not_depend_on_the_start() {
        let problem = problem(1, 48, 0.0, KL);
        let reference = problem.solve(&TimeDependentOptions::default()).unwrap();
        for shift in [0.1, 0.5, 0.8] {
            let wave = |x: &[f64]| 0.15 * (std::f64::consts::TAU * (x[0] - shift)).sin();
            let start = Start::Potential(problem.scheme.stencil().sample(wave));
            let other = problem.solve(&TimeDependentOptions { start, ..Default::default() }).unwrap();
            let distance = super::super::convergence::l1_distance(reference.generated(), other.generated());
            assert!(distance < 1e-8, "{distance}");
        }
    }

    #[test]
    fn singular_laws_and_extreme_parameters_are_solved() {
        let stencil = || Stencil::new(1, 40).unwrap();
        let points = |places: &[usize]| {
            let mut weights = vec![0.0; 40];
            places.iter().for_each(|i| weights[*i] = 1.0 / places.len() as f64);
            weights
        };
        for (lipschitz, lambda, horizon) in
            [(1.0, 1.0, 0.2), (0.01, 1.0, 0.2), (10.0, 1.0, 0.05), (1.0, 50.0, 0.2), (1.0, 1.0, 1e-6)]
        {
            let parameters = ProximalParameters::new(lipschitz, lambda, horizon).unwrap();
            let problem =
                TimeDependentProblem::new(stencil(), parameters, 0.0, KL, points(&[5]), points(&[12, 30]))
                    .unwrap();
            let solution = problem.solve(&TimeDependentOptions::default()).unwrap();
            assert_eq!(
                solution.termination,
                Termination::Gap,
                "{lipschitz} {lambda} {horizon} {:?}",
                solution.gaps
            );
            assert_eq!(solution.intermediate[6], 0.0);
        }
    }

    #[test]
    fn inadmissible_starts_and_unsupported_targets_are_refused() {
        let problem = problem(1, 16, 0.0, KL);
        let steep = problem.scheme.stencil().sample(|x| x[0]);
        let options = TimeDependentOptions { start: Start::Potential(steep), ..Default::default() };
        assert_eq!(problem.solve(&options).unwrap_err().field, "start");
        let options = TimeDependentOptions { tolerance: 0.0, ..Default::default() };
        assert_eq!(problem.solve(&options).unwrap_err().field, "tolerance");
        let mut target = problem.target.clone();
        target[1] += target[0];
        target[0] = 0.0;
        let parameters = ProximalParameters::new(1.0, 1.0, 0.25).unwrap();
        let stencil = Stencil::new(1, 16).unwrap();
        let refused = TimeDependentProblem::new(
            stencil,
            parameters,
            0.0,
            DivergenceKind::JensenShannon,
            problem.source.clone(),
            target,
        );
        assert_eq!(refused.err().unwrap().field, "f");
    }
}
