//! Semi-relaxed transport: certificate, optimality conditions, degenerate input, for every generator.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, Axis, array};
use proptest::prelude::*;
use proxflow_reference::Options;
use proxflow_reference::divergence::Generator;
use proxflow_reference::transport::certificate::{dual_value, primal_value};
use proxflow_reference::transport::{
    DenseCost, GroundCost, PointCost, PointwiseCost, SemiRelaxedTransport, semi_relaxed_transport,
};
use proxflow_reference::{DivergenceKind, Termination};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const KINDS: [DivergenceKind; 9] = DivergenceKind::ALL;

/// What the project promises of every solution.
const PROMISED_GAP: f64 = 1e-10;

fn weights(count: usize, zeros: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut raw: Vec<f64> = (0..count)
        .map(|_| if random.random_bool(zeros) { 0.0 } else { random.random_range(0.01..1.0) })
        .collect();
    if raw.iter().all(|w| *w == 0.0) {
        raw[0] = 1.0;
    }
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / total).collect()
}

/// Points in the plane: in general position, or on a 4 x 4 grid (ties and duplicates).
fn points(count: usize, grid: bool, random: &mut ChaCha8Rng) -> Array2<f64> {
    Array2::from_shape_simple_fn((count, 2), || {
        if grid { f64::from(random.random_range(0..4_u8)) } else { random.random_range(-1.0..1.0) }
    })
}

fn solve(cost: &DenseCost, p: &[f64], q: &[f64], kind: DivergenceKind) -> SemiRelaxedTransport {
    semi_relaxed_transport(cost, p, q, kind, &Options::default()).unwrap()
}

