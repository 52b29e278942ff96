//! The cost of carrying one line's hat-spread masses to where its envelope sends them, by monotone rearrangement.
//!
//! A plan between nodes whose two ends share one hat noise costs `O(h^2)` more than the optimum between the *spread* masses
//! `f = sum m_i hat_i` and `g = sum r_j hat_j`, because the noise moves every source point off its own optimal target. On one line the
//! optimal plan is monotone. A hat is the sum of `2M - 1` hats of spacing `1/M` with weights `(M - |k|)/M^2`, so any plan between
//! those finer masses, with one *fine* hat noise for both ends, joins `f` and `g`: its cost is an upper bound of
//! `W2^2(f, g)` without any quadrature, above it by about `1/(4 M^2)` per unit of mass at most.
//!
//! On a circle a monotone plan is fixed by one pair of points that it cuts apart. Here that pair is the first break of the
//! envelope and the point of `g` that has as much of the mass of the node before it on its right as of the node after it on
//! its left; then as much mass crosses the cut as in the envelope's own plan.

use crate::torus::large_grid::tuning::REARRANGEMENT_REFINEMENT as REFINEMENT;
use crate::torus::operators::envelope::ParabolaEnvelope;

/// Scratch memory for many lines.
#[derive(Default)]
pub(crate) struct LineRearrangement {
    source: Vec<f64>,
    target: Vec<f64>,
}

impl LineRearrangement {
    /// `sum |x - y|^2`, in squared spacings, of the monotone plan from `mass` to `landed` (equal sums), where `envelope`
    /// says which interval of the line lands on which node.
    pub(crate) fn cost(&mut self, envelope: &ParabolaEnvelope, mass: &[f64], landed: &[f64]) -> f64 {
        let n = mass.len();
        let (start, position, next) = envelope.first_break();
        let at = |values: &[f64], unrolled: usize| values[(start + unrolled) % n];
        refine(mass, start, &mut self.source);
        refine(landed, start, &mut self.target);

        let cell = (position as usize).min(n - 1);
        let part = position - cell as f64;
        let behind = at(mass, cell) * part * (1.0 - 0.5 * part) + at(mass, cell + 1) * 0.5 * part * part;
        let from = Cursor::after(&self.source, REFINEMENT * cell, behind);

        let (before, after) = (at(landed, 0), if next == 1 { at(landed, 1) } else { 0.0 });
        let roots = before.sqrt() + after.sqrt();
        let part = if roots > 0.0 { before.sqrt() / roots } else { 0.5 };
        let behind = before * part * (1.0 - 0.5 * part) + after * 0.5 * part * part;
        let to = Cursor::after(&self.target, 0, behind);

        merge(from, to) / (REFINEMENT * REFINEMENT) as f64
    }
}

/// Fills `fine` with the masses at spacing `1/M`, from node `start` on.
fn refine(masses: &[f64], start: usize, fine: &mut Vec<f64>) {
    let n = masses.len();
    fine.clear();
    fine.resize(REFINEMENT * n, 0.0);
    let unit = 1.0 / (REFINEMENT * REFINEMENT) as f64;
    for i in 0..n {
        let (here, next) = (masses[(start + i) % n] * unit, masses[(start + i + 1) % n] * unit);
        for (k, out) in fine[REFINEMENT * i..][..REFINEMENT].iter_mut().enumerate() {
            *out = (REFINEMENT - k) as f64 * here + k as f64 * next;
        }
    }
}

/// A walk once around a circle of masses.
struct Cursor<'a> {
    masses: &'a [f64],
    index: usize,
    /// What is left of the mass at `index`.
    left: f64,
    /// Where the walk ends, and what it finds there.
    last: usize,
    last_left: f64,
}

impl<'a> Cursor<'a> {
    /// Starts where the amount `behind` lies between it and the middle of the mass at `first`.
    fn after(masses: &'a [f64], first: usize, behind: f64) -> Self {
        let (mut index, mut left, mut rest) = (first, 0.5 * masses[first % masses.len()], behind);
        while rest > left && index < first + masses.len() {
            rest -= left;
            index += 1;
            left = masses[index % masses.len()];
        }
        left = (left - rest).max(0.0);
        let last_left = masses[index % masses.len()] - left;
        Self { masses, index, left, last: index + masses.len(), last_left }
    }

    /// Moves on to the next mass; `false` at the end.
    fn advance(&mut self) -> bool {
        self.index += 1;
        self.left =
            if self.index < self.last { self.masses[self.index % self.masses.len()] } else { self.last_left };
        self.index <= self.last
    }
}

