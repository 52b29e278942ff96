//! Two-sided bounds of the continuum game between hat-spread densities `p^ = sum_i p_i hat_i`, `q^ = sum_j q_j hat_j`:
//!
//! ```text
//! J_c = min { lambda/(2T) W2^2(p^, rho) + L W1(rho, eta) + KL(eta | q^) } = max_{phi in Lip_L} int p^ U_phi - ln int q^ e^phi
//! ```
//!
//! **Below.** Node values `phi` stand for the quadratic B-spline `phi^ = phi_ml * box`, the multilinear interpolant averaged over
//! a box of side `h`; it is `L`-Lipschitz where the control slopes are at most `L` ([`crate::torus::lattice::control_slopes`]). Averages of infima
//! are below infima of averages, and `exp` of an average below the average of `exp`, so the boxes pass to the data:
//! `int p^ U_{phi^} >= int (p^ * box) U_{phi_ml}`, `int q^ e^{phi^} <= int (q^ * box) e^{phi_ml}`. Both are taken on a grid `M` times
//! finer, of spacing `s = h/M`, where `phi_ml` is again its own interpolant. Within a cell `|x - y|^2` is its interpolant minus
//! `sum t(1-t) s^2 <= d s^2/4`, so the transform over fine nodes exceeds `U_{phi_ml}(x_k)` by at most
//! `lambda d s^2/(8T)`; `U - lambda |x|^2/(2T)` is concave, so between nodes `U` is at least its interpolant minus
//! `lambda/(2T) sum t(1-t) s^2`, on average another `lambda d s^2/(12T)` (the fractions `t` are uniform). An `L`-Lipschitz `phi^`
//! also has `U >= phi^ - L^2 T/(2 lambda)`, better where the grid does not resolve the kink. `e^{phi_ml}` is at most its
//! interpolant. With `K` the integrals of hat * box against fine hats along each axis ((1, 76, 230, 76, 1)/384 for `M = 1`):
//!
//! ```text
//! J_c >= sum (K p)_k U_k - min(lambda d s^2 (1/8 + 1/12)/T, L^2 T/(2 lambda)) - ln sum (K q)_k e^{phi_k}
//! ```
//!
//! **Above.** A plan between nodes, spread by one hat noise common to both ends, costs the same and joins `p^` to `rho^`. It may
//! be rearranged along the lines of every pass: given the nodes of the other axes, the positions within hats along different
//! axes are independent, so whatever joins the two spread marginals of each line joins `p^` to `rho^` ([`crate::torus::large_grid::ascent::line_rearrangement`]). A
//! flux bounds `W1(rho^, eta^)` ([`crate::torus::lattice::edge_flux`]); `KL(eta^ | q^) <= KL(eta | q)`, spreading being a Markov kernel.
//! The same common noise shows `J_c <= J`, the node value of [`crate::torus::problem`]: **the lower bound holds for both**.

use rayon::prelude::*;

use crate::torus::large_grid::bounds::slope_repair::feasible;
use crate::torus::large_grid::level::{Level, PrimalPoint, log_partition};
use crate::torus::large_grid::tuning;
use crate::torus::lattice::edge_flux::EdgeFlux;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::lines::rotate_axes;
use crate::torus::lattice::spectral::SpectralSolver;
use crate::torus::lattice::transfer::{averaged, prolong_linearly};
use crate::torus::lattice::vector::{dot, kullback_leibler, sum_pairs, update};
use crate::torus::operators::hopf_lax::hopf_lax_in_place;

/// A potential that obeys the cap and the lower bound it gives.
#[derive(Clone)]
pub(crate) struct ContinuumDual {
    pub lower: f64,
    /// Coefficients of `phi^`.
    coefficients: Vec<f64>,
}

impl ContinuumDual {
    /// `phi^` at the nodes, `L`-Lipschitz between them.
    pub(crate) fn potential(&self, level: &Level) -> Vec<f64> {
        averaged(&level.grid, &self.coefficients, &QUADRATIC)
    }

    /// `U` of that potential, minimised over nodes.
    pub(crate) fn initial_potential(&self, level: &Level) -> Vec<f64> {
        let mut values = self.potential(level);
        let mut scratch = vec![0.0; values.len()];
        hopf_lax_in_place(&level.grid, level.curvature(), &mut values, &mut scratch);
        values
    }
}

