//! What of a point is drawn: itself in the plane, its two principal components beyond, its place over time on the line.

use ndarray::{Array1, ArrayView1, ArrayView2, Axis};

/// A map from R^d to the paper.
#[derive(Debug, Clone, PartialEq)]
pub enum Plane {
    /// `d = 1`: horizontal the point, vertical the time as a part of the horizon.
    OverTime,
    /// `d = 2`: the point itself.
    Itself,
    /// `d > 2`: coordinates along the first two principal axes of the data, from their mean.
    Principal {
        /// The mean.
        centre: Array1<f64>,
        /// Orthonormal.
        axes: [Array1<f64>; 2],
        /// Share of the variance along each.
        shares: [f64; 2],
    },
}

/// Rounds of the power method; principal axes of real data are apart by more than a per cent, and a picture needs no more digits.
const ROUNDS: usize = 300;

impl Plane {
    /// The plane for data `(n, d)`; principal axes by the power method with deflation, signs so that the largest entry is positive.
    pub fn of(data: ArrayView2<'_, f64>) -> Self {
        match data.ncols() {
            1 => return Self::OverTime,
            2 => return Self::Itself,
            _ => {}
        }
        let centre = data.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(data.ncols()));
        let centred = &data - &centre;
        let total = centred.iter().map(|value| value * value).sum::<f64>();
        let mut axes: Vec<Array1<f64>> = Vec::new();
        let mut shares = [0.0; 2];
        for k in 0..2 {
            // Any start that is no axis; the same for everyone.
            let mut axis = Array1::from_shape_fn(data.ncols(), |i| 1.0 + 0.37 * ((i * (k + 3)) % 7) as f64);
            let mut variance = 0.0;
            for _ in 0..ROUNDS {
                for other in &axes {
                    let along = other.dot(&axis);
                    axis.scaled_add(-along, other);
                }
                let norm = axis.dot(&axis).sqrt();
                if norm <= f64::MIN_POSITIVE {
                    break;
                }
                axis /= norm;
                let scores = centred.dot(&axis);
                variance = scores.dot(&scores);
                axis = scores.dot(&centred);
            }
            for other in &axes {
                let along = other.dot(&axis);
                axis.scaled_add(-along, other);
            }
            let norm = axis.dot(&axis).sqrt().max(f64::MIN_POSITIVE);
            let largest = axis
                .iter()
                .copied()
                .fold(0.0, |best: f64, value| if value.abs() > best.abs() { value } else { best });
            axis *= largest.signum() / norm;
            shares[k] = if total > 0.0 { variance / total } else { 0.0 };
            axes.push(axis);
        }
        let second = axes.pop().unwrap_or_else(|| Array1::zeros(data.ncols()));
        let first = axes.pop().unwrap_or_else(|| Array1::zeros(data.ncols()));
        Self::Principal { centre, axes: [first, second], shares }
    }

    /// Where a point is drawn, at `time` as a part of the horizon.
    pub fn place(&self, point: ArrayView1<'_, f64>, time: f64) -> (f64, f64) {
        match self {
            Self::OverTime => (point[0], time),
            Self::Itself => (point[0], point[1]),
            Self::Principal { centre, axes, .. } => {
                let from = &point - centre;
                (from.dot(&axes[0]), from.dot(&axes[1]))
            }
        }
    }

    /// All rows at one time.
    pub fn places(&self, rows: ArrayView2<'_, f64>, time: f64) -> Vec<(f64, f64)> {
        rows.rows().into_iter().map(|row| self.place(row, time)).collect()
    }

    /// The point of R^d that is drawn at `(x, y)` and lies in the plane.
    pub fn lift(&self, x: f64, y: f64) -> Vec<f64> {
        match self {
            Self::OverTime => vec![x],
            Self::Itself => vec![x, y],
            Self::Principal { centre, axes, .. } => (centre + &(&axes[0] * x) + &(&axes[1] * y)).to_vec(),
        }
    }

    /// What the axes are.
    pub fn in_words(&self) -> String {
        match self {
            Self::OverTime => "vertical: time over T".to_owned(),
            Self::Itself => "the plane itself".to_owned(),
            Self::Principal { shares, .. } => format!(
                "first two principal components, {:.0} % and {:.0} % of the variance",
                100.0 * shares[0],
                100.0 * shares[1]
            ),
        }
    }
}

/// The part of the paper that is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Left and right end.
    pub x: [f64; 2],
    /// Lower and upper end.
    pub y: [f64; 2],
}

impl Window {
    /// Around `points`, but for the outermost half per cent on each side, with a margin; both axes of one scale unless `stretched`.
    pub fn around(points: &[(f64, f64)], stretched: bool) -> Self {
        let range = |values: Vec<f64>| {
            let mut values = values;
            values.retain(|value| value.is_finite());
            values.sort_by(f64::total_cmp);
            let Some(last) = values.len().checked_sub(1) else { return [-1.0, 1.0] };
            let cut = last / 200;
            let [low, high] = [values[cut], values[last - cut]];
            let margin = 0.07 * (high - low).max(1e-9);
            [low - margin, high + margin]
        };
        let (mut x, mut y) =
            (range(points.iter().map(|p| p.0).collect()), range(points.iter().map(|p| p.1).collect()));
        if !stretched {
            let width = (x[1] - x[0]).max(y[1] - y[0]);
            for axis in [&mut x, &mut y] {
                let middle = 0.5 * (axis[0] + axis[1]);
                *axis = [middle - 0.5 * width, middle + 0.5 * width];
            }
        }
        Self { x, y }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn principal_axes_of_a_stretched_cloud_are_its_directions() {
        // Coordinates 5, 2, 0.1 times orthogonal patterns.
        let rows = Array2::from_shape_fn((64, 3), |(i, k)| {
            let sign = |bit: usize| if i >> bit & 1 == 0 { 1.0 } else { -1.0 };
            1.0 + [5.0, 2.0, 0.1][k] * sign(k)
        });
        let plane = Plane::of(rows.view());
        let Plane::Principal { axes, shares, centre } = &plane else { panic!("{plane:?}") };
        assert!((axes[0][0] - 1.0).abs() < 1e-9 && (axes[1][1] - 1.0).abs() < 1e-9);
        assert!((shares[0] - 25.0 / 29.01).abs() < 1e-9 && (centre[2] - 1.0).abs() < 1e-12);
        let (x, y) = plane.place(rows.row(0), 0.0);
        let lifted = plane.lift(x, y);
        assert!((lifted[0] - rows[[0, 0]]).abs() < 1e-9 && (lifted[1] - rows[[0, 1]]).abs() < 1e-9);
    }

    #[test]
    fn lines_and_planes_are_drawn_as_they_are() {
        let rows = Array2::from_shape_fn((5, 2), |(i, k)| (i + k) as f64);
        assert_eq!(Plane::of(rows.view()).place(rows.row(1), 0.5), (1.0, 2.0));
        assert_eq!(Plane::of(rows.slice(ndarray::s![.., ..1])).place(rows.row(1), 0.5), (1.0, 0.5));
        let window = Window::around(&[(0.0, 0.0), (4.0, 1.0)], false);
        assert!((window.x[1] - window.x[0] - (window.y[1] - window.y[0])).abs() < 1e-12);
    }
}
