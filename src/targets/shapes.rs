//! The formulas of the named targets: one draw, and the distance to the support.

use std::f64::consts::PI;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Target;

/// One point.
pub(super) fn draw(target: Target, generator: &mut impl Rng) -> Vec<f64> {
    let mut uniform = || generator.random::<f64>();
    match target {
        Target::Moons => {
            let (upper, angle) = (uniform() < 0.5, PI * uniform());
            let [a, b] = normals(generator).map(|value| 0.05 * value);
            match upper {
                true => vec![angle.cos() + a, angle.sin() + b],
                false => vec![1.0 - angle.cos() + a, 0.5 - angle.sin() + b],
            }
        }
        Target::Pinwheel => {
            let arm = (5.0 * uniform()).floor();
            let [a, b] = normals(generator);
            let (radius, across) = (1.0 + 0.3 * a, 0.1 * b);
            let angle = 2.0 * PI * arm / 5.0 + 0.25 * radius.exp();
            vec![
                2.0 * (radius * angle.cos() - across * angle.sin()),
                2.0 * (radius * angle.sin() + across * angle.cos()),
            ]
        }
        Target::Spirals => {
            let (side, angle) = (if uniform() < 0.5 { 1.0 } else { -1.0 }, 3.0 * PI * uniform().sqrt());
            let [a, b] = normals(generator).map(|value| 0.1 * value);
            vec![side * -angle.cos() * angle / 3.0 + a, side * angle.sin() * angle / 3.0 + b]
        }
        Target::Checkerboard => {
            let (x, y, row) = (4.0 * uniform() - 2.0, uniform(), (2.0 * uniform()).floor());
            vec![x, y + 2.0 * row - 2.0 + x.floor().rem_euclid(2.0)]
        }
        Target::EightGaussians => {
            let angle = PI / 4.0 * (8.0 * uniform()).floor();
            let [a, b] = normals(generator).map(|value| 0.2 * value);
            vec![4.0 * angle.cos() + a, 4.0 * angle.sin() + b]
        }
        Target::Circle => {
            let angle = 2.0 * PI * uniform();
            vec![angle.cos(), angle.sin()]
        }
        Target::Segment => {
            let place = 2.0 * uniform() - 1.0;
            vec![place, 0.5 * place]
        }
        Target::Sphere => {
            let [a, b] = normals(generator);
            let [c, _] = normals(generator);
            let norm = (a * a + b * b + c * c).sqrt();
            vec![a / norm, b / norm, c / norm]
        }
        Target::SCurve => s_curve(3.0 * PI * (uniform() - 0.5), 2.0 * uniform()).to_vec(),
        Target::SwissRoll => swiss_roll(PI * (1.5 + 3.0 * uniform()), 21.0 * uniform()).to_vec(),
        Target::SwissRoll12 => embed(swiss_roll(PI * (1.5 + 3.0 * uniform()), 21.0 * uniform())),
    }
}

/// Distance to the support, where it has a lower dimension than the space.
pub(super) fn distance(target: Target, x: &[f64]) -> Option<f64> {
    let norm = |vector: &[f64]| vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    match target {
        Target::Circle | Target::Sphere => Some((norm(x) - 1.0).abs()),
        Target::Segment => {
            let along = ((x[0] + 0.5 * x[1]) / 1.25).clamp(-1.0, 1.0);
            Some((x[0] - along).hypot(x[1] - 0.5 * along))
        }
        Target::SCurve => Some(to_sheet(x, [-1.5 * PI, 1.5 * PI], 2.0, |t| s_curve(t, 0.0))),
        Target::SwissRoll => Some(to_sheet(x, [1.5 * PI, 4.5 * PI], 21.0, |t| swiss_roll(t, 0.0))),
        Target::SwissRoll12 => {
            let inside: Vec<f64> =
                AXES.iter().map(|axis| axis.iter().zip(x).map(|(a, b)| a * b).sum()).collect();
            let outside = norm(x).powi(2) - norm(&inside).powi(2);
            let sheet = to_sheet(&inside, [1.5 * PI, 4.5 * PI], 21.0, |t| swiss_roll(t, 0.0));
            Some((outside.max(0.0) + sheet * sheet).sqrt())
        }
        _ => None,
    }
}

fn s_curve(t: f64, width: f64) -> [f64; 3] {
    [t.sin(), width, t.signum() * (t.cos() - 1.0)]
}

fn swiss_roll(t: f64, width: f64) -> [f64; 3] {
    [t * t.cos(), width, t * t.sin()]
}

/// Distance of `x (3)` to the sheet `curve(t) + [0, width] e_2`.
fn to_sheet(x: &[f64], [first, last]: [f64; 2], width: f64, curve: impl Fn(f64) -> [f64; 3]) -> f64 {
    const GRID: usize = 4000;
    let across = (x[1] - width).max(-x[1]).max(0.0);
    let along = (0..=GRID)
        .map(|k| {
            let [a, _, c] = curve(first + (last - first) * k as f64 / GRID as f64);
            (x[0] - a).powi(2) + (x[2] - c).powi(2)
        })
        .fold(f64::INFINITY, f64::min);
    (along + across * across).sqrt()
}

/// Three orthonormal vectors of R^12: rows of the Hadamard matrix of order 12, over the root of 12.
const AXES: [[f64; 12]; 3] = {
    const H: f64 = 0.288_675_134_594_812_9;
    [
        [H, H, H, H, H, H, H, H, H, H, H, H],
        [H, -H, H, -H, H, H, H, -H, -H, -H, H, -H],
        [H, -H, -H, H, -H, H, H, H, -H, -H, -H, H],
    ]
};

fn embed([a, b, c]: [f64; 3]) -> Vec<f64> {
    (0..12).map(|k| a * AXES[0][k] + b * AXES[1][k] + c * AXES[2][k]).collect()
}

fn normals(generator: &mut impl Rng) -> [f64; 2] {
    [StandardNormal.sample(generator), StandardNormal.sample(generator)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedding_into_twelve_dimensions_is_an_isometry() {
        for (i, a) in AXES.iter().enumerate() {
            for (j, b) in AXES.iter().enumerate() {
                let product: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-14, "{i} {j}: {product}");
            }
        }
    }
}
