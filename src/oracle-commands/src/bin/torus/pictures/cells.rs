//! Coloured cells, their colours, and lines on the torus cut at its seam.

use plotters::prelude::*;

/// Distinct colours of a heat map: equal neighbours become one rectangle, which keeps the files small.
pub const LEVELS: usize = 64;

/// Rectangles of a field over `x_edges` and `y_edges`, runs of equal colour along `y` merged. `share(i, j)` in \[0, 1\].
pub fn cells(
    x_edges: &[f64],
    y_edges: &[f64],
    share: impl Fn(usize, usize) -> f64,
) -> Vec<Rectangle<(f64, f64)>> {
    let mut rectangles = Vec::new();
    for i in 0..x_edges.len() - 1 {
        let mut first = 0;
        for j in 0..y_edges.len() - 1 {
            let level = level(share(i, j));
            if j + 2 == y_edges.len() || self::level(share(i, j + 1)) != level {
                let corners = [(x_edges[i], y_edges[first]), (x_edges[i + 1], y_edges[j + 1])];
                rectangles.push(Rectangle::new(corners, colour_of(level).filled()));
                first = j + 1;
            }
        }
    }
    rectangles
}

fn level(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * (LEVELS - 1) as f64).round() as usize
}

/// A dark-to-bright map (viridis stops).
pub fn colour_of(level: usize) -> RGBColor {
    const STOPS: [(f64, f64, f64); 5] = [
        (68.0, 1.0, 84.0),
        (59.0, 82.0, 139.0),
        (33.0, 145.0, 140.0),
        (94.0, 201.0, 98.0),
        (253.0, 231.0, 37.0),
    ];
    let place = (level as f64 / (LEVELS - 1) as f64 * 4.0).min(3.999_999);
    let (k, share) = (place as usize, place.fract());
    let mix = |a: f64, b: f64| (a + share * (b - a)).round() as u8;
    let (a, b) = (STOPS[k], STOPS[k + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// The parts of the segment from `a` to `b` (unwrapped coordinates) inside the fundamental cell `[0, 1] x [0, height]`,
/// wrapped along `x`, and along `y` where `wrap_y`.
pub fn segments_on_torus(a: (f64, f64), b: (f64, f64), height: f64, wrap_y: bool) -> Vec<[(f64, f64); 2]> {
    let mut parts = Vec::new();
    for turn_x in [-1.0, 0.0, 1.0] {
        for turn_y in if wrap_y { &[-1.0, 0.0, 1.0][..] } else { &[0.0][..] } {
            let moved = |p: (f64, f64)| (p.0 + turn_x, p.1 + turn_y * height);
            parts.extend(clipped(moved(a), moved(b), height));
        }
    }
    parts
}

/// The part of a segment inside `[0, 1] x [0, height]`.
fn clipped(a: (f64, f64), b: (f64, f64), height: f64) -> Option<[(f64, f64); 2]> {
    let (mut first, mut last) = (0.0_f64, 1.0_f64);
    for (start, end, top) in [(a.0, b.0, 1.0), (a.1, b.1, height)] {
        let change = end - start;
        if change == 0.0 {
            if !(0.0..=top).contains(&start) {
                return None;
            }
            continue;
        }
        let (enter, leave) = (-start / change, (top - start) / change);
        first = first.max(enter.min(leave));
        last = last.min(enter.max(leave));
    }
    let at = |t: f64| (a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1));
    (first < last || (first == last && a == b)).then(|| [at(first), at(last)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_seam_is_two_straight_parts() {
        let parts = segments_on_torus((0.9, 0.0), (1.3, 0.4), 0.4, false);
        assert_eq!(parts.len(), 2);
        let length = |[a, b]: &[(f64, f64); 2]| (b.0 - a.0).hypot(b.1 - a.1);
        assert!((parts.iter().map(length).sum::<f64>() - 0.32f64.sqrt()).abs() < 1e-12);
        for [a, b] in &parts {
            assert!(((b.1 - a.1) - (b.0 - a.0)).abs() < 1e-12, "{parts:?}");
        }
        assert_eq!(segments_on_torus((0.2, 0.2), (0.7, 0.6), 1.0, true), vec![[(0.2, 0.2), (0.7, 0.6)]]);
    }

    #[test]
    fn runs_of_one_colour_are_one_rectangle() {
        let edges = [0.0, 0.25, 0.5, 0.75, 1.0];
        assert_eq!(cells(&edges, &edges, |_, _| 0.3).len(), 4);
        assert_eq!(cells(&edges, &edges, |_, j| j as f64 / 3.0).len(), 16);
    }
}
