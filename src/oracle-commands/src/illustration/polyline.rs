//! Curves with as few vertices as the eye needs: picture coordinates are whole pixels, and many short segments look rough.

/// The curve through `points` (by increasing abscissa) with every vertex left out that moves it by at most `tolerance`
/// vertically (Ramer, Douglas and Peucker).
pub(super) fn simplified(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let (Some(&first), Some(&last)) = (points.first(), points.last()) else { return Vec::new() };
    let chord = |x: f64| first.1 + (last.1 - first.1) * (x - first.0) / (last.0 - first.0);
    let farthest = (1..points.len().saturating_sub(1))
        .map(|k| (k, (points[k].1 - chord(points[k].0)).abs()))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    match farthest {
        Some((k, distance)) if distance > tolerance => {
            let mut kept = simplified(&points[..=k], tolerance);
            kept.pop();
            kept.extend(simplified(&points[k..], tolerance));
            kept
        }
        _ if points.len() == 1 => vec![first],
        _ => vec![first, last],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_straight_parts_go_and_nothing_moves_further_than_allowed() {
        let tent: Vec<(f64, f64)> =
            (0..=100).map(|k| f64::from(k) / 100.0).map(|x| (x, 0.5 - (x - 0.5).abs())).collect();
        assert_eq!(simplified(&tent, 1e-12), vec![(0.0, 0.0), (0.5, 0.5), (1.0, 0.0)]);
        let parabola: Vec<(f64, f64)> =
            (0..=1000).map(|k| f64::from(k) / 1000.0).map(|x| (x, x * x)).collect();
        let kept = simplified(&parabola, 1e-3);
        assert!(kept.len() < 30);
        for (x, y) in parabola {
            let after = kept.iter().position(|point| point.0 >= x).unwrap_or(0).max(1);
            let (a, b) = (kept[after - 1], kept[after]);
            assert!((a.1 + (b.1 - a.1) * (x - a.0) / (b.0 - a.0) - y).abs() <= 1e-3 + 1e-12);
        }
        assert_eq!(simplified(&[(1.0, 2.0)], 0.1), vec![(1.0, 2.0)]);
        assert!(simplified(&[], 0.1).is_empty());
    }
}
