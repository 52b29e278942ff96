//! The problems, one function each over a batch: lists of arrays in, a list of solutions out. A single problem is a batch of one.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView1, ArrayView2};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use proxflow_reference::divergence::{
    Generator, RegularisedOptions, SingularMass, generalised_cumulant, lipschitz_regularised_divergence_observed,
    probability_weights,
};
use proxflow_reference::proximal::combined_proximal_observed;
use proxflow_reference::transport::{
    BalancedTransport, DenseCost, GroundCost, PointCost, PointwiseCost, Progress, SemiRelaxedOptions,
    balanced_transport, semi_relaxed_transport_observed,
};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::error::value_error;
use crate::flow::Flow;
use crate::ground::Ground;
use crate::run::{Observe, Run};
use crate::solution::{Extension, Solution, centred};

type Matrices<'py> = Vec<PyReadonlyArray2<'py, f64>>;
type Weights<'py> = Vec<Option<PyReadonlyArray1<'py, f64>>>;

/// Runs one solver per problem: a single one with the whole pool, several side by side.
fn solve_all<P: Sync>(
    problems: &[P],
    observe: Observe<'_>,
    solve: impl Fn(&P, Observe<'_>) -> Result<Solution, InvalidInput> + Sync,
) -> Result<Vec<Solution>, InvalidInput> {
    if let [problem] = problems {
        return Ok(vec![solve(problem, observe)?]);
    }
    let shared = Mutex::new(observe);
    problems
        .par_iter()
        .with_max_len(1)
        .map(|problem| {
            solve(problem, &mut |progress: &Progress| {
                let mut observe = shared.lock().unwrap_or_else(PoisonError::into_inner);
                (*observe)(progress)
            })
        })
        .collect()
}

struct Pair<'a> {
    first: ArrayView2<'a, f64>,
    second: ArrayView2<'a, f64>,
    a: Option<ArrayView1<'a, f64>>,
    b: Option<ArrayView1<'a, f64>>,
}

/// The problems of a batch as views; matrices stand in `first`, with an empty `second`.
fn pairs<'a, 'py>(
    first: &'a Matrices<'py>,
    second: Option<&'a Matrices<'py>>,
    a: &'a Weights<'py>,
    b: &'a Weights<'py>,
) -> Vec<Pair<'a>> {
    (0..first.len())
        .map(|k| Pair {
            first: first[k].as_array(),
            second: second.map_or(first[k].as_array(), |second| second[k].as_array()),
            a: a[k].as_ref().map(|weights| weights.as_array()),
            b: b[k].as_ref().map(|weights| weights.as_array()),
        })
        .collect()
}

impl Pair<'_> {
    fn weights(&self, n: usize, m: usize) -> Result<(Vec<f64>, Vec<f64>), InvalidInput> {
        let own = |weights: &Option<ArrayView1<f64>>| weights.as_ref().map(|weights| weights.to_vec());
        let a = probability_weights("source weights", own(&self.a).as_deref(), n)?;
        let b = probability_weights("target weights", own(&self.b).as_deref(), m)?;
        Ok((a, b))
    }
}

fn balanced(
    cost: &dyn GroundCost,
    a: &[f64],
    b: &[f64],
    ground: Ground,
    root: bool,
) -> Result<Solution, InvalidInput> {
    let BalancedTransport { plan, source_potential, target_potential, lower, upper, outcome, passes, iterations, seconds } =
        balanced_transport(cost, a, b)?;
    let squared = upper;
    let (lower, upper) =
        if root { (lower.max(0.0).sqrt(), upper.max(0.0).sqrt()) } else { (lower, upper) };
    // At W2 = 0 the subdifferential contains zero.
    let scale = match root {
        false => 1.0,
        true if upper > 0.0 => 0.5 / upper,
        true => 0.0,
    };
    let scaled = |potential: &[f64], sign: f64| potential.iter().map(|v| sign * scale * v).collect();
    Ok(Solution {
        lower,
        upper,
        transport: squared,
        divergence: None,
        outcome,
        weights_gradient_a: centred(scaled(&source_potential, 1.0), a),
        weights_gradient_b: centred(scaled(&target_potential, -1.0), b),
        marginal_b: b.to_vec(),
        stayed: Vec::new(),
        extension: matches!(ground, Ground::Points { .. })
            .then(|| Extension { heights: target_potential.clone(), cap: f64::INFINITY }),
        potential_a: source_potential,
        potential_b: target_potential,
        plan,
        ground,
        scale,
        passes,
        pivots: iterations,
        seconds,
        flow: None,
    })
}

