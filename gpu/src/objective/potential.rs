//! The potential's objective \[42\] and its gradient: without unrolling where the potential is piecewise linear, by the adjoint elsewhere.

use tch::Tensor;

use super::case::Case;
use crate::derivatives::{accumulate, differentiable, with_all};
use crate::flow::FlowSpecification;
use crate::host::{mean_of, means_of};
use crate::linearisation::Linearisation;
use crate::network::Network;
use crate::team::{Contribution, Part};

/// Terms of the potential's objective \[42\] and its gradient.
pub struct PotentialEvaluation {
    /// `mean phi(x_N)`.
    pub terminal: f64,
    /// `K_h = h sum_k mean |v_k|^2 / 2`, also when the objective does not contain it.
    pub kinetic_energy: f64,
    /// Gradient in parameter order.
    pub gradient: Vec<Tensor>,
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
        kinetic_energy: energy(steps.iter().map(|(_, slope)| squares(slope)).collect(), flow),
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
    let mut speeds = Vec::with_capacity(flow.steps);
    let mut gradient = Vec::new();
    tch::with_grad(|| {
        let (copy, parameters) = differentiable(potential);
        for k in (0..flow.steps).rev() {
            let x = positions[k].detach().set_requires_grad(true);
            let total = copy.value(&x, flow.time(k)).sum(x.kind());
            let slope = Tensor::run_backward(&[total], &[&x], true, true).remove(0);
            speeds.push(squares(&slope.detach()));
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
    PotentialEvaluation { terminal: mean_of(&terminal.value), kinetic_energy: energy(speeds, flow), gradient }
}

/// `(lambda / h) a_k`: slope minus costate, or minus the costate alone without kinetic term.
fn forcing(slope: &Tensor, costate: &Tensor, case: Case) -> Tensor {
    if case.has_kinetic_energy() { slope - costate } else { -costate }
}

/// `|slope|^2` of every row.
fn squares(slope: &Tensor) -> Tensor {
    slope.square().sum_dim_intlist(1, false, slope.kind())
}

/// `h sum_k mean |v_k|^2 / 2` with `v = -slope / lambda`, from the squares of all slopes.
fn energy(squares: Vec<Tensor>, flow: FlowSpecification) -> f64 {
    means_of(&squares).into_iter().map(|mean| 0.5 * flow.step() * mean / (flow.lambda * flow.lambda)).sum()
}
