//! Semi-relaxed transport between weighted points with the singular mass treated as asked: what `D_f^L` and the combined
//! proximal share.

use std::time::Instant;

use ndarray::{ArrayView2, Axis};

use super::cumulant::generalised_cumulant;
use super::generator::Generator;
use super::potential::LipschitzPotential;
use crate::certificate::{Certified, Sign};
use crate::measure::{Measure, check_dimensions};
use crate::options::{Options, SingularMass};
use crate::rigorous;
use crate::specification::{DivergenceKind, InvalidInput};
use crate::transport::certificate::{SparsePlan, lower_transform};
use crate::transport::semi_relaxed::{Problem, checked_weights};
use crate::transport::{GroundCost, PointCost, PointwiseCost};

/// The optimisers, on the atoms as they were given.
pub(crate) struct RegularisedTransport {
    pub transport: f64,
    pub divergence: f64,
    pub intermediate: Vec<f64>,
    pub stayed: Vec<f64>,
    pub plan: SparsePlan,
    /// `min_j (c_ij + psi_j)`, or the cap, with the heights below: length n.
    pub source_potential: Vec<f64>,
    /// `psi_j - nu`: the largest optimal heights, `+inf` for data atoms of weight zero.
    heights: Vec<f64>,
    cap: f64,
}

impl RegularisedTransport {
    /// `phi(y) = min_j (L |y - z_j| + psi_j)`, the terminal discriminator for the Lipschitz and for the Huber cost.
    pub(crate) fn terminal_potential(&self, lipschitz: f64, z: ArrayView2<f64>) -> LipschitzPotential {
        LipschitzPotential::from_parts(lipschitz, z.to_owned(), self.heights.clone(), self.cap)
    }
}

pub(crate) fn regularised_transport(
    cost: PointwiseCost,
    model: &Measure,
    data: &Measure,
    kind: DivergenceKind,
    options: &Options<'_>,
) -> Result<Certified<RegularisedTransport>, InvalidInput> {
    options.check()?;
    let generator = Generator::new(kind)?;
    if options.rigorous {
        rigorous::check(kind)?;
    }
    check_dimensions(model.points(), data.points())?;
    // Atoms without weight are no part of the measure Q.
    let support: Vec<usize> = (0..data.len()).filter(|&j| data.weights()[j] > 0.0).collect();
    let points = data.points().select(Axis(0), &support);
    let cost = PointCost::new(cost, model.points(), points.view())?;
    options.in_pool(|| solve(cost, &support, model, data, &generator, options))?
}

fn solve(
    cost: PointCost,
    support: &[usize],
    model: &Measure,
    data: &Measure,
    generator: &Generator,
    options: &Options<'_>,
) -> Result<Certified<RegularisedTransport>, InvalidInput> {
    let clock = Instant::now();
    let mut watch = options.watch();
    // A stop while the costs are computed stops the solver at its first look, too.
    let mut cost: Box<dyn GroundCost> =
        match cost.clone().within_memory_watched(options.dense_cost_bytes, &mut watch) {
            Ok(cost) => cost,
            Err(_) => Box::new(cost),
        };
    let mut q: Vec<f64> = support.iter().map(|&j| data.weights()[j]).collect();
    let stays = options.singular == SingularMass::Priced && generator.recession_slope().is_finite();
    if stays {
        // One more target of weight zero at no distance from anywhere: singular mass has one price wherever it sits.
        cost = Box::new(WithStaying { inner: cost });
        q.push(0.0);
    }
    let p = checked_weights("model weights", model.weights(), model.len())?;
    let q = checked_weights("data weights", &q, q.len())?;
    let mut given: Vec<f64> = support.iter().map(|&j| data.given_weights()[j]).collect();
    given.extend(stays.then_some(0.0));
    let given = [model.given_weights(), given.as_slice()];
    let problem = Problem { cost: cost.as_ref(), p: &p, q: &q, given, generator, options };
    let solved = problem.solve_and_certify(Sign::NonNegative, &mut watch);

    let cap = if stays { generator.recession_slope() } else { f64::INFINITY };
    let shift = generalised_cumulant(generator, &solved.potential, &q).shift;
    let mut heights = vec![f64::INFINITY; data.len()];
    let mut intermediate = vec![0.0; data.len()];
    for (k, &j) in support.iter().enumerate() {
        intermediate[j] = solved.second_marginal[k];
        heights[j] = solved.potential[k] - shift;
        if intermediate[j] == 0.0 {
            // An idle atom bounds phi only by the price f'(0) of its first bit of mass.
            heights[j] = heights[j].max(generator.derivative(0.0));
        }
    }
    let mut offsets: Vec<f64> = support.iter().map(|&j| heights[j]).collect();
    offsets.extend(stays.then_some(cap));
    let unknown = |_| vec![f64::NAN; p.len()];
    let source_potential = lower_transform(cost.as_ref(), &offsets, &mut watch).unwrap_or_else(unknown);
    let mut seconds = 0.0;
    let solved = solved.map(|solved| {
        let mut stayed = vec![0.0; p.len()];
        let mut plan = SparsePlan::new();
        for (i, k, mass) in solved.plan {
            match support.get(k as usize) {
                Some(&j) => plan.push((i, j as u32, mass)),
                None => stayed[i as usize] += mass,
            }
        }
        seconds = clock.elapsed().as_secs_f64();
        RegularisedTransport {
            transport: solved.transport,
            divergence: solved.divergence,
            intermediate,
            stayed,
            plan,
            source_potential,
            heights,
            cap,
        }
    });
    Ok(Certified { seconds, ..solved })
}

/// A cost with one more target that every source reaches for nothing.
struct WithStaying {
    inner: Box<dyn GroundCost>,
}

impl GroundCost for WithStaying {
    fn sources(&self) -> usize {
        self.inner.sources()
    }
    fn targets(&self) -> usize {
        self.inner.targets() + 1
    }
    fn entry(&self, i: usize, j: usize) -> f64 {
        if j < self.inner.targets() { self.inner.entry(i, j) } else { 0.0 }
    }
    fn fill_row(&self, i: usize, out: &mut [f64]) {
        let (last, rest) = out.split_last_mut().expect("a target beyond those of the data");
        match self.inner.row(i) {
            Some(row) => rest.copy_from_slice(row),
            None => self.inner.fill_row(i, rest),
        }
        *last = 0.0;
    }
    fn rounding(&self) -> f64 {
        self.inner.rounding()
    }
    fn enclosure(&self) -> (f64, f64) {
        self.inner.enclosure()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;

    #[test]
    fn staying_costs_nothing_and_rows_are_the_entries() {
        let (x, z) = (array![[0.0], [2.0]], array![[1.0], [5.0], [-3.0]]);
        let distances = array![[1.0, 5.0, 3.0, 0.0], [1.0, 3.0, 5.0, 0.0]];
        for bytes in [0, usize::MAX] {
            let inner =
                PointCost::new(PointwiseCost::Distance, x.view(), z.view()).unwrap().within_memory(bytes);
            let staying = WithStaying { inner };
            assert_eq!((staying.sources(), staying.targets()), (2, 4));
            for (i, expected) in distances.outer_iter().enumerate() {
                let (mut row, mut tail) = ([f64::NAN; 4], [f64::NAN; 2]);
                staying.fill_row(i, &mut row);
                staying.fill_range(i, 2, &mut tail);
                let entries: Vec<f64> = (0..4).map(|j| staying.entry(i, j)).collect();
                assert_eq!(expected.to_vec(), entries);
                assert_eq!(entries, row);
                assert_eq!(entries[2..], tail);
            }
        }
    }
}
