//! Distances between solutions found from different starts.
//!
//! What an optimum determines: `U(., 0)` on the support of `rho_0` up to one constant, and the flow, hence `rho(., T)`
//! and `v` where there is mass. (`phi` is fixed on the support of the target by strict convexity of `D_f`, every source
//! node is coupled to that support, and the feedback `v = -grad U / lambda` carries `rho_0` to one `rho`.) Off the
//! supports `U` is free inside its Lipschitz cone, so nothing is compared there.

use rayon::prelude::*;
use serde::Serialize;

/// One solution, reduced to what is compared.
#[derive(Debug, Clone)]
pub struct Sample {
    /// `U(., 0)` at the nodes.
    pub initial_potential: Vec<f64>,
    /// `rho_T`, node weights of mass 1.
    pub generated: Vec<f64>,
    /// Velocities, one entry per (time, axis, node).
    pub velocity: Vec<f64>,
    /// Space-time mass `rho dt / T` behind each velocity entry (the same for every axis).
    pub velocity_mass: Vec<f64>,
    /// Certified gap.
    pub gap: f64,
}

/// Largest pairwise distances within a set of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// `min_c sup |U_a - U_b - c|` at `t = 0`, on the support of the source.
    pub potential: f64,
    /// `sum_i |rho_a - rho_b|` at `T`.
    pub density: f64,
    /// `(1/T) int int rho |v_a - v_b|`, summed over axes, with the smaller of the two masses.
    pub velocity: f64,
}

impl Spread {
    /// The distance between two samples.
    pub fn between(source: &[f64], a: &Sample, b: &Sample) -> Self {
        let differences = (0..source.len())
            .filter(|i| source[*i] > 0.0)
            .map(|i| a.initial_potential[i] - b.initial_potential[i]);
        let (low, high) = differences.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), difference| {
            (low.min(difference), high.max(difference))
        });
        let density = a.generated.iter().zip(&b.generated).map(|(a, b)| (a - b).abs()).sum();
        let velocity = (0..a.velocity.len())
            .map(|k| a.velocity_mass[k].min(b.velocity_mass[k]) * (a.velocity[k] - b.velocity[k]).abs())
            .sum();
        Self { potential: 0.5 * (high - low), density, velocity }
    }

    /// The largest over all pairs, field by field.
    pub fn over_pairs(source: &[f64], samples: &[Sample]) -> Self {
        (0..samples.len())
            .into_par_iter()
            .map(|i| {
                samples[..i]
                    .iter()
                    .map(|b| Self::between(source, &samples[i], b))
                    .fold(Self::default(), Self::max)
            })
            .reduce(Self::default, Self::max)
    }

    /// The largest of the three distances.
    pub fn largest(&self) -> f64 {
        self.potential.max(self.density).max(self.velocity)
    }

    fn max(self, other: Self) -> Self {
        Self {
            potential: self.potential.max(other.potential),
            density: self.density.max(other.density),
            velocity: self.velocity.max(other.velocity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_ignores_constants_and_empty_nodes_and_sees_everything_else() {
        let sample = |shift: f64, off_support: f64, tilt: f64| Sample {
            initial_potential: vec![shift, shift + tilt, off_support],
            generated: vec![0.5 + tilt, 0.5 - tilt, 0.0],
            velocity: vec![tilt, 0.0, off_support],
            velocity_mass: vec![0.5, 0.5, 0.0],
            gap: 0.0,
        };
        let source = [0.5, 0.5, 0.0];
        let same = Spread::over_pairs(&source, &[sample(0.0, 3.0, 0.0), sample(1.0, 9.0, 0.0)]);
        assert_eq!(same.largest(), 0.0);
        let other = Spread::over_pairs(&source, &[sample(0.0, 0.0, 0.0), sample(0.0, 0.0, 0.25)]);
        assert_eq!((other.potential, other.density), (0.125, 0.5));
        assert_eq!(other.velocity, 0.125);
    }
}
