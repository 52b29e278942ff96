//! Makes a potential obey the cap exactly, in four steps from coarse to fine. It is lowered to nearly its `L`-Lipschitz envelope,
//! which removes what is too steep by a little over many nodes; averaged over neighbours, which keeps that property and evens
//! out the facets of its cones; then control slopes that are still too steep are projected one after the other (a
//! subgradient projection moves the few node values involved); what is left is scaled away.

use std::collections::VecDeque;

use crate::torus::large_grid::tuning;
use crate::torus::lattice::control_slopes::{edges, steepest_at_each, violation};
use crate::torus::lattice::grid::TorusGrid;
use crate::torus::lattice::line_fields::{Side, for_each_line};
use crate::torus::lattice::neighbours::around;
use crate::torus::lattice::transfer::{BINOMIAL, averaged, coarser, every_second, prolong_linearly};
use crate::torus::lattice::vector::update;
use crate::torus::operators::lipschitz::envelope_with_apexes;

/// A potential near `phi` whose control slopes are at most `L`. Slopes above `(1 + tolerance) L` are projected, then all are
/// scaled: the dual value is concave and zero at zero, so scaling by `1 - t` costs at most the part `t` of it. Of a few
/// numbers of averages the one is taken that ends with the largest `value`.
pub(crate) fn feasible(
    grid: &TorusGrid,
    phi: &[f64],
    lipschitz: f64,
    tolerance: f64,
    value: impl Fn(&[f64]) -> f64,
) -> Vec<f64> {
    let mut lowered = phi.to_vec();
    if violation(grid, phi, lipschitz) > 0.0 {
        // Constants change nothing but the rounding.
        let lowest = phi.iter().copied().fold(f64::INFINITY, f64::min);
        lowered.iter_mut().for_each(|phi| *phi -= lowest);
        lower_to_cones(grid, &mut lowered, lipschitz);
    }
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for averages in tuning::AVERAGES {
        for _ in 0..averages {
            lowered = averaged(grid, &lowered, &BINOMIAL);
        }
        let mut candidate = lowered.clone();
        project_steep_slopes(grid, &mut candidate, (lipschitz, tolerance), tuning::VISITS * phi.len());
        scale(grid, &mut candidate, lipschitz);
        let value = value(&candidate);
        if value > best.0 || best.1.is_empty() {
            best = (value, candidate);
        }
    }
    best.1
}

/// Scales `phi` so that no control slope exceeds `L`.
fn scale(grid: &TorusGrid, phi: &mut [f64], lipschitz: f64) {
    let excess = violation(grid, phi, lipschitz);
    if excess > 0.0 {
        // A few rounding units more, so that the scaled slopes do not exceed L by rounding.
        let scale = (1.0 - 16.0 * f64::EPSILON) / (1.0 + excess);
        phi.iter_mut().for_each(|phi| *phi *= scale);
    }
}

/// Lowers `phi` nearly to its `L`-Lipschitz envelope: what every second node has to give way is found first, the same way, and
/// interpolated; then only cones that start within a few spacings are left. The coarsest grid takes the exact envelope.
fn lower_to_cones(grid: &TorusGrid, phi: &mut [f64], lipschitz: f64) {
    match coarser(grid).filter(|_| grid.node_count() > tuning::EXACT_NODES) {
        Some(coarse) => {
            let given = every_second(grid, phi);
            let mut lowered = given.clone();
            lower_to_cones(&coarse, &mut lowered, lipschitz);
            update(&mut lowered, &given, |lowered, given| lowered - given);
            update(phi, &prolong_linearly(&coarse, &lowered), |phi, change| phi + change);
            lower_to_near_cones(grid, phi, lipschitz);
        }
        None => {
            let (envelope, _) = envelope_with_apexes(grid, phi, lipschitz * grid.spacing());
            phi.copy_from_slice(&envelope);
        }
    }
}

/// Lowers `phi` to the cones of slope `L` above the values at [`cone_offsets`].
fn lower_to_near_cones(grid: &TorusGrid, phi: &mut [f64], lipschitz: f64) {
    let (n, last) = (grid.nodes_per_side, grid.dimension - 1);
    let slope = lipschitz * grid.spacing();
    let offsets = cone_offsets(grid);
    let reach = offsets.iter().map(|offset| offset[last]).fold(0, isize::max);
    // Every line with its last and first values repeated at its ends, so that shifts along it are plain slices.
    let padded: Vec<f64> = phi
        .chunks(n)
        .flat_map(|line| (-reach..n as isize + reach).map(|j| line[j.rem_euclid(n as isize) as usize]))
        .collect();
    let width = n + 2 * reach as usize;
    for_each_line(grid, phi, 1, |line, out| {
        let start = grid.multi_index(line * n).map(|i| i as isize);
        for offset in &offsets {
            let mut index = start;
            index.iter_mut().zip(&offset[..last]).for_each(|(index, offset)| *index += offset);
            let source = &padded[grid.flat_index(index) / n * width..][..width];
            let shifted = &source[(reach + offset[last]) as usize..][..n];
            let rise = slope * (offset.iter().map(|o| o * o).sum::<isize>() as f64).sqrt();
            out.iter_mut().zip(shifted).for_each(|(out, value)| *out = out.min(value + rise));
        }
    });
}

