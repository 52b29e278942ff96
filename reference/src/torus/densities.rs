//! Named densities on the torus: smooth ones, and singular ones that live on nodes near a set of measure zero.
//!
//! All are given by their Lebesgue density at the nodes (normalised to mass 1), or, when singular, by equal masses
//! along the set; on `d` axes the shapes use the first axes and are Gaussian around 1/2 in the others.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use ndarray::ArrayD;

use crate::specification::InvalidInput;
use crate::torus::lattice::grid::{TorusGrid, geodesic_difference};
use crate::torus::lattice::spectral::heat_smoothed;

/// A density known by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NamedDensity {
    /// Density 1.
    Uniform,
    /// `exp(cos)` bump of width about 0.15 around (0.3, ..., 0.3), bounded below by a few per cent of its mean.
    Bump,
    /// A wrapped Gaussian of standard deviation 0.08 around (0.3, ..., 0.3), without a floor.
    Gaussian,
    /// Uniform background with three smooth bumps of unequal weight.
    Mixture,
    /// Two wrapped Gaussians of standard deviation 0.07 with a uniform tenth beneath.
    TwoBumps,
    /// Two bumps without background: density far below 1e-6 between them.
    TwoGaussians,
    /// Singular: equal masses on the circle of radius 0.25 around (1/2, 1/2) (two points when `d = 1`).
    Circle,
    /// Singular: the curve `x_2 = 1/2 + sin(2 pi x_1) / 5` (the segment [0.25, 0.75] when `d = 1`).
    Curve,
    /// Singular: all mass on the node nearest (1/2, ..., 1/2).
    Point,
    /// Singular: masses 0.5, 0.3, 0.2 on three nodes.
    Points,
    /// Discontinuous: 4 squares per side, density 2 and 0 in turn.
    Checkerboard,
    /// The circle smoothed by the heat kernel of this bandwidth.
    SmoothedCircle(f64),
}

/// The names that [`NamedDensity::from_str`] accepts.
pub const DENSITY_NAMES: &str = "uniform, bump, gaussian, mixture, two-bumps, two-gaussians, circle, curve, point, \
                                 points, checkerboard, circle:BANDWIDTH";

impl NamedDensity {
    /// Node masses on `grid`, summing to 1 to rounding.
    pub fn on(&self, grid: &TorusGrid) -> ArrayD<f64> {
        let masses = match self {
            Self::Uniform => grid.tabulate(|_| 1.0),
            Self::Bump => grid.tabulate(|x| smooth_bump(grid, x, 0.3, 2.0)),
            Self::Gaussian => grid.tabulate(|x| wrapped_gaussian(grid, x, [0.3; 3], 0.08)),
            Self::Mixture => grid.tabulate(|x| {
                0.3 + 0.5 * smooth_bump(grid, x, 0.75, 3.0)
                    + smooth_bump(grid, [x[0], x[1] + 0.4, x[2]], 0.6, 2.5)
                    + 0.7 * smooth_bump(grid, [x[0] - 0.55, x[1], x[2]], 0.55, 2.0)
            }),
            Self::TwoBumps => {
                let bumps = Self::TwoGaussians.on(grid);
                let floor = 1.0 / grid.node_count() as f64;
                bumps * 0.9 + floor * 0.1
            }
            Self::TwoGaussians => grid.tabulate(|x| {
                0.6 * wrapped_gaussian(grid, x, [0.7, 0.3, 0.5], 0.07)
                    + 0.4 * wrapped_gaussian(grid, x, [0.6, 0.75, 0.5], 0.07)
            }),
            Self::Circle if grid.dimension == 1 => masses_at(grid, &[([0.25; 3], 0.5), ([0.75; 3], 0.5)]),
            Self::Circle => along_curve(grid, |t| {
                [0.5 + 0.25 * (2.0 * PI * t).cos(), 0.5 + 0.25 * (2.0 * PI * t).sin(), 0.5]
            }),
            Self::Curve if grid.dimension == 1 => along_curve(grid, |t| [0.25 + 0.5 * t, 0.0, 0.0]),
            Self::Curve => along_curve(grid, |t| [t, 0.5 + 0.2 * (2.0 * PI * t).sin(), 0.5]),
            Self::Point => masses_at(grid, &[([0.5; 3], 1.0)]),
            Self::Points => {
                masses_at(grid, &[([0.5; 3], 0.5), ([0.8, 0.2, 0.5], 0.3), ([0.15, 0.7, 0.5], 0.2)])
            }
            Self::Checkerboard => grid.tabulate(|x| {
                let parity: usize = (0..grid.dimension).map(|axis| (4.0 * x[axis] + 1e-9) as usize).sum();
                if parity.is_multiple_of(2) { 2.0 } else { 0.0 }
            }),
            Self::SmoothedCircle(bandwidth) => heat_smoothed(grid, &Self::Circle.on(grid), *bandwidth),
        };
        let total = masses.sum();
        masses / total
    }

    /// Whether the density lives on a set of measure zero, where a pure f-divergence with infinite recession slope
    /// is infinite.
    pub fn is_singular(&self) -> bool {
        matches!(self, Self::Circle | Self::Point | Self::Points) || matches!(self, Self::Curve)
    }
}

