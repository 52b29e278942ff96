//! Named target laws of the literature, drawn from a seed: shapes in the plane and in space, some of them on sets of lower dimension.
//!
//! On a lower-dimensional set the divergence of every absolutely continuous law is infinite (notation 1.8), and what makes a flow
//! towards it well posed is the W1 proximal; there [`Target::distance`] says how far a point is from the set.

mod shapes;

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;
use proxflow_reference::InvalidInput;
use rand::Rng;

/// A law with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Two interleaving half circles of radius 1, normal noise 0.05; `d = 2`.
    Moons,
    /// Five bent arms; `d = 2`.
    Pinwheel,
    /// Two arms of an Archimedean spiral with noise; `d = 2`.
    Spirals,
    /// The dark fields of a 4 x 4 checkerboard on `[-2, 2]^2`; `d = 2`.
    Checkerboard,
    /// Eight normal laws of standard deviation 0.2 on a circle of radius 4; `d = 2`.
    EightGaussians,
    /// The unit circle; dimension 1 in `d = 2`.
    Circle,
    /// The segment from `(-1, -1/2)` to `(1, 1/2)`; dimension 1 in `d = 2`.
    Segment,
    /// The unit sphere; dimension 2 in `d = 3`.
    Sphere,
    /// The S-shaped sheet `(sin t, 2 v, sign(t) (cos t - 1))`; dimension 2 in `d = 3`.
    SCurve,
    /// The rolled sheet `(t cos t, 21 v, t sin t)`, `t` from `1.5 pi` to `4.5 pi`; dimension 2 in `d = 3`.
    SwissRoll,
    /// The rolled sheet under a fixed isometry into `d = 12`.
    SwissRoll12,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Moons,
        Self::Pinwheel,
        Self::Spirals,
        Self::Checkerboard,
        Self::EightGaussians,
        Self::Circle,
        Self::Segment,
        Self::Sphere,
        Self::SCurve,
        Self::SwissRoll,
        Self::SwissRoll12,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moons => "moons",
            Self::Pinwheel => "pinwheel",
            Self::Spirals => "spirals",
            Self::Checkerboard => "checkerboard",
            Self::EightGaussians => "eight-gaussians",
            Self::Circle => "circle",
            Self::Segment => "segment",
            Self::Sphere => "sphere",
            Self::SCurve => "s-curve",
            Self::SwissRoll => "swiss-roll",
            Self::SwissRoll12 => "swiss-roll-12",
        }
    }

    /// Dimension `d` of the space.
    pub fn dimension(self) -> usize {
        match self {
            Self::Sphere | Self::SCurve | Self::SwissRoll => 3,
            Self::SwissRoll12 => 12,
            _ => 2,
        }
    }

    /// `count` independent points `(count, d)`.
    ///
    /// ```
    /// use proxflow::targets::Target;
    /// use rand::SeedableRng;
    /// let points = Target::Circle.sample(5, &mut rand_chacha::ChaCha8Rng::seed_from_u64(1));
    /// assert_eq!(points.dim(), (5, 2));
    /// assert!(points.rows().into_iter().all(|x| Target::Circle.distance(x.as_slice().unwrap()).unwrap() < 1e-12));
    /// ```
    pub fn sample(self, count: usize, generator: &mut impl Rng) -> Array2<f64> {
        let mut points = Array2::zeros((count, self.dimension()));
        for mut row in points.rows_mut() {
            let x = shapes::draw(self, generator);
            row.iter_mut().zip(x).for_each(|(cell, value)| *cell = value);
        }
        points
    }

    /// Distance of `point (d)` to the support where that is a set of lower dimension: exact for circle, segment and sphere, to 1e-3
    /// of its size for the sheets, whose curve is searched on a grid.
    pub fn distance(self, point: &[f64]) -> Option<f64> {
        shapes::distance(self, point)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Target {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|target| target.name() == text);
        found.ok_or_else(|| InvalidInput::new("target", text, names()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn names_read_back_and_draws_are_finite_and_vary_in_every_coordinate() {
        for target in Target::ALL {
            assert_eq!(target.name().parse::<Target>().unwrap(), target);
            let points = target.sample(500, &mut ChaCha8Rng::seed_from_u64(3));
            assert!(points.iter().all(|value| value.is_finite()));
            assert!(points.columns().into_iter().all(|column| column.std(0.0) > 1e-3), "{target}");
        }
        assert!("moon".parse::<Target>().is_err());
    }

    #[test]
    fn points_of_a_set_lie_on_it_and_moved_ones_do_not() {
        for target in Target::ALL {
            let points = target.sample(50, &mut ChaCha8Rng::seed_from_u64(4));
            for row in points.rows() {
                let x = row.to_vec();
                let Some(distance) = target.distance(&x) else { continue };
                assert!(distance < 2e-2, "{target}: {distance}");
                // Along the last axis by 3 thicknesses of nothing: no sheet here contains that direction everywhere.
                let mut moved = x.clone();
                moved.iter_mut().for_each(|value| *value *= 1.5);
                assert!(target.distance(&moved).unwrap() > distance - 1e-9);
            }
        }
        assert!((Target::Circle.distance(&[3.0, 4.0]).unwrap() - 4.0).abs() < 1e-12);
        assert!((Target::Segment.distance(&[2.0, 1.0]).unwrap() - 1.25_f64.sqrt()).abs() < 1e-12);
        assert!((Target::Sphere.distance(&[0.0, 0.0, 0.0]).unwrap() - 1.0).abs() < 1e-12);
        assert!(Target::Moons.distance(&[0.0, 0.0]).is_none());
    }
}