/// Row sums, dual feasibility, complementary slackness, the law of the second marginal, and the gap.
fn check_optimality(
    cost: &DenseCost,
    p: &[f64],
    q: &[f64],
    kind: DivergenceKind,
    solution: &SemiRelaxedTransport,
) -> Result<(), TestCaseError> {
    let scale = 1.0 + solution.upper.abs();
    prop_assert_eq!(solution.termination, Termination::Converged, "{} gap {}", kind, solution.gap());
    prop_assert!(solution.gap().abs() <= PROMISED_GAP * scale, "{} gap {}", kind, solution.gap());
    let mut rows = vec![0.0; p.len()];
    for &(i, j, mass) in &solution.plan {
        let (i, j) = (i as usize, j as usize);
        prop_assert!(mass > 0.0);
        rows[i] += mass;
        let slack = cost.entry(i, j) + solution.potential[j] - solution.source_potential[i];
        // Each slack contributes mass * slack >= 0 to the gap.
        prop_assert!(mass * slack <= PROMISED_GAP * scale, "{kind} slack {slack} on mass {mass}");
    }
    for i in 0..p.len() {
        // Rounding of the renormalisation.
        prop_assert!((rows[i] - p[i]).abs() <= 1e-15);
    }
    let generator = Generator::new(kind).unwrap();
    for j in 0..q.len() {
        let (eta, psi) = (solution.second_marginal[j], solution.potential[j]);
        if q[j] > 0.0 {
            // The Fenchel-Young gap of each target is a non-negative part of the whole gap (gauge nu = 0).
            let x = eta / q[j];
            let gap = q[j] * (generator.value(x) + generator.conjugate(psi) - x * psi);
            prop_assert!(gap.abs() <= PROMISED_GAP * scale, "{kind} target {j}: {gap}, eta/q {x}, psi {psi}");
        } else if eta > 0.0 {
            prop_assert!(
                (psi - generator.recession_slope()).abs() <= 1e-9 * scale,
                "{kind} singular target {j} {psi}"
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_generator_is_solved_to_the_promised_gap(
        n in 1..40usize, m in 1..40usize, grid: bool, zeros in prop::sample::select(vec![0.0, 0.3]),
        log_scale in prop::sample::select(vec![-3.0, 0.0, 1.5]), squared: bool, seed: u64,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (x, z) = (points(n, grid, &mut random), points(m, grid, &mut random));
        let (p, q) = (weights(n, zeros, &mut random), weights(m, zeros, &mut random));
        let kind = if squared { PointwiseCost::SquaredDistance } else { PointwiseCost::Distance };
        let raw = PointCost::new(kind, x.view(), z.view()).unwrap().into_dense();
        let cost = DenseCost::new(raw.matrix().mapv(|c| c * 10f64.powf(log_scale))).unwrap();
        for kind in KINDS {
            let solution = solve(&cost, &p, &q, kind);
            check_optimality(&cost, &p, &q, kind, &solution)?;
        }
    }

    #[test]
    fn any_potential_and_any_plan_bound_the_value(n in 1..12usize, m in 1..12usize, seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cost = DenseCost::new(Array2::from_shape_simple_fn((n, m), || random.random_range(-1.0..2.0))).unwrap();
        let (p, q) = (weights(n, 0.2, &mut random), weights(m, 0.2, &mut random));
        let psi: Vec<f64> = (0..m).map(|_| random.random_range(-3.0..3.0)).collect();
        let mut plan = Vec::new();
        for i in 0..n {
            for (j, share) in weights(m, 0.5, &mut random).into_iter().enumerate() {
                plan.push((i as u32, j as u32, p[i] * share));
            }
        }
        for kind in KINDS {
            let generator = Generator::new(kind).unwrap();
            let dual = dual_value(&cost, &p, &q, &generator, &psi);
            let primal = primal_value(&cost, &q, &generator, &plan);
            let upper = primal.transport + primal.divergence;
            let solution = solve(&cost, &p, &q, kind);
            // Rounding of sums of at most 144 terms of size one.
            let rounding = 1e-13 * (1.0 + upper.abs().min(1e3));
            prop_assert!(dual.lower <= upper + rounding, "{kind}: weak duality");
            prop_assert!(dual.lower <= solution.upper + rounding, "{kind}");
            prop_assert!(upper >= solution.lower - rounding, "{kind}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    /// From 128 points on the start is the solution of a thinned problem.
    #[test]
    fn thinned_starts_reach_the_promised_gap_too(
        n in 128..300usize, m in 128..300usize, grid: bool, zeros in prop::sample::select(vec![0.0, 0.3]),
        squared: bool, seed: u64,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (x, z) = (points(n, grid, &mut random), points(m, grid, &mut random));
        let (p, q) = (weights(n, zeros, &mut random), weights(m, zeros, &mut random));
        let cost = if squared { PointwiseCost::SquaredDistance } else { PointwiseCost::Distance };
        let cost = PointCost::new(cost, x.view(), z.view()).unwrap().into_dense();
        for kind in KINDS {
            check_optimality(&cost, &p, &q, kind, &solve(&cost, &p, &q, kind))?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same atoms in another order with split duplicates; mutually singular halves of a chessboard, where every
    /// distance is tied; one atom against many.
    #[test]
    fn degenerate_pairs_are_solved_to_the_promised_gap(
        n in 1..30usize, zeros in prop::sample::select(vec![0.0, 0.3]), seed: u64,
    ) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (x, p) = (points(n, true, &mut random), weights(n, zeros, &mut random));
        let twice: Vec<usize> = (0..n).rev().chain(0..n).collect();
        let same = (x.select(Axis(0), &twice), twice.iter().map(|&i| 0.5 * p[i]).collect::<Vec<f64>>());
        let chessboard = |colour: usize| {
            let squares: Vec<[f64; 2]> = (0..64)
                .filter(|k| (k % 8 + k / 8) % 2 == colour)
                .map(|k| [(k % 8) as f64, (k / 8) as f64])
                .collect();
            Array2::from_shape_fn((32, 2), |(k, c)| squares[k][c])
        };
        let black = (chessboard(0), weights(32, zeros, &mut random));
        let white = (chessboard(1), weights(32, zeros, &mut random));
        let alone = (array![[0.5, 0.5]], vec![1.0]);
        for (left, right, value) in [
            (&(x, p), &same, Some(0.0)), (&black, &white, None), (&alone, &white, None), (&black, &alone, None),
        ] {
            let cost = PointCost::new(PointwiseCost::Distance, left.0.view(), right.0.view()).unwrap().into_dense();
            for kind in KINDS {
                let solution = solve(&cost, &left.1, &right.1, kind);
                check_optimality(&cost, &left.1, &right.1, kind, &solution)?;
                if let Some(value) = value {
                    prop_assert!((solution.upper - value).abs() < 1e-12, "{kind} {}", solution.upper);
                }
            }
        }
    }
}

#[test]
fn a_plan_that_loses_mass_is_no_upper_bound() {
    // Negative control of weak duality: the row sums are what makes a plan an upper bound.
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let (x, z) = (points(20, false, &mut random), points(15, false, &mut random));
    let (p, q) = (weights(20, 0.0, &mut random), weights(15, 0.0, &mut random));
    let raw = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).unwrap().into_dense();
    let cost = DenseCost::new(raw.matrix().mapv(|c| c * 10.0)).unwrap();
    for kind in KINDS {
        let solution = solve(&cost, &p, &q, kind);
        let kept: Vec<(u32, u32, f64)> =
            solution.plan.iter().map(|&(i, j, mass)| (i, j, 0.9 * mass)).collect();
        let short = primal_value(&cost, &q, &Generator::new(kind).unwrap(), &kept);
        assert!(short.transport + short.divergence < solution.lower - 1e-3, "{kind}");
    }
}

#[test]
fn stopping_after_one_pass_leaves_an_interval_that_contains_the_value() {
    // Negative control of the gap: without the pivots of later passes it is not met, and the bounds are still true.
    let mut random = ChaCha8Rng::seed_from_u64(10);
    let (x, z) = (points(300, false, &mut random), points(250, false, &mut random));
    let (p, q) = (weights(300, 0.0, &mut random), weights(250, 0.0, &mut random));
    let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).unwrap().into_dense();
    for kind in KINDS {
        let value = solve(&cost, &p, &q, kind).upper;
        let options = Options { maximum_passes: 1, ..Default::default() };
        let stopped = semi_relaxed_transport(&cost, &p, &q, kind, &options).unwrap();
        assert_eq!(stopped.termination, Termination::IterationLimit, "{kind}");
        assert!(stopped.gap() > 1e-6, "{kind} {}", stopped.gap());
        assert!(stopped.lower <= value + 1e-11 && value <= stopped.upper + 1e-11, "{kind}");
    }
}

#[test]
fn one_atom_each_costs_the_move_and_no_divergence() {
    let cost = DenseCost::new(array![[0.7]]).unwrap();
    for kind in KINDS {
        let solution = solve(&cost, &[1.0], &[1.0], kind);
        assert!((solution.upper - 0.7).abs() < 1e-15 && solution.gap().abs() < 1e-14, "{kind} {solution:?}");
    }
}

#[test]
fn identical_measures_cost_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let x = points(60, false, &mut random);
    let p = weights(60, 0.1, &mut random);
    let cost = PointCost::new(PointwiseCost::Distance, x.view(), x.view()).unwrap().into_dense();
    for kind in KINDS {
        let solution = solve(&cost, &p, &p, kind);
        assert!(solution.upper.abs() < 1e-13 && solution.gap().abs() < 1e-13, "{kind} {}", solution.upper);
    }
}

#[test]
fn extreme_cost_scales_are_solved() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let (x, z) = (points(50, false, &mut random), points(30, false, &mut random));
    let (p, q) = (weights(50, 0.0, &mut random), weights(30, 0.0, &mut random));
    let raw = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).unwrap().into_dense();
    for scale in [1e-12, 1e-6, 1e3, 1e6] {
        let cost = DenseCost::new(raw.matrix().mapv(|c| c * scale)).unwrap();
        for kind in KINDS {
            let solution = solve(&cost, &p, &q, kind);
            assert!(
                solution.gap().abs() <= PROMISED_GAP * (1.0 + solution.upper.abs()),
                "{kind} {scale} {} {:?} {} {}",
                solution.gap(),
                solution.termination,
                solution.passes,
                solution.iterations
            );
        }
    }
}

#[test]
fn bad_input_is_named_before_any_work() {
    let cost = DenseCost::new(array![[0.0, 1.0]]).unwrap();
    let options = Options::default();
    let kind = DivergenceKind::KullbackLeibler;
    for (p, q, named) in [
        (vec![0.5, 0.5], vec![0.5, 0.5], "source weights: 2 weights"),
        (vec![1.0], vec![0.5, f64::NAN], "target weights[1]"),
        (vec![1.0], vec![-0.5, 1.5], "target weights[0]"),
        (vec![0.9], vec![0.5, 0.5], "source weights: sum 0.9"),
    ] {
        let error = semi_relaxed_transport(&cost, &p, &q, kind, &options).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
    let wrong = semi_relaxed_transport(&cost, &[1.0], &[0.5, 0.5], DivergenceKind::Alpha(1.0), &options);
    assert!(wrong.is_err());
}

#[test]
fn a_uniform_grid_full_of_ties_is_solved_exactly() {
    // Periodic quadratic cost on 512 nodes: every row is the same up to a shift, neighbours tie at every level.
    let nodes = 512;
    let cost = DenseCost::new(Array2::from_shape_fn((nodes, nodes), |(i, j)| {
        let steps = usize::abs_diff(i, j);
        0.5 * (steps.min(nodes - steps) as f64 / nodes as f64).powi(2)
    }))
    .unwrap();
    let bump = |centre: f64, width: f64| -> Vec<f64> {
        let raw: Vec<f64> = (0..nodes)
            .map(|k| {
                let r = (k as f64 / nodes as f64 - centre) - (k as f64 / nodes as f64 - centre).round();
                0.05 + (-0.5 * (r / width).powi(2)).exp()
            })
            .collect();
        let total: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / total).collect()
    };
    let (p, q, uniform) = (bump(0.3, 0.08), bump(0.7, 0.12), vec![1.0 / nodes as f64; nodes]);
    for (p, q) in [(&p, &q), (&uniform, &q), (&p, &uniform)] {
        for kind in [DivergenceKind::KullbackLeibler, DivergenceKind::ChiSquared] {
            check_optimality(&cost, p, q, kind, &solve(&cost, p, q, kind)).unwrap();
        }
    }
}

#[test]
fn a_potential_with_flipped_sign_certifies_nothing() {
    // Negative control of the certificate: the dual value tells psi from -psi.
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let (x, z) = (points(30, false, &mut random), points(20, false, &mut random));
    let (p, q) = (weights(30, 0.0, &mut random), weights(20, 0.0, &mut random));
    let cost = PointCost::new(PointwiseCost::Distance, x.view(), z.view()).unwrap().into_dense();
    for kind in KINDS {
        let generator = Generator::new(kind).unwrap();
        let solution = solve(&cost, &p, &q, kind);
        let flipped: Vec<f64> = solution.potential.iter().map(|psi| -psi).collect();
        assert!(dual_value(&cost, &p, &q, &generator, &flipped).lower < solution.lower - 1e-4, "{kind}");
    }
}
