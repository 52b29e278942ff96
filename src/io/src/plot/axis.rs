//! Round numbers for axes: ticks at multiples of 1, 2 or 5 times a power of ten; their labels are [`brief`](crate::number::brief).

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// An axis over `range` with ticks exactly where given.
#[derive(Debug, Clone)]
pub struct TickedRange {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl TickedRange {
    /// `ticks` in the coordinates of `range`; those outside are not drawn.
    pub fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        Self { range, ticks }
    }
}

impl Ranged for TickedRange {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        low + (part * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // The mesh asks twice, for labels and for minor lines between them; there are none of the latter.
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => self.ticks.iter().copied().filter(|tick| self.range.contains(tick)).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// About `count` round values inside `[low, high]`, in increasing order.
pub fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let raw = span / count.max(1) as f64;
    let decade = 10.0_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= raw);
    let step = step.unwrap_or(10.0 * decade);
    let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
    (first..=last).map(|k| k as f64 * step).collect()
}

/// Round values inside the positive range `[low, high]` for a logarithmic axis: powers of ten, with 2 and 5 between
/// while that leaves at most `count`, and every second, third, ... of them where there are more; a range too narrow for three of them gets linear ticks.
pub fn logarithmic_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let inside = |digits: &[f64]| -> Vec<f64> {
        let all = (first..=last).flat_map(|k| digits.iter().map(move |digit| digit * 10.0_f64.powi(k)));
        all.filter(|value| *value >= low * (1.0 - 1e-12) && *value <= high * (1.0 + 1e-12)).collect()
    };
    let dense = inside(&[1.0, 2.0, 5.0]);
    if dense.len() < 3 {
        return linear_ticks(low, high, count);
    }
    if dense.len() <= count {
        return dense;
    }
    let decades = inside(&[1.0]);
    let stride = decades.len().div_ceil(count.max(1)).max(1);
    decades.into_iter().step_by(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::brief;

    #[test]
    fn ticks_are_round_and_inside_the_range() {
        let labels = |ticks: Vec<f64>| ticks.into_iter().map(brief).collect::<Vec<_>>().join(" ");
        assert_eq!(labels(linear_ticks(4.1, 33.0, 6)), "5 10 15 20 25 30");
        assert_eq!(labels(linear_ticks(-0.013, 0.031, 5)), "-0.01 0 0.01 0.02 0.03");
        assert_eq!(labels(logarithmic_ticks(0.08, 1.3, 6)), "0.1 0.2 0.5 1");
        assert_eq!(labels(logarithmic_ticks(1e-6, 20.0, 8)), "1e-6 1e-5 1e-4 0.001 0.01 0.1 1 10");
        assert_eq!(labels(logarithmic_ticks(3.1, 3.9, 4)), "3.2 3.4 3.6 3.8");
        assert_eq!(linear_ticks(2.0, 2.0, 5), vec![2.0]);
        assert_eq!(labels(logarithmic_ticks(1e-100, 1.0, 5)), "1e-100 1e-79 1e-58 1e-37 1e-16");
    }
}
