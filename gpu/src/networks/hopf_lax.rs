//! Hopf-Lax potentials: `U(x, t) = min_j { psi_j + c_{T-t}(|x - y_j|) }` over prototypes `y_j` with heights `psi_j`.
//!
//! `c_tau(r) = lambda r^2 / (2 tau)` for `r <= L tau / lambda`, else `L r - L^2 tau / (2 lambda)`, is the Huber cost: the least of
//! `lambda |x - y|^2 / (2 tau) + L |y - y_j|` over y. So U is the Hopf-Lax evolution of its own terminal value, the cone
//! potential `phi(y) = min_j (psi_j + L |y - y_j|)`, and whatever the parameters are
//!
//! - `dU/dt = |grad U|^2 / (2 lambda)` \[43\] wherever one prototype alone attains the minimum, which is almost everywhere;
//! - paths of `x' = -grad U / lambda` are straight lines at constant speed `<= L / lambda`: the prototype is chosen at `t = 0` and kept;
//! - `phi` is L-Lipschitz everywhere and equals `U(., T)`, so the terminal condition \[44\] holds.
//!
//! What remains to be learned is which `phi` is the variational derivative of the divergence: [`crate::ascent`].

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::slope::Slope;

/// In place of zero in a denominator; a normal number in f32 too.
const TINY: f64 = 1e-30;

/// The cost `c_tau`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HuberCost {
    /// Kinetic weight `lambda > 0`.
    pub lambda: f64,
    /// Horizon `T > 0`.
    pub horizon: f64,
    /// Lipschitz constant `L > 0`.
    pub lipschitz: f64,
}

impl HuberCost {
    /// Checks that all three are positive and finite.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        InvalidInput::require_positive("lambda", self.lambda)?;
        InvalidInput::require_positive("horizon", self.horizon)?;
        InvalidInput::require_positive("lipschitz", self.lipschitz)?;
        Ok(())
    }

    /// `c_tau(r)` of distances `r`, entry by entry, with `tau >= 0` in a shape that broadcasts; `c_0(r) = L r`.
    pub fn of(&self, distances: &Tensor, remaining: &Tensor) -> Tensor {
        // With the part s = min(r, L tau / lambda) travelled, c = lambda s^2 / (2 tau) + L (r - s).
        let travelled = distances.minimum(&(remaining * (self.lipschitz / self.lambda)));
        let kinetic = travelled.square() * (0.5 * self.lambda) / remaining.clamp_min(TINY);
        let kinetic = kinetic.where_self(&remaining.gt(0.0), &kinetic.zeros_like());
        kinetic + (distances - travelled) * self.lipschitz
    }

    /// The part of a distance `r` that is travelled in the whole horizon: `min(r, L T / lambda)`.
    pub fn travelled(&self, distances: &Tensor) -> Tensor {
        distances.clamp_max(self.lipschitz * self.horizon / self.lambda)
    }
}

/// `|x_b - y_j|`, `(B, K)`, by one matrix product; relative error about `sqrt(eps)` where x and y nearly agree.
pub fn distances(x: &Tensor, prototypes: &Tensor) -> Tensor {
    let squares = |rows: &Tensor| rows.square().sum_dim_intlist(1, false, rows.kind());
    let products = x.matmul(&prototypes.tr());
    (squares(x).unsqueeze(1) + squares(prototypes) - products * 2.0).clamp_min(0.0).sqrt()
}

/// `U` at `x (B, d)` and remaining times `tau (B, 1)`, `(B)`: the definition, differentiable by libtorch in x, tau and the parameters.
pub fn value(parameters: (&Tensor, &Tensor), cost: HuberCost, x: &Tensor, remaining: &Tensor) -> Tensor {
    let (prototypes, heights) = parameters;
    let differences = x.unsqueeze(1) - prototypes.unsqueeze(0);
    let distances = differences.square().sum_dim_intlist(2, false, x.kind()).sqrt();
    (cost.of(&distances, remaining) + heights).amin([1], false)
}