/// Balanced transport with cost matrices.
#[pyfunction]
#[pyo3(signature = (costs, a, b, threads, progress))]
pub fn transport<'py>(
    py: Python<'py>,
    costs: Matrices<'py>,
    a: Weights<'py>,
    b: Weights<'py>,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Solution>> {
    let problems = pairs(&costs, None, &a, &b);
    Run { threads, progress }.solve(py, |observe| {
        solve_all(&problems, observe, |problem, _observe| {
            let (n, m) = problem.first.dim();
            let (a, b) = problem.weights(n, m)?;
            let cost = DenseCost::new(problem.first.to_owned())?;
            balanced(&cost, &a, &b, Ground::Matrix, false)
        })
    })
}

/// `W1` or `W2` between weighted points.
#[pyfunction]
#[pyo3(signature = (x_a, x_b, a, b, order, squared, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn wasserstein<'py>(
    py: Python<'py>,
    x_a: Matrices<'py>,
    x_b: Matrices<'py>,
    a: Weights<'py>,
    b: Weights<'py>,
    order: u32,
    squared: bool,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Solution>> {
    let problems = pairs(&x_a, Some(&x_b), &a, &b);
    let cost = if order == 1 { PointwiseCost::Distance } else { PointwiseCost::SquaredDistance };
    Run { threads, progress }.solve(py, |observe| {
        solve_all(&problems, observe, |problem, _observe| {
            let (x, z) = (problem.first, problem.second);
            let (a, b) = problem.weights(x.nrows(), z.nrows())?;
            let entries = PointCost::new(cost, x, z)?
                .within_memory(proxflow_reference::transport::cost::DENSE_COST_BYTES);
            let ground = Ground::Points { cost, x: x.to_owned(), z: z.to_owned() };
            balanced(entries.as_ref(), &a, &b, ground, order == 2 && !squared)
        })
    })
}

/// `d/dq_j D_f(eta|q) = f(t) - t f'(t) = -f*(psi_j - nu)`, at the optimal potential.
fn divergence_gradient(kind: DivergenceKind, heights: &[f64], b: &[f64]) -> Result<Vec<f64>, InvalidInput> {
    let generator = Generator::new(kind)?;
    let gradient = heights.iter().map(|height| {
        let value = -generator.conjugate(*height);
        if value.is_finite() { value } else { 0.0 }
    });
    Ok(centred(gradient.collect(), b))
}

/// Semi-relaxed transport with cost matrices: the second marginal is priced by a divergence.
#[pyfunction]
#[pyo3(signature = (costs, a, b, f, tol, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn semi_relaxed<'py>(
    py: Python<'py>,
    costs: Matrices<'py>,
    a: Weights<'py>,
    b: Weights<'py>,
    f: &str,
    tol: f64,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Solution>> {
    let kind: DivergenceKind = f.parse().map_err(|error| value_error(py, &error))?;
    let options = SemiRelaxedOptions { tolerance: tol, ..SemiRelaxedOptions::default() };
    let problems = pairs(&costs, None, &a, &b);
    Run { threads, progress }.solve(py, |observe| {
        solve_all(&problems, observe, |problem, observe| {
            let (n, m) = problem.first.dim();
            let (a, b) = problem.weights(n, m)?;
            let cost = DenseCost::new(problem.first.to_owned())?;
            let solved = semi_relaxed_transport_observed(&cost, &a, &b, kind, &options, &mut |progress| {
                let _: ControlFlow<()> = observe(progress);
            })?;
            let generator = Generator::new(kind)?;
            let shift = generalised_cumulant(&generator, &solved.potential, &b).shift;
            let heights: Vec<f64> = solved.potential.iter().map(|psi| psi - shift).collect();
            Ok(Solution {
                lower: solved.lower,
                upper: solved.upper,
                transport: solved.transport,
                divergence: Some(solved.divergence),
                outcome: solved.outcome,
                weights_gradient_a: centred(solved.source_potential.clone(), &a),
                weights_gradient_b: divergence_gradient(kind, &heights, &b)?,
                plan: solved.plan,
                potential_a: solved.source_potential,
                potential_b: solved.potential,
                marginal_b: solved.second_marginal,
                stayed: Vec::new(),
                ground: Ground::Matrix,
                extension: None,
                scale: 1.0,
                passes: solved.passes,
                pivots: solved.iterations,
                seconds: solved.seconds,
                flow: None,
            })
        })
    })
}

fn regularised_options(tol: f64, priced: bool) -> RegularisedOptions {
    RegularisedOptions {
        transport: SemiRelaxedOptions { tolerance: tol, ..SemiRelaxedOptions::default() },
        singular: if priced { SingularMass::Priced } else { SingularMass::Forbidden },
        ..RegularisedOptions::default()
    }
}

