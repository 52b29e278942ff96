//! The problems, one function each over a batch: lists of arrays in, a list of solutions out. A single problem is a batch of one.

use ndarray::{ArrayView1, ArrayView2};
use numpy::{PyReadonlyArray1, PyReadonlyArray2};
use proxflow_reference::divergence::{Cumulant, Generator};
use proxflow_reference::proximal::combined_proximal as solve_proximal;
use proxflow_reference::transport::{
    DenseCost, Order, PointwiseCost, balanced_transport, semi_relaxed_transport,
    wasserstein as solve_wasserstein,
};
use proxflow_reference::{
    Divergence, DivergenceKind, InvalidInput, Measure, Observer, Options, ProximalParameters, SingularMass,
};
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::error::value_error;
use crate::run::Run;
use crate::solution::Solution;

type Matrices<'py> = Vec<PyReadonlyArray2<'py, f64>>;
type Weights<'py> = Vec<Option<PyReadonlyArray1<'py, f64>>>;

/// Accuracy of a call, and whether mass may stay outside the data.
struct Accuracy {
    tolerance: f64,
    singular: SingularMass,
}

impl Accuracy {
    fn new(tolerance: f64, priced: bool) -> Self {
        let singular = if priced { SingularMass::Priced } else { SingularMass::Forbidden };
        Self { tolerance, singular }
    }

    fn options<'a>(&self, observer: &'a dyn Observer) -> Options<'a> {
        Options::new().tolerance(self.tolerance).singular(self.singular).observed_by(observer)
    }
}

/// Entries of all costs, each weighed with what it takes to compute one.
fn work<P: Problem>(problems: &[P]) -> usize {
    problems.iter().map(P::entries).fold(0, usize::saturating_add)
}

trait Problem: Sync {
    fn entries(&self) -> usize;
}

/// Runs one solver per problem: a single one with the whole pool, several side by side.
fn solve_all<P: Sync>(
    problems: &[P],
    solve: impl Fn(&P) -> Result<Solution, InvalidInput> + Sync + Send,
) -> Result<Vec<Solution>, InvalidInput> {
    match problems {
        [problem] => Ok(vec![solve(problem)?]),
        _ => problems.par_iter().with_max_len(1).map(solve).collect(),
    }
}

/// A cost matrix with its weights.
struct MatrixProblem<'a> {
    cost: ArrayView2<'a, f64>,
    a: Option<ArrayView1<'a, f64>>,
    b: Option<ArrayView1<'a, f64>>,
}

impl Problem for MatrixProblem<'_> {
    fn entries(&self) -> usize {
        self.cost.len()
    }
}

impl MatrixProblem<'_> {
    fn all<'a>(costs: &'a Matrices, a: &'a Weights, b: &'a Weights) -> Vec<MatrixProblem<'a>> {
        (0..costs.len())
            .map(|k| MatrixProblem { cost: costs[k].as_array(), a: view(&a[k]), b: view(&b[k]) })
            .collect()
    }

    fn weights(&self) -> (Vec<f64>, Vec<f64>) {
        let (n, m) = self.cost.dim();
        (or_uniform(self.a, n), or_uniform(self.b, m))
    }
}

/// Two point sets with their weights.
struct PointsProblem<'a> {
    x: ArrayView2<'a, f64>,
    z: ArrayView2<'a, f64>,
    a: Option<ArrayView1<'a, f64>>,
    b: Option<ArrayView1<'a, f64>>,
}

impl Problem for PointsProblem<'_> {
    fn entries(&self) -> usize {
        self.x.nrows().saturating_mul(self.z.nrows()).saturating_mul(1 + self.x.ncols() / 8)
    }
}

impl PointsProblem<'_> {
    fn all<'a>(x: &'a Matrices, z: &'a Matrices, a: &'a Weights, b: &'a Weights) -> Vec<PointsProblem<'a>> {
        (0..x.len())
            .map(|k| PointsProblem { x: x[k].as_array(), z: z[k].as_array(), a: view(&a[k]), b: view(&b[k]) })
            .collect()
    }

    fn measures(&self) -> Result<(Measure, Measure), InvalidInput> {
        let named = |points, weights, place: &str, masses: &str| {
            Measure::new(points, weights).map_err(|error: InvalidInput| InvalidInput {
                field: error.field.replace("points", place).replace("weights", masses),
                ..error
            })
        };
        Ok((
            named(self.x, or_uniform(self.a, self.x.nrows()), "X_a", "a")?,
            named(self.z, or_uniform(self.b, self.z.nrows()), "X_b", "b")?,
        ))
    }
}

