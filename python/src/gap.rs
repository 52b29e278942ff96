//! The optimality gap of a given flow, and plain f-divergences.

use ndarray::{ArrayView3, Axis};
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
#[pyo3(signature = (trajectories, data, weights, data_weights, times, f, lipschitz, lam, horizon, tol, threads, progress))]
#[allow(clippy::too_many_arguments)] // the arguments of the Python function
pub fn optimality_gap<'py>(
    py: Python<'py>,
    trajectories: PyReadonlyArray3<'py, f64>,
    data: PyReadonlyArray2<'py, f64>,
    weights: Option<PyReadonlyArray1<'py, f64>>,
    data_weights: Option<PyReadonlyArray1<'py, f64>>,
    times: Option<PyReadonlyArray1<'py, f64>>,
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
    let work = paths.dim().1.saturating_mul(data.nrows()).saturating_mul(1 + paths.dim().2 / 8);
    let gap = Run { threads, progress, work }.solve(py, |observer| {
        let data = match &data_weights {
            Some(masses) => Measure::new(data, masses.clone())?,
            None => Measure::uniform(data)?,
        };
        let options = Options::new().tolerance(tol).observed_by(observer);
        solve_gap(paths, weights.as_deref(), &data, kind, parameters, &options)
    })?;
    // The oracle's times are uniform: other ones change the kinetic energy alone.
    let kinetic_energy = match &times {
        None => gap.kinetic_energy,
        Some(times) => kinetic_energy(paths, weights.as_deref(), &times.as_array().to_vec()),
    };
    let shift = lam * (kinetic_energy - gap.kinetic_energy);
    Ok([
        gap.lower + shift,
        gap.upper + shift,
        gap.objective.lower + shift,
        gap.objective.upper + shift,
        kinetic_energy,
        gap.terminal.lower,
        gap.terminal.upper,
        gap.optimum.lower,
        gap.optimum.upper,
        gap.optimum.kinetic_energy,
    ])
}

/// `sum_k E|x_{k+1} - x_k|^2 / (2 (t_{k+1} - t_k))` for positions `(N + 1, n, d)` at increasing times.
fn kinetic_energy(paths: ArrayView3<f64>, weights: Option<&[f64]>, times: &[f64]) -> f64 {
    let samples = paths.dim().1;
    let total: f64 = weights.map_or(samples as f64, |weights| weights.iter().sum());
    let mut energy = 0.0;
    for k in 1..times.len() {
        let step = times[k] - times[k - 1];
        let moved = &paths.index_axis(Axis(0), k) - &paths.index_axis(Axis(0), k - 1);
        for (i, row) in moved.rows().into_iter().enumerate() {
            let mass = weights.map_or(1.0, |weights| weights[i]) / total;
            energy += mass * row.dot(&row) / (2.0 * step);
        }
    }
    energy
}
