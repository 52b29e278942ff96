//! The critical Lipschitz constant `L_c`: the smallest `L` at which the optimum is that of `L = inf` (mathematics 2.4).
//!
//! From there on the combined proximal does not depend on `L`. Solve with the quadratic cost; then two certificates bracket
//! `L_c` without solving again. Below, the plan: at `L` its moves beyond the kink `L T/lambda` become cheaper by
//! `sum G (lambda/2T)(r - LT/lambda)^2`, and once that exceeds the certified gap the optimum is another one. Above, the
//! potential: it stays dual feasible for the Huber cost while `phi_i - psi_j <= L r - L^2 T/(2 lambda)` for all pairs,
//!
//! ```text
//! L >= max_ij 2 s / (r + sqrt(r^2 - 2 T s/lambda)),   s = phi_i - psi_j > 0,  r = |x_i - z_j|
//! ```
//! and so certifies the same value. What is left between the two is bisected by solving and comparing certificates.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::{CombinedProximal, combined_proximal};
use crate::certificate::{Bounds, Certified, Sign, Termination, gated};
use crate::measure::Measure;
use crate::options::Options;
use crate::specification::{DivergenceKind, InvalidInput, ProximalParameters};
use crate::transport::{GroundCost, PointCost, PointwiseCost};

/// The bracket is bisected until its width is this part of it.
const PRECISION: f64 = 1e-3;

/// Problems solved at most.
const MAXIMUM_SOLVES: usize = 30;

/// Rounding of a difference of two values of size one.
const ROUNDING: f64 = 1e-13;

/// What decides the critical Lipschitz constant.
#[derive(Debug, Clone)]
pub struct CriticalOptimum {
    /// The longest distance `r_max` that the optimal plan of `L = inf` uses; `lambda r_max/T <= L_c`.
    pub longest_move: f64,
    /// The optimum of `L = inf`, solved at an `L` whose kink lies beyond all distances.
    pub unconstrained: CombinedProximal,
    /// Problems solved.
    pub solves: usize,
}

/// `L_c` between two certified bounds: at the lower one `J*` is certifiably below `J*(inf)`, at the upper one it is not.
///
/// `J*(inf) - J*(L)` starts quadratically at `L_c`, so that bounds from a certified gap `g` see it with a relative
/// uncertainty of about `sqrt(g)`, 1e-6 by default.
pub type CriticalLipschitz = Certified<CriticalOptimum>;

/// The critical Lipschitz constant of the combined proximal from `source` to `data`. `lambda` and `horizon` as in
/// [`ProximalParameters`]. Errors as in [`combined_proximal`].
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::{DivergenceKind, Measure, Options};
/// use proxflow_reference::proximal::critical_lipschitz;
/// // One atom each at distance 3: the whole way is kinetic from L = lambda r / T on.
/// let source = Measure::uniform(array![[0.0, 0.0]])?;
/// let data = Measure::uniform(array![[3.0, 0.0]])?;
/// let kind = DivergenceKind::KullbackLeibler;
/// let found = critical_lipschitz(&source, &data, kind, 0.5, 2.0, &Options::new())?;
/// assert!(found.lower <= 0.75 && 0.75 <= found.upper * (1.0 + 1e-12) && found.gap() < 1e-5);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn critical_lipschitz(
    source: &Measure,
    data: &Measure,
    kind: DivergenceKind,
    lambda: f64,
    horizon: f64,
    options: &Options<'_>,
) -> Result<CriticalLipschitz, InvalidInput> {
    ProximalParameters::new(1.0, lambda, horizon)?;
    let clock = std::time::Instant::now();
    let diagonal = PointCost::new(PointwiseCost::Distance, source.points(), data.points())?.diagonal();
    let beyond = if diagonal > 0.0 { 2.0 * lambda * diagonal / horizon } else { lambda / horizon };
    let solve = |lipschitz: f64| {
        let parameters = ProximalParameters::new(lipschitz, lambda, horizon)?;
        combined_proximal(source, data, kind, parameters, options)
    };
    let unconstrained = solve(beyond)?;
    let search = Search { source, data, lambda, horizon, value: unconstrained.bounds() };
    let longest_move = search.longest_move(&unconstrained);
    let mut lower = search.told_apart_by_plan(&unconstrained);
    let mut upper = options.in_pool(|| search.feasible_from(&unconstrained))??.min(beyond).max(lower);
    let (mut solves, mut termination) = (1, unconstrained.termination);
    while termination == Termination::Converged && upper - lower > PRECISION * upper {
        if solves == MAXIMUM_SOLVES {
            termination = Termination::IterationLimit;
            break;
        }
        let middle = 0.5 * (lower + upper);
        let solved = solve(middle)?;
        solves += 1;
        if solved.termination == Termination::Cancelled || !solved.bounds().is_finite() {
            termination = solved.termination;
        } else if solved.upper < search.value.lower - search.rounding() {
            lower = middle;
        } else {
            upper = middle;
        }
    }
    let known = if unconstrained.bounds().is_finite() { Bounds { lower, upper } } else { Bounds::UNKNOWN };
    let (bounds, termination) = gated(known, 1e-6 * upper, Sign::NonNegative, termination);
    Ok(Certified {
        lower: bounds.lower,
        upper: bounds.upper,
        termination,
        seconds: clock.elapsed().as_secs_f64(),
        solution: CriticalOptimum { longest_move, unconstrained, solves },
    })
}

