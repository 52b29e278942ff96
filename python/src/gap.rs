//! The optimality gap of a given flow, and plain f-divergences.

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use proxflow_reference::divergence::f_divergence;
use proxflow_reference::proximal::optimality_gap as solve_gap;
use proxflow_reference::{DivergenceKind, Measure, Options, ProximalParameters};
use pyo3::prelude::*;

use crate::error::value_error;
use crate::run::Run;

/// `D_f(p|q)` of two weight vectors.
#[pyfunction]
pub fn divergence<'py>(
    py: Python<'py>,
    p: PyReadonlyArray1<'py, f64>,
    q: PyReadonlyArray1<'py, f64>,
    f: &str,
) -> PyResult<f64> {
    let kind: DivergenceKind = f.parse().map_err(|error| value_error(py, &error))?;
    f_divergence(kind, &p.as_array().to_vec(), &q.as_array().to_vec())
        .map_err(|error| value_error(py, &error))
}

/// `J(flow) - J*` as the numbers `lower, upper, objective lower and upper, kinetic energy, terminal lower and upper,
/// optimum lower and upper, optimal kinetic energy`.
#[pyfunction]
#[pyo3(signature = (trajectories, data, weights, data_weights, f, lipschitz, lam, horizon, tol, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn optimality_gap<'py>(
    py: Python<'py>,
    trajectories: PyReadonlyArray3<'py, f64>,
    data: PyReadonlyArray2<'py, f64>,
    weights: Option<PyReadonlyArray1<'py, f64>>,
    data_weights: Option<PyReadonlyArray1<'py, f64>>,
    f: &str,
    lipschitz: f64,
    lam: f64,
    horizon: f64,
    tol: f64,
    threads: usize,
    progress: Option<Bound<'py, PyAny>>,
) -> PyResult<[f64; 10]> {
    let kind: DivergenceKind = f.parse().map_err(|error| value_error(py, &error))?;
    let parameters =
        ProximalParameters::new(lipschitz, lam, horizon).map_err(|error| value_error(py, &error))?;
    let (paths, data) = (trajectories.as_array(), data.as_array());
    let data_weights = data_weights.map(|weights| weights.as_array().to_vec());
    let weights = weights.map(|weights| weights.as_array().to_vec());
    let gap = Run { threads, progress }.solve(py, |observer| {
        let data = match &data_weights {
            Some(masses) => Measure::new(data, masses.clone())?,
            None => Measure::uniform(data)?,
        };
        let options = Options::new().tolerance(tol).observed_by(observer);
        solve_gap(paths, weights.as_deref(), &data, kind, parameters, &options)
    })?;
    Ok([
        gap.lower,
        gap.upper,
        gap.objective.lower,
        gap.objective.upper,
        gap.kinetic_energy,
        gap.terminal.lower,
        gap.terminal.upper,
        gap.optimum.lower,
        gap.optimum.upper,
        gap.optimum.kinetic_energy,
    ])
}
