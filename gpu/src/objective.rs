//! The two objectives of Algorithm 1 and their exact parameter gradients.
//!
//! Critic \[40,41\]: maximise `mean phi(x_N) - Lambda(phi) - w mean (|grad phi(x^)|^2 - L^2)_+`.
//! Potential \[42\]: minimise `mean phi(x_N) + lambda h sum_k mean |v_k|^2 / 2`.
//!
//! With `a_k = (h/lambda) (grad_x U(x_k, t_k) - p_{k+1})`, held constant, the gradient of \[42\] is
//! `d/dtheta sum_k mean <grad_x U_theta(x_k, t_k), a_k>`, where the costate runs `p_N = grad phi(x_N)`, `p_k = p_{k+1} + Hess_x U(x_k, t_k) a_k`.
//! A piecewise linear potential has `Hess_x U = 0` almost everywhere, so `p_k = grad phi(x_N)` for all k and no unrolling is
//! needed; smooth potentials take the general adjoint.

use proxflow_reference::DivergenceKind;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::divergence::dual_functional;
use crate::flow::FlowSpecification;
use crate::linearisation::{Linearisation, accumulate};
use crate::network::Network;
use crate::team::{Contribution, Part};

/// Which of the two proximals an experiment uses \[46-49\].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Case {
    /// Neither: no kinetic term, no penalty \[46\].
    None,
    /// Kinetic term only \[47\].
    W2,
    /// Gradient penalty only \[48\].
    W1,
    /// Both \[49\].
    W1W2,
}

impl Case {
    /// All four, in the order of \[46-49\].
    pub const ALL: [Self; 4] = [Self::None, Self::W2, Self::W1, Self::W1W2];

    /// Whether \[42\] has its kinetic term.
    pub fn has_kinetic_energy(self) -> bool {
        matches!(self, Self::W2 | Self::W1W2)
    }

    /// Whether \[40\] has its gradient penalty.
    pub fn has_penalty(self) -> bool {
        matches!(self, Self::W1 | Self::W1W2)
    }

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::W2 => "w2",
            Self::W1 => "w1",
            Self::W1W2 => "w1w2",
        }
    }
}

/// One-sided gradient penalty `w mean (|grad phi|^2 - L^2)_+`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalty {
    /// Weight `w`.
    pub weight: f64,
    /// Lipschitz constant `L`.
    pub lipschitz: f64,
}

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

