//! What every solver of the game returns: bounds, the fields that attain them, and why it stopped.

use ndarray::ArrayD;
use serde::Serialize;

use crate::certificate::{Bounds, Sign, Termination, gate};

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

/// A certified solution: `lower <= optimum <= upper`, with the fields that attain the bounds.
#[derive(Debug, Clone)]
pub struct TorusSolution {
    /// The problem that the bounds refer to.
    pub bounded: BoundedProblem,
    /// Dual value of `terminal_potential`, or 0, that of a constant, where it is larger.
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

    /// What rounding may move the bounds by: `1e-12 (1 + |upper| + range of phi)`, since sums over unit masses of values within
    /// that range keep about `n eps` of it, and divergences of nearly equal masses about `eps`.
    pub fn rounding(&self) -> f64 {
        let range = self
            .terminal_potential
            .iter()
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], phi| [low.min(*phi), high.max(*phi)]);
        1e-12 * (1.0 + self.upper.abs() + (range[1] - range[0]).abs())
    }

    /// The one gate that every solver's answer passes. The value is non-negative (costs and divergences are), so a lower bound
    /// below 0 is raised to 0, the value of a constant potential. Bounds that rounding has crossed, by at most
    /// [`Self::rounding`], are put in order. Whatever is not finite, crosses further, or is negative beyond rounding is a
    /// [`Termination::Failed`] with [`Bounds::UNKNOWN`] and NaN for the costs: never a number.
    pub fn gated(mut self) -> Self {
        let rounding = self.rounding();
        let costs = [self.kinetic_cost, self.lipschitz_cost, self.divergence];
        let finite = [self.lower, self.upper, rounding].into_iter().chain(costs).all(f64::is_finite);
        let parts_sound = finite
            && costs.iter().all(|cost| *cost >= -rounding)
            && self.terminal_potential.iter().chain(&self.terminal_density).all(|value| value.is_finite());
        let bounds = Bounds { lower: self.lower, upper: self.upper };
        let passed = gate(bounds, rounding, Sign::NonNegative).filter(|_| parts_sound);
        if let Some(Bounds { lower, upper }) = passed {
            (self.lower, self.upper) = (lower.min(upper), lower.max(upper));
        } else {
            Bounds { lower: self.lower, upper: self.upper } = Bounds::UNKNOWN;
            (self.kinetic_cost, self.lipschitz_cost, self.divergence) = (f64::NAN, f64::NAN, f64::NAN);
            self.termination = Termination::Failed;
        }
        self
    }

    /// `|sum rho_T - 1| + |sum eta - 1|`.
    pub fn mass_error(&self) -> f64 {
        (self.terminal_density.sum() - 1.0).abs() + (self.intermediate.sum() - 1.0).abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solution(lower: f64, upper: f64) -> TorusSolution {
        let field = || ArrayD::from_elem(vec![4], 0.25);
        TorusSolution {
            bounded: BoundedProblem::Nodes,
            lower,
            upper,
            terminal_potential: field(),
            initial_potential: field(),
            terminal_density: field(),
            intermediate: field(),
            kinetic_cost: upper,
            lipschitz_cost: 0.0,
            divergence: 0.0,
            termination: Termination::Converged,
            iterations: 1,
            seconds: 0.0,
        }
    }

    #[test]
    fn the_gate_passes_ordered_bounds_and_orders_those_that_rounding_crossed() {
        for (lower, upper, expected) in [
            (1.0, 2.0, (1.0, 2.0)),
            (-0.5, 2.0, (0.0, 2.0)),
            (1.0 + 1e-13, 1.0, (1.0, 1.0 + 1e-13)),
            (1e-17, -1e-17, (0.0, 1e-17)),
        ] {
            let gated = solution(lower, upper).gated();
            assert_eq!((gated.lower, gated.upper), expected);
            assert_eq!(gated.termination, Termination::Converged);
        }
    }

    #[test]
    fn the_gate_gives_no_number_for_what_is_no_certificate() {
        let (nan, infinity) = (f64::NAN, f64::INFINITY);
        for (lower, upper) in [
            (2.0, 1.0),
            (1.0 + 1e-10, 1.0),
            (nan, 1.0),
            (0.0, nan),
            (0.0, infinity),
            (-infinity, 1.0),
            (-2.0, -1.0),
        ] {
            let gated = solution(lower, upper).gated();
            assert!(gated.lower == -infinity && gated.upper == infinity && gated.kinetic_cost.is_nan());
            assert_eq!(gated.termination, Termination::Failed, "{lower} {upper}");
        }
        let mut spoiled = solution(1.0, 1.0);
        spoiled.terminal_potential[0] = nan;
        assert_eq!(spoiled.gated().termination, Termination::Failed);
    }
}
