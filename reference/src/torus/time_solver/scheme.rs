//! The backward Hamilton-Jacobi equation `-dU/dt - s Lap U + |grad U|^2 / (2 lambda) = 0`, `U(., T) = phi` (3.1, \[20\]).
//!
//! One step back in time is `U^n = R S(U^{n+1})`: the explicit upwind step (Osher-Sethian, Achdou-Capuzzo-Dolcetta)
//!
//! `S(U)_i = U_i - dt/(2 lambda h^2) sum_{j ~ i} (U_i - U_j)_+^2`
//! `       = min_{w >= 0} { U_i - sum_j dt w_j (U_i - U_j)/h + dt lambda/2 sum_j w_j^2 }`,
//!
//! followed by the implicit diffusion `R` of [`crate::torus::time_solver::diffusion`] when `s > 0`. The second line is the Bellman
//! equation of a walk that leaves `i` towards `j` with speed `w_j`; its minimiser is the upwind velocity
//! `w_j = (U_i - U_j)_+ / (lambda h)`, so the scheme needs no other definition of `v = -grad U / lambda`.
//!
//! Both maps are concave, commute with adding constants and with translations, and are non-decreasing under
//! `dt sum_j w_j <= h`. Hence slopes never grow backwards in time: `|phi_i - phi_j| <= L h` gives the step restriction
//! `dt <= lambda h / (2 d L)`. Order 1 in `h` with `dt ~ h` where `U` is smooth.

use crate::specification::InvalidInput;
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::neighbour_table::NeighbourTable;
use crate::torus::time_solver::diffusion::ImplicitDiffusion;

/// The monotone scheme on `steps` uniform time steps.
#[derive(Debug, Clone)]
pub struct HamiltonJacobiScheme {
    neighbours: NeighbourTable,
    lambda: f64,
    horizon: f64,
    steps: usize,
    viscosity: f64,
    diffusion: Option<ImplicitDiffusion>,
}

