//! Semi-relaxed transport against a general conic solver (clarabel), which shares no code with ours.
#![allow(clippy::unwrap_used)]

use clarabel::algebra::CscMatrix;
use clarabel::solver::{
    DefaultSettingsBuilder, DefaultSolver, ExponentialConeT, IPSolver, NonnegativeConeT, SolverStatus,
    SupportedConeT,
};
use ndarray::Array2;
use proxflow_reference::DivergenceKind;
use proxflow_reference::Options;
use proxflow_reference::transport::{DenseCost, semi_relaxed_transport};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `max sum_i p_i phi_i - nu - sum_j q_j f*(psi_j - nu)` subject to `phi_i - psi_j <= c_ij`, as a cone program in
/// `(phi, psi, t, nu)` with `t_j` above `f*` (KL, reverse KL) or above `(psi_j - nu)_+` (chi^2).
fn conic_value(cost: &Array2<f64>, p: &[f64], q: &[f64], kind: DivergenceKind) -> f64 {
    let (n, m) = cost.dim();
    let (psi, t, nu) = (n, n + m, n + 2 * m);
    let variables = n + 2 * m + 1;
    let (mut rows, mut columns, mut values, mut b) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut constraint = |entries: &[(usize, f64)], bound: f64| {
        for &(column, value) in entries {
            rows.push(b.len());
            columns.push(column);
            values.push(value);
        }
        b.push(bound);
    };
    for ((i, j), &c) in cost.indexed_iter() {
        constraint(&[(i, 1.0), (psi + j, -1.0)], c);
    }
    let mut cones: Vec<SupportedConeT<f64>> = vec![NonnegativeConeT(n * m)];
    let mut objective = vec![0.0; variables];
    (0..n).for_each(|i| objective[i] = -p[i]);
    objective[nu] = 1.0;
    let mut quadratic: Vec<f64> = vec![0.0; variables];
    let mut constant = 0.0;
    for j in 0..m {
        match kind {
            // Exponential cone: y e^{x/y} <= z with (x, y, z) = b - A v.
            DivergenceKind::KullbackLeibler => {
                constraint(&[(psi + j, -1.0), (nu, 1.0)], -1.0);
                constraint(&[], 1.0);
                constraint(&[(t + j, -1.0)], 0.0);
                cones.push(ExponentialConeT());
                objective[t + j] = q[j];
            }
            DivergenceKind::ReverseKullbackLeibler => {
                constraint(&[(t + j, 1.0)], -1.0);
                constraint(&[], 1.0);
                constraint(&[(psi + j, 1.0), (nu, -1.0)], 0.0);
                cones.push(ExponentialConeT());
                objective[t + j] = q[j];
            }
            DivergenceKind::ChiSquared => {
                constraint(&[(psi + j, 1.0), (nu, -1.0), (t + j, -1.0)], 0.0);
                constraint(&[(t + j, -1.0)], 0.0);
                cones.push(NonnegativeConeT(2));
                quadratic[t + j] = q[j];
                constant = 0.5;
            }
            other => panic!("no cone program for {other}"),
        }
    }
    let diagonal: Vec<usize> = (0..variables).collect();
    let quadratic = CscMatrix::new_from_triplets(variables, variables, diagonal.clone(), diagonal, quadratic);
    let a = CscMatrix::new_from_triplets(b.len(), variables, rows, columns, values);
    let settings = DefaultSettingsBuilder::default().verbose(false).build().unwrap();
    let mut solver = DefaultSolver::new(&quadratic, &objective, &a, &b, &cones, settings).unwrap();
    solver.solve();
    assert_eq!(solver.solution.status, SolverStatus::Solved, "{kind}");
    -solver.solution.obj_val - constant
}

fn instance(n: usize, m: usize, seed: u64) -> (Array2<f64>, Vec<f64>, Vec<f64>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let x: Vec<[f64; 3]> = (0..n).map(|_| random.random()).collect();
    let z: Vec<[f64; 3]> = (0..m).map(|_| random.random::<[f64; 3]>().map(|v| 1.5 * v + 0.4)).collect();
    let distance =
        |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let cost = Array2::from_shape_fn((n, m), |(i, j)| 3.0 * distance(&x[i], &z[j]));
    let mut weights = |count: usize| {
        let raw: Vec<f64> = (0..count).map(|_| random.random_range(0.05..1.0)).collect();
        let total: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / total).collect::<Vec<f64>>()
    };
    let (p, q) = (weights(n), weights(m));
    (cost, p, q)
}

#[test]
fn an_interior_point_method_finds_the_same_value() {
    for (n, m, seed) in [(1, 5, 0), (20, 13, 1), (60, 80, 2)] {
        let (cost, p, q) = instance(n, m, seed);
        for kind in [
            DivergenceKind::KullbackLeibler,
            DivergenceKind::ReverseKullbackLeibler,
            DivergenceKind::ChiSquared,
        ] {
            let ours = semi_relaxed_transport(
                &DenseCost::new(cost.clone()).unwrap(),
                &p,
                &q,
                kind,
                &Options::default(),
            )
            .unwrap();
            let conic = conic_value(&cost, &p, &q, kind);
            // clarabel stops at a relative gap and feasibility of 1e-8; the objective weighs feasibility by masses of 1.
            assert!(
                (ours.upper - conic).abs() <= 2e-7 * (1.0 + conic.abs()),
                "{kind} {n} {m}: {} {conic}",
                ours.upper
            );
        }
    }
}

#[test]
fn a_transposed_cost_has_another_value() {
    // Negative control: the comparison above tells which marginal is relaxed.
    let (cost, p, q) = instance(20, 20, 7);
    let kind = DivergenceKind::KullbackLeibler;
    let transposed = DenseCost::new(cost.t().to_owned()).unwrap();
    let ours = semi_relaxed_transport(&transposed, &p, &q, kind, &Options::default()).unwrap();
    assert!((ours.upper - conic_value(&cost, &p, &q, kind)).abs() > 1e-3);
}