/// The cost of pairing two walks in order.
fn merge<'a>(mut from: Cursor<'a>, mut to: Cursor<'a>) -> f64 {
    let mut cost = 0.0;
    loop {
        let distance = from.index as f64 - to.index as f64;
        let moved = from.left.min(to.left);
        cost += moved * distance * distance;
        from.left -= moved;
        to.left -= moved;
        let walk = if from.left <= 0.0 { &mut from } else { &mut to };
        if !walk.advance() {
            return cost;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn cost(phi: &[f64], curvature: f64, mass: &[f64]) -> (f64, f64, Vec<f64>) {
        let mut envelope = ParabolaEnvelope::new();
        envelope.build(phi, curvature);
        let mut landed = vec![0.0; mass.len()];
        let between_nodes = envelope.scatter(mass, &mut landed) / curvature;
        (LineRearrangement::default().cost(&envelope, mass, &landed), between_nodes, landed)
    }

    /// `W2^2` on the circle of the spread masses, by the best rotation of quantiles of both on a fine lattice.
    fn quantile_cost(mass: &[f64], landed: &[f64]) -> f64 {
        const FINE: usize = 40;
        const LEVELS: usize = 4000;
        let (n, total) = (mass.len(), mass.iter().sum::<f64>());
        let quantiles = |masses: &[f64]| -> Vec<f64> {
            let density = |k: usize| {
                let (i, t) = (k / FINE, (k % FINE) as f64 / FINE as f64 + 0.5 / FINE as f64);
                (masses[i] * (1.0 - t) + masses[(i + 1) % n] * t) / FINE as f64
            };
            let (mut k, mut below, mut here) = (0, 0.0, density(0));
            (0..LEVELS)
                .map(|level| {
                    let wanted = total * (level as f64 + 0.5) / LEVELS as f64;
                    while below + here < wanted && k + 1 < FINE * n {
                        below += here;
                        k += 1;
                        here = density(k);
                    }
                    (k as f64 + (wanted - below) / here) / FINE as f64
                })
                .collect()
        };
        let (x, y) = (quantiles(mass), quantiles(landed));
        (0..3 * LEVELS)
            .map(|shift| {
                let squares = x.iter().enumerate().map(|(k, x)| {
                    let unrolled = k + shift;
                    let lap = (unrolled / LEVELS) as f64 - 1.0;
                    (x - y[unrolled % LEVELS] - lap * n as f64).powi(2)
                });
                squares.sum::<f64>() * total / LEVELS as f64
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn a_translation_costs_its_square_and_what_the_rounding_to_nodes_changes_in_shape() {
        let mut mass = vec![0.0; 64];
        for (i, mass) in mass[20..40].iter_mut().enumerate() {
            *mass = 0.1 * (0.314_f64 * (i as f64 + 0.5)).sin().powi(2);
        }
        let total: f64 = mass.iter().sum();
        // Where the line falls by `2 a s` from node to node, everything moves by `s`.
        for (shift, curvature) in [(2.0, 0.5), (3.5, 0.02)] {
            let phi: Vec<f64> =
                (0..64).map(|i| 2.0 * curvature * shift * f64::from((i - 50_i32).abs())).collect();
            let (rearranged, between_nodes, landed) = cost(&phi, curvature, &mass);
            assert!((landed[20..50].iter().sum::<f64>() - total).abs() < 1e-12, "{landed:?}"); // rounding
            // No plan between masses whose means are `s` apart costs less than `s^2`; rounding to nodes spreads each hat by a
            // quarter of a squared spacing at most, which a common noise pays in full.
            let excess = rearranged / total - shift * shift;
            assert!((-1e-12..0.02).contains(&excess), "{shift}: {excess}");
            assert!(between_nodes / total - shift * shift > 0.2, "{shift}: {between_nodes}");
        }
    }

    #[test]
    fn the_cost_is_never_below_the_optimum_and_on_smooth_lines_above_it_by_a_fine_cell() {
        let mut rng = ChaCha8Rng::seed_from_u64(21);
        for n in [8, 17, 64] {
            for (size, curvature) in [(0.5, 1.0), (3.0, 1.0), (2.0, 0.05)] {
                let phase: f64 = rng.random_range(0.0..std::f64::consts::TAU);
                let tau = std::f64::consts::TAU / n as f64;
                let phi: Vec<f64> = (0..n).map(|i| size * (tau * i as f64 + phase).sin()).collect();
                let rough = if n == 64 { 0.0 } else { 0.5 };
                let mass: Vec<f64> = (0..n)
                    .map(|i| 1.5 + (2.0 * tau * i as f64).cos() + rough * rng.random::<f64>())
                    .collect();
                let total: f64 = mass.iter().sum();
                let (rearranged, _, landed) = cost(&phi, curvature, &mass);
                let optimum = quantile_cost(&mass, &landed);
                let lattice = 2e-3 * (total + optimum); // of the quantile levels
                assert!(rearranged > optimum - lattice, "{n} {rearranged} {optimum}");
                // Where every node receives mass; elsewhere the cut balances one gap and not the others.
                if n == 64 && curvature == 1.0 {
                    let fine = total / (4.0 * (REFINEMENT * REFINEMENT) as f64);
                    assert!(rearranged < optimum + fine + lattice, "{n} {rearranged} {optimum}");
                }
            }
        }
    }

    #[test]
    fn points_and_empty_lines_are_carried_whole() {
        // From node 8, node 5 and node 15 have one shortest way; to node 0 there are two, which halves of the hat take.
        for (target, ways) in [(5, 1), (0, 2), (15, 1)] {
            let mut phi = vec![100.0; 16];
            phi[target] = 0.0;
            let mut mass = vec![0.0; 16];
            assert_eq!(cost(&phi, 1.0, &mass).0, 0.0);
            mass[8] = 2.0;
            let distance = (target as f64 - 8.0).abs();
            let (rearranged, between_nodes, landed) = cost(&phi, 1.0, &mass);
            let whole = 2.0 * distance.min(16.0 - distance).powi(2);
            assert!((between_nodes - whole).abs() < 1e-12 * whole, "{target}: {between_nodes}"); // rounding
            assert_eq!(landed.iter().sum::<f64>(), landed[target]);
            if ways == 1 {
                assert!((rearranged - whole).abs() < 1e-12 * whole, "{target}: {rearranged}"); // rounding
            } else {
                // Every part of the hat goes its shorter way: cheaper than the whole, and never below the optimum.
                let optimum = quantile_cost(&mass, &landed);
                let lattice = 2e-3 * (2.0 + optimum); // of the quantile levels
                assert!(
                    rearranged > optimum - lattice && rearranged < whole,
                    "{target}: {rearranged} {optimum}"
                );
            }
        }
    }
}
