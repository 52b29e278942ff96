//! The periodic lower envelope of parabolas on one line, `u(x) = min_j f_j + a |x - j|^2`, in O(N).
//!
//! Positions are in units of the spacing, so `j = 0..N` and the period is `N`. The minimum over all periodic images
//! needs only the `N + 1` parabolas between two images of the lowest node: every other one is higher *and* farther
//! for `x` between those images. The stack algorithm of Felzenszwalb and Huttenlocher (Theory of Computing 8, 2012)
//! then yields the pieces of `u` on the whole continuous line, not only at nodes; so the same envelope also averages
//! `u` around nodes and moves a node's mass, spread around it, to the minimising nodes (the derivative of those averages).

/// The pieces of one line's envelope. Reuse one value for many lines: it owns the scratch memory.
#[derive(Debug, Default, Clone)]
pub struct ParabolaEnvelope {
    curvature: f64,
    /// Index of the lowest node, where the unrolled line starts.
    start: usize,
    /// `f` from `start` on, `N + 1` values: the last repeats the first.
    values: Vec<f64>,
    /// Unrolled indices of the nodes whose parabola touches the envelope, ascending.
    nodes: Vec<u32>,
    /// `breaks[k]..breaks[k+1]` is the interval where node `nodes[k]` is minimal.
    breaks: Vec<f64>,
}

impl ParabolaEnvelope {
    /// An empty workspace.
    pub fn new() -> Self {
        Self::default()
    }

    /// Computes the envelope of `f_j + curvature |x - j|^2` with `curvature > 0`. Entries `+inf` are left out; at
    /// least one entry must be finite and none NaN (the callers check).
    pub fn build(&mut self, f: &[f64], curvature: f64) {
        let n = f.len();
        self.curvature = curvature;
        self.start = index_of_minimum(f);
        self.values.clear();
        self.values.extend_from_slice(&f[self.start..]);
        self.values.extend_from_slice(&f[..=self.start]);
        self.nodes.clear();
        self.breaks.clear();
        if self.values[0] == f64::INFINITY {
            self.nodes.push(0);
            self.breaks.extend([0.0, n as f64]);
            return;
        }
        self.nodes.push(0);
        self.breaks.push(0.0);
        let inverse = 0.5 / curvature;
        let (mut top, mut top_value, mut top_break) = (0_u32, self.values[0], 0.0_f64);
        for q in 1..=n as u32 {
            let value = self.values[q as usize];
            if value == f64::INFINITY {
                continue;
            }
            let crossing = loop {
                let slope =
                    if q - top == 1 { value - top_value } else { (value - top_value) / f64::from(q - top) };
                let crossing = 0.5 * f64::from(q + top) + slope * inverse;
                if crossing > top_break || top == 0 {
                    break crossing;
                }
                self.nodes.pop();
                self.breaks.pop();
                top = self.nodes[self.nodes.len() - 1];
                top_value = self.values[top as usize];
                top_break = self.breaks[self.breaks.len() - 1];
            };
            self.nodes.push(q);
            self.breaks.push(crossing);
            (top, top_value, top_break) = (q, value, crossing);
        }
        self.breaks.push(n as f64);
    }

    /// `u` at the nodes, into `out` of length `N`.
    pub fn evaluate(&self, out: &mut [f64]) {
        self.for_each_node(out.len(), |index, node, unrolled| {
            let distance = unrolled as f64 - f64::from(node);
            out[index] = self.values[node as usize] + self.curvature * distance * distance;
        });
    }

    /// Index of a minimising node for every node, into `out` of length `N`.
    pub fn minimisers(&self, out: &mut [u32]) {
        let n = out.len();
        self.for_each_node(n, |index, node, _| out[index] = ((self.start + node as usize) % n) as u32);
    }