/// Terms of the potential's objective \[42\] and its gradient.
pub struct PotentialEvaluation {
    /// `mean phi(x_N)`.
    pub terminal: f64,
    /// `K_h = h sum_k mean |v_k|^2 / 2`, also when the objective does not contain it.
    pub kinetic_energy: f64,
    /// Gradient in parameter order.
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
            part.gather([&Tensor::cat(&on_generated, 0), &Tensor::cat(&on_data, 0)]);
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

/// The potential's objective for source samples `x_0 (B, d)`. Peak memory grows with `N B`: the local linear maps of all
/// steps are kept.
pub fn potential(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    case: Case,
) -> PotentialEvaluation {
    let mut contributions = potential_part(potential, discriminator, x0, flow, case, &Part::whole());
    let ([terminal, kinetic_energy], gradient) = contributions.pop().expect("the whole batch is one piece");
    PotentialEvaluation { terminal, kinetic_energy, gradient }
}

/// The same on the rows `x_0` of one part of a batch: what each piece here adds to [`PotentialEvaluation::terminal`] and
/// [`PotentialEvaluation::kinetic_energy`], and to the gradient.
pub fn potential_part(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    case: Case,
    part: &Part<'_>,
) -> Vec<Contribution<2>> {
    let evaluate = if potential.architecture().is_piecewise_linear() {
        potential_without_unrolling
    } else {
        potential_by_adjoint
    };
    let contribution = |x0: Tensor| {
        let count = x0.size()[0];
        let local = evaluate(potential, discriminator, &x0, flow, case, part.batch(count));
        let fraction = part.fraction(count);
        ([local.terminal * fraction, local.kinetic_energy * fraction], local.gradient)
    };
    part.cut(x0, 0).into_iter().map(contribution).collect()
}

fn potential_without_unrolling(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    case: Case,
    batch: i64,
) -> PotentialEvaluation {
    let rate = flow.step() / flow.lambda;
    let mut x = x0.detach();
    let mut steps = Vec::with_capacity(flow.steps);
    for k in 0..flow.steps {
        let linear = Linearisation::new(potential, &x, flow.time(k));
        let slope = linear.gradient();
        x = &x - &slope * rate;
        steps.push((linear, slope));
    }
    let terminal = discriminator.slope(&x, 0.0);
    let scale = rate / batch as f64;
    let mut gradient = Vec::new();
    for (linear, slope) in &steps {
        accumulate(&mut gradient, linear.slope_gradient(&(forcing(slope, &terminal.gradient, case) * scale)));
    }
    PotentialEvaluation {
        terminal: mean_of(&terminal.value),
        kinetic_energy: steps.iter().map(|(_, slope)| mean_energy(slope, flow)).sum(),
        gradient,
    }
}

fn potential_by_adjoint(
    potential: &Network,
    discriminator: &Network,
    x0: &Tensor,
    flow: FlowSpecification,
    case: Case,
    batch: i64,
) -> PotentialEvaluation {
    let rate = flow.step() / flow.lambda;
    let mut positions = vec![x0.detach()];
    for k in 0..flow.steps {
        let slope = potential.gradient(&positions[k], flow.time(k));
        positions.push(&positions[k] - slope * rate);
    }
    let terminal = discriminator.slope(&positions[flow.steps], 0.0);
    let scale = rate / batch as f64;
    let mut costate = terminal.gradient;
    let mut kinetic_energy = 0.0;
    let mut gradient = Vec::new();
    tch::with_grad(|| {
        let (copy, parameters) = differentiable(potential);
        for k in (0..flow.steps).rev() {
            let x = positions[k].detach().set_requires_grad(true);
            let total = copy.value(&x, flow.time(k)).sum(x.kind());
            let slope = Tensor::run_backward(&[total], &[&x], true, true).remove(0);
            kinetic_energy += mean_energy(&slope.detach(), flow);
            let forcing = forcing(&slope.detach(), &costate, case);
            let inputs: Vec<Tensor> = parameters.iter().chain([&x]).map(Tensor::shallow_clone).collect();
            let pairing = with_all((&slope * &forcing).sum(x.kind()), &inputs);
            let mut terms = Tensor::run_backward(&[pairing], &inputs, false, false);
            if let Some(curvature) = terms.pop() {
                costate = &costate + curvature * rate;
            }
            accumulate(&mut gradient, terms.into_iter().map(|term| term * scale).collect());
        }
    });
    PotentialEvaluation { terminal: mean_of(&terminal.value), kinetic_energy, gradient }
}

/// `(lambda / h) a_k`: slope minus costate, or minus the costate alone without kinetic term.
fn forcing(slope: &Tensor, costate: &Tensor, case: Case) -> Tensor {
    if case.has_kinetic_energy() { slope - costate } else { -costate }
}

/// `h mean |v|^2 / 2` with `v = -slope / lambda`.
fn mean_energy(slope: &Tensor, flow: FlowSpecification) -> f64 {
    let squares = slope.square().sum_dim_intlist(1, false, slope.kind());
    0.5 * flow.step() * mean_of(&squares) / (flow.lambda * flow.lambda)
}

/// A copy of `network` on leaf parameters that record gradients.
fn differentiable(network: &Network) -> (Network, Vec<Tensor>) {
    let parameters: Vec<Tensor> =
        network.parameters().iter().map(|p| p.detach().copy().set_requires_grad(true)).collect();
    let copies = parameters.iter().map(Tensor::shallow_clone).collect();
    let copy =
        Network::from_parameters(network.architecture().clone(), copies).expect("shapes of the same network");
    (copy, parameters)
}

/// Adds a zero path to every parameter, since libtorch refuses to differentiate with respect to one that does not enter.
fn with_all(loss: Tensor, parameters: &[Tensor]) -> Tensor {
    parameters.iter().fold(loss, |sum, parameter| sum + parameter.sum(parameter.kind()) * 0.0)
}

/// The scalar of a one-element tensor.
pub(crate) fn f64_of(tensor: &Tensor) -> f64 {
    tensor.double_value(&[])
}

/// Mean of a tensor's numbers in f64, on the host: not every device knows f64.
pub(crate) fn mean_of(tensor: &Tensor) -> f64 {
    f64_of(&tensor.detach().to_device(tch::Device::Cpu).mean(Kind::Double))
}

/// The numbers of a tensor, flattened, on the host.
pub(crate) fn to_f64(tensor: &Tensor) -> Vec<f64> {
    let host = tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double).contiguous().view([-1]);
    let mut values = vec![0.0; host.numel()];
    host.copy_data(&mut values, host.numel());
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::architecture::{Activation, Architecture, Features};
    use crate::random::{Stream, StreamLabel};
    use tch::Device;

    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
    const FLOW: FlowSpecification = FlowSpecification { horizon: 2.0, steps: 4, lambda: 0.3 };