struct Search<'a> {
    source: &'a Measure,
    data: &'a Measure,
    lambda: f64,
    horizon: f64,
    /// `J*(inf)`.
    value: Bounds,
}

impl Search<'_> {
    fn rounding(&self) -> f64 {
        ROUNDING * (1.0 + self.value.upper.abs())
    }

    /// Lengths and masses of the moves of the plan.
    fn moves(&self, solved: &CombinedProximal) -> Vec<(f64, f64)> {
        let length = |k: usize| {
            let (start, end): (ArrayView2<f64>, ArrayView2<f64>) =
                (solved.starts.view(), solved.endpoints.view());
            crate::transport::potential::distance(start.row(k), end.row(k))
        };
        solved.paths.iter().enumerate().map(|(k, path)| (length(k), path.mass)).collect()
    }

    fn longest_move(&self, solved: &CombinedProximal) -> f64 {
        self.moves(solved).into_iter().fold(0.0, |longest, (r, _)| longest.max(r))
    }

    /// The largest `L` at which the plan alone costs less than `J*(inf)`, by bisection of a decreasing function.
    fn told_apart_by_plan(&self, solved: &CombinedProximal) -> f64 {
        let (moves, bar) = (self.moves(solved), self.value.gap().max(0.0) + self.rounding());
        let gain = |lipschitz: f64| -> f64 {
            let kink = lipschitz * self.horizon / self.lambda;
            let beyond = |(r, mass): &(f64, f64)| mass * (r - kink).max(0.0).powi(2);
            self.lambda / (2.0 * self.horizon) * moves.iter().map(beyond).sum::<f64>()
        };
        let (mut low, mut high) = (0.0, self.lambda * self.longest_move(solved) / self.horizon);
        // NaN where nothing is known: stays at zero.
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if gain(middle) > bar { low = middle } else { high = middle }
        }
        low
    }

    /// The smallest `L` at which the potential is still dual feasible: one pass over all pairs.
    fn feasible_from(&self, solved: &CombinedProximal) -> Result<f64, InvalidInput> {
        let distances = PointCost::new(PointwiseCost::Distance, self.source.points(), self.data.points())?;
        let (phi, psi) = (&solved.initial_potential, solved.potential.offsets());
        let (p, reach) = (self.source.weights(), 2.0 * self.horizon / self.lambda);
        let row = |buffer: &mut Vec<f64>, i: usize| -> f64 {
            distances.fill_row(i, buffer);
            buffer.iter().zip(psi).fold(0.0, |most: f64, (&r, &psi)| {
                let s = phi[i] - psi;
                if s > 0.0 { most.max(2.0 * s / (r + (r * r - reach * s).max(0.0).sqrt())) } else { most }
            })
        };
        let count = self.source.len();
        let rows = (0..count).into_par_iter().filter(|&i| p[i] > 0.0);
        Ok(rows.map_init(|| vec![0.0; psi.len()], row).reduce(|| 0.0, f64::max))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;

    /// One move of length `r`: at `L` the plan alone saves `(lambda/2T)(r - LT/lambda)^2`, which exceeds what is known up to
    /// `bar` for `L < (lambda/T)(r - sqrt(2T bar/lambda))`.
    #[test]
    fn the_plan_tells_apart_what_its_longest_move_saves() {
        let (lambda, horizon, r) = (0.5, 2.0, 3.0);
        let (source, data) =
            (Measure::uniform(array![[0.0, 0.0]]).unwrap(), Measure::uniform(array![[r, 0.0]]).unwrap());
        let parameters = ProximalParameters::new(10.0, lambda, horizon).unwrap();
        let kind = DivergenceKind::KullbackLeibler;
        let solved = combined_proximal(&source, &data, kind, parameters, &Options::new()).unwrap();
        let value = lambda * r * r / (2.0 * horizon);
        for gap in [0.0, 1e-9, 1e-3, 0.5] {
            let known = Bounds { lower: value - gap, upper: value };
            let search = Search { source: &source, data: &data, lambda, horizon, value: known };
            let bar = known.gap() + ROUNDING * (1.0 + value);
            let expected = lambda / horizon * (r - (2.0 * horizon * bar / lambda).sqrt());
            let found = search.told_apart_by_plan(&solved);
            assert!((found - expected).abs() < 1e-11, "{gap}: {found} {expected}");
        }
        // A gap above all that the plan can save tells nothing.
        let known = Bounds { lower: 0.0, upper: 2.0 * value };
        let search = Search { source: &source, data: &data, lambda, horizon, value: known };
        assert!(search.told_apart_by_plan(&solved) < 1e-15);
    }
}
