//! The Newton direction of the dual: conjugate gradients on `-E'' + Cov_tilted` (and the penalty of a cap), preconditioned by the Sobolev metric
//! `(1 - (T/lambda) Laplacian)^{-1}` between two diagonal scalings, which FFTs apply in O(N^d log N).

use crate::torus::large_grid::ascent::slope_cap::SlopeCap;
use crate::torus::large_grid::ascent::smooth_dual::SmoothDual;
use crate::torus::large_grid::tuning;
use crate::torus::lattice::spectral::SpectralSolver;
use crate::torus::lattice::vector::{add_scaled, dot, sum_pairs, update};

/// Whether the Sobolev metric is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    /// By the square root of the local stiffness, for densities.
    Scaled,
    /// Not at all, for targets with empty nodes: mass on a curve or a point is a bounded form in the Sobolev metric (or
    /// nearly), and a scaling by its density would undo that.
    Plain,
}

/// Scratch memory of the linear solve.
pub(crate) struct NewtonDirection {
    spectral: SpectralSolver,
    /// `T / lambda`.
    diffusion: f64,
    node_count: f64,
    metric: Metric,
    /// Inverse square root of the local stiffness, 1 where the transported density is 1.
    scaling: Vec<f64>,
    residual: Vec<f64>,
    preconditioned: Vec<f64>,
    search: Vec<f64>,
    image: Vec<f64>,
}

impl NewtonDirection {
    pub(crate) fn new(spectral: SpectralSolver, diffusion: f64, node_count: usize, metric: Metric) -> Self {
        let zeros = || vec![0.0; node_count];
        Self {
            spectral,
            diffusion,
            node_count: node_count as f64,
            metric,
            scaling: zeros(),
            residual: zeros(),
            preconditioned: zeros(),
            search: zeros(),
            image: zeros(),
        }
    }

    /// Solves `(-E'' + Cov_tilted) direction = gradient` to [`tuning::LINEAR_TOLERANCE`] in the preconditioned norm, relative to the
    /// start, or for [`tuning::PRODUCTS`] products. Returns the number of products.
    pub(crate) fn solve(
        &mut self,
        dual: &mut SmoothDual,
        mut cap: Option<&mut SlopeCap>,
        tilted: &[f64],
        gradient: &[f64],
        direction: &mut [f64],
    ) -> usize {
        // Under a cap mass may land where the target has none, and go on from there.
        let no_stray = self.metric == Metric::Plain && cap.is_none();
        dual.linearise(no_stray.then_some(tilted));
        if let Some(cap) = &mut cap {
            cap.linearise();
        }
        self.set_scaling(dual, cap.as_deref_mut(), tilted);
        direction.fill(0.0);
        self.residual.copy_from_slice(gradient);
        self.precondition();
        self.search.copy_from_slice(&self.preconditioned);
        let mut energy = dot(&self.residual, &self.preconditioned);
        let target = tuning::LINEAR_TOLERANCE * tuning::LINEAR_TOLERANCE * energy;
        for product in 0..tuning::PRODUCTS {
            if energy <= target || energy <= 0.0 {
                return product;
            }
            dual.apply_curvature(&self.search, &mut self.image);
            if let Some(cap) = &mut cap {
                cap.add_curvature(&self.search, &mut self.image);
            }
            let mean = dot(tilted, &self.search);
            let search = &self.search;
            self.image.iter_mut().zip(tilted.iter().zip(search)).for_each(|(image, (eta, s))| {
                *image += eta * (s - mean);
            });
            let step = energy / dot(&self.search, &self.image);
            add_scaled(direction, step, &self.search);
            add_scaled(&mut self.residual, -step, &self.image);
            self.precondition();
            let next = dot(&self.residual, &self.preconditioned);
            let ratio = next / energy;
            update(&mut self.search, &self.preconditioned, |s, z| z + ratio * s);
            energy = next;
        }
        tuning::PRODUCTS
    }

    fn set_scaling(&mut self, dual: &SmoothDual, cap: Option<&mut SlopeCap>, tilted: &[f64]) {
        if self.metric == Metric::Plain {
            return self.scaling.fill(1.0);
        }
        dual.stiffness(&mut self.scaling);
        if let Some(cap) = cap {
            cap.add_stiffness(&mut self.scaling);
        }
        // On density 1 the edge weights are (T/lambda) N^2 / N^d: two of them make the diagonal.
        let side = self.node_count.powf(1.0 / dual.dimension() as f64);
        let unit = 2.0 * self.diffusion * side * side / self.node_count;
        let count = self.node_count;
        update(&mut self.scaling, tilted, |stiffness, eta| {
            (stiffness / unit).max(eta * count).max(tuning::FLAT_DENSITY).sqrt().recip()
        });
    }

    /// `preconditioned <- S (1 - (T/lambda) Laplacian)^{-1} N^d S residual`.
    fn precondition(&mut self) {
        let count = self.node_count;
        self.preconditioned.copy_from_slice(&self.residual);
        update(&mut self.preconditioned, &self.scaling, |value, scale| value * scale * count);
        let diffusion = self.diffusion;
        self.spectral.apply(&mut self.preconditioned, |square| 1.0 / (1.0 + diffusion * square));
        update(&mut self.preconditioned, &self.scaling, |value, scale| value * scale);
        let mean = sum_pairs(&self.preconditioned, &self.preconditioned, |x, _| x) / count;
        self.preconditioned.iter_mut().for_each(|value| *value -= mean);
    }
}
