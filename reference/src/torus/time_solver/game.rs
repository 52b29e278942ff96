//! The discrete mean-field game: scheme, source, target, divergence and Lipschitz constant, with its dual value.

use std::sync::Arc;

use crate::divergence::{Cumulant, Generator, generalised_cumulant};
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::problem::TorusProblem;
use crate::torus::time_solver::scheme::HamiltonJacobiScheme;

/// A discrete mean-field game: scheme, source, target, divergence and Lipschitz constant.
#[derive(Clone)]
pub struct TimeDependentProblem {
    pub(super) scheme: HamiltonJacobiScheme,
    pub(super) lipschitz: f64,
    pub(super) generator: Arc<Generator>,
    pub(super) source: Vec<f64>,
    pub(super) target: Vec<f64>,
}

impl TimeDependentProblem {
    /// The game on `grid` (at least 4 nodes per side) with viscosity `s >= 0`; `source` and `target` hold node weights of mass 1.
    ///
    /// Refused as [`InvalidInput`]: more than 4096 nodes (the Newton matrix is dense), and a target with empty nodes
    /// under a divergence of finite recession slope (its cumulant then has a kink that Newton's method cannot cross).
    pub fn new(
        grid: TorusGrid,
        parameters: ProximalParameters,
        viscosity: f64,
        kind: DivergenceKind,
        source: Vec<f64>,
        target: Vec<f64>,
    ) -> Result<Self, InvalidInput> {
        let ProximalParameters { lipschitz, lambda, horizon } = parameters;
        grid.require_weights("source", &source)?;
        grid.require_weights("target", &target)?;
        if grid.node_count() > MOST_NODES {
            let allowed = format!("at most {MOST_NODES} for the time-dependent solver (dense Newton matrix)");
            return Err(InvalidInput::new("nodes", grid.node_count(), allowed));
        }
        let generator = Generator::new(kind)?;
        if generator.recession_slope().is_finite() && target.contains(&0.0) {
            let allowed =
                "a positive target on every node for the time-dependent solver, or kl, chi2, alpha > 1";
            return Err(InvalidInput::new("f", kind, allowed));
        }
        let scheme = HamiltonJacobiScheme::new(grid, lambda, horizon, viscosity, lipschitz)?;
        Ok(Self { scheme, lipschitz, generator: Arc::new(generator), source, target })
    }

    /// The problem of the static and the large-grid solver, with viscosity.
    pub fn from_torus(problem: &TorusProblem, viscosity: f64) -> Result<Self, InvalidInput> {
        Self::new(
            problem.grid,
            problem.parameters,
            viscosity,
            problem.kind,
            problem.source.iter().copied().collect(),
            problem.target.iter().copied().collect(),
        )
    }

    /// `D_f^L(law | target)` alone: the same problem at horizon 0, without kinetic energy.
    pub fn divergence_of(&self, law: Vec<f64>) -> Result<Self, InvalidInput> {
        let grid = self.scheme.grid();
        grid.require_weights("law", &law)?;
        let scheme = HamiltonJacobiScheme::new(grid, self.scheme.lambda(), 0.0, 0.0, self.lipschitz)?;
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
}

/// Nodes at most: the Newton matrix is dense, and with this many rows takes 128 MiB.
pub const MOST_NODES: usize = 4096;

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