fn view<'a>(weights: &'a Option<PyReadonlyArray1<'_, f64>>) -> Option<ArrayView1<'a, f64>> {
    weights.as_ref().map(|weights| weights.as_array())
}

fn or_uniform(weights: Option<ArrayView1<f64>>, length: usize) -> Vec<f64> {
    weights.map_or_else(|| vec![1.0 / length as f64; length], |weights| weights.to_vec())
}

fn divergence_of(py: Python<'_>, f: &str) -> PyResult<DivergenceKind> {
    f.parse().map_err(|error| value_error(py, &error))
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
    let problems = MatrixProblem::all(&costs, &a, &b);
    Run { threads, progress, work: work(&problems) }.solve(py, |observer| {
        solve_all(&problems, |problem| {
            let (a, b) = problem.weights();
            let cost = DenseCost::with_forbidden(problem.cost.to_owned())?;
            let solved = balanced_transport(&cost, &a, &b, &Options::new().observed_by(observer))?;
            Ok(Solution::of_balanced(solved, &a, &b))
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
    let problems = PointsProblem::all(&x_a, &x_b, &a, &b);
    let order = if order == 1 { Order::One } else { Order::Two };
    Run { threads, progress, work: work(&problems) }.solve(py, |observer| {
        solve_all(&problems, |problem| {
            let (source, data) = problem.measures()?;
            let solved = solve_wasserstein(&source, &data, order, &Options::new().observed_by(observer))?;
            Ok(Solution::of_wasserstein(solved, squared, source, data))
        })
    })
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
    let kind = divergence_of(py, f)?;
    let accuracy = Accuracy::new(tol, false);
    let problems = MatrixProblem::all(&costs, &a, &b);
    Run { threads, progress, work: work(&problems) }.solve(py, |observer| {
        solve_all(&problems, |problem| {
            let (a, b) = problem.weights();
            let cost = DenseCost::new(problem.cost.to_owned())?;
            let solved = semi_relaxed_transport(&cost, &a, &b, kind, &accuracy.options(observer))?;
            let generator = Generator::new(kind)?;
            // NaN where a stopped solve has no potential.
            let shift =
                Cumulant::new(&generator, &solved.potential, &b).map_or(f64::NAN, |found| found.shift);
            Ok(Solution::of_semi_relaxed(solved, &generator, shift, &a, &b))
        })
    })
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
    let kind = divergence_of(py, f)?;
    let accuracy = Accuracy::new(tol, priced);
    let problems = PointsProblem::all(&x_a, &x_b, &a, &b);
    Run { threads, progress, work: work(&problems) }.solve(py, |observer| {
        solve_all(&problems, |problem| {
            let (model, data) = problem.measures()?;
            let functional = Divergence::of(kind).lipschitz(lipschitz).options(accuracy.options(observer));
            let solved = functional.between(&model, &data)?;
            let cost = PointwiseCost::Lipschitz { lipschitz };
            Ok(Solution::of_divergence(solved, &Generator::new(kind)?, cost, priced, model, data))
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
    let kind = divergence_of(py, f)?;
    let parameters =
        ProximalParameters::new(lipschitz, lam, horizon).map_err(|error| value_error(py, &error))?;
    let accuracy = Accuracy::new(tol, priced);
    let problems = PointsProblem::all(&x_a, &x_b, &a, &b);
    Run { threads, progress, work: work(&problems) }.solve(py, |observer| {
        solve_all(&problems, |problem| {
            let (source, data) = problem.measures()?;
            let solved = solve_proximal(&source, &data, kind, parameters, &accuracy.options(observer))?;
            Ok(Solution::of_proximal(solved, &Generator::new(kind)?, priced, source, data))
        })
    })
}
