//! Where the active-set method starts: potentials from a thinned problem, and a plan that fits them.
//!
//! Every `RATIO`-th source and target, with the weights between added up, is the same problem in small. Its potentials,
//! extended by the two cost transforms `phi_i = min_j (c_ij + psi_j)` and `psi_j = max_i (phi_i - c_ij)`, are close to
//! the wanted ones wherever the points sample something smooth; the thinned problem starts the same way.

use ndarray::Array2;
use rayon::prelude::*;

use super::cost::{DenseCost, GroundCost};
use super::pricing::{self, Pricer, Shortlist};
use crate::divergence::{Generator, generalised_cumulant};

/// Thinning between levels; the coarser problem costs about `RATIO^-2` of the finer.
pub(super) const RATIO: usize = 4;

/// The thinned problem: its cost in memory and its weights.
pub(super) struct Thinned {
    pub(super) cost: DenseCost,
    pub(super) p: Vec<f64>,
    pub(super) q: Vec<f64>,
}

/// Keeps the sources `0, RATIO, 2 RATIO, ...` and the same targets; weights are added up over each stretch.
pub(super) fn thin(cost: &dyn GroundCost, p: &[f64], q: &[f64]) -> Option<Thinned> {
    let (n, m) = (p.len().div_ceil(RATIO), q.len().div_ceil(RATIO));
    let mut entries = vec![0.0; n * m];
    entries.par_chunks_mut(m).enumerate().for_each(|(i, row)| {
        for (j, value) in row.iter_mut().enumerate() {
            *value = cost.entry(i * RATIO, j * RATIO);
        }
    });
    let cost = DenseCost::new(Array2::from_shape_vec((n, m), entries).ok()?).ok()?;
    let sums = |weights: &[f64]| weights.chunks(RATIO).map(|stretch| stretch.iter().sum()).collect();
    Some(Thinned { cost, p: sums(p), q: sums(q) })
}

/// Extends the thinned `phi` to all targets: `psi_j = max_i (phi_i - c_ij)` over the kept sources.
pub(super) fn extend(cost: &dyn GroundCost, thinned: &Thinned, phi: &[f64], targets: usize) -> Vec<f64> {
    (0..targets)
        .into_par_iter()
        .map(|j| {
            (0..phi.len())
                .filter(|&i| thinned.p[i] > 0.0)
                .map(|i| phi[i] - cost.entry(i * RATIO, j))
                .fold(f64::NEG_INFINITY, f64::max)
        })
        .collect()
}

/// Sinkhorn sweeps on the shortlists; the long-range part of the mass balance is in the potentials already.
const SWEEPS: usize = 40;

/// Entries below this share of their source's mass are left out of the plan.
const NEGLIGIBLE: f64 = 1e-3;

/// A plan `(i, j, c_ij, mass)` with rows `p` and columns close to what the targets attract at `psi`: entropic transport
/// on the shortlists (the `shortlist` cheapest targets of each source, the cheapest source of each target), at the
/// temperature of their typical reduced costs. Largest masses first.
pub(super) fn entropic_plan(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    psi: &[f64],
    shortlist: usize,
) -> Vec<(u32, u32, f64, f64)> {
    let admissible: Vec<f64> = psi.iter().zip(q).map(|(psi, q)| if *q > 0.0 { *psi } else { f64::INFINITY }).collect();
    let mut pricer = Pricer::new(cost, p, shortlist);
    let lists = pricer.pass(&admissible);
    let phi: Vec<f64> = lists.iter().map(|list| list.least).collect();
    let wanted = generalised_cumulant(generator, psi, q).weights;

    // Candidate arcs (i, j, c, reduced cost), grouped by source.
    let mut arcs: Vec<(u32, u32, f64, f64)> = Vec::new();
    for (i, list) in lists.iter().enumerate() {
        arcs.extend(list.entries.iter().map(|&(j, c)| (i as u32, j, c, c + admissible[j as usize] - list.least)));
    }
    for (j, (i, c)) in pricing::nearest_sources(cost, p, &phi).into_iter().enumerate() {
        if wanted[j] > 0.0 && lists[i as usize].entries.iter().all(|&(other, _)| other as usize != j) {
            arcs.push((i, j as u32, c, c + admissible[j] - phi[i as usize]));
        }
    }
    arcs.retain(|arc| arc.3.is_finite() && wanted[arc.1 as usize] > 0.0);
    arcs.sort_unstable_by_key(|arc| (arc.0, arc.1));

    let temperature = typical_reduced_cost(lists, &admissible);
    let kernel: Vec<f64> = arcs.iter().map(|arc| (-arc.3 / temperature).exp()).collect();
    let mut rows = vec![0.0; p.len()];
    let mut columns = vec![1.0; q.len()];
    for _ in 0..SWEEPS {
        rows.fill(0.0);
        for (arc, k) in arcs.iter().zip(&kernel) {
            rows[arc.0 as usize] += k * columns[arc.1 as usize];
        }
        rows.iter_mut().zip(p).for_each(|(sum, p)| *sum = if *sum > 0.0 { p / *sum } else { 0.0 });
        columns.fill(0.0);
        for (arc, k) in arcs.iter().zip(&kernel) {
            columns[arc.1 as usize] += k * rows[arc.0 as usize];
        }
        columns.iter_mut().zip(&wanted).for_each(|(sum, wanted)| *sum = if *sum > 0.0 { wanted / *sum } else { 0.0 });
    }
    rows_of_mass(p, lists, &arcs, &kernel, &columns)
}

/// Normalises `kernel * columns` to rows `p`, without negligible entries; a row that vanished takes its cheapest arc.
fn rows_of_mass(
    p: &[f64],
    lists: &[Shortlist],
    arcs: &[(u32, u32, f64, f64)],
    kernel: &[f64],
    columns: &[f64],
) -> Vec<(u32, u32, f64, f64)> {
    let mut plan = Vec::new();
    let mut start = 0;
    for (i, list) in lists.iter().enumerate().filter(|(i, _)| p[*i] > 0.0) {
        let count = arcs[start..].iter().take_while(|arc| arc.0 as usize <= i).count();
        let row = start..start + count;
        start += count;
        let weight = |k: usize| kernel[k] * columns[arcs[k].1 as usize];
        let largest = row.clone().map(weight).fold(0.0, f64::max);
        let kept: Vec<usize> = row.filter(|&k| weight(k) > NEGLIGIBLE * largest).collect();
        let total: f64 = kept.iter().map(|&k| weight(k)).sum();
        if total > 0.0 && total.is_finite() {
            plan.extend(kept.iter().map(|&k| (arcs[k].0, arcs[k].1, arcs[k].2, p[i] * weight(k) / total)));
        } else {
            plan.extend(list.entries.first().map(|&(j, c)| (i as u32, j, c, p[i])));
        }
    }
    plan.sort_unstable_by(|a, b| b.3.total_cmp(&a.3).then(a.0.cmp(&b.0)).then(a.1.cmp(&b.1)));
    plan
}

/// Median over the sources of the reduced cost of their fourth target; some positive number when all are tied.
fn typical_reduced_cost(lists: &[Shortlist], psi: &[f64]) -> f64 {
    let mut reduced: Vec<f64> = lists
        .iter()
        .filter_map(|list| list.entries.get(3).or(list.entries.last()).map(|&(j, c)| c + psi[j as usize] - list.least))
        .filter(|value| value.is_finite() && *value > 0.0)
        .collect();
    reduced.sort_unstable_by(f64::total_cmp);
    reduced.get(reduced.len() / 2).copied().unwrap_or(1.0)
}
