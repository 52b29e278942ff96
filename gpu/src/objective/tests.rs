//! Both gradients against back-propagation, and parts of a batch against the whole.
#![allow(clippy::unwrap_used)]

use proxflow_reference::DivergenceKind;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::architecture::{Activation, Architecture, Features};
use crate::derivatives::{differentiable, with_all};
use crate::divergence::dual_functional;
use crate::flow::FlowSpecification;
use crate::host::{f64_of, to_f64};
use crate::network::Network;
use crate::random::{Stream, StreamLabel};

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
    let flat =
        |gradient: &[Tensor]| Tensor::cat(&gradient.iter().map(|t| t.flatten(0, -1)).collect::<Vec<_>>(), 0);
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