    /// `f` lowered to the chords of the envelope: the least `g` with the same `u`. A node that minimises nowhere drops to
    /// where it just touches, into `out`.
    pub fn chord(&self, out: &mut [f64]) {
        let n = out.len();
        let lifted = |node: u32| self.values[node as usize] + self.curvature * f64::from(node).powi(2);
        for pair in self.nodes.windows(2) {
            let (low, high) = (pair[0], pair[1]);
            out[self.index(low, n)] = self.values[low as usize];
            if high - low > 1 {
                let slope = (lifted(high) - lifted(low)) / f64::from(high - low);
                for node in low + 1..high {
                    let value = lifted(low) + slope * f64::from(node - low)
                        - self.curvature * f64::from(node).powi(2);
                    out[self.index(node, n)] = value.min(self.values[node as usize]);
                }
            }
        }
    }

    /// The average of `u` against the hat function of every node, `int (1 - |x - i|)_+ u(x) dx`, into `out`.
    pub fn hat_averages(&self, out: &mut [f64]) {
        out.fill(0.0);
        self.for_each_piece(out.len(), |left_node, right_node, offset, node, left, right| {
            let (middle, half) = (0.5 * (left + right), 0.5 * (right - left));
            let distance = middle - f64::from(node);
            let integral = 2.0
                * half
                * (self.values[node as usize] + self.curvature * (distance * distance + half * half / 3.0));
            let tilted =
                (middle - offset) * integral + self.curvature * distance * half * half * half * (4.0 / 3.0);
            out[left_node] += integral - tilted;
            out[right_node] += tilted;
        });
    }

    /// Moves each node's mass, spread over its hat function, to the minimising nodes: adds to `out` the derivative of
    /// `sum_i mass_i * hat_average_i` in `f`. Returns the cost `sum G_ij a |i - j|^2` of that plan between nodes.
    pub fn scatter(&self, mass: &[f64], out: &mut [f64]) -> f64 {
        let n = mass.len();
        let mut cost = 0.0;
        self.for_each_piece(n, |left_node, right_node, offset, node, left, right| {
            let (left_part, right_part) = hat_parts(offset, left, right);
            let (from_left, from_right) = (mass[left_node] * left_part, mass[right_node] * right_part);
            let distance = offset - f64::from(node);
            cost += from_left * distance * distance + from_right * (distance + 1.0) * (distance + 1.0);
            out[self.index(node, n)] += from_left + from_right;
        });
        cost * self.curvature
    }

    /// The node of the lowest value, the position of the first break after it and the node beyond that break, the last two
    /// counted from the first.
    pub(crate) fn first_break(&self) -> (usize, f64, usize) {
        (self.start, self.breaks[1], self.nodes.get(1).map_or(self.values.len() - 1, |node| *node as usize))
    }

    /// The derivative of the hat averages along `direction`: the transpose of [`ParabolaEnvelope::scatter`].
    pub fn gather(&self, direction: &[f64], out: &mut [f64]) {
        let n = out.len();
        out.fill(0.0);
        self.for_each_piece(n, |left_node, right_node, offset, node, left, right| {
            let (left_part, right_part) = hat_parts(offset, left, right);
            let value = direction[self.index(node, n)];
            out[left_node] += left_part * value;
            out[right_node] += right_part * value;
        });
    }

    /// Minus the second derivative of `sum_i mass_i * hat_average_i`, as weights of springs from each node `j` to a node `next_j`
    /// further on: the quadratic form is `sum_j w_j (d_next - d_j)^2`. A break at `x` between nodes `g` apart contributes
    /// `m(x) / (2 a g) (d_high - d_low)^2`, `m` the linear interpolant of the mass. Of the nodes that minimise nowhere, those that
    /// are `kept` count as lying on the envelope's chord: each part of it gets the weight `m(x) / (2 a)` over its length.
    pub fn spring_weights(&self, mass: &[f64], kept: &[bool], weights: &mut [f64], next: &mut [u32]) {
        let n = mass.len();
        weights.fill(0.0);
        next.fill(0);
        let inverse = 0.5 / self.curvature;
        for (pair, position) in self.nodes.windows(2).zip(&self.breaks[1..]) {
            let cell = position.clamp(0.0, n as f64 - 0.5) as u32;
            let part = position - f64::from(cell);
            let density = mass[self.index(cell, n)] * (1.0 - part) + mass[self.index(cell + 1, n)] * part;
            let weight = density.max(0.0) * inverse;
            let mut from = pair[0];
            for node in from + 1..=pair[1] {
                if node == pair[1] || kept[self.index(node, n)] {
                    let index = self.index(from, n);
                    weights[index] = weight / f64::from(node - from);
                    next[index] = self.index(node, n) as u32;
                    from = node;
                }
            }
        }
    }

