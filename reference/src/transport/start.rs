//! Where the active-set method starts: potentials from a thinned problem, and a forest that fits them.
//!
//! Every `RATIO`-th source and target, with the weights between added up, is the same problem in small. Its potentials,
//! extended by the two cost transforms `phi_i = min_j (c_ij + psi_j)` and `psi_j = max_i (phi_i - c_ij)`, are close to
//! the wanted ones wherever the points sample something smooth; the thinned problem starts the same way.

use ndarray::Array2;
use rayon::prelude::*;

use super::cost::{DenseCost, GroundCost};
use super::pricing::{self, Pricer};
use crate::divergence::{Generator, generalised_cumulant};
use crate::observer::{Stopped, Watch};

/// Problems with fewer sources or targets than this start from zero potentials.
const SMALLEST_THINNED: usize = 128;

/// Thinning between levels; the coarser problem costs about `RATIO^-2` of the finer.
pub(super) const RATIO: usize = 4;

/// Targets per source among which the first forest is sought.
pub(super) const SHORTLIST: usize = 16;

/// The thinned problem: its cost in memory and its weights.
pub(super) struct Thinned {
    pub(super) cost: DenseCost,
    pub(super) p: Vec<f64>,
    pub(super) q: Vec<f64>,
}

/// Keeps the sources `0, RATIO, 2 RATIO, ...` and the same targets; weights are added up over each stretch.
/// `None` for problems with fewer than [`SMALLEST_THINNED`] sources or targets.
pub(super) fn thin(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Option<Thinned>, Stopped> {
    if p.len().min(q.len()) < SMALLEST_THINNED {
        return Ok(None);
    }
    let (n, m) = (p.len().div_ceil(RATIO), q.len().div_ceil(RATIO));
    let mut entries = vec![0.0; n * m];
    watch.in_pieces(n, |rows| {
        let first = rows.start;
        entries[rows.start * m..rows.end * m].par_chunks_mut(m).enumerate().for_each(|(k, row)| {
            for (j, value) in row.iter_mut().enumerate() {
                *value = cost.entry((first + k) * RATIO, j * RATIO);
            }
        });
    })?;
    let entries = Array2::from_shape_vec((n, m), entries).expect("n m entries were allocated");
    let Ok(cost) = DenseCost::new(entries) else { return Ok(None) };
    let sums = |weights: &[f64]| weights.chunks(RATIO).map(|stretch| stretch.iter().sum()).collect();
    Ok(Some(Thinned { cost, p: sums(p), q: sums(q) }))
}

/// Extends the thinned `phi` to all targets: `psi_j = max_i (phi_i - c_ij)` over the kept sources.
pub(super) fn extend(
    cost: &dyn GroundCost,
    thinned: &Thinned,
    thinned_phi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>, Stopped> {
    let (mut kept, mut phi) = (vec![0.0; cost.sources()], vec![0.0; cost.sources()]);
    for (i, (&mass, &value)) in thinned.p.iter().zip(thinned_phi).enumerate() {
        (kept[i * RATIO], phi[i * RATIO]) = (mass, value);
    }
    let nearest = pricing::nearest_sources(cost, &kept, &phi, watch)?;
    Ok(nearest.into_iter().map(|(i, c)| phi[i as usize] - c).collect())
}

/// A forest of arcs `(i, j, c_ij, mass)` for the potentials `psi`: arcs of smallest reduced cost first, each carrying
/// what is left of its source and of the mass its target attracts. Every arc exhausts one of its ends, so there is no
/// cycle; what is left of a source goes along its first arc.
pub(super) fn greedy_forest(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Vec<(u32, u32, f64, f64)>, Stopped> {
    let admissible: Vec<f64> =
        psi.iter().zip(q).map(|(psi, q)| if *q > 0.0 { *psi } else { f64::INFINITY }).collect();
    let mut pricer = Pricer::new(cost, p, SHORTLIST);
    let lists = pricer.pass(&admissible, watch)?;
    let mut wanted = generalised_cumulant(generator, psi, q).weights;
    let mut left = p.to_vec();
    let mut candidates: Vec<(f64, u32, u32, f64)> = Vec::new();
    for (i, list) in lists.iter().enumerate() {
        let reduced = |&(j, c): &(u32, f64)| (c + admissible[j as usize] - list.least, i as u32, j, c);
        candidates.extend(list.entries.iter().map(reduced).filter(|candidate| candidate.0.is_finite()));
    }
    candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut arcs: Vec<(u32, u32, f64, f64)> = Vec::with_capacity(p.len() + q.len());
    let mut first_arc = vec![usize::MAX; p.len()];
    for &(_, i, j, c) in &candidates {
        let mass = left[i as usize].min(wanted[j as usize]);
        if mass > 0.0 {
            left[i as usize] -= mass;
            wanted[j as usize] -= mass;
            if first_arc[i as usize] == usize::MAX {
                first_arc[i as usize] = arcs.len();
            }
            arcs.push((i, j, c, mass));
        }
    }
    for (i, list) in lists.iter().enumerate() {
        if left[i] > 0.0 {
            match first_arc[i] {
                usize::MAX => arcs.extend(list.entries.first().map(|&(j, c)| (i as u32, j, c, left[i]))),
                first => arcs[first].3 += left[i],
            }
        }
    }
    Ok(arcs)
}
