//! The critic's objective \[40,41\] and its gradient.

use proxflow_reference::DivergenceKind;
use tch::{Kind, Tensor};

use super::case::Penalty;
use crate::derivatives::{accumulate, differentiable, with_all};
use crate::divergence::dual_functional;
use crate::host::{f64_of, mean_of, to_f64, together};
use crate::linearisation::Linearisation;
use crate::network::Network;
use crate::team::{Contribution, Part};

/// Terms of the critic's objective \[40\] and the gradient of its negative.
pub struct CriticEvaluation {
    /// `mean phi(x_N)`.
    pub generated_mean: f64,
    /// `Lambda(phi)` on the data batch.
    pub dual_functional: f64,
    /// `w mean (|grad phi(x^)|^2 - L^2)_+`; zero without penalty.
    pub penalty: f64,
    /// Gradient of `-(mean phi(x_N) - Lambda(phi) - penalty)`, in parameter order.
    pub gradient: Vec<Tensor>,
}

/// The critic's objective for generated `x_N (B, d)`, data `y (B', d)` and, with a penalty, points `x^ (B, d)` between them.
pub fn critic(
    discriminator: &Network,
    kind: DivergenceKind,
    generated: &Tensor,
    data: &Tensor,
    penalty: Option<(Penalty, &Tensor)>,
) -> CriticEvaluation {
    let CriticPart { generated_mean, dual_functional, mut contributions } =
        critic_part(discriminator, kind, generated, data, penalty, &Part::whole());
    let ([penalty], gradient) = contributions.pop().expect("the whole batch is one piece");
    CriticEvaluation { generated_mean, dual_functional, penalty, gradient }
}

/// The critic's objective as one part of a batch sees it.
pub struct CriticPart {
    /// `mean phi(x_N)` of the whole batch.
    pub generated_mean: f64,
    /// `Lambda(phi)` of the whole batch.
    pub dual_functional: f64,
    /// What each piece here adds to the penalty and to the gradient.
    pub contributions: Vec<Contribution<1>>,
}

/// The same on one part of a batch: `generated`, `data` and the points between them are its rows.
pub fn critic_part(
    discriminator: &Network,
    kind: DivergenceKind,
    generated: &Tensor,
    data: &Tensor,
    penalty: Option<(Penalty, &Tensor)>,
    part: &Part<'_>,
) -> CriticPart {
    let pieces: Vec<[Tensor; 2]> =
        part.cut(generated, 0).into_iter().zip(part.cut(data, 0)).map(|(x, y)| [x, y]).collect();
    let both: Vec<Tensor> = pieces.iter().map(|pair| Tensor::cat(pair, 0)).collect();
    let between = match penalty {
        Some((penalty, between)) => {
            part.cut(between, 0).into_iter().map(|points| Some((penalty, points))).collect()
        }
        None => pieces.iter().map(|_| None).collect::<Vec<_>>(),
    };
    // `mean phi(x_N)` and `Lambda(phi)` of the whole batch from the values of the pieces here, and each piece's weights.
    let evaluate = |values: &[Tensor]| {
        let counts = pieces.iter().map(|[x, y]| (x.size()[0], y.size()[0]));
        let local = values.iter().zip(counts.clone());
        let local = local.map(|(values, (x, y))| (values.narrow(0, 0, x), values.narrow(0, x, y)));
        let (on_generated, on_data): (Vec<Tensor>, Vec<Tensor>) = local.unzip();
        let [on_generated, on_data] =
            together(part.gather([&Tensor::cat(&on_generated, 0), &Tensor::cat(&on_data, 0)]));
        let dual = dual_functional(kind, &to_f64(&on_data));
        let weight = -1.0 / part.batch(generated.size()[0]) as f64;
        let weights = part.own(&dual.weights).into_iter().zip(counts).map(|(on_data, (x, _))| {
            let on_generated = Tensor::full([x], weight, (Kind::Double, tch::Device::Cpu));
            let weights = Tensor::cat(&[on_generated, Tensor::from_slice(on_data)], 0);
            weights.to_kind(values[0].kind()).to_device(values[0].device())
        });
        (mean_of(&on_generated), dual.value, weights.collect::<Vec<_>>())
    };
    let excess = |slopes: &Tensor, lipschitz: f64| {
        slopes.square().sum_dim_intlist(1, true, slopes.kind()) - lipschitz * lipschitz
    };

    if discriminator.architecture().is_piecewise_linear() {
        let linear: Vec<_> =
            both.iter().map(|both| Linearisation::recorded(discriminator, both, 0.0)).collect();
        let values: Vec<Tensor> = linear.iter().map(|linear| linear.value().shallow_clone()).collect();
        let (generated_mean, dual_functional, weights) = evaluate(&values);
        let pieces = linear.into_iter().zip(&weights).zip(between);
        let contributions = pieces.map(|((linear, weights), between)| {
            let mut gradient = linear.value_gradient(weights);
            let penalty = between.map_or(0.0, |(Penalty { weight, lipschitz }, between)| {
                let linear = Linearisation::new(discriminator, &between, 0.0);
                let slopes = linear.gradient();
                let excess = excess(&slopes, lipschitz);
                let active = excess.gt(0.0).to_kind(slopes.kind());
                let direction = slopes * active * (2.0 * weight / part.batch(between.size()[0]) as f64);
                accumulate(&mut gradient, linear.slope_gradient(&direction));
                weight * mean_of(&excess.relu()) * part.fraction(between.size()[0])
            });
            ([penalty], gradient)
        });
        let contributions = contributions.collect();
        return CriticPart { generated_mean, dual_functional, contributions };
    }

    tch::with_grad(|| {
        let copies: Vec<_> = both.iter().map(|_| differentiable(discriminator)).collect();
        let values: Vec<Tensor> =
            copies.iter().zip(&both).map(|(copy, both)| copy.0.value(both, 0.0)).collect();
        let detached: Vec<Tensor> = values.iter().map(Tensor::detach).collect();
        let (generated_mean, dual_functional, weights) = evaluate(&detached);
        let pieces = copies.iter().zip(values.iter().zip(&weights)).zip(between);
        let contributions = pieces.map(|(((copy, parameters), (values, weights)), between)| {
            let mut loss = (values * weights).sum(values.kind());
            let penalty = between.map_or(0.0, |(Penalty { weight, lipschitz }, between)| {
                let x = between.detach().set_requires_grad(true);
                let total = copy.value(&x, 0.0).sum(x.kind());
                let slopes = Tensor::run_backward(&[total], &[&x], true, true).remove(0);
                let term =
                    excess(&slopes, lipschitz).relu().mean(x.kind()) * (weight * part.fraction(x.size()[0]));
                loss = &loss + &term;
                f64_of(&term)
            });
            let gradient = Tensor::run_backward(&[with_all(loss, parameters)], parameters, false, false);
            ([penalty], gradient)
        });
        let contributions = contributions.collect();
        CriticPart { generated_mean, dual_functional, contributions }
    })
}