/// The nodes near the origin and some on spheres around it ([`tuning::cone_radii`]).
fn cone_offsets(grid: &TorusGrid) -> Vec<[isize; 3]> {
    let (ball, spheres) = tuning::cone_radii(grid.dimension);
    let half = grid.nodes_per_side as f64 / 2.0;
    let spheres: Vec<f64> = spheres.iter().copied().filter(|r| *r < half).collect();
    let reach = spheres.iter().copied().fold(ball, f64::max) as isize;
    let sides = 2 * reach + 1;
    (0..sides.pow(grid.dimension as u32))
        .map(|code| {
            let mut offset = [0; 3];
            for (axis, offset) in offset[..grid.dimension].iter_mut().enumerate() {
                *offset = code / sides.pow(axis as u32) % sides - reach;
            }
            offset
        })
        .filter(|offset| {
            let radius = (offset.iter().map(|o| o * o).sum::<isize>() as f64).sqrt();
            radius > 0.0 && (radius <= ball || spheres.iter().any(|r| (radius - r).abs() <= 0.5))
        })
        .collect()
}

/// Projects control slopes above `(1 + tolerance) L`, and then those at the nodes that this moves, for at most so many visits. Slopes
/// at neighbours of moved nodes change too and are not visited again for that: what they exceed is scaled away.
fn project_steep_slopes(
    grid: &TorusGrid,
    phi: &mut [f64],
    (lipschitz, tolerance): (f64, f64),
    mut visits: usize,
) {
    let patches = Patches::new(*grid);
    let allowed = lipschitz * (1.0 + tolerance);
    let mut queued: Vec<bool> = steepest_at_each(grid, phi).iter().map(|slope| *slope > allowed).collect();
    let mut queue: VecDeque<usize> = (0..phi.len()).filter(|node| queued[*node]).collect();
    while let Some(node) = queue.pop_front() {
        queued[node] = false;
        let nodes = patches.around(node);
        if patches.project(phi, &nodes, lipschitz, allowed) {
            for reached in &nodes[..patches.size] {
                if !queued[*reached] {
                    queued[*reached] = true;
                    queue.push_back(*reached);
                }
            }
        }
        visits -= 1;
        if visits == 0 {
            return;
        }
    }
}

/// The control slopes of one node as linear forms on the `3^d` node values around it.
struct Patches {
    grid: TorusGrid,
    /// `3^d`.
    size: usize,
    /// For every stagger and axis.
    forms: Vec<[f64; 27]>,
}

impl Patches {
    fn new(grid: TorusGrid) -> Self {
        let d = grid.dimension;
        let forms = (0..d << d).map(|component| form(&grid, component / d, component % d)).collect();
        Self { grid, size: 3_usize.pow(d as u32), forms }
    }

    /// The nodes of the patch, the last axis fastest.
    fn around(&self, node: usize) -> [usize; 27] {
        let mut nodes = [node; 27];
        let mut count = 1;
        for [behind, ahead] in around(&self.grid, node)[..self.grid.dimension].iter().rev() {
            // Shifts along different axes add up in C order.
            let shifts = [behind.wrapping_sub(node), 0, ahead.wrapping_sub(node)];
            // The first block last: the others are copies of it.
            for (k, shift) in shifts.iter().enumerate().rev() {
                for j in 0..count {
                    nodes[k * count + j] = nodes[j].wrapping_add(*shift);
                }
            }
            count *= 3;
        }
        nodes
    }

    /// Projects every control slope above `allowed` on the half space that its direction supports; whether there was one.
    fn project(&self, phi: &mut [f64], nodes: &[usize; 27], lipschitz: f64, allowed: f64) -> bool {
        let d = self.grid.dimension;
        let mut values = [0.0; 27];
        let gather = |phi: &[f64], values: &mut [f64; 27]| {
            values.iter_mut().zip(&nodes[..self.size]).for_each(|(value, node)| *value = phi[*node]);
        };
        gather(phi, &mut values);
        let mut projected = false;
        for forms in self.forms.chunks(d) {
            let mut slope = [0.0; 3];
            for (slope, form) in slope.iter_mut().zip(forms) {
                *slope = form[..self.size].iter().zip(&values).map(|(f, v)| f * v).sum();
            }
            let norm = slope.iter().map(|v| v * v).sum::<f64>().sqrt();
            if norm <= allowed {
                continue;
            }
            let mut derivative = [0.0; 27];
            for (slope, form) in slope.iter().zip(forms) {
                derivative.iter_mut().zip(form).for_each(|(sum, f)| *sum += f * slope / norm);
            }
            let square: f64 = derivative.iter().map(|term| term * term).sum();
            if square > 0.0 {
                let step = (norm - lipschitz) / square;
                for (node, term) in nodes[..self.size].iter().zip(&derivative) {
                    phi[*node] -= step * term;
                }
                gather(phi, &mut values);
                projected = true;
            }
        }
        projected
    }
}