    /// Index on the line of an unrolled index in `0..=N`.
    fn index(&self, unrolled: u32, n: usize) -> usize {
        let index = self.start + unrolled as usize;
        if index >= n { index - n } else { index }
    }

    /// Calls `visit(index, node, unrolled)` for every node position with the minimising piece there.
    #[inline(always)]
    fn for_each_node(&self, n: usize, mut visit: impl FnMut(usize, u32, usize)) {
        let mut piece = 0;
        for unrolled in 0..n {
            while piece + 1 < self.nodes.len() && self.breaks[piece + 1] < unrolled as f64 {
                piece += 1;
            }
            let index = self.start + unrolled;
            visit(if index >= n { index - n } else { index }, self.nodes[piece], unrolled);
        }
    }

    /// Calls `visit(left_node, right_node, offset, node, left, right)` for every overlap `[left, right]` of the interval
    /// `[offset, offset + 1]` between two neighbouring nodes with the envelope piece of `node`.
    #[inline(always)]
    fn for_each_piece(&self, n: usize, mut visit: impl FnMut(usize, usize, f64, u32, f64, f64)) {
        let mut piece = 0;
        let last = self.nodes.len() - 1;
        for unrolled in 0..n {
            let offset = unrolled as f64;
            let mut left = offset;
            let (left_node, right_node) =
                (self.index(unrolled as u32, n), self.index(unrolled as u32 + 1, n));
            while piece < last && self.breaks[piece + 1] < offset + 1.0 {
                let right = self.breaks[piece + 1];
                if right > left {
                    visit(left_node, right_node, offset, self.nodes[piece], left, right);
                    left = right;
                }
                piece += 1;
            }
            visit(left_node, right_node, offset, self.nodes[piece], left, offset + 1.0);
        }
    }
}

/// Integrals over `[left, right]` of the two hat functions between `offset` and `offset + 1`.
#[inline(always)]
fn hat_parts(offset: f64, left: f64, right: f64) -> (f64, f64) {
    let length = right - left;
    let right_part = length * (0.5 * (left + right) - offset);
    (length - right_part, right_part)
}