/// The index `(B)` of the prototype that attains `U` at `x (B, d)` with `tau` remaining; the first of equal ones.
pub fn choose(parameters: (&Tensor, &Tensor), cost: HuberCost, x: &Tensor, remaining: f64) -> Tensor {
    tch::no_grad(|| {
        let (prototypes, heights) = parameters;
        let remaining = Tensor::full([1, 1], remaining, (x.kind(), x.device()));
        (cost.of(&distances(x, prototypes), &remaining) + heights).argmin(1, false)
    })
}

/// `psi_j + c_tau(|x - y_j|)`, `(B)`, for given prototypes `j (B)`.
pub fn value_of(
    (prototypes, heights): (&Tensor, &Tensor),
    cost: HuberCost,
    x: &Tensor,
    remaining: f64,
    chosen: &Tensor,
) -> Tensor {
    let difference = x - prototypes.index_select(0, chosen);
    let distance = difference.square().sum_dim_intlist(1, false, x.kind()).sqrt();
    heights.index_select(0, chosen)
        + cost.of(&distance, &Tensor::full([1], remaining, (x.kind(), x.device())))
}

/// Value, `grad_x` and `dU/dt` at `x (B, d)` with `tau` remaining: one matrix product, then the chosen prototype alone.
pub fn slope(parameters: (&Tensor, &Tensor), cost: HuberCost, x: &Tensor, remaining: f64) -> Slope {
    tch::no_grad(|| {
        let chosen = choose(parameters, cost, x, remaining);
        let difference = x - parameters.0.index_select(0, &chosen);
        let distance = difference.square().sum_dim_intlist(1, true, x.kind()).sqrt();
        // c'(r) = min(lambda r / tau, L), and at r = 0 the slope 0 of the subdifferential.
        let steepness = (&distance * (cost.lambda / remaining.max(TINY))).clamp_max(cost.lipschitz);
        let unit = difference / distance.clamp_min(TINY);
        Slope {
            value: value_of(parameters, cost, x, remaining, &chosen),
            time_derivative: steepness.square().squeeze_dim(1) / (2.0 * cost.lambda),
            gradient: unit * steepness,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::flow::{FlowSpecification, simulate};
    use crate::host::f64_of;
    use crate::network::Network;
    use tch::{Device, Kind};

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
    /// With L T / lambda = 3 some of the points below reach their prototype and others stop short of it.
    const COST: HuberCost = HuberCost { lambda: 0.5, horizon: 2.0, lipschitz: 0.75 };

    fn potential(count: i64, dimension: i64, time: bool) -> Network {
        tch::manual_seed(4);
        let parameters =
            vec![Tensor::randn([count, dimension], OPTIONS) * 2.0, Tensor::rand([count], OPTIONS)];
        Network::from_parameters(Architecture::prototypes(dimension, count, COST, time), parameters).unwrap()
    }

    fn points(count: i64, dimension: i64) -> Tensor {
        tch::manual_seed(9);
        Tensor::randn([count, dimension], OPTIONS) * 2.0
    }

    fn largest(tensor: &Tensor) -> f64 {
        f64_of(&tensor.abs().max())
    }

    #[test]
    fn huber_cost_is_the_least_of_kinetic_and_w1_cost_over_the_middle_point() {
        for tau in [0.3, 1.0, 2.0] {
            for r in [0.1, 0.6, 2.0, 7.0] {
                let middle = Tensor::linspace(0.0, r, 100_001, OPTIONS);
                let both = middle.square() * (COST.lambda / (2.0 * tau)) + (r - middle) * COST.lipschitz;
                let cost = COST.of(&Tensor::from_slice(&[r]), &Tensor::from_slice(&[tau]));
                // The grid misses the minimiser by at most r / 2e5, the minimum by its square.
                assert!(
                    (f64_of(&both.min()) - f64_of(&cost.sum(Kind::Double))).abs() < 1e-8,
                    "r {r}, tau {tau}"
                );
            }
        }
        let cone = COST.of(&Tensor::from_slice(&[0.0, 2.0]), &Tensor::from_slice(&[0.0, 0.0]));
        assert_eq!(Vec::<f64>::try_from(cone).unwrap(), [0.0, 2.0 * COST.lipschitz]);
    }

    #[test]
    fn slopes_equal_automatic_differentiation_of_the_definition() {
        for (time, t) in [(true, 0.0), (true, 1.4), (false, 0.0)] {
            let network = potential(7, 3, time);
            let x = points(40, 3);
            let found = network.slope(&x, t);
            let (value, gradient, rate) = tch::with_grad(|| {
                let x = x.detach().set_requires_grad(true);
                let times = network.time_column(&x, t).set_requires_grad(true);
                let value = network.value_at_times(&x, &times);
                let inputs: &[&Tensor] = if time { &[&x, &times] } else { &[&x] };
                let mut slopes = Tensor::run_backward(&[value.sum(Kind::Double)], inputs, false, false);
                let rate = if time { slopes.remove(1).squeeze_dim(1) } else { value.detach().zeros_like() };
                (value.detach(), slopes.remove(0), rate)
            });
            assert!(largest(&(found.value - value)) < 1e-12);
            assert!(largest(&(found.gradient - gradient)) < 1e-12);
            if time {
                assert!(largest(&(found.time_derivative - rate)) < 1e-12);
            }
        }
    }

    #[test]
    fn potential_is_the_infimum_over_a_grid_of_its_terminal_value_and_kinetic_cost() {
        // Hopf-Lax on the line: U(x, t) = min_y phi(y) + lambda (x - y)^2 / (2 (T - t)).
        let (network, terminal) = (potential(5, 1, true), potential(5, 1, false));
        let y = Tensor::linspace(-12.0, 12.0, 240_001, OPTIONS).unsqueeze(1);
        let phi = terminal.value(&y, 0.0);
        for (x, t) in [(-3.0, 0.0), (0.2, 0.5), (4.0, 1.9)] {
            let brute = &phi + (&y - x).square().squeeze_dim(1) * (COST.lambda / (2.0 * (COST.horizon - t)));
            let value = network.value(&Tensor::from_slice(&[x]).reshape([1, 1]), t);
            // Grid of width 1e-4; slopes of phi are at most L, so that the minimum is missed by less than L * 1e-4.
            assert!((f64_of(&brute.min()) - f64_of(&value.sum(Kind::Double))).abs() < 1e-4, "x {x}, t {t}");
        }
    }

    #[test]
    fn paths_are_straight_at_constant_speed_whatever_the_step_and_hamilton_jacobi_holds() {
        let network = potential(6, 4, true);
        let x0 = points(200, 4);
        let flow = |steps| FlowSpecification::new(COST.horizon, steps, COST.lambda).unwrap();
        let coarse = simulate(&network, &x0, flow(1));
        let fine = simulate(&network, &x0, flow(50));
        assert!(largest(&(&coarse.positions[1] - &fine.positions[50])) < 1e-10);
        for velocity in &fine.velocities {
            assert!(largest(&(velocity - &coarse.velocities[0])) < 1e-9);
        }
        for (k, x) in fine.positions.iter().enumerate().take(50) {
            let slope = network.slope(x, flow(50).time(k));
            let hamiltonian =
                slope.gradient.square().sum_dim_intlist(1, false, Kind::Double) / (2.0 * COST.lambda);
            assert!(largest(&(slope.time_derivative - hamiltonian)) < 1e-12);
        }
    }

    #[test]
    fn terminal_value_is_the_critic_and_no_slope_exceeds_its_constant() {
        let (network, critic) = (potential(6, 4, true), potential(6, 4, false));
        let x = points(500, 4);
        let (at_end, phi) = (network.slope(&x, COST.horizon), critic.slope(&x, 0.0));
        assert!(at_end.value.equal(&phi.value) && at_end.gradient.equal(&phi.gradient));
        let slopes = phi.gradient.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
        assert!(largest(&(slopes - COST.lipschitz)) < 1e-12, "a cone has slope L off its tips");
    }

    #[test]
    fn a_bent_control_fails_the_straightness_check() {
        // The same prototypes chosen anew from a later potential: without the Hopf-Lax time dependence speeds change along the path.
        let network = potential(6, 4, true);
        let x0 = points(200, 4);
        let frozen = |x: &Tensor| network.gradient(x, 0.0) * (-1.0 / COST.lambda);
        let (first, mut x) = (frozen(&x0), x0.copy());
        for _ in 0..50 {
            x = &x + frozen(&x) * (COST.horizon / 50.0);
        }
        assert!(largest(&(frozen(&x) - first)) > 0.1);
    }
}
