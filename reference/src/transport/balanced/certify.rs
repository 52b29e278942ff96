//! The certificate of balanced transport, from the plan and the potentials alone.

use std::time::Instant;

use super::plan::{BalancedPlan, BalancedTransport};
use super::simplex::{Problem, Solved};
use crate::certificate::{Bounds, Certified, Sign, Termination, gated};
use crate::observer::{Stopped, Watch};
use crate::rigorous;
use crate::transport::certificate::{
    SparsePlan, compensated_sum, largest_charged, lower_transform, rounding_of_sums, transport_scale,
};
use crate::transport::cost::GroundCost;
use crate::transport::pricing;

/// Gap relative to the value that counts as converged.
const RELATIVE_GAP: f64 = 1e-12;

/// Gap relative to `sum_i p_i |phi_i| + sum_j q_j |psi_j|` that counts as converged where those terms cancel: rounding of the sums.
const ROUNDING_GAP: f64 = 32.0 * f64::EPSILON;

/// `converged`, but for a gap that neither the value nor the rounding of the dual's terms, of sum `scale` in size, explains.
fn judged(bounds: Bounds, scale: f64) -> Termination {
    let met = bounds.gap() <= (RELATIVE_GAP * bounds.upper.abs()).max(ROUNDING_GAP * scale);
    if met { Termination::Converged } else { Termination::Stalled }
}

/// The largest crossing of both bounds by rounding, relative to `1 + |value|`, that is reported.
const PLAIN: f64 = 1e-9;