/// `K p`, `K q` and the Poisson solver of one grid.
pub(crate) struct ContinuumBounds {
    /// `M`.
    refinement: usize,
    fine: TorusGrid,
    spread_source: Vec<f64>,
    spread_target: Vec<f64>,
    spectral: SpectralSolver,
    /// Index of the best length so far.
    absorption: usize,
}

/// The quadratic B-spline at 0, 1.
const QUADRATIC: [f64; 2] = [0.75, 0.125];

impl ContinuumBounds {
    pub(crate) fn new(level: &Level) -> Self {
        let grid = level.grid;
        let nodes = |refinement: usize| (refinement * grid.nodes_per_side).pow(grid.dimension as u32);
        let affordable = |refinement: &usize| nodes(*refinement) <= tuning::FINE_NODES;
        Self::with_refinement(level, tuning::FINE_REFINEMENTS.into_iter().find(affordable).unwrap_or(1))
    }

    fn with_refinement(level: &Level, refinement: usize) -> Self {
        let grid = level.grid;
        let kernel = hat_box_kernel(refinement);
        Self {
            refinement,
            fine: TorusGrid { nodes_per_side: refinement * grid.nodes_per_side, ..grid },
            spread_source: spread(&grid, &level.source, refinement, &kernel),
            spread_target: spread(&grid, &level.target, refinement, &kernel),
            spectral: SpectralSolver::new(grid),
            absorption: tuning::ABSORPTION.len() - 1,
        }
    }

    /// The lower bound of a potential near `phi` that obeys the cap; slopes that break it by the part `tolerance` are
    /// scaled, which costs at most that part of the bound.
    pub(crate) fn below(&self, level: &Level, phi: &[f64], tolerance: f64) -> ContinuumDual {
        let value = |phi: &[f64]| level.node_value(phi);
        self.claim(level, feasible(&level.grid, phi, level.lipschitz, tolerance, value))
    }

    /// The lower bound that `phi` gives if it obeys the cap.
    fn claim(&self, level: &Level, coefficients: Vec<f64>) -> ContinuumDual {
        let (mut grid, mut phi) = (level.grid, coefficients.clone());
        while grid != self.fine {
            phi = prolong_linearly(&grid, &phi);
            grid.nodes_per_side *= 2;
        }
        let mut initial = phi.clone();
        let mut scratch = vec![0.0; phi.len()];
        let curvature = level.curvature() / (self.refinement * self.refinement) as f64;
        hopf_lax_in_place(&grid, curvature, &mut initial, &mut scratch);
        let lower = dot(&self.spread_source, &initial)
            - interpolation_loss(level, self.refinement)
            - log_partition(&phi, &self.spread_target, &mut scratch);
        ContinuumDual { lower, coefficients }
    }

    /// The upper bound of a plan from `p` to `rho` of cost `kinetic_cost`, continued by `flux` to near `tilted`. What is
    /// left over is shared between `eta` and a gradient flux, at the best of a few lengths.
    pub(crate) fn above(
        &mut self,
        level: &Level,
        (kinetic_cost, rho): (f64, &[f64]),
        tilted: &[f64],
        flux: &EdgeFlux,
    ) -> PrimalPoint {
        let mut best = self.joined(level, (kinetic_cost, rho), tilted, flux, self.absorption);
        for next in [-1_isize, 1] {
            let mut index = self.absorption;
            while let Some(neighbour) =
                index.checked_add_signed(next).filter(|i| *i < tuning::ABSORPTION.len())
            {
                let point = self.joined(level, (kinetic_cost, rho), tilted, flux, neighbour);
                if point.value() >= best.value() {
                    break;
                }
                (best, index, self.absorption) = (point, neighbour, neighbour);
            }
        }
        best
    }

