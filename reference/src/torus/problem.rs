//! The discrete mean-field game on the nodes.
//!
//! With node masses `p` (source) and `q` (target), `c(x, y) = lambda |x - y|^2 / (2 T)` and geodesic distances:
//!
//! ```text
//! primal   min  <c, G> + L <|y - z|, F> + D_f(eta | q)    G >= 0 from p to rho_T,  F >= 0 from rho_T to eta
//! dual     max  sum_i p_i min_y { phi(y) + c(x_i, y) } - Lambda_q(phi)            phi L-Lipschitz on the nodes
//! ```
//!
//! (notation 3.2 with every point on the grid). Eliminating `rho_T` leaves semi-relaxed transport (notation 1.4) with
//! the *node cost* `c'(x, z) = min_y c(x, y) + L |y - z|` over nodes `y`: never below the Huber cost of notation 2.2,
//! which lets `y` range over the continuum. [`TorusProblem::huber_excess`] is the exact largest difference, so an
//! interval `[lower, upper]` for the node cost gives `[lower - excess, upper]` for the Huber cost.

use ndarray::ArrayD;

use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::operators::hopf_lax::hopf_lax;
use crate::transport::PointwiseCost;

/// One instance: what to transport, to what, at which price.
#[derive(Debug, Clone)]
pub struct TorusProblem {
    /// The nodes.
    pub grid: TorusGrid,
    /// Source masses `p` (`rho_0`), summing to 1.
    pub source: ArrayD<f64>,
    /// Target masses `q` (`pi`), summing to 1.
    pub target: ArrayD<f64>,
    /// `L`, `lambda`, `T`.
    pub parameters: ProximalParameters,
    /// The divergence `D_f(. | pi)` at the far end.
    pub kind: DivergenceKind,
}

impl TorusProblem {
    /// Checks shapes and masses (scaling both to sum to 1) and that `lambda / T` and `L` are representable on the grid.
    ///
    /// # Errors
    /// [`InvalidInput`] naming the field.
    pub fn new(
        grid: TorusGrid,
        source: &ArrayD<f64>,
        target: &ArrayD<f64>,
        parameters: ProximalParameters,
        kind: DivergenceKind,
    ) -> Result<Self, InvalidInput> {
        let parameters =
            ProximalParameters::new(parameters.lipschitz, parameters.lambda, parameters.horizon)?;
        let problem = Self {
            grid,
            source: grid.require_density("source", source)?,
            target: grid.require_density("target", target)?,
            parameters,
            kind,
        };
        let curvature = problem.line_curvature();
        if !(1e-280..1e280).contains(&curvature) {
            let ratio = parameters.lambda / parameters.horizon;
            let value = format!("{ratio:e}");
            return Err(InvalidInput::new("lambda / horizon", value, "between 1e-270 and 1e270"));
        }
        Ok(problem)
    }

    /// `lambda h^2 / (2 T)`: the cost of a displacement by one spacing.
    pub fn line_curvature(&self) -> f64 {
        let h = self.grid.spacing();
        self.parameters.lambda / (2.0 * self.parameters.horizon) * h * h
    }

    /// The node cost `c'(0, z)` for every displacement `z`: the Hopf-Lax transform of the cone `L |z|`.
    pub fn node_cost(&self) -> ArrayD<f64> {
        let ProximalParameters { lipschitz, lambda, horizon } = self.parameters;
        let cone = self.grid.distance_from_origin() * lipschitz;
        hopf_lax(&self.grid, &cone, lambda, horizon).expect("the constructor checked every argument")
    }

    /// The Huber cost `H(|z|)` (notation 2.2) for every displacement `z`.
    pub fn huber_cost(&self) -> ArrayD<f64> {
        let huber = PointwiseCost::Huber(self.parameters);
        self.grid.distance_from_origin().mapv(|r| huber.of_squared_distance(r * r))
    }

    /// `max_z c'(0, z) - H(|z|) >= 0`: what keeping the middle point on nodes can cost at most. O(h^{4/3}) in two
    /// dimensions and zero when the kink `L T / lambda` is beyond the torus.
    pub fn huber_excess(&self) -> f64 {
        (self.node_cost() - self.huber_cost()).fold(0.0_f64, |worst, value| worst.max(*value))
    }

    /// How far the node value can lie above the value of [`BoundedProblem::HatSpread`](super::BoundedProblem::HatSpread), given an upper bound of the latter.
    /// Rounding an optimal continuum plan to nodes moves the source by `h sqrt(d/6)` in the mean square, the middle point by
    /// `h sqrt(d)/2` and the end by at most `h sqrt(d)`, and does not raise the divergence; with
    /// `W <= min(sqrt(2 T upper / lambda), sqrt(d)/2)` the kinetic distance and `e = h sqrt(d) (1/sqrt(6) + 1/2)`:
    ///
    /// `J <= J_c + lambda/(2T) (2 W e + e^2) + (3/2) L h sqrt(d)`. O(h).
    pub fn node_excess(&self, upper: f64) -> f64 {
        let h = self.grid.spacing();
        let root = (self.grid.dimension as f64).sqrt();
        let weight = self.parameters.lambda / (2.0 * self.parameters.horizon);
        let distance = (upper.max(0.0) / weight).sqrt().min(0.5 * root);
        let moved = h * root * (1.0 / 6.0_f64.sqrt() + 0.5);
        weight * moved * (2.0 * distance + moved) + 1.5 * self.parameters.lipschitz * h * root
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::torus::NamedDensity;

    fn problem(dimension: usize, n: usize, lipschitz: f64) -> TorusProblem {
        let grid = TorusGrid::new(dimension, n).unwrap();
        let parameters = ProximalParameters::new(lipschitz, 1.0, 0.5).unwrap();
        let (source, target) = (NamedDensity::Bump.on(&grid), NamedDensity::TwoBumps.on(&grid));
        TorusProblem::new(grid, &source, &target, parameters, DivergenceKind::KullbackLeibler).unwrap()
    }

    #[test]
    fn node_cost_is_never_below_the_huber_cost_and_their_difference_shrinks() {
        let mut previous = f64::INFINITY;
        for n in [16, 32, 64, 128] {
            let problem = problem(2, n, 0.3);
            let difference = problem.node_cost() - problem.huber_cost();
            assert!(difference.iter().all(|d| *d >= -1e-15)); // rounding
            assert!(problem.huber_excess() < previous / 1.8);
            previous = problem.huber_excess();
        }
        assert!(problem(2, 64, 10.0).huber_excess() <= 1e-15); // kink 5 > the diameter: rounding
        assert!(problem(1, 64, 0.25).huber_excess() <= 1e-15); // kink 1/8 is a node: rounding
    }

    #[test]
    fn parameters_beyond_floating_point_are_refused() {
        let grid = TorusGrid::new(1, 8).unwrap();
        let uniform = NamedDensity::Uniform.on(&grid);
        let parameters = ProximalParameters { lipschitz: 1.0, lambda: 1e200, horizon: 1e-200 };
        let refused =
            TorusProblem::new(grid, &uniform, &uniform, parameters, DivergenceKind::KullbackLeibler);
        assert!(refused.unwrap_err().to_string().contains("lambda / horizon"));
    }
}