impl HamiltonJacobiScheme {
    /// The scheme with the fewest steps that keep it monotone for potentials of slope at most `slope` per axis.
    ///
    /// `horizon = 0` gives the identity map (no step). Negative or non-finite arguments are [`InvalidInput`].
    pub fn new(
        grid: TorusGrid,
        lambda: f64,
        horizon: f64,
        viscosity: f64,
        slope: f64,
    ) -> Result<Self, InvalidInput> {
        let neighbours = NeighbourTable::new(grid)?;
        InvalidInput::require_positive("lambda", lambda)?;
        InvalidInput::require_positive("slope", slope)?;
        for (name, value) in [("horizon", horizon), ("viscosity", viscosity)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(InvalidInput::new(name, value, "finite and >= 0"));
            }
        }
        let largest_step = lambda * grid.spacing() / (2.0 * grid.dimension as f64 * slope);
        // A ratio that is an integer up to rounding must not cost an extra step.
        let steps = (horizon / largest_step * (1.0 - 1e-12)).ceil() as usize;
        if steps.saturating_mul(grid.node_count()) > MOST_SPACE_TIME_NODES {
            return Err(InvalidInput::new(
                "time steps x nodes",
                format!("{steps} x {}", grid.node_count()),
                format!("at most {MOST_SPACE_TIME_NODES} (lower the horizon, the slope or the grid)"),
            ));
        }
        let diffusion = (viscosity > 0.0 && steps > 0)
            .then(|| ImplicitDiffusion::new(&grid, viscosity, horizon / steps as f64));
        Ok(Self { neighbours, lambda, horizon, steps, viscosity, diffusion })
    }

    /// The grid.
    pub fn grid(&self) -> TorusGrid {
        *self.neighbours
    }

    /// The grid with its neighbour tables.
    pub fn neighbours(&self) -> &NeighbourTable {
        &self.neighbours
    }

    /// Number of time steps `N`.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Kinetic weight `lambda`.
    pub fn lambda(&self) -> f64 {
        self.lambda
    }

    /// Horizon `T`.
    pub fn horizon(&self) -> f64 {
        self.horizon
    }

    /// Viscosity `s`.
    pub fn viscosity(&self) -> f64 {
        self.viscosity
    }

    /// `dt = T / N` (0 without steps).
    pub fn time_step(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.horizon / self.steps as f64 }
    }

    /// `dt / (lambda h^2)`: the probability of leaving towards a neighbour per unit of potential difference.
    pub(in crate::torus) fn rate(&self) -> f64 {
        self.time_step() / (self.lambda * self.neighbours.spacing().powi(2))
    }

    /// `field <- R field`.
    pub(super) fn diffuse(&self, field: &mut [f64]) {
        if let Some(diffusion) = &self.diffusion {
            diffusion.apply(&self.neighbours, field);
        }
    }

    /// `R` on `width` fields stored node by node.
    pub(super) fn diffuse_rows(&self, fields: &mut [f64], width: usize) {
        if let Some(diffusion) = &self.diffusion {
            diffusion.apply_rows(&self.neighbours, fields, width);
        }
    }

    /// One step back in time, `U^n = R S(U^{n+1})`.
    pub fn step(&self, next: &[f64]) -> Vec<f64> {
        let half_rate = 0.5 * self.rate();
        let mut current = next.to_vec();
        for axis in 0..self.neighbours.dimension {
            for neighbours in [self.neighbours.forward(axis), self.neighbours.backward(axis)] {
                for (i, j) in neighbours.iter().enumerate() {
                    let descent = (next[i] - next[*j as usize]).max(0.0);
                    current[i] -= half_rate * descent * descent;
                }
            }
        }
        self.diffuse(&mut current);
        current
    }

    /// `U^0, .., U^N` with `U^N = terminal`.
    pub fn solve(&self, terminal: &[f64]) -> Vec<Vec<f64>> {
        let mut values = vec![terminal.to_vec()];
        for n in 0..self.steps {
            values.push(self.step(&values[n]));
        }
        values.reverse();
        values
    }

    /// The linearised step `dU^n = R S'(U^{n+1}) dU^{n+1}`.
    pub fn linearised_step(&self, next: &[f64], direction: &[f64]) -> Vec<f64> {
        let rate = self.rate();
        let mut current = direction.to_vec();
        for axis in 0..self.neighbours.dimension {
            for neighbours in [self.neighbours.forward(axis), self.neighbours.backward(axis)] {
                for (i, j) in neighbours.iter().enumerate() {
                    let j = *j as usize;
                    current[i] -= rate * (next[i] - next[j]).max(0.0) * (direction[i] - direction[j]);
                }
            }
        }
        self.diffuse(&mut current);
        current
    }

    /// Largest probability `dt sum_j w_j / h` of leaving a node; the scheme is monotone while it is at most 1.
    pub fn courant_number(&self, next: &[f64]) -> f64 {
        let mut leaving = vec![0.0; next.len()];
        for axis in 0..self.neighbours.dimension {
            for neighbours in [self.neighbours.forward(axis), self.neighbours.backward(axis)] {
                for (i, j) in neighbours.iter().enumerate() {
                    leaving[i] += (next[i] - next[*j as usize]).max(0.0);
                }
            }
        }
        self.rate() * leaving.iter().fold(0.0, |largest: f64, value| largest.max(*value))
    }

    /// Nodal velocity `v = -grad U / lambda` along `axis`: mass leaves forwards with speed `(U_i - U_{i+})_+/(lambda h)`
    /// and backwards with `(U_i - U_{i-})_+/(lambda h)`; `v` is their difference.
    pub fn velocity(&self, potential: &[f64], axis: usize) -> Vec<f64> {
        let scale = 1.0 / (self.lambda * self.neighbours.spacing());
        let (forward, backward) = (self.neighbours.forward(axis), self.neighbours.backward(axis));
        (0..potential.len())
            .map(|i| {
                let ahead = (potential[i] - potential[forward[i] as usize]).max(0.0);
                let behind = (potential[i] - potential[backward[i] as usize]).max(0.0);
                scale * (ahead - behind)
            })
            .collect()
    }

    /// Largest `|U^n - R S(U^{n+1})| / dt` over nodes and steps, the discrete residual of the equation.
    pub fn residual(&self, values: &[Vec<f64>], sign: HamiltonianSign) -> f64 {
        let mut largest = 0.0f64;
        for pair in values.windows(2) {
            let stepped = self.step(&pair[1]);
            for i in 0..stepped.len() {
                let difference = match sign {
                    HamiltonianSign::Equation => pair[0][i] - stepped[i],
                    // Without diffusion S(U) = U - dt H, and the wrong equation steps by U + dt H.
                    HamiltonianSign::Flipped => pair[0][i] - (2.0 * pair[1][i] - stepped[i]),
                };
                largest = largest.max(difference.abs());
            }
        }
        if self.steps == 0 { 0.0 } else { largest / self.time_step() }
    }
}

/// Which sign the Hamiltonian carries in [`HamiltonJacobiScheme::residual`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HamiltonianSign {
    /// `-dU/dt + |grad U|^2/(2 lambda)`: the equation.
    Equation,
    /// `-dU/dt - |grad U|^2/(2 lambda)`: the negative control of 3.6 (s = 0 only).
    Flipped,
}

