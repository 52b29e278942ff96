//! The solved game: potentials, densities and their certificate.

use ndarray::ArrayD;

use crate::certificate::Termination;
use crate::torus::problem::TorusProblem;
use crate::torus::solution::{BoundedProblem, TorusSolution};
use crate::torus::time_solver::continuity::DensityFlow;

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
    /// Beckmann flux from `rho_T` to `eta`, one field per axis (`L h` times the mass that a node sends on).
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

    /// The fields and bounds as the other solvers report them, through the same gate ([`TorusSolution::gated`]), on the grid of
    /// `problem`; `seconds` is the caller's.
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
        .gated()
    }

    /// Largest `|sum rho^n - 1|` over time.
    pub fn mass_error(&self) -> f64 {
        self.flow.weights.iter().map(|w| (w.iter().sum::<f64>() - 1.0).abs()).fold(0.0, f64::max)
    }
}