    fn network(architecture: Architecture, seed: u64) -> Network {
        let mut network =
            Network::glorot(architecture, &mut Stream::new(seed, StreamLabel::PotentialInit), OPTIONS);
        tch::manual_seed(seed as i64);
        for parameter in network.parameters_mut() {
            let noise = Tensor::randn_like(parameter) * 0.05;
            let _ = parameter.g_add_(&noise);
        }
        network
    }

    fn pairs() -> Vec<(Network, Network)> {
        let image = |time, hidden: &[i64]| Architecture {
            features: Features::Image { side: 12, channels: vec![4, 4] },
            hidden: hidden.to_vec(),
            activation: Activation::Relu,
            time,
        };
        let periodic = |time| Architecture {
            features: Features::PeriodicCoordinates { dimension: 2 },
            ..Architecture::dense(2, &[12, 12], Activation::Tanh, time)
        };
        let scaled = Architecture {
            features: Features::ScaledCoordinates { dimension: 3, horizon: 2.0 },
            ..Architecture::dense(3, &[16, 16, 8], Activation::Silu, true)
        };
        vec![
            (network(image(true, &[24, 24]), 1), network(image(false, &[16]), 2)),
            (network(Architecture::mnist_potential(), 3), network(Architecture::mnist_discriminator(), 4)),
            (
                network(Architecture::dense(3, &[16, 16], Activation::Softplus, true), 5),
                network(Architecture::dense(3, &[16, 16], Activation::Tanh, false), 6),
            ),
            (network(periodic(true), 7), network(periodic(false), 8)),
            (network(scaled, 9), network(Architecture::dense(3, &[16, 16], Activation::Silu, false), 10)),
        ]
    }

    fn assert_close(ours: &[Tensor], theirs: &[Tensor]) {
        let norm =
            |list: &[Tensor]| list.iter().map(|t| f64_of(&t.square().sum(Kind::Double))).sum::<f64>().sqrt();
        let difference: Vec<Tensor> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
        let error = norm(&difference) / norm(theirs);
        assert!(error < 1e-10, "relative error {error}");
    }

    #[test]
    fn potential_gradient_equals_back_propagation_through_time_in_all_cases() {
        for (potential_network, discriminator) in pairs() {
            for case in Case::ALL {
                let x0 = Tensor::rand([5, potential_network.architecture().dimension()], OPTIONS);
                let ours = potential(&potential_network, &discriminator, &x0, FLOW, case);
                let expected = tch::with_grad(|| {
                    let (copy, parameters) = differentiable(&potential_network);
                    let mut x = x0.detach().set_requires_grad(true);
                    let mut loss = Tensor::zeros([], OPTIONS);
                    for k in 0..FLOW.steps {
                        let total = copy.value(&x, FLOW.time(k)).sum(Kind::Double);
                        let slope = Tensor::run_backward(&[total], &[&x], true, true).remove(0);
                        let velocity = slope * (-1.0 / FLOW.lambda);
                        if case.has_kinetic_energy() {
                            let energy =
                                velocity.square().sum_dim_intlist(1, false, Kind::Double).mean(Kind::Double);
                            loss = loss + energy * (0.5 * FLOW.lambda * FLOW.step());
                        }
                        x = x + velocity * FLOW.step();
                    }
                    loss = loss + discriminator.value(&x, 0.0).mean(Kind::Double);
                    Tensor::run_backward(&[with_all(loss, &parameters)], &parameters, false, false)
                });
                assert_close(&ours.gradient, &expected);
            }
        }
    }

