//! What every solver returns to Python: one class whose arrays are made when they are asked for.

use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use proxflow_reference::transport::Outcome;
use proxflow_reference::transport::certificate::SparsePlan;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::flow::Flow;
use crate::ground::{Ground, envelope, position_gradients};

/// A function on all of R^d, `min(min_j (c(|y - z_j|) + psi_j), cap)`.
pub struct Extension {
    pub heights: Vec<f64>,
    pub cap: f64,
}

/// A certified value with its optimisers.
#[pyclass(frozen, module = "proxflow._proxflow")]
pub struct Solution {
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// `<c, G>`.
    pub(crate) transport: f64,
    /// `D_f(G^T 1 | b)`; absent where the second marginal is fixed.
    pub(crate) divergence: Option<f64>,
    pub(crate) outcome: Outcome,
    pub(crate) plan: SparsePlan,
    pub(crate) potential_a: Vec<f64>,
    pub(crate) potential_b: Vec<f64>,
    pub(crate) marginal_b: Vec<f64>,
    /// Mass that stayed at the sources (singular mass at its price); empty when that is not allowed.
    pub(crate) stayed: Vec<f64>,
    pub(crate) weights_gradient_a: Vec<f64>,
    pub(crate) weights_gradient_b: Vec<f64>,
    pub(crate) ground: Ground,
    pub(crate) extension: Option<Extension>,
    /// Derivative of the value in the objective of the transport problem: 1, but `1/(2 W2)` for `W2`.
    pub(crate) scale: f64,
    pub(crate) passes: usize,
    pub(crate) pivots: usize,
    pub(crate) seconds: f64,
    pub(crate) flow: Option<Flow>,
}

impl Solution {
    fn points(&self) -> PyResult<(proxflow_reference::transport::PointwiseCost, &Array2<f64>, &Array2<f64>)> {
        match &self.ground {
            Ground::Points { cost, x, z } => Ok((*cost, x, z)),
            Ground::Matrix => Err(PyTypeError::new_err(
                "the problem was given as a cost matrix: there are no positions to differentiate in",
            )),
        }
    }
}

/// Centres a gradient in the weights: `<w, g> = 0`, the derivative along normalised weights.
pub fn centred(mut gradient: Vec<f64>, weights: &[f64]) -> Vec<f64> {
    let mean: f64 =
        gradient.iter().zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(g, weight)| g * weight).sum();
    gradient.iter_mut().for_each(|g| *g -= mean);
    gradient
}

#[pymethods]
impl Solution {
    #[getter]
    fn lower(&self) -> f64 {
        self.lower
    }

    #[getter]
    fn upper(&self) -> f64 {
        self.upper
    }

    #[getter]
    fn transport(&self) -> f64 {
        self.transport
    }

    #[getter]
    fn divergence(&self) -> Option<f64> {
        self.divergence
    }

    #[getter]
    fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Converged => "converged",
            Outcome::Stalled => "stalled",
            Outcome::IterationLimit => "iteration limit",
        }
    }

    #[getter]
    fn passes(&self) -> usize {
        self.passes
    }

    #[getter]
    fn pivots(&self) -> usize {
        self.pivots
    }

    #[getter]
    fn seconds(&self) -> f64 {
        self.seconds
    }

    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.potential_a.len(), self.potential_b.len())
    }

    /// Rows, columns and masses of the plan.
    fn arcs<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<i32>>, Bound<'py, PyArray1<f64>>) {
        let rows: Vec<i32> = self.plan.iter().map(|arc| arc.0 as i32).collect();
        let columns: Vec<i32> = self.plan.iter().map(|arc| arc.1 as i32).collect();
        let masses: Vec<f64> = self.plan.iter().map(|arc| arc.2).collect();
        (rows.into_pyarray(py), columns.into_pyarray(py), masses.into_pyarray(py))
    }

    /// The plan as a full array `(n, m)`.
    fn dense_plan<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f64>> {
        let mut plan = Array2::zeros(self.shape());
        for &(i, j, mass) in &self.plan {
            plan[[i as usize, j as usize]] += mass;
        }
        plan.into_pyarray(py)
    }

    fn potential_a<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.potential_a.clone().into_pyarray(py)
    }

    fn potential_b<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.potential_b.clone().into_pyarray(py)
    }

    fn marginal_b<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.marginal_b.clone().into_pyarray(py)
    }

    fn stayed<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.stayed.clone().into_pyarray(py)
    }

    fn weights_gradient_a<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.weights_gradient_a.clone().into_pyarray(py)
    }

    fn weights_gradient_b<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.weights_gradient_b.clone().into_pyarray(py)
    }

    /// Gradients of the value in the positions of the sources and of the targets, from the plan.
    fn position_gradients<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<f64>>)> {
        let (cost, x, z) = self.points()?;
        let (a, b) = position_gradients(cost, x.view(), z.view(), &self.plan, self.scale);
        Ok((a.into_pyarray(py), b.into_pyarray(py)))
    }

    /// The potential of the transport problem and its gradient at the rows of `points` `(k, d)`.
    fn potential_at<'py>(
        &self,
        py: Python<'py>,
        points: PyReadonlyArray2<'py, f64>,
        threads: usize,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>)> {
        let (cost, _, z) = self.points()?;
        let Some(Extension { heights, cap }) = &self.extension else {
            return Err(PyTypeError::new_err("this problem has no potential on new points"));
        };
        let pool = crate::pool::pool(threads)?;
        let y = points.as_array();
        let (values, gradients) =
            py.detach(|| pool.install(|| envelope(cost, z.view(), heights, *cap, y)));
        Ok((values.into_pyarray(py), gradients.into_pyarray(py)))
    }

    /// The flow of a combined proximal.
    #[getter]
    fn flow(&self) -> Option<Flow> {
        self.flow.clone()
    }
}