fn index_of_minimum(f: &[f64]) -> usize {
    let mut best = 0;
    for (index, value) in f.iter().enumerate() {
        if *value < f[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn naive(f: &[f64], curvature: f64, x: f64) -> f64 {
        let n = f.len() as f64;
        let geodesic = |d: f64| d - n * (d / n).round();
        f.iter().enumerate().fold(f64::INFINITY, |best, (j, value)| {
            best.min(value + curvature * geodesic(x - j as f64).powi(2))
        })
    }

    fn random_lines() -> Vec<(Vec<f64>, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut lines = Vec::new();
        for n in [2, 3, 7, 16, 61] {
            for curvature in [1e-9, 1e-3, 0.05, 1.0, 1e6] {
                lines.push(((0..n).map(|_| rng.random_range(-1.0..1.0)).collect(), curvature));
                lines.push((vec![0.25; n], curvature));
            }
        }
        lines
    }

    #[test]
    fn envelope_at_nodes_equals_the_naive_minimum() {
        for (f, curvature) in random_lines() {
            let mut envelope = ParabolaEnvelope::new();
            envelope.build(&f, curvature);
            let mut fast = vec![0.0; f.len()];
            envelope.evaluate(&mut fast);
            for (x, value) in fast.iter().enumerate() {
                // rounding: a breakpoint that is off by eps N moves the value by 2 a N * eps N
                let tolerance = 4.0 * f64::EPSILON * (1.0 + curvature * (f.len() * f.len()) as f64);
                assert!((value - naive(&f, curvature, x as f64)).abs() <= tolerance);
            }
        }
    }

    #[test]
    fn hat_averages_equal_fine_quadrature() {
        for (f, curvature) in random_lines().into_iter().filter(|(_, curvature)| *curvature < 2.0) {
            let mut envelope = ParabolaEnvelope::new();
            envelope.build(&f, curvature);
            let mut fast = vec![0.0; f.len()];
            envelope.hat_averages(&mut fast);
            for (i, value) in fast.iter().enumerate() {
                let points = 2000;
                let mean = (0..points)
                    .map(|k| {
                        let offset = 2.0 * (k as f64 + 0.5) / points as f64 - 1.0;
                        (1.0 - offset.abs()) * naive(&f, curvature, i as f64 + offset)
                    })
                    .sum::<f64>()
                    * 2.0
                    / points as f64;
                // midpoint rule: kinks of u (slope <= a N) and of the hat: error <= C (a N + max |f|) (2 / points)^2
                let slope = 1.0 + curvature * (f.len() * f.len()) as f64;
                assert!((value - mean).abs() <= 4.0 * slope / (points * points) as f64 * 4.0);
            }
        }
    }

    #[test]
    fn scatter_keeps_mass_and_is_the_derivative_of_the_averages() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for (f, curvature) in random_lines().into_iter().filter(|(f, c)| f.len() > 3 && *c > 1e-4 && *c < 2.0)
        {
            let n = f.len();
            let mass: Vec<f64> = (0..n).map(|_| rng.random_range(0.0..1.0)).collect();
            let value = |f: &[f64]| {
                let mut envelope = ParabolaEnvelope::new();
                envelope.build(f, curvature);
                let mut averages = vec![0.0; n];
                envelope.hat_averages(&mut averages);
                averages.iter().zip(&mass).map(|(u, m)| u * m).sum::<f64>()
            };
            let mut envelope = ParabolaEnvelope::new();
            envelope.build(&f, curvature);
            let mut moved = vec![0.0; n];
            envelope.scatter(&mass, &mut moved);
            let total: f64 = mass.iter().sum();
            assert!((moved.iter().sum::<f64>() - total).abs() < 1e-14 * n as f64); // rounding
            let direction: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let step = 1e-6;
            let shifted = |s: f64| f.iter().zip(&direction).map(|(a, b)| a + s * b).collect::<Vec<_>>();
            let numeric = (value(&shifted(step)) - value(&shifted(-step))) / (2.0 * step);
            let exact: f64 = moved.iter().zip(&direction).map(|(a, b)| a * b).sum();
            // the average is piecewise smooth in f with curvature ~ 1/(2a): truncation step/(2a), rounding eps/step
            assert!((numeric - exact).abs() < 1e-8 + 10.0 * step / curvature, "{numeric} {exact}");
        }
    }

    #[test]
    fn infinite_values_are_never_minimisers() {
        let f = [f64::INFINITY, 2.0, f64::INFINITY, f64::INFINITY, 1.0];
        let mut envelope = ParabolaEnvelope::new();
        envelope.build(&f, 0.5);
        let (mut values, mut nodes) = ([0.0; 5], [0; 5]);
        envelope.evaluate(&mut values);
        envelope.minimisers(&mut nodes);
        assert_eq!(values, [1.5, 2.0, 2.5, 1.5, 1.0]);
        assert!(nodes.iter().all(|j| *j == 1 || *j == 4));
    }
}
