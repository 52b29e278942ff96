//! What every solver returns to Python: one class whose arrays are made when they are asked for.

use std::sync::Arc;

use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray2};
use proxflow_reference::divergence::{Generator, LipschitzRegularisedDivergence};
use proxflow_reference::proximal::CombinedProximal;
use proxflow_reference::transport::certificate::SparsePlan;
use proxflow_reference::transport::{
    BalancedTransport, PointwiseCost, SemiRelaxedTransport, WassersteinDistance,
};
use proxflow_reference::{Measure, Termination};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::flow::Flow;
use crate::ground::{envelope, position_gradients};

/// The positions behind a problem, and the function that its potential is on all of R^d, `min(min_j (c(|y - z_j|) + psi_j), cap)`.
struct Geometry {
    cost: PointwiseCost,
    source: Measure,
    data: Measure,
    heights: Vec<f64>,
    cap: f64,
}

/// A certified value with its optimisers.
#[pyclass(frozen, module = "proxflow._proxflow")]
pub struct Solution {
    lower: f64,
    upper: f64,
    /// `<c, G>`.
    transport: f64,
    /// `D_f(G^T 1 | b)`; absent where the second marginal is fixed.
    divergence: Option<f64>,
    termination: Termination,
    plan: SparsePlan,
    potential_a: Vec<f64>,
    potential_b: Vec<f64>,
    marginal_b: Vec<f64>,
    /// Mass that stayed at the sources (singular mass at its price); empty when that is not allowed.
    stayed: Vec<f64>,
    weights_gradient_a: Vec<f64>,
    weights_gradient_b: Vec<f64>,
    /// Absent where the caller gave a cost matrix.
    geometry: Option<Geometry>,
    /// Derivative of the value in the objective of the transport problem: 1, but `1/(2 W2)` for `W2`.
    scale: f64,
    passes: usize,
    pivots: usize,
    seconds: f64,
    flow: Option<Flow>,
}

impl Solution {
    pub fn of_balanced(solved: BalancedTransport, a: &[f64], b: &[f64]) -> Self {
        let (lower, upper) = (solved.lower, solved.upper);
        Self::balanced(solved, lower, upper, 1.0, a, b)
    }

    fn balanced(solved: BalancedTransport, lower: f64, upper: f64, scale: f64, a: &[f64], b: &[f64]) -> Self {
        let plan = solved.solution;
        let scaled = |potential: &[f64], sign: f64| potential.iter().map(|v| sign * scale * v).collect();
        Self {
            lower,
            upper,
            transport: solved.upper,
            divergence: None,
            termination: solved.termination,
            weights_gradient_a: centred(scaled(&plan.source_potential, 1.0), a),
            weights_gradient_b: centred(scaled(&plan.target_potential, -1.0), b),
            marginal_b: b.to_vec(),
            stayed: Vec::new(),
            plan: plan.plan,
            potential_a: plan.source_potential,
            potential_b: plan.target_potential,
            geometry: None,
            scale,
            passes: plan.passes,
            pivots: plan.iterations,
            seconds: solved.seconds,
            flow: None,
        }
    }

    pub fn of_wasserstein(
        solved: WassersteinDistance,
        squared: bool,
        source: Measure,
        data: Measure,
    ) -> Self {
        let cost = solved.order.cost();
        let root = cost == PointwiseCost::SquaredDistance && !squared;
        let (lower, upper) = (solved.lower, solved.upper);
        let transport = solved.solution.transport;
        let (lower, upper) = if root { (lower, upper) } else { (transport.lower, transport.upper) };
        // At W2 = 0 the subdifferential contains zero.
        let scale = match root {
            false => 1.0,
            true if upper > 0.0 => 0.5 / upper,
            true => 0.0,
        };
        let heights = transport.target_potential.clone();
        let mut solution = Self::balanced(transport, lower, upper, scale, source.weights(), data.weights());
        solution.geometry = Some(Geometry { cost, source, data, heights, cap: f64::INFINITY });
        solution
    }

    /// `shift` is the minimiser `nu` of the cumulant at the potential.
    pub fn of_semi_relaxed(
        solved: SemiRelaxedTransport,
        generator: &Generator,
        shift: f64,
        a: &[f64],
        b: &[f64],
    ) -> Self {
        let plan = solved.solution;
        let heights: Vec<f64> = plan.potential.iter().map(|psi| psi - shift).collect();
        Self {
            lower: solved.lower,
            upper: solved.upper,
            transport: plan.transport,
            divergence: Some(plan.divergence),
            termination: solved.termination,
            weights_gradient_a: centred(plan.source_potential.clone(), a),
            weights_gradient_b: divergence_gradient(generator, &heights, b),
            plan: plan.plan,
            potential_a: plan.source_potential,
            potential_b: plan.potential,
            marginal_b: plan.second_marginal,
            stayed: Vec::new(),
            geometry: None,
            scale: 1.0,
            passes: plan.passes,
            pivots: plan.iterations,
            seconds: solved.seconds,
            flow: None,
        }
    }

