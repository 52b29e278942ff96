//! What every solver of the game returns: bounds, the fields that attain them, and why it stopped.

use ndarray::ArrayD;
use serde::Serialize;

/// Which problem `lower` and `upper` refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BoundedProblem {
    /// The node problem of [`TorusProblem`](super::TorusProblem): source, middle and target points on nodes.
    Nodes,
    /// Source and target on nodes, the middle point anywhere: the Huber cost of notation 2.2.
    FreeMiddle,
    /// The continuum problem 2.1 between the densities `sum_i p_i hat_i` and `sum_j q_j hat_j`. Its value is at most that of
    /// the node problem, so `lower` holds for both; [`TorusProblem::node_excess`](super::TorusProblem::node_excess) bounds the difference.
    HatSpread,
    /// The discrete game of the time-dependent scheme.
    Scheme,
}

/// Why a solver stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Termination {
    /// `upper - lower` reached the requested tolerance.
    Gap,
    /// The iteration or time budget ran out first; the bounds are valid, only wider than asked for.
    Budget,
    /// No step improves the smooth dual any more: the gap is the floor of this grid (O(h^2) on smooth data).
    Floor,
}

/// A certified solution: `lower <= optimum <= upper`, with the fields that attain the bounds.
#[derive(Debug, Clone)]
pub struct TorusSolution {
    /// The problem that the bounds refer to.
    pub bounded: BoundedProblem,
    /// Dual value of `terminal_potential`.
    pub lower: f64,
    /// Primal value `kinetic_cost + lipschitz_cost + divergence` of a feasible plan.
    pub upper: f64,
    /// `phi`, `L`-Lipschitz on the nodes.
    pub terminal_potential: ArrayD<f64>,
    /// `U(., 0)`, the Hopf-Lax transform of `phi` over the horizon.
    pub initial_potential: ArrayD<f64>,
    /// `rho_T`, second marginal of the kinetic plan.
    pub terminal_density: ArrayD<f64>,
    /// `eta`, where the Lipschitz part carries `rho_T`.
    pub intermediate: ArrayD<f64>,
    /// `<c, G>`, an upper bound of `lambda / (2 T) W2^2(rho_0, rho_T)`.
    pub kinetic_cost: f64,
    /// `L <|y - z|, F>`, an upper bound of `L W1(rho_T, eta)`.
    pub lipschitz_cost: f64,
    /// `D_f(eta | pi)`.
    pub divergence: f64,
    /// Why the solver stopped.
    pub termination: Termination,
    /// Iterations on the finest grid (pivots for the static solver).
    pub iterations: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl TorusSolution {
    /// `upper - lower`.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }

    /// `gap / |upper|`, the relative primal-dual gap (0 when both bounds vanish).
    pub fn relative_gap(&self) -> f64 {
        if self.upper == 0.0 && self.lower == 0.0 { 0.0 } else { self.gap() / self.upper.abs() }
    }

    /// `|sum rho_T - 1| + |sum eta - 1|`.
    pub fn mass_error(&self) -> f64 {
        (self.terminal_density.sum() - 1.0).abs() + (self.intermediate.sum() - 1.0).abs()
    }
}