/// Refused above this: one trajectory of potentials would exceed 1 GiB.
const MOST_SPACE_TIME_NODES: usize = 1 << 27;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A random field with neighbour differences at most `slope * h` on each axis.
    fn random_field(scheme: &HamiltonJacobiScheme, slope: f64, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let half = 0.5 * slope * scheme.neighbours().spacing();
        (0..scheme.neighbours().node_count()).map(|_| random.random_range(-half..half)).collect()
    }

    fn schemes() -> Vec<HamiltonJacobiScheme> {
        [(1, 24, 0.0), (1, 24, 0.01), (2, 7, 0.0), (2, 7, 0.02), (3, 5, 0.01)]
            .into_iter()
            .map(|(dimension, side, viscosity)| {
                let grid = TorusGrid::new(dimension, side).unwrap();
                HamiltonJacobiScheme::new(grid, 0.7, 0.4, viscosity, 1.5).unwrap()
            })
            .collect()
    }

    #[test]
    fn step_is_monotone_concave_and_commutes_with_constants() {
        for scheme in schemes() {
            let (a, b) = (random_field(&scheme, 1.5, 1), random_field(&scheme, 1.5, 2));
            let upper: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
            let (step_a, step_b, step_upper) = (scheme.step(&a), scheme.step(&b), scheme.step(&upper));
            let middle: Vec<f64> = a.iter().zip(&b).map(|(a, b)| 0.5 * (a + b)).collect();
            let step_middle = scheme.step(&middle);
            let shifted: Vec<f64> = a.iter().map(|a| a + 3.0).collect();
            let step_shifted = scheme.step(&shifted);
            for i in 0..a.len() {
                assert!(step_upper[i] >= step_a[i].max(step_b[i]) - 1e-15);
                assert!(step_middle[i] >= 0.5 * (step_a[i] + step_b[i]) - 1e-15);
                assert!((step_shifted[i] - step_a[i] - 3.0).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn too_long_a_time_step_is_not_monotone() {
        let grid = TorusGrid::new(1, 16).unwrap();
        let scheme = HamiltonJacobiScheme::new(grid, 1.0, 0.5, 0.0, 1.0).unwrap();
        let steep: Vec<f64> = (0..16).map(|i| if i == 8 { 1.0 } else { 0.0 }).collect();
        let steeper: Vec<f64> = steep.iter().map(|value| 1.5 * value).collect();
        assert!(scheme.courant_number(&steep) > 1.0);
        assert!(scheme.step(&steeper)[8] < scheme.step(&steep)[8]);
    }

    #[test]
    fn slopes_never_grow_backwards_in_time() {
        for scheme in schemes() {
            let values = scheme.solve(&random_field(&scheme, 1.5, 3));
            let steepest = |field: &[f64]| {
                (0..scheme.neighbours().dimension)
                    .flat_map(|axis| scheme.neighbours().forward(axis).iter().enumerate())
                    .map(|(i, j)| (field[i] - field[*j as usize]).abs())
                    .fold(0.0, f64::max)
            };
            for pair in values.windows(2) {
                assert!(steepest(&pair[0]) <= steepest(&pair[1]) + 1e-15);
                assert!(scheme.courant_number(&pair[1]) <= 1.0 + 1e-12);
            }
        }
    }

    #[test]
    fn linearised_step_is_the_derivative() {
        for scheme in schemes() {
            let (base, direction) = (random_field(&scheme, 1.0, 4), random_field(&scheme, 1.0, 5));
            let epsilon = 1e-6;
            let moved = |sign: f64| {
                let field: Vec<f64> =
                    base.iter().zip(&direction).map(|(b, d)| b + sign * epsilon * d).collect();
                scheme.step(&field)
            };
            let (ahead, behind) = (moved(1.0), moved(-1.0));
            let linear = scheme.linearised_step(&base, &direction);
            for i in 0..linear.len() {
                // Central difference: eps^2 curvature plus rounding eps/epsilon.
                let difference = (ahead[i] - behind[i]) / (2.0 * epsilon);
                assert!((difference - linear[i]).abs() < 1e-7, "{difference} {}", linear[i]);
            }
        }
    }

    #[test]
    fn residual_vanishes_for_the_solution_and_not_for_the_flipped_sign() {
        let grid = TorusGrid::new(1, 64).unwrap();
        let scheme = HamiltonJacobiScheme::new(grid, 1.0, 0.2, 0.0, 1.0).unwrap();
        let terminal = scheme.neighbours().sample(|x| 0.1 * (std::f64::consts::TAU * x[0]).cos());
        let values = scheme.solve(&terminal);
        assert!(scheme.residual(&values, HamiltonianSign::Equation) < 1e-14);
        assert!(scheme.residual(&values, HamiltonianSign::Flipped) > 0.1);
    }

    #[test]
    fn bad_parameters_are_named() {
        let grid = || TorusGrid::new(1, 8).unwrap();
        let field = |result: Result<HamiltonJacobiScheme, InvalidInput>| result.unwrap_err().field;
        assert_eq!(field(HamiltonJacobiScheme::new(grid(), 0.0, 1.0, 0.0, 1.0)), "lambda");
        assert_eq!(field(HamiltonJacobiScheme::new(grid(), 1.0, -1.0, 0.0, 1.0)), "horizon");
        assert_eq!(field(HamiltonJacobiScheme::new(grid(), 1.0, 1.0, f64::NAN, 1.0)), "viscosity");
        assert_eq!(field(HamiltonJacobiScheme::new(grid(), 1.0, 1.0, 0.0, 1e12)), "time steps x nodes");
    }
}