    fn joined(
        &mut self,
        level: &Level,
        (kinetic_cost, rho): (f64, &[f64]),
        tilted: &[f64],
        flux: &EdgeFlux,
        absorption: usize,
    ) -> PrimalPoint {
        let grid = level.grid;
        let mut left = vec![0.0; rho.len()];
        flux.divergence(&mut left);
        update(&mut left, rho, |divergence, rho| rho - divergence);
        let length = tuning::ABSORPTION[absorption] * grid.spacing();
        let mut intermediate = tilted.to_vec();
        if length.is_finite() {
            let mut absorbed = left.clone();
            update(&mut absorbed, tilted, |left, eta| left - eta);
            self.spectral.apply(&mut absorbed, |square| 1.0 / (1.0 + length * length * square));
            // eta stays positive and absolutely continuous; the flux carries whatever is cut off here.
            update(&mut intermediate, &absorbed, |eta, change| (eta + change).max(tuning::KEPT * eta));
            update(&mut intermediate, &level.target, |eta, q| if q > 0.0 { eta } else { 0.0 });
            let total = sum_pairs(&intermediate, rho, |eta, _| eta);
            intermediate.iter_mut().for_each(|eta| *eta /= total);
        }
        update(&mut left, &intermediate, |left, eta| left - eta);
        let mut flux = flux.clone();
        flux.add_gradient_flux(&mut self.spectral, &left);
        flux.subtract_median();
        PrimalPoint {
            kinetic_cost,
            lipschitz_cost: level.lipschitz * flux.cost(),
            divergence: kullback_leibler(&intermediate, &level.target),
            terminal: rho.to_vec(),
            intermediate,
        }
    }
}

/// What interpolation between the nodes of a grid `refinement` times finer can cost the lower bound at most.
pub(crate) fn interpolation_loss(level: &Level, refinement: usize) -> f64 {
    let curvature = level.curvature() / (refinement * refinement) as f64;
    let resolved = curvature * level.grid.dimension as f64 * (1.0 / 4.0 + 1.0 / 6.0);
    resolved.min(0.25 * level.lipschitz / level.kinetic * level.lipschitz)
}

/// `K` along one axis, from its first nonzero entry to its last: the quadratic B-spline of spacing `M` (three boxes, each of
/// `M` small ones) against a hat of spacing 1 (two small boxes) is a sum of quartic B-splines of spacing 1. An even `M`
/// puts them half-way between nodes.
fn hat_box_kernel(refinement: usize) -> Vec<f64> {
    let mut kernel = match refinement % 2 {
        0 => [1.0, 11.0, 11.0, 1.0].map(|value| value / 24.0).to_vec(),
        _ => [1.0, 76.0, 230.0, 76.0, 1.0].map(|value| value / 384.0).to_vec(),
    };
    for _ in 0..3 {
        let mut wider = vec![0.0; kernel.len() + refinement - 1];
        for (first, value) in kernel.iter().enumerate() {
            wider[first..first + refinement].iter_mut().for_each(|out| *out += value / refinement as f64);
        }
        kernel = wider;
    }
    kernel
}

