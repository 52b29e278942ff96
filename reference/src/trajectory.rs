//! Optimality indicators of sampled trajectories (docs/notation.md, section 5).
//!
//! A trajectory array holds positions `x_k` of shape `(times, samples, d)` at times `t_0 < ... < t_N`. Steps are
//! forward Euler, so the velocity on step `k` is `v_k = (x_{k+1} - x_k) / h_k` with `h_k = t_{k+1} - t_k`, which is
//! the velocity evaluated at `(x_k, t_k)`. Every mean comes with its standard error and the number of samples
//! behind it.

mod hamilton_jacobi;
mod mean;

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis};
use serde::{Deserialize, Serialize};

pub use self::hamilton_jacobi::HamiltonJacobiResidual;
pub use self::mean::Mean;
use crate::specification::InvalidInput;

/// Positions `(times, samples, d)` with their times, checked once at construction.
#[derive(Debug, Clone)]
pub struct Trajectories<'a> {
    times: Vec<f64>,
    positions: ArrayView3<'a, f64>,
}

impl<'a> Trajectories<'a> {
    /// Takes times `t_0 < ... < t_N` (`N >= 1`) and positions of shape `(N + 1, n, d)`, `n, d >= 1`, all finite.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::trajectory::Trajectories;
    /// let positions = array![[[0.0, 0.0]], [[1.0, 0.0]], [[1.0, 1.0]]];
    /// let paths = Trajectories::new(vec![0.0, 1.0, 2.0], positions.view())?;
    /// assert_eq!((paths.steps(), paths.samples(), paths.horizon()), (2, 1, 2.0));
    /// assert_eq!(paths.kinetic_energy().value, 1.0);
    /// assert!((paths.displacement_energy().value - 0.5).abs() < 1e-15);
    /// assert!((paths.energy_ratio().value - 2.0).abs() < 1e-15);
    /// assert!((paths.straightness().value - 2f64.sqrt()).abs() < 1e-15);
    /// assert!((paths.acceleration().value - 2f64.sqrt()).abs() < 1e-15);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn new(times: Vec<f64>, positions: ArrayView3<'a, f64>) -> Result<Self, InvalidInput> {
        let shape = positions.shape();
        if shape.contains(&0) || shape[0] < 2 {
            return Err(InvalidInput::new(
                "positions",
                format!("shape {shape:?}"),
                "(times >= 2, samples >= 1, d >= 1)",
            ));
        }
        if times.len() != shape[0] {
            return Err(InvalidInput::new("times", times.len(), format!("{} entries", shape[0])));
        }
        let increasing = times.windows(2).all(|pair| pair[0] < pair[1]);
        if !increasing || times.iter().any(|t| !t.is_finite()) {
            return Err(InvalidInput::new("times", format!("{times:?}"), "finite and strictly increasing"));
        }
        if let Some(value) = positions.iter().find(|x| !x.is_finite()) {
            return Err(InvalidInput::new("positions", value, "finite entries"));
        }
        Ok(Self { times, positions })
    }

    /// Uniform steps `t_k = k T / N` on `[0, T]`.
    ///
    /// ```
    /// use proxflow_reference::trajectory::Trajectories;
    /// let positions = ndarray::Array3::<f64>::zeros((5, 2, 3));
    /// assert_eq!(Trajectories::uniform(2.0, positions.view())?.times(), [0.0, 0.5, 1.0, 1.5, 2.0]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn uniform(horizon: f64, positions: ArrayView3<'a, f64>) -> Result<Self, InvalidInput> {
        InvalidInput::require_positive("horizon", horizon)?;
        let steps = positions.shape()[0].saturating_sub(1);
        let times = (0..=steps).map(|k| horizon * k as f64 / steps.max(1) as f64).collect();
        Self::new(times, positions)
    }

    /// Number of steps `N`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// assert_eq!(Trajectories::uniform(2.0, positions.view())?.steps(), 2); // three times
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn steps(&self) -> usize {
        self.times.len() - 1
    }

    /// Number of samples `n`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// let positions = array![[[0.0], [5.0]], [[1.0], [6.0]]];
    /// assert_eq!(Trajectories::uniform(2.0, positions.view())?.samples(), 2);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn samples(&self) -> usize {
        self.positions.shape()[1]
    }

    /// The times `t_0, ..., t_N`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// assert_eq!(Trajectories::uniform(3.0, positions.view())?.times(), [0.0, 1.5, 3.0]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Positions at time index `k`, shape `(n, d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// assert_eq!(Trajectories::uniform(2.0, positions.view())?.at(1), array![[1.0]]);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn at(&self, k: usize) -> ArrayView2<'a, f64> {
        self.positions.index_axis_move(Axis(0), k)
    }

    /// Final positions `x_N`, shape `(n, d)`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// let paths = Trajectories::uniform(2.0, positions.view())?;
    /// assert_eq!((paths.endpoints(), paths.endpoints()[[0, 0]]), (paths.at(paths.steps()), 3.0));
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn endpoints(&self) -> ArrayView2<'a, f64> {
        self.at(self.steps())
    }

    /// Elapsed time `T = t_N - t_0`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// assert_eq!(Trajectories::new(vec![1.0, 2.0, 4.0], positions.view())?.horizon(), 3.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn horizon(&self) -> f64 {
        self.times[self.steps()] - self.times[0]
    }

    fn step(&self, k: usize) -> f64 {
        self.times[k + 1] - self.times[k]
    }

    /// `|x_{k+1} - x_k|` per sample and step, shape `(N, n)`.
    fn lengths(&self) -> Array2<f64> {
        let mut lengths = Array2::zeros((self.steps(), self.samples()));
        for k in 0..self.steps() {
            lengths.row_mut(k).assign(&distances(self.at(k + 1), self.at(k)));
        }
        lengths
    }

    fn kinetic_energies(&self) -> Vec<f64> {
        let lengths = self.lengths();
        (0..self.samples())
            .map(|i| (0..self.steps()).map(|k| lengths[[k, i]].powi(2) / (2.0 * self.step(k))).sum())
            .collect()
    }

    fn displacement_energies(&self) -> Vec<f64> {
        let displacements = distances(self.endpoints(), self.at(0));
        displacements.iter().map(|r| r * r / (2.0 * self.horizon())).collect()
    }

    /// Kinetic energy `K_h = E sum_k h_k |v_k|^2 / 2`.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// // Steps of length 1 and 2 in time 1 each: (1 + 4)/2.
    /// assert_eq!(Trajectories::uniform(2.0, positions.view())?.kinetic_energy().value, 2.5);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn kinetic_energy(&self) -> Mean {
        Mean::of(self.kinetic_energies())
    }

    /// Displacement energy `E |x_N - x_0|^2 / (2 T)`: the least kinetic energy with these endpoints.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// let paths = Trajectories::uniform(2.0, positions.view())?;
    /// assert_eq!(paths.displacement_energy().value, 9.0 / 4.0);
    /// assert!(paths.displacement_energy().value <= paths.kinetic_energy().value);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn displacement_energy(&self) -> Mean {
        Mean::of(self.displacement_energies())
    }

    /// `K_h` over the displacement energy, `>= 1` (Jensen), `= 1` iff every path is straight at constant speed.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// # let positions = array![[[0.0]], [[1.0]], [[3.0]]];
    /// // Straight, but not at constant speed; with times to match the steps it is.
    /// assert!((Trajectories::uniform(2.0, positions.view())?.energy_ratio().value - 10.0 / 9.0).abs() < 1e-15);
    /// assert_eq!(Trajectories::new(vec![0.0, 1.0, 3.0], positions.view())?.energy_ratio().value, 1.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn energy_ratio(&self) -> Mean {
        Mean::ratio(&self.kinetic_energies(), &self.displacement_energies())
    }

    /// Straightness `E [ sum_k h_k |v_k| / |x_N - x_0| ] >= 1`. Samples that end where they started have no
    /// direction and are left out, which the count shows.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// let there_and_back = array![[[0.0]], [[2.0]], [[1.0]]];
    /// assert_eq!(Trajectories::uniform(1.0, there_and_back.view())?.straightness().value, 3.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn straightness(&self) -> Mean {
        let lengths = self.lengths().sum_axis(Axis(0));
        let displacements = distances(self.endpoints(), self.at(0));
        let pairs = lengths.iter().zip(&displacements).filter(|(_, r)| **r > 0.0);
        Mean::of(pairs.map(|(length, r)| length / r))
    }

    /// Acceleration `E |v_{k+1} - v_k| / E |v_{k+1}|` over samples and pairs of steps: zero at the optimum and blind to
    /// the gauge `c(t)` of the potential. The standard error treats samples as independent, steps within one not.
    /// NaN with a single step.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use proxflow_reference::trajectory::Trajectories;
    /// // From velocity 2 to -1.
    /// let there_and_back = array![[[0.0]], [[2.0]], [[1.0]]];
    /// assert_eq!(Trajectories::uniform(2.0, there_and_back.view())?.acceleration().value, 3.0);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn acceleration(&self) -> Mean {
        let velocity = |k: usize| (&self.at(k + 1) - &self.at(k)) / self.step(k);
        let (mut turning, mut speed) = (Array1::zeros(self.samples()), Array1::zeros(self.samples()));
        let mut before = velocity(0);
        for k in 1..self.steps() {
            let now = velocity(k);
            turning += &distances(now.view(), before.view());
            speed += &norms(now.view());
            before = now;
        }
        Mean::ratio(&turning.to_vec(), &speed.to_vec())
    }

    /// Step-size deviation `E [ |x_N - x_N^ref| / |x_N^ref - x_0| ]` of these endpoints from those of `reference`,
    /// the finest step, started at the same `x_0`.
    ///
    /// ```
    /// use ndarray::array;
    /// use proxflow_reference::trajectory::Trajectories;
    /// let (coarse, fine) = (array![[[0.0]], [[1.5]]], array![[[0.0]], [[0.5]], [[1.0]]]);
    /// let reference = Trajectories::uniform(1.0, fine.view())?;
    /// assert_eq!(Trajectories::uniform(1.0, coarse.view())?.step_size_deviation(&reference)?.value, 0.5);
    /// # Ok::<(), proxflow_reference::InvalidInput>(())
    /// ```
    pub fn step_size_deviation(&self, reference: &Trajectories) -> Result<Mean, InvalidInput> {
        if self.positions.shape()[1..] != reference.positions.shape()[1..] || self.at(0) != reference.at(0) {
            return Err(InvalidInput::new(
                "reference trajectories",
                format!("shape {:?}", reference.positions.shape()),
                "the same starting points x_0",
            ));
        }
        let deviations = distances(self.endpoints(), reference.endpoints());
        let displacements = distances(reference.endpoints(), reference.at(0));
        let pairs = deviations.iter().zip(&displacements).filter(|(_, r)| **r > 0.0);
        Ok(Mean::of(pairs.map(|(deviation, r)| deviation / r)))
    }
}