/// The Lipschitz-regularised divergence.
#[pyfunction]
#[pyo3(signature = (x_a, x_b, a, b, f, lipschitz, priced, tol, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn lipschitz_divergence<'py>(
    py: Python<'py>,
    x_a: Matrices<'py>,
    x_b: Matrices<'py>,
    a: Weights<'py>,
    b: Weights<'py>,
    f: &str,
    lipschitz: f64,
    priced: bool,
    tol: f64,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Solution>> {
    let kind: DivergenceKind = f.parse().map_err(|error| value_error(py, &error))?;
    let options = regularised_options(tol, priced);
    let problems = pairs(&x_a, Some(&x_b), &a, &b);
    Run { threads, progress }.solve(py, |observe| {
        solve_all(&problems, observe, |problem, observe| {
            let (x, z) = (problem.first, problem.second);
            let (a, b) = problem.weights(x.nrows(), z.nrows())?;
            let solved = lipschitz_regularised_divergence_observed(
                x,
                Some(&a),
                z,
                Some(&b),
                kind,
                lipschitz,
                &options,
                &mut |progress| {
                    let _: ControlFlow<()> = observe(progress);
                },
            )?;
            let heights = solved.potential.offsets().to_vec();
            Ok(Solution {
                lower: solved.lower,
                upper: solved.upper,
                transport: solved.transport,
                divergence: Some(solved.divergence),
                outcome: solved.outcome,
                weights_gradient_a: centred(solved.model_potential.clone(), &a),
                weights_gradient_b: divergence_gradient(kind, &heights, &b)?,
                potential_b: solved.data_potential(),
                extension: Some(Extension { heights, cap: solved.potential.cap() }),
                plan: solved.plan,
                potential_a: solved.model_potential,
                marginal_b: solved.intermediate,
                stayed: if priced { solved.stayed } else { Vec::new() },
                ground: Ground::Points {
                    cost: PointwiseCost::Lipschitz { lipschitz },
                    x: x.to_owned(),
                    z: z.to_owned(),
                },
                scale: 1.0,
                passes: 0,
                pivots: 0,
                seconds: solved.seconds,
                flow: None,
            })
        })
    })
}

/// The combined proximal.
#[pyfunction]
#[pyo3(signature = (x_a, x_b, a, b, f, lipschitz, lam, horizon, priced, tol, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn combined_proximal<'py>(
    py: Python<'py>,
    x_a: Matrices<'py>,
    x_b: Matrices<'py>,
    a: Weights<'py>,
    b: Weights<'py>,
    f: &str,
    lipschitz: f64,
    lam: f64,
    horizon: f64,
    priced: bool,
    tol: f64,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<Vec<Solution>> {
    let kind: DivergenceKind = f.parse().map_err(|error| value_error(py, &error))?;
    let parameters =
        ProximalParameters::new(lipschitz, lam, horizon).map_err(|error| value_error(py, &error))?;
    let options = regularised_options(tol, priced);
    let problems = pairs(&x_a, Some(&x_b), &a, &b);
    Run { threads, progress }.solve(py, |observe| {
        solve_all(&problems, observe, |problem, observe| {
            let (x, z) = (problem.first, problem.second);
            let (a, b) = problem.weights(x.nrows(), z.nrows())?;
            let solved = combined_proximal_observed(
                x,
                Some(&a),
                z,
                Some(&b),
                kind,
                parameters,
                &options,
                &mut |progress| {
                    let _: ControlFlow<()> = observe(progress);
                },
            )?;
            let plan = solved
                .paths
                .iter()
                .filter_map(|path| path.data.map(|j| (path.source as u32, j as u32, path.mass)))
                .collect();
            let heights = solved.potential.offsets().to_vec();
            Ok(Solution {
                lower: solved.lower,
                upper: solved.upper,
                transport: parameters.lambda * solved.kinetic_energy + solved.transport,
                divergence: Some(solved.divergence),
                outcome: solved.outcome,
                weights_gradient_a: centred(solved.initial_potential.clone(), &a),
                weights_gradient_b: divergence_gradient(kind, &heights, &b)?,
                potential_a: solved.initial_potential.clone(),
                potential_b: solved.potential.values_at_atoms(),
                extension: Some(Extension { heights, cap: solved.potential.cap() }),
                plan,
                marginal_b: solved.intermediate.clone(),
                stayed: if priced { solved.stayed.clone() } else { Vec::new() },
                ground: Ground::Points {
                    cost: PointwiseCost::Huber(parameters),
                    x: x.to_owned(),
                    z: z.to_owned(),
                },
                scale: 1.0,
                passes: 0,
                pivots: 0,
                seconds: solved.seconds,
                flow: Some(Flow { proximal: Arc::new(solved) }),
            })
        })
    })
}