/// Coefficients of one component on the patch.
fn form(grid: &TorusGrid, stagger: usize, axis: usize) -> [f64; 27] {
    let (d, scale) = (grid.dimension, grid.nodes_per_side as f64);
    let mean = edges(d, stagger, axis);
    let terms = f64::from(1_u32 << mean.sides.iter().flatten().count());
    let mut form = [0.0; 27];
    for (index, coefficient) in form[..3_usize.pow(d as u32)].iter_mut().enumerate() {
        let offset = |other: usize| (index / 3_usize.pow((d - 1 - other) as u32) % 3) as isize - 1;
        // Whether the mean contains the edge that starts at this offset, and the one that ends there.
        let contains = |shift: isize| {
            (0..d).all(|other| {
                let at = offset(other) - if other == axis { shift } else { 0 };
                at == 0
                    || match mean.sides[other] {
                        Some(Side::Behind) => at == -1,
                        Some(Side::Ahead) => at == 1,
                        None => false,
                    }
            })
        };
        *coefficient = (f64::from(u8::from(contains(1))) - f64::from(u8::from(contains(0)))) * scale / terms;
    }
    form
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn repair_makes_any_potential_feasible_and_leaves_feasible_ones_alone() {
        let mut rng = ChaCha8Rng::seed_from_u64(15);
        for (dimension, n) in [(1, 16), (2, 9), (3, 5)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            for size in [1e-3, 1.0, 1e6] {
                let rough: Vec<f64> = (0..grid.node_count()).map(|_| rng.random_range(-size..size)).collect();
                let phi = feasible(&grid, &rough, 0.7, 1e-4, |_| 0.0);
                assert!(violation(&grid, &phi, 0.7) <= 0.0);
                assert_eq!(feasible(&grid, &phi, 0.7, 1e-4, |_| 0.0), phi);
            }
        }
    }

    #[test]
    fn each_visit_moves_one_patch_until_hardly_any_slope_is_steep() {
        let mut rng = ChaCha8Rng::seed_from_u64(18);
        for (dimension, n) in [(1, 40), (2, 15), (3, 6)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let rough: Vec<f64> = (0..grid.node_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let projected = |visits: usize| {
                let mut phi = rough.clone();
                project_steep_slopes(&grid, &mut phi, (0.7, 1e-3), visits);
                phi
            };
            for visits in [1, 2, 5] {
                let phi = projected(visits);
                let moved = phi.iter().zip(&rough).filter(|(phi, rough)| phi != rough).count();
                assert!((1..=visits * 3_usize.pow(dimension as u32)).contains(&moved), "{visits}: {moved}");
            }
            // Nearly all of the excess goes; a slope two nodes off a move may be left, for the scaling.
            let excess = [1, 4, 1000].map(|visits| violation(&grid, &projected(visits * rough.len()), 0.7));
            assert!(excess[1] < 0.2 * excess[0] && excess[2] < 1e-3 * excess[0], "{excess:?}");
        }
    }

    #[test]
    fn patch_forms_are_the_control_slopes() {
        let mut rng = ChaCha8Rng::seed_from_u64(16);
        for (dimension, n) in [(1, 5), (2, 4), (3, 4)] {
            let grid = TorusGrid::new(dimension, n).unwrap();
            let phi: Vec<f64> = (0..grid.node_count()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let patches = Patches::new(grid);
            let steepest = steepest_at_each(&grid, &phi);
            for (node, expected) in steepest.iter().enumerate() {
                let nodes = patches.around(node);
                let slope = |form: &[f64; 27]| -> f64 {
                    form.iter().zip(&nodes[..patches.size]).map(|(f, node)| f * phi[*node]).sum()
                };
                let norm =
                    |forms: &[[f64; 27]]| forms.iter().map(|form| slope(form).powi(2)).sum::<f64>().sqrt();
                let largest = patches.forms.chunks(dimension).map(norm).fold(0.0, f64::max);
                assert!((largest - expected).abs() < 1e-13 * n as f64, "{largest} {expected}"); // rounding
            }
        }
    }
}