    #[test]
    fn critic_gradient_equals_automatic_differentiation_for_every_divergence() {
        for text in ["kl", "reverse-kl", "alpha:0.5", "alpha:2.5", "chi2", "js", "hellinger"] {
            let kind: DivergenceKind = text.parse().unwrap();
            for (_, discriminator) in pairs() {
                let d = discriminator.architecture().dimension();
                let (x, y) = (Tensor::rand([5, d], OPTIONS), Tensor::rand([7, d], OPTIONS));
                let between = Tensor::rand([5, d], OPTIONS);
                // L small enough that the penalty is active.
                let penalty = Penalty { weight: 0.1, lipschitz: 0.01 };
                let ours = critic(&discriminator, kind, &x, &y, Some((penalty, &between)));
                assert!(ours.penalty > 0.0);
                let expected = tch::with_grad(|| {
                    let (copy, parameters) = differentiable(&discriminator);
                    let on_data = copy.value(&y, 0.0);
                    let weights = Tensor::from_slice(&dual_functional(kind, &to_f64(&on_data)).weights);
                    let z = between.detach().set_requires_grad(true);
                    let total = copy.value(&z, 0.0).sum(Kind::Double);
                    let slopes = Tensor::run_backward(&[total], &[&z], true, true).remove(0);
                    let squares = slopes.square().sum_dim_intlist(1, false, Kind::Double);
                    let loss = -copy.value(&x, 0.0).mean(Kind::Double)
                        + (on_data * weights).sum(Kind::Double)
                        + (squares - 1e-4).relu().mean(Kind::Double) * 0.1;
                    Tensor::run_backward(&[with_all(loss, &parameters)], &parameters, false, false)
                });
                assert_close(&ours.gradient, &expected);
            }
        }
    }

    /// The mean over the pieces of the gradients of their own objectives, beside the sum of the pieces' contributions.
    #[test]
    fn pieces_sum_to_the_whole_gradient_and_averaged_local_gradients_do_not() {
        let mut discriminator = network(Architecture::dense(3, &[16, 16], Activation::Relu, false), 9);
        // Critic values that are spread widely, as in training, so that Lambda is far from linear.
        tch::no_grad(|| {
            for parameter in discriminator.parameters_mut() {
                let _ = parameter.g_mul_scalar_(3.0);
            }
        });
        let [x, y, between] = [11, 12, 13].map(|seed| {
            tch::manual_seed(seed);
            Tensor::randn([32, 3], OPTIONS)
        });
        let penalty = Penalty { weight: 0.1, lipschitz: 0.01 };
        let flat = |gradient: &[Tensor]| {
            Tensor::cat(&gradient.iter().map(|t| t.flatten(0, -1)).collect::<Vec<_>>(), 0)
        };
        for kind in ["kl", "reverse-kl", "alpha:0.5", "chi2", "js", "hellinger"] {
            let kind: DivergenceKind = kind.parse().unwrap();
            let whole = critic(&discriminator, kind, &x, &y, Some((penalty, &between)));
            let team = crate::team::Team::new(2, 4, None).unwrap();
            let ranges = team.parts(32);
            let inputs: Vec<_> = ranges
                .iter()
                .map(|rows| {
                    let own = |t: &Tensor| t.narrow(0, rows.start as i64, rows.len() as i64);
                    (discriminator.share(), own(&x), own(&y), own(&between))
                })
                .collect();
            let parts = team
                .each(32, inputs, |part, (network, x, y, between)| {
                    let penalty = Some((penalty, &between));
                    let found = critic_part(&network, kind, &x, &y, penalty, part);
                    let pieces = part.cut(&x, 0).into_iter().zip(part.cut(&y, 0)).zip(part.cut(&between, 0));
                    let local = pieces.map(|((x, y), between)| {
                        let penalty = penalty.map(|(penalty, _)| (penalty, &between));
                        flat(&critic(&network, kind, &x, &y, penalty).gradient)
                    });
                    (found.contributions, local.collect::<Vec<_>>())
                })
                .unwrap();
            let averaged: Tensor = parts.iter().flat_map(|part| &part.1).map(|local| local / 4.0).sum();
            let ([total], summed) = team.sum(parts.into_iter().flat_map(|part| part.0).collect()).unwrap();
            let expected = flat(&whole.gradient);
            let error = |found: &Tensor| f64_of(&((found - &expected).norm() / expected.norm()));
            assert!((total / whole.penalty - 1.0).abs() < 1e-13);
            assert!(error(&flat(&summed)) < 1e-12, "{kind}: {}", error(&flat(&summed)));
            assert!(error(&averaged) > 0.1, "{kind}: averaging is off by {} only", error(&averaged));
        }
    }
}