    pub fn of_divergence(
        solved: LipschitzRegularisedDivergence,
        generator: &Generator,
        cost: PointwiseCost,
        priced: bool,
        model: Measure,
        data: Measure,
    ) -> Self {
        let optimum = solved.solution;
        let heights = optimum.potential.offsets().to_vec();
        Self {
            lower: solved.lower,
            upper: solved.upper,
            transport: optimum.transport,
            divergence: Some(optimum.divergence),
            termination: solved.termination,
            weights_gradient_a: centred(optimum.model_potential.clone(), model.weights()),
            weights_gradient_b: divergence_gradient(generator, &heights, data.weights()),
            potential_b: optimum.data_potential(),
            potential_a: optimum.model_potential,
            plan: optimum.plan,
            marginal_b: optimum.intermediate,
            stayed: if priced { optimum.stayed } else { Vec::new() },
            geometry: Some(Geometry { cost, source: model, data, heights, cap: optimum.potential.cap() }),
            scale: 1.0,
            passes: 0,
            pivots: 0,
            seconds: solved.seconds,
            flow: None,
        }
    }

    pub fn of_proximal(
        solved: CombinedProximal,
        generator: &Generator,
        priced: bool,
        source: Measure,
        data: Measure,
    ) -> Self {
        let flow = &solved.solution;
        let parameters = flow.parameters;
        let arrived = flow.paths.iter().filter_map(|path| path.data.map(|j| (path, j)));
        let plan = arrived.map(|(path, j)| (path.source as u32, j as u32, path.mass)).collect();
        let heights = flow.potential.offsets().to_vec();
        let cap = flow.potential.cap();
        Self {
            lower: solved.lower,
            upper: solved.upper,
            transport: parameters.lambda * flow.kinetic_energy + flow.transport,
            divergence: Some(flow.divergence),
            termination: solved.termination,
            weights_gradient_a: centred(flow.initial_potential.clone(), source.weights()),
            weights_gradient_b: divergence_gradient(generator, &heights, data.weights()),
            potential_a: flow.initial_potential.clone(),
            potential_b: flow.potential.values_at_atoms(),
            plan,
            marginal_b: flow.intermediate.clone(),
            stayed: if priced { flow.stayed.clone() } else { Vec::new() },
            geometry: Some(Geometry { cost: PointwiseCost::Huber(parameters), source, data, heights, cap }),
            scale: 1.0,
            passes: 0,
            pivots: 0,
            seconds: solved.seconds,
            flow: Some(Flow { flow: Arc::new(solved.solution) }),
        }
    }

    fn geometry(&self) -> PyResult<&Geometry> {
        self.geometry.as_ref().ok_or_else(|| {
            PyTypeError::new_err(
                "the problem was given as a cost matrix: there are no positions to evaluate at",
            )
        })
    }
}

/// Centres a gradient in the weights: `<w, g> = 0`, the derivative along normalised weights.
fn centred(mut gradient: Vec<f64>, weights: &[f64]) -> Vec<f64> {
    let mean: f64 =
        gradient.iter().zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(g, weight)| g * weight).sum();
    gradient.iter_mut().for_each(|g| *g -= mean);
    gradient
}

/// `d/dq_j D_f(eta|q) = f(t) - t f'(t) = -f*(psi_j - nu)`, centred; an atom of weight zero, whose height is infinite, gets 0.
fn divergence_gradient(generator: &Generator, heights: &[f64], b: &[f64]) -> Vec<f64> {
    let gradient = heights.iter().map(|height| {
        let value = -generator.conjugate(*height);
        if value.is_finite() { value } else { 0.0 }
    });
    centred(gradient.collect(), b)
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
        self.termination.name()
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
        let Geometry { cost, source, data, .. } = self.geometry()?;
        let (a, b) = position_gradients(*cost, source.points(), data.points(), &self.plan, self.scale);
        Ok((a.into_pyarray(py), b.into_pyarray(py)))
    }

    /// The potential of the transport problem and its gradient at the rows of `points` `(k, d)`.
    fn potential_at<'py>(
        &self,
        py: Python<'py>,
        points: PyReadonlyArray2<'py, f64>,
        threads: usize,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>)> {
        let Geometry { cost, data, heights, cap, .. } = self.geometry()?;
        let pool = crate::pool::pool(threads)?;
        let y = points.as_array();
        let (values, gradients) =
            py.detach(|| pool.install(|| envelope(*cost, data.points(), heights, *cap, y)));
        Ok((values.into_pyarray(py), gradients.into_pyarray(py)))
    }

    /// The flow of a combined proximal.
    #[getter]
    fn flow(&self) -> Option<Flow> {
        self.flow.clone()
    }
}
