//! What the paths of a flow add up on their way: one number of each kind per sample.

use tch::Tensor;

use crate::flow::FlowSpecification;
use crate::network::Network;
use crate::team::Part;

/// Sums along the paths of a batch, each `(B)`, and where the paths end.
pub(super) struct Paths {
    /// `sum_k h |v_k|^2 / 2`.
    pub energy: Tensor,
    /// `sum_k h |v_k|`.
    pub length: Tensor,
    /// `sum_k |v_k|` and `sum_k |v_k - v_{k-1}|`, both from `k = 1` on.
    pub speed: Tensor,
    pub turning: Tensor,
    /// `sum_k h |dU/dt - |grad U|^2 / (2 lambda)|`, the same without its mean over the batch, and with a plus.
    pub residual: Tensor,
    pub gauged: Tensor,
    pub flipped: Tensor,
    /// `|x_N - x_0|`.
    pub displacement: Tensor,
    /// `|grad phi(x_N)|` and `|grad U(x_N, T) - grad phi(x_N)|`.
    pub critic_slope: Tensor,
    pub mismatch: Tensor,
    /// `|x_N - x_N^ref| / |x_N^ref - x_0|`, where there is a reference.
    pub deviation: Option<Tensor>,
    /// `x_N (B, d)`.
    pub end: Tensor,
}

/// One piece of a batch on its way.
struct Walker {
    start: Tensor,
    x: Tensor,
    previous: Option<Tensor>,
    energy: Tensor,
    length: Tensor,
    speed: Tensor,
    turning: Tensor,
    residual: Tensor,
    gauged: Tensor,
    flipped: Tensor,
}

impl Walker {
    fn new(start: &Tensor) -> Self {
        let zeros = || Tensor::zeros([start.size()[0]], (start.kind(), start.device()));
        Self {
            start: start.shallow_clone(),
            x: start.detach(),
            previous: None,
            energy: zeros(),
            length: zeros(),
            speed: zeros(),
            turning: zeros(),
            residual: zeros(),
            gauged: zeros(),
            flipped: zeros(),
        }
    }

    /// Moves on to `x_{k+1}` and returns the defect `dU/dt - |grad U|^2 / (2 lambda)` at `x_k`.
    fn advance(&mut self, potential: &Network, flow: FlowSpecification, k: usize) -> Tensor {
        let (h, lambda) = (flow.step(), flow.lambda);
        let slope = potential.slope(&self.x, flow.time(k));
        let velocity = &slope.gradient * (-1.0 / lambda);
        let squared = norm_squared(&velocity);
        let hamiltonian = &squared * (lambda / 2.0);
        let defect = &slope.time_derivative - &hamiltonian;
        self.energy += &squared * (h / 2.0);
        self.length += squared.sqrt() * h;
        self.flipped += (&slope.time_derivative + &hamiltonian).abs() * h;
        self.residual += defect.abs() * h;
        if let Some(before) = self.previous.replace(velocity.shallow_clone()) {
            self.turning += norm(&(&velocity - before));
            self.speed += norm(&velocity);
        }
        self.x = &self.x + velocity * h;
        defect
    }
}

/// Walks the paths from the rows `x_0` of one part of a batch, with the rows of the reference's endpoints; the whole batch's sums, the
/// same in every part.
pub(super) fn walk(
    potential: &Network,
    discriminator: &Network,
    (x0, reference): (&Tensor, Option<&Tensor>),
    flow: FlowSpecification,
    part: &Part<'_>,
) -> Paths {
    let mut walkers: Vec<Walker> = part.cut(x0, 0).iter().map(Walker::new).collect();
    for k in 0..flow.steps {
        let defects: Vec<Tensor> =
            walkers.iter_mut().map(|walker| walker.advance(potential, flow, k)).collect();
        let [whole] = part.gather([&Tensor::cat(&defects, 0)]);
        let mean = whole.mean(whole.kind());
        for (walker, defect) in walkers.iter_mut().zip(defects) {
            walker.gauged += (defect - &mean).abs() * flow.step();
        }
    }
    let references = reference.map(|end| part.cut(end, 0));
    let piece = |(index, walker): (usize, &Walker)| {
        let critic = discriminator.gradient(&walker.x, 0.0);
        let mismatch = norm(&(potential.gradient(&walker.x, flow.horizon) - &critic));
        let mut rows: Vec<Tensor> = [
            &walker.energy,
            &walker.length,
            &walker.speed,
            &walker.turning,
            &walker.residual,
            &walker.gauged,
            &walker.flipped,
        ]
        .map(Tensor::shallow_clone)
        .into();
        rows.extend([norm(&(&walker.x - &walker.start)), norm(&critic), mismatch]);
        if let Some(end) = references.as_ref().map(|ends| &ends[index]) {
            rows.push(norm(&(&walker.x - end)) / norm(&(end - &walker.start)));
        }
        Tensor::stack(&rows, 0)
    };
    let rows: Vec<Tensor> = walkers.iter().enumerate().map(piece).collect();
    let rows = part.gather_columns(&Tensor::cat(&rows, 1));
    let ends: Vec<&Tensor> = walkers.iter().map(|walker| &walker.x).collect();
    let end = part.gather_columns(&Tensor::cat(&ends, 0).tr()).tr().contiguous();
    let row = |index: i64| rows.get(index);
    Paths {
        energy: row(0),
        length: row(1),
        speed: row(2),
        turning: row(3),
        residual: row(4),
        gauged: row(5),
        flipped: row(6),
        displacement: row(7),
        critic_slope: row(8),
        mismatch: row(9),
        deviation: reference.map(|_| row(10)),
        end,
    }
}

pub(super) fn norm_squared(rows: &Tensor) -> Tensor {
    rows.square().sum_dim_intlist(1, false, rows.kind())
}

pub(super) fn norm(rows: &Tensor) -> Tensor {
    norm_squared(rows).sqrt()
}
