//! The flow \[39\]: `x_{k+1} = x_k - (h / lambda) grad_x U(x_k, t_k)`, `t_k = k h`, `h = T / N`.

use proxflow_reference::InvalidInput;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::network::Network;
use crate::team::Part;

/// Horizon, number of Euler steps and kinetic weight of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FlowSpecification {
    /// Time horizon `T > 0`.
    pub horizon: f64,
    /// Number of Euler steps `N >= 1`.
    pub steps: usize,
    /// Kinetic weight `lambda > 0`; the velocity is `v = -grad U / lambda`.
    pub lambda: f64,
}

/// Numbers whose products and quotients by two stay within single precision.
pub const SINGLE_PRECISION: std::ops::RangeInclusive<f64> = 1e-18..=1e18;

/// A simulated batch: positions `x_0 .. x_N` and velocities `v_0 .. v_{N-1}`, each `(B, d)`.
pub struct Trajectory {
    /// `x_k`, `N + 1` entries.
    pub positions: Vec<Tensor>,
    /// `v_k = -grad_x U(x_k, t_k) / lambda`, `N` entries.
    pub velocities: Vec<Tensor>,
}

impl FlowSpecification {
    /// Checks the ranges.
    pub fn new(horizon: f64, steps: usize, lambda: f64) -> Result<Self, InvalidInput> {
        for (field, value) in [("horizon", horizon), ("lambda", lambda)] {
            if !SINGLE_PRECISION.contains(&value) {
                let allowed =
                    format!("> 0, from {:e} to {:e}", SINGLE_PRECISION.start(), SINGLE_PRECISION.end());
                return Err(InvalidInput::new(field, value, allowed));
            }
        }
        if steps == 0 {
            return Err(InvalidInput::new("steps", steps, ">= 1"));
        }
        Ok(Self { horizon, steps, lambda })
    }

    /// The step `h = T / N`.
    pub fn step(&self) -> f64 {
        self.horizon / self.steps as f64
    }

    /// `t_k = k h`.
    pub fn time(&self, index: usize) -> f64 {
        index as f64 * self.step()
    }

    /// The same flow with another number of steps.
    pub fn with_steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }
}

/// The endpoint `x_N` of `x_0 (B, d)`, keeping nothing else.
pub fn endpoint(potential: &Network, x0: &Tensor, flow: FlowSpecification) -> Tensor {
    let mut x = x0.detach();
    for k in 0..flow.steps {
        x = &x - potential.gradient(&x, flow.time(k)) * (flow.step() / flow.lambda);
    }
    x
}

/// [`endpoint`], or the first step `k` at which `U(x_k, t_k)` or `x_k` is not finite. Where a piecewise linear network overflows, its masks vanish
/// and its gradient is a finite zero, so that only the values tell.
pub fn finite_endpoint(potential: &Network, x0: &Tensor, flow: FlowSpecification) -> Result<Tensor, usize> {
    let finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) != 0;
    let mut x = x0.detach();
    for k in 0..flow.steps {
        let slope = potential.slope(&x, flow.time(k));
        if !finite(&slope.value) || !finite(&x) {
            return Err(k);
        }
        x = &x - slope.gradient * (flow.step() / flow.lambda);
    }
    if finite(&x) { Ok(x) } else { Err(flow.steps) }
}

/// [`finite_endpoint`] of the whole batch from the rows `x_0` of one part of it, the same in every part.
pub fn finite_endpoint_part(
    potential: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    part: &Part<'_>,
) -> Result<Tensor, usize> {
    let pieces = part.cut(x0, 0).into_iter().map(|x0| match finite_endpoint(potential, &x0, flow) {
        Ok(end) => (Tensor::full([x0.size()[0]], f64::INFINITY, (Kind::Double, Device::Cpu)), end),
        Err(step) => (Tensor::full([x0.size()[0]], step as f64, (Kind::Double, Device::Cpu)), x0),
    });
    let (broken, ends): (Vec<Tensor>, Vec<Tensor>) = pieces.unzip();
    let [broken] = part.gather([&Tensor::cat(&broken, 0)]);
    let end = part.gather_columns(&Tensor::cat(&ends, 0).tr()).tr().contiguous();
    let first = broken.min().double_value(&[]);
    if first.is_finite() { Err(first as usize) } else { Ok(end) }
}

/// The whole trajectory of `x_0 (B, d)`.
pub fn simulate(potential: &Network, x0: &Tensor, flow: FlowSpecification) -> Trajectory {
    let mut positions = vec![x0.detach()];
    let mut velocities = Vec::with_capacity(flow.steps);
    for k in 0..flow.steps {
        let x = &positions[k];
        let velocity = potential.gradient(x, flow.time(k)) * (-1.0 / flow.lambda);
        positions.push(x + &velocity * flow.step());
        velocities.push(velocity);
    }
    Trajectory { positions, velocities }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture};
    use crate::random::{Stream, StreamLabel};

    #[test]
    fn a_flow_that_overflows_is_told_by_its_first_step_that_is_not_finite() {
        let options = (Kind::Float, Device::Cpu);
        let architecture = Architecture::dense(3, &[8, 8], Activation::Relu, true);
        let mut potential =
            Network::glorot(architecture, &mut Stream::new(1, StreamLabel::PotentialInit), options);
        let x0 = Tensor::rand([5, 3], options);
        let flow = FlowSpecification::new(1.0, 4, 0.5).unwrap();
        let sound = finite_endpoint(&potential, &x0, flow).unwrap();
        assert!(sound.equal(&endpoint(&potential, &x0, flow)));
        for weight in potential.parameters_mut() {
            *weight = &*weight * 1e20;
        }
        assert_eq!(finite_endpoint(&potential, &x0, flow).err(), Some(0));
    }
}
