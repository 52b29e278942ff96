//! Adam (Kingma & Ba, 2015) with its moments in the open, so that a checkpoint can hold them.
//!
//! libtorch's own optimiser does not expose its state through the binding, and a resumed run would not continue bit for bit.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Step size and moment decay rates.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AdamSpecification {
    /// Learning rate.
    #[serde(alias = "learning_rate")] // as it was written before
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
}

/// Added to the root of the second moment.
const EPSILON: f64 = 1e-8;

/// First and second moments of every parameter.
#[derive(Debug)]
pub struct Adam {
    specification: AdamSpecification,
    updates: i64,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
}

impl Adam {
    /// Zero moments in the shapes of `parameters`.
    pub fn new(specification: AdamSpecification, parameters: &[Tensor]) -> Self {
        let zeros = || parameters.iter().map(Tensor::zeros_like).collect();
        Self { specification, updates: 0, first: zeros(), second: zeros() }
    }

    /// Continues from saved moments, in the order of the parameters.
    pub fn restore(
        specification: AdamSpecification,
        updates: i64,
        first: Vec<Tensor>,
        second: Vec<Tensor>,
    ) -> Self {
        Self { specification, updates, first, second }
    }

    /// Number of updates made.
    pub fn updates(&self) -> i64 {
        self.updates
    }

    /// First and second moments, in the order of the parameters.
    pub fn moments(&self) -> (&[Tensor], &[Tensor]) {
        (&self.first, &self.second)
    }

    /// `m = b1 m + (1-b1) g`, `v = b2 v + (1-b2) g^2`, `p -= s lr (m / (1-b1^n)) / (sqrt(v / (1-b2^n)) + 1e-8)` with the
    /// factor `s` of a [`crate::schedule::Schedule`].
    pub fn update(&mut self, parameters: &mut [Tensor], gradient: &[Tensor], factor: f64) {
        let AdamSpecification { learning_rate, beta1, beta2 } = self.specification;
        self.updates += 1;
        let exponent = i32::try_from(self.updates).unwrap_or(i32::MAX);
        let (correction1, correction2) = (1.0 - beta1.powi(exponent), 1.0 - beta2.powi(exponent));
        tch::no_grad(|| {
            let moments = self.first.iter_mut().zip(&mut self.second);
            for ((parameter, g), (m, v)) in parameters.iter_mut().zip(gradient).zip(moments) {
                let _ = m.g_mul_scalar_(beta1).g_add_(&(g * (1.0 - beta1)));
                let _ = v.g_mul_scalar_(beta2).g_add_(&(g.square() * (1.0 - beta2)));
                let denominator = v.sqrt() / correction2.sqrt() + EPSILON;
                let _ = parameter.g_sub_(&(&*m / denominator * (factor * learning_rate / correction1)));
            }
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tch::nn::OptimizerConfig;
    use tch::{Device, Kind, nn};

    #[test]
    fn updates_equal_those_of_libtorch() {
        let store = nn::VarStore::new(Device::Cpu);
        tch::manual_seed(2);
        let theirs = store.root().randn("p", &[40], 0.0, 1.0);
        let mut ours = vec![theirs.detach().copy()];
        let mut optimizer =
            nn::Adam { beta1: 0.5, beta2: 0.9, ..Default::default() }.build(&store, 1e-2).unwrap();
        let specification = AdamSpecification { learning_rate: 1e-2, beta1: 0.5, beta2: 0.9 };
        let mut adam = Adam::new(specification, &ours);
        for _ in 0..20 {
            let loss = (theirs.square().square() + theirs.sin()).sum(Kind::Float);
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
            let gradient = vec![ours[0].pow_tensor_scalar(3) * 4.0 + ours[0].cos()];
            adam.update(&mut ours, &gradient, 1.0);
        }
        // Rounding in f32: 20 updates of relative error 1e-7 each.
        let error = f64::try_from((&ours[0] - &theirs).abs().max()).unwrap();
        assert!(error < 2e-5, "{error}");
    }
}