/// `prod_axis exp(concentration (cos 2 pi (x - centre) - 1))`, a smooth bump without seams (von Mises).
fn smooth_bump(grid: &TorusGrid, x: [f64; 3], centre: f64, concentration: f64) -> f64 {
    let exponent: f64 = (0..grid.dimension).map(|axis| (2.0 * PI * (x[axis] - centre)).cos() - 1.0).sum();
    (concentration / grid.dimension as f64 * exponent).exp()
}

/// Product of Gaussians wrapped around the circle; images beyond the second are below 1e-40 for widths up to 0.15.
fn wrapped_gaussian(grid: &TorusGrid, x: [f64; 3], centre: [f64; 3], deviation: f64) -> f64 {
    (0..grid.dimension)
        .map(|axis| {
            let difference = geodesic_difference(x[axis] - centre[axis]);
            (-2..=2)
                .map(|image| (-0.5 * ((difference + f64::from(image)) / deviation).powi(2)).exp())
                .sum::<f64>()
        })
        .product()
}

/// Equal masses at the nodes nearest to points dense on the curve `t -> point(t)`, `t` in [0, 1).
fn along_curve(grid: &TorusGrid, point: impl Fn(f64) -> [f64; 3]) -> ArrayD<f64> {
    let samples = 64 * grid.nodes_per_side;
    let points: Vec<_> = (0..samples).map(|k| (point((k as f64 + 0.5) / samples as f64), 1.0)).collect();
    let masses = masses_at(grid, &points);
    masses.mapv(|mass| if mass > 0.0 { 1.0 } else { 0.0 })
}

fn masses_at(grid: &TorusGrid, points: &[([f64; 3], f64)]) -> ArrayD<f64> {
    let mut masses = vec![0.0; grid.node_count()];
    for (point, mass) in points {
        masses[grid.flat_index(point.map(|x| (x * grid.nodes_per_side as f64).round() as isize))] += mass;
    }
    ArrayD::from_shape_vec(grid.shape(), masses).expect("one mass for each node")
}

impl FromStr for NamedDensity {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let invalid = || InvalidInput::new("density", text, DENSITY_NAMES);
        Ok(match text {
            "uniform" => Self::Uniform,
            "bump" => Self::Bump,
            "gaussian" => Self::Gaussian,
            "mixture" => Self::Mixture,
            "two-bumps" => Self::TwoBumps,
            "two-gaussians" => Self::TwoGaussians,
            "circle" => Self::Circle,
            "curve" => Self::Curve,
            "point" => Self::Point,
            "points" => Self::Points,
            "checkerboard" => Self::Checkerboard,
            _ => {
                let bandwidth: f64 =
                    text.strip_prefix("circle:").ok_or_else(invalid)?.parse().map_err(|_| invalid())?;
                if !(bandwidth.is_finite() && bandwidth > 0.0) {
                    return Err(invalid());
                }
                Self::SmoothedCircle(bandwidth)
            }
        })
    }
}

impl fmt::Display for NamedDensity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Uniform => "uniform",
            Self::Bump => "bump",
            Self::Gaussian => "gaussian",
            Self::Mixture => "mixture",
            Self::TwoBumps => "two-bumps",
            Self::TwoGaussians => "two-gaussians",
            Self::Circle => "circle",
            Self::Curve => "curve",
            Self::Point => "point",
            Self::Points => "points",
            Self::Checkerboard => "checkerboard",
            Self::SmoothedCircle(bandwidth) => return write!(formatter, "circle:{bandwidth}"),
        };
        formatter.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAMES: [&str; 12] = [
        "uniform",
        "bump",
        "gaussian",
        "mixture",
        "two-bumps",
        "two-gaussians",
        "circle",
        "curve",
        "point",
        "points",
        "checkerboard",
        "circle:0.03",
    ];

    #[test]
    fn every_named_density_has_mass_one_and_no_negative_entry() {
        for name in NAMES {
            let density: NamedDensity = name.parse().unwrap();
            assert_eq!(density.to_string(), name);
            for (dimension, n) in [(1, 64), (2, 40), (3, 12)] {
                let masses = density.on(&TorusGrid::new(dimension, n).unwrap());
                assert!((masses.sum() - 1.0).abs() < 1e-12, "{name}"); // rounding
                assert!(masses.iter().all(|mass| *mass >= 0.0), "{name}");
            }
        }
    }

    #[test]
    fn singular_densities_leave_almost_all_nodes_empty_as_the_grid_is_refined() {
        for name in NAMES {
            let density: NamedDensity = name.parse().unwrap();
            let fraction = |n| {
                let masses = density.on(&TorusGrid::new(2, n).unwrap());
                masses.iter().filter(|mass| **mass > 0.0).count() as f64 / (n * n) as f64
            };
            assert_eq!(density.is_singular(), fraction(128) < 0.6 * fraction(32), "{name}");
        }
    }

    #[test]
    fn unknown_names_list_the_allowed_ones() {
        for text in ["", "Bump", "circle:", "circle:-1", "circle:nan"] {
            assert!(text.parse::<NamedDensity>().unwrap_err().to_string().contains("checkerboard"));
        }
    }
}