impl Problem<'_> {
    pub(super) fn solve_and_certify(&self, sign: Sign, watch: &mut Watch<'_>) -> BalancedTransport {
        let clock = Instant::now();
        match self.solve(watch) {
            Err(Stopped) => self.nothing_known(clock),
            Ok(solved) if solved.termination == Termination::Cancelled => {
                self.certify_what_is_known(&solved, sign, clock)
            }
            Ok(solved) => self
                .certify(&solved, sign, watch, clock)
                .unwrap_or_else(|Stopped| self.certify_what_is_known(&solved, sign, clock)),
        }
    }

    fn certify(
        &self,
        solved: &Solved,
        sign: Sign,
        watch: &mut Watch<'_>,
        clock: Instant,
    ) -> Result<BalancedTransport, Stopped> {
        let Self { cost, p, q, .. } = *self;
        let mut psi = solved.basis.potential[p.len()..].to_vec();
        if q.contains(&0.0) {
            let phi = &solved.basis.potential[..p.len()];
            let nearest = pricing::nearest_sources(cost, p, phi, watch)?;
            for j in (0..q.len()).filter(|&j| q[j] == 0.0) {
                psi[j] = phi[nearest[j].0 as usize] - nearest[j].1;
            }
        }
        let phi = lower_transform(cost, &psi, watch)?;
        let found = self.certificate(solved, phi, psi, sign, clock);
        // Bounds that cross by rounding, as of W2^2 = 0 between far points, say how little plain sums know there.
        let crossed = found.gap() < -PLAIN * (1.0 + found.upper.abs());
        if self.options.rigorous || crossed { self.rigorously(found, sign, watch) } else { Ok(found) }
    }

    /// After a stop: the plan at hand bounds from above, the last complete pass from below.
    fn certify_what_is_known(&self, solved: &Solved, sign: Sign, clock: Instant) -> BalancedTransport {
        let Self { cost, p, q, .. } = *self;
        let mut known = self.nothing_known(clock);
        // Bounds of a stopped solve are those of plain arithmetic: no theorem, hence nothing.
        let Some((linear, psi)) = solved.last_dual.as_ref().filter(|_| !self.options.rigorous) else {
            return known;
        };
        let plan = solved.basis.plan(p, q);
        let upper = plan_cost(cost, &plan);
        let charged = q.iter().zip(psi).filter(|(q, _)| **q > 0.0);
        let lower = linear - compensated_sum(charged.map(|(q, psi)| q * psi));
        let rounding = self.rounding(&plan, linear.abs() + largest_charged(psi, q));
        let (bounds, termination) = gated(Bounds { lower, upper }, rounding, sign, Termination::Cancelled);
        known.solution.plan = plan;
        (known.solution.passes, known.solution.iterations) = (solved.progress.passes, solved.progress.pivots);
        (known.lower, known.upper, known.termination) = (bounds.lower, bounds.upper, termination);
        known
    }

    /// Stopped before there was a tree.
    fn nothing_known(&self, clock: Instant) -> BalancedTransport {
        Certified {
            lower: f64::NEG_INFINITY,
            upper: f64::INFINITY,
            termination: Termination::Cancelled,
            seconds: clock.elapsed().as_secs_f64(),
            solution: BalancedPlan {
                plan: SparsePlan::new(),
                source_potential: vec![f64::NAN; self.p.len()],
                target_potential: vec![f64::NAN; self.q.len()],
                passes: 0,
                iterations: 0,
            },
        }
    }

    /// Both bounds, from the plan and the potentials alone.
    fn certificate(
        &self,
        solved: &Solved,
        phi: Vec<f64>,
        psi: Vec<f64>,
        sign: Sign,
        clock: Instant,
    ) -> BalancedTransport {
        let Self { cost, p, q, .. } = *self;
        let plan = solved.basis.plan(p, q);
        let dual = |weights: &[f64], values: &[f64], sign: f64| -> Vec<f64> {
            weights.iter().zip(values).filter(|(w, _)| **w > 0.0).map(|(w, v)| sign * w * v).collect()
        };
        let terms = [dual(p, &phi, 1.0), dual(q, &psi, -1.0)].concat();
        let lower = compensated_sum(terms.iter().copied());
        let upper = plan_cost(cost, &plan);
        let scale: f64 = terms.iter().map(|term| term.abs()).sum();
        let termination = match solved.termination {
            Termination::IterationLimit => Termination::IterationLimit,
            _ => judged(Bounds { lower, upper }, scale),
        };
        let rounding = self.rounding(&plan, scale + largest_charged(&phi, p) + largest_charged(&psi, q));
        let (bounds, termination) = gated(Bounds { lower, upper }, rounding, sign, termination);
        Certified {
            lower: bounds.lower,
            upper: bounds.upper,
            termination,
            seconds: clock.elapsed().as_secs_f64(),
            solution: BalancedPlan {
                plan,
                source_potential: phi,
                target_potential: psi,
                passes: solved.progress.passes,
                iterations: solved.progress.pivots,
            },
        }
    }

    /// The same solution with outward-rounded bounds.
    fn rigorously(
        &self,
        mut found: BalancedTransport,
        sign: Sign,
        watch: &mut Watch<'_>,
    ) -> Result<BalancedTransport, Stopped> {
        let data = rigorous::Data { cost: self.cost, p: self.given[0], q: self.given[1] };
        let bounds = rigorous::balanced(&data, &found.plan, &found.target_potential, watch)?;
        // Wider arithmetic may know of a gap that plain sums did not see.
        let charged =
            |(weight, value): (&f64, &f64)| if *weight > 0.0 { (weight * value).abs() } else { 0.0 };
        let scale: f64 = self.p.iter().zip(&found.source_potential).map(charged).sum::<f64>()
            + self.q.iter().zip(&found.target_potential).map(charged).sum::<f64>();
        let ended = match found.termination {
            Termination::Converged => judged(bounds, scale),
            ended => ended,
        };
        let (bounds, termination) = gated(bounds, 0.0, sign, ended);
        (found.lower, found.upper, found.termination) = (bounds.lower, bounds.upper, termination);
        Ok(found)
    }

    fn rounding(&self, plan: &SparsePlan, scale: f64) -> f64 {
        rounding_of_sums(self.cost, transport_scale(self.cost, plan), scale, self.p.len() + self.q.len())
    }
}

fn plan_cost(cost: &dyn GroundCost, plan: &SparsePlan) -> f64 {
    compensated_sum(plan.iter().map(|&(i, j, mass)| mass * cost.entry(i as usize, j as usize)))
}