/// Node masses on the grid `refinement` times finer, each spread by `kernel` along every axis.
fn spread(grid: &TorusGrid, masses: &[f64], refinement: usize, kernel: &[f64]) -> Vec<f64> {
    let (n, fine) = (grid.nodes_per_side, grid.nodes_per_side * refinement);
    let reach = kernel.len() / 2;
    let mut current = masses.to_vec();
    for _ in 0..grid.dimension {
        let mut wider = vec![0.0; current.len() * refinement];
        wider.par_chunks_mut(fine).zip(current.par_chunks(n)).for_each(|(out, line)| {
            for (i, mass) in line.iter().enumerate() {
                for (k, weight) in kernel.iter().enumerate() {
                    // Far enough ahead that the index stays positive.
                    out[(refinement * i + k + fine * reach - reach) % fine] += weight * mass;
                }
            }
        });
        current.resize(wider.len(), 0.0);
        rotate_axes(&wider, fine, &mut current);
    }
    current
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::specification::{DivergenceKind, ProximalParameters};
    use crate::torus::{
        MiddlePoint, NamedDensity, TorusGrid, TorusProblem, TorusSolution, solve_dual, solve_static,
    };
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn problem(dimension: usize, n: usize, (lipschitz, lambda): (f64, f64)) -> TorusProblem {
        let grid = TorusGrid::new(dimension, n).unwrap();
        let parameters = ProximalParameters::new(lipschitz, lambda, 1.0).unwrap();
        let (source, target) = (NamedDensity::Bump.on(&grid), NamedDensity::Mixture.on(&grid));
        TorusProblem::new(grid, &source, &target, parameters, DivergenceKind::KullbackLeibler).unwrap()
    }

    fn static_solution(problem: &TorusProblem) -> TorusSolution {
        solve_static(problem, MiddlePoint::Node, &Default::default()).unwrap().solution
    }

    /// The B-spline of degree 1 or 2 with coefficients `values` at a point of the torus.
    fn splined(grid: &TorusGrid, degree: usize, values: &[f64], x: [f64; 3]) -> f64 {
        let n = grid.nodes_per_side as f64;
        let basis = |t: f64| match (degree, t.abs()) {
            (1, r) => (1.0 - r).max(0.0),
            (_, r) if r < 0.5 => 0.75 - r * r,
            (_, r) => 0.5 * (1.5 - r).max(0.0).powi(2),
        };
        (0..5_usize.pow(grid.dimension as u32))
            .map(|code| {
                let (mut weight, mut index) = (1.0, [0_isize; 3]);
                for axis in 0..grid.dimension {
                    let offset = (code / 5_usize.pow(axis as u32) % 5) as isize - 2;
                    index[axis] = (x[axis] * n).floor() as isize + offset;
                    weight *= basis(x[axis] * n - index[axis] as f64);
                }
                weight * values[grid.flat_index(index)]
            })
            .sum()
    }

    #[test]
    fn the_lower_bound_is_below_refined_quadrature_by_at_most_the_stated_losses() {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        for (dimension, n, refinement) in [(1, 12, 32), (2, 6, 10)] {
            for parameters in [(0.3, 1.0), (2.0, 1.0), (1.0, 30.0)] {
                let level = Level::of(&problem(dimension, n, parameters));
                let bounds = ContinuumBounds::new(&level);
                let rough: Vec<f64> =
                    (0..level.grid.node_count()).map(|_| rng.random_range(-0.1..0.1)).collect();
                let dual = bounds.below(&level, &rough, 1e-6);
                // Midpoints of a grid `refinement` times finer, the infimum over the same points.
                let fine = TorusGrid::new(dimension, n * refinement).unwrap();
                let points: Vec<[f64; 3]> = (0..fine.node_count())
                    .map(|flat| fine.position(flat).map(|x| x + 0.5 * fine.spacing()))
                    .collect();
                let at_points = |degree: usize, values: &[f64]| -> Vec<f64> {
                    points.iter().map(|x| splined(&level.grid, degree, values, *x)).collect()
                };
                let phi = at_points(2, &dual.coefficients);
                let (p, q) = (at_points(1, &level.source), at_points(1, &level.target));
                let infimum = |x: &[f64; 3]| {
                    points.iter().zip(&phi).fold(f64::INFINITY, |best, (y, phi)| {
                        best.min(phi + level.kinetic * level.grid.squared_distance(*x, *y))
                    })
                };
                let cell = (refinement as f64).powi(-(dimension as i32));
                let transform: f64 = points.iter().zip(&p).map(|(x, p)| cell * p * infimum(x)).sum();
                let partition: f64 = q.iter().zip(&phi).map(|(q, phi)| cell * q * phi.exp()).sum();
                let exact = transform - partition.ln();
                // quadrature and a restricted infimum: second order in the fine spacing, curvature lambda/T and L^2
                let h2 = fine.spacing().powi(2);
                let (lipschitz, lambda) = parameters;
                let quadrature = h2 * dimension as f64 * (lambda + lipschitz * lipschitz);
                assert!(dual.lower <= exact + quadrature, "{} {exact}", dual.lower);
                // what the boxes and the exponential cost: within a cell phi varies by at most L h sqrt(d)
                let variation = level.slope() * (dimension as f64).sqrt();
                let loss = interpolation_loss(&level, bounds.refinement) + 0.5 * variation;
                assert!(exact - dual.lower <= loss + quadrature, "{} {exact} {loss}", dual.lower);
            }
        }
    }

    #[test]
    fn the_fine_grid_gives_back_most_of_the_interpolation_loss() {
        let level = Level::of(&problem(2, 12, (0.2, 1.0)));
        let phi: Vec<f64> =
            level.grid.tabulate(|x| 0.02 * (6.3 * x[0]).sin() * (6.3 * x[1]).cos()).into_iter().collect();
        let lower = |refinement: usize| {
            let bounds = ContinuumBounds::with_refinement(&level, refinement);
            for spread in [&bounds.spread_source, &bounds.spread_target] {
                assert!((spread.iter().sum::<f64>() - 1.0).abs() < 1e-14); // rounding
            }
            bounds.below(&level, &phi, 1e-6).lower
        };
        let [coarse, middle, fine] = [1, 2, 4].map(lower);
        let loss = interpolation_loss(&level, 1);
        assert!(
            coarse + 0.5 * loss < middle && middle + 0.1 * loss < fine,
            "{coarse} {middle} {fine} {loss}"
        );
        assert!(fine < coarse + loss, "{coarse} {fine} {loss}");
    }

    #[test]
    fn finer_grids_of_the_same_hats_keep_the_mass_and_nearly_the_bound() {
        let level = Level::of(&problem(2, 12, (0.2, 1.0)));
        let fine = level.refined().unwrap();
        assert!((fine.source.iter().sum::<f64>() - 1.0).abs() < 1e-14); // rounding
        let phi: Vec<f64> =
            level.grid.tabulate(|x| 0.02 * (6.3 * x[0]).sin() * (6.3 * x[1]).cos()).into_iter().collect();
        let coarse = ContinuumBounds::new(&level).below(&level, &phi, 1e-6);
        let fine = ContinuumBounds::new(&fine).below(
            &fine,
            &crate::torus::lattice::transfer::prolong_values(&level.grid, &phi),
            1e-6,
        );
        assert!((fine.lower - coarse.lower).abs() < interpolation_loss(&level, 1));
    }

    /// With `r` what the flux leaves over, `eta` takes the `c` that minimises `int c^2 + |grad^{-1}(r - c)|^2/l^2`, which is
    /// `c - l^2 Laplacian c = r`, here by differences of neighbours.
    #[test]
    fn what_the_flux_leaves_over_is_split_by_the_screened_poisson_equation() {
        let mut rng = ChaCha8Rng::seed_from_u64(17);
        for (dimension, n) in [(1, 24), (2, 9)] {
            let level = Level::of(&problem(dimension, n, (1.0, 1.0)));
            let (grid, count) = (level.grid, level.grid.node_count());
            assert!(!level.has_empty_target_nodes());
            let tilted = vec![1.0 / count as f64; count];
            // Small beside eta, so that nothing is cut off.
            let mut change: Vec<f64> = tilted.iter().map(|eta| eta * rng.random_range(-0.1..0.1)).collect();
            let mean = change.iter().sum::<f64>() / count as f64;
            change.iter_mut().for_each(|change| *change -= mean);
            let rho: Vec<f64> = tilted.iter().zip(&change).map(|(eta, change)| eta + change).collect();
            let mut bounds = ContinuumBounds::new(&level);
            for (index, spacings) in tuning::ABSORPTION.into_iter().enumerate() {
                let point = bounds.joined(&level, (0.0, &rho), &tilted, &EdgeFlux::zero(grid), index);
                let taken: Vec<f64> =
                    point.intermediate.iter().zip(&tilted).map(|(eta, was)| eta - was).collect();
                for node in 0..count {
                    let around = crate::torus::lattice::neighbours::around(&grid, node);
                    // h^2 times minus the Laplacian.
                    let bending: f64 = around[..dimension]
                        .iter()
                        .map(|[behind, ahead]| 2.0 * taken[node] - taken[*behind] - taken[*ahead])
                        .sum();
                    let residual = if spacings.is_finite() {
                        taken[node] + spacings * spacings * bending - change[node]
                    } else {
                        taken[node]
                    };
                    // Rounding of numbers of size 1/count, carried through differences weighted by spacings^2.
                    let rounding = 1e-13 / count as f64 * (1.0 + 4.0 * spacings.min(32.0).powi(2));
                    assert!(residual.abs() < rounding, "{dimension} {spacings}: {residual}");
                }
            }
        }
    }

    #[test]
    fn a_potential_that_breaks_the_cap_claims_more_than_the_static_value_and_repair_takes_it_back() {
        for (dimension, n) in [(1, 64), (2, 20)] {
            let problem = problem(dimension, n, (0.05, 0.5));
            let exact = static_solution(&problem);
            let level = Level::of(&problem);
            let bounds = ContinuumBounds::new(&level);
            // The optimum of the game without the cap.
            let free = self::problem(dimension, n, (10.0, 0.5));
            let steep: Vec<f64> =
                solve_dual(&free, &Default::default()).unwrap().terminal_potential.iter().copied().collect();
            assert!(bounds.claim(&level, steep.clone()).lower > exact.upper);
            assert!(bounds.below(&level, &steep, 1e-6).lower <= exact.upper + 1e-12); // rounding
        }
    }
}
