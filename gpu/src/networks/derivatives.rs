//! Derivatives of a network: in its point and time, and in its parameters by automatic differentiation.
//!
//! A piecewise linear network takes its local linear map ([`crate::linearisation`]), one of prototypes its closed form
//! ([`crate::hopf_lax`]), every other automatic differentiation.

use tch::Tensor;

use crate::architecture::Features;
use crate::hopf_lax;
use crate::linearisation::Linearisation;
use crate::network::Network;
use crate::slope::Slope;

impl Network {
    /// Value, `grad_x` and `d/dt` at `x (B, d)` and time `t`, detached from any graph.
    pub fn slope(&self, x: &Tensor, t: f64) -> Slope {
        if self.architecture().is_piecewise_linear() {
            let linear = Linearisation::new(self, x, t);
            return Slope {
                gradient: linear.gradient(),
                time_derivative: linear.time_derivative(),
                value: linear.into_value(),
            };
        }
        if let Features::Prototypes { cost, .. } = self.architecture().features {
            let remaining = if self.architecture().time { cost.horizon - t } else { 0.0 };
            let slope = hopf_lax::slope(self.prototypes(), cost, x, remaining);
            let time_derivative =
                if self.architecture().time { slope.time_derivative } else { slope.value.zeros_like() };
            return Slope { time_derivative, ..slope };
        }
        tch::with_grad(|| {
            let x = x.detach().set_requires_grad(true);
            let t = self.time_column(&x, t).detach().set_requires_grad(true);
            let value = self.value_at_times(&x, &t);
            let inputs: &[&Tensor] = if self.architecture().time { &[&x, &t] } else { &[&x] };
            let mut slopes = Tensor::run_backward(&[value.sum(value.kind())], inputs, false, false);
            let time_derivative =
                if self.architecture().time { slopes.remove(1).squeeze_dim(1) } else { value.zeros_like() };
            Slope {
                value: value.detach(),
                gradient: slopes.remove(0),
                time_derivative: time_derivative.detach(),
            }
        })
    }

    /// `grad_x U(x, t)`, `(B, d)`, detached.
    pub fn gradient(&self, x: &Tensor, t: f64) -> Tensor {
        if self.architecture().is_piecewise_linear() {
            Linearisation::new(self, x, t).gradient()
        } else {
            self.slope(x, t).gradient
        }
    }
}

/// A copy of `network` on leaf parameters that record gradients.
pub(crate) fn differentiable(network: &Network) -> (Network, Vec<Tensor>) {
    let parameters: Vec<Tensor> =
        network.parameters().iter().map(|p| p.detach().copy().set_requires_grad(true)).collect();
    let copies = parameters.iter().map(Tensor::shallow_clone).collect();
    let copy =
        Network::from_parameters(network.architecture().clone(), copies).expect("shapes of the same network");
    (copy, parameters)
}

/// Adds a zero path to every parameter, since libtorch refuses to differentiate with respect to one that does not enter.
pub(crate) fn with_all(loss: Tensor, parameters: &[Tensor]) -> Tensor {
    parameters.iter().fold(loss, |sum, parameter| sum + parameter.sum(parameter.kind()) * 0.0)
}

/// Adds `terms` entry by entry to `total`, both in parameter order.
pub(crate) fn accumulate(total: &mut Vec<Tensor>, terms: Vec<Tensor>) {
    if total.is_empty() {
        *total = terms;
    } else {
        for (sum, term) in total.iter_mut().zip(terms) {
            let _ = sum.g_add_(&term);
        }
    }
}
