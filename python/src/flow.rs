//! The optimal flow of the combined proximal.

use std::sync::Arc;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use proxflow_reference::ProximalParameters;
use proxflow_reference::proximal::OptimalFlow;
use proxflow_reference::transport::PointwiseCost;
use pyo3::prelude::*;

use crate::error::value_error;
use crate::ground::envelope;

/// Particles that travel in straight lines at constant speed, with the discriminator at their ends.
#[pyclass(frozen, from_py_object, module = "proxflow._proxflow")]
#[derive(Clone)]
pub struct Flow {
    pub(crate) flow: Arc<OptimalFlow>,
}

#[pymethods]
impl Flow {
    #[getter]
    fn kinetic_energy(&self) -> f64 {
        self.flow.kinetic_energy
    }

    /// `L W1(rho_T, eta*)`.
    #[getter]
    fn first_transport(&self) -> f64 {
        self.flow.transport
    }

    fn masses<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.flow.masses().into_pyarray(py)
    }

    /// Source atom of every particle.
    fn sources<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        self.flow.paths.iter().map(|path| path.source as i64).collect::<Vec<_>>().into_pyarray(py)
    }

    /// Data atom of every particle, -1 for mass that stays where it is.
    fn targets<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let targets = self.flow.paths.iter().map(|path| path.data.map_or(-1, |j| j as i64));
        targets.collect::<Vec<_>>().into_pyarray(py)
    }

    fn positions<'py>(&self, py: Python<'py>, time: f64) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let positions = self.flow.positions(time).map_err(|error| value_error(py, &error))?;
        Ok(positions.into_pyarray(py))
    }

    fn velocities<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        self.flow.velocities().into_pyarray(py)
    }

    /// `U(y, t)` by Hopf-Lax and its gradient at the rows of `points` `(k, d)`; at `t = T` the discriminator.
    fn value_function<'py>(
        &self,
        py: Python<'py>,
        points: PyReadonlyArray2<'py, f64>,
        time: f64,
        threads: usize,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>)> {
        let ProximalParameters { lipschitz, lambda, horizon } = self.flow.parameters;
        // Also checks the time.
        self.flow.positions(time).map_err(|error| value_error(py, &error))?;
        let left = horizon - time;
        let cost = if left > 1e-12 * horizon {
            PointwiseCost::Huber(ProximalParameters { lipschitz, lambda, horizon: left })
        } else {
            PointwiseCost::Lipschitz { lipschitz }
        };
        let pool = crate::pool::pool(threads)?;
        let potential = &self.flow.potential;
        let y = points.as_array();
        let (values, gradients) = py.detach(|| {
            pool.install(|| envelope(cost, potential.atoms(), potential.offsets(), potential.cap(), y))
        });
        Ok((values.into_pyarray(py), gradients.into_pyarray(py)))
    }
}