/// Terminal residual \[44\] `E |grad U(x_N, T) - grad phi(x_N)|`, per sample; both arrays of shape `(n, d)`.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::trajectory::terminal_residual;
/// assert_eq!(terminal_residual(array![[3.0, 4.0]].view(), array![[0.0, 0.0]].view())?.value, 5.0);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn terminal_residual(
    potential_gradients: ArrayView2<f64>,
    critic_gradients: ArrayView2<f64>,
) -> Result<Mean, InvalidInput> {
    if potential_gradients.shape() != critic_gradients.shape() {
        return Err(InvalidInput::new(
            "critic_gradients",
            format!("shape {:?}", critic_gradients.shape()),
            format!("{:?}", potential_gradients.shape()),
        ));
    }
    Ok(Mean::of(distances(potential_gradients, critic_gradients)))
}

/// Slope statistics of a critic on a set of points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// `E |grad phi|`.
    pub mean: Mean,
    /// `max |grad phi|`, a lower bound of the Lipschitz constant.
    pub max: f64,
}

/// Mean and maximum of `|grad phi|` from gradients of shape `(n, d)`.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::trajectory::slope;
/// let found = slope(array![[3.0, 4.0], [0.0, 1.0]].view());
/// assert_eq!((found.max, found.mean.value), (5.0, 3.0));
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn slope(gradients: ArrayView2<f64>) -> Slope {
    let norms = norms(gradients);
    Slope { max: norms.iter().copied().fold(0.0, f64::max), mean: Mean::of(norms) }
}

/// Row norms of an `(n, d)` array.
fn norms(rows: ArrayView2<f64>) -> Array1<f64> {
    rows.rows().into_iter().map(|row| row.dot(&row).sqrt()).collect()
}

/// `|a_i - b_i|` row by row.
fn distances(left: ArrayView2<f64>, right: ArrayView2<f64>) -> Array1<f64> {
    norms((&left - &right).view())
}

#[cfg(test)]
mod tests;
