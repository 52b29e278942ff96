//! Exact optimal transport between two fixed marginals, `min { <c, G> : G >= 0, G 1 = p, G^T 1 = q }`.
//!
//! The network simplex method: a spanning tree of arcs with tight potentials, arcs of negative reduced cost enter, mass is
//! pushed round the cycle they close. Ties are broken so that the tree stays strongly feasible (Cunningham: arcs without
//! mass point to the root), which rules out cycling. It starts greedily from the potentials of the thinned problem and
//! prices like the semi-relaxed solver.

use std::time::Instant;

use super::certificate::{SparsePlan, compensated_sum, lower_transform};
use super::cost::GroundCost;
use super::links::{Links, NONE};
use super::pricing::{self, Pricer, Shortlist};
use super::semi_relaxed::{Outcome, checked_weights};
use super::start;
use crate::specification::InvalidInput;

/// Arcs per source that are priced between two passes.
const SHORTLIST: usize = 16;

/// Problems with fewer sources or targets than this start from zero potentials.
const SMALLEST_THINNED: usize = 128;

/// Passes over the whole cost before giving up.
const MAXIMUM_PASSES: usize = 10_000;

/// Gap relative to `sum_i p_i |phi_i| + sum_j q_j |psi_j|` that counts as converged: rounding of the dual sums.
const ROUNDING_GAP: f64 = 1e-12;

/// Solution and certificate of balanced transport.
#[derive(Debug, Clone)]
pub struct BalancedTransport {
    /// `(i, j, G_ij)` with `G_ij > 0`; rows sum to `p` and columns to `q` up to rounding.
    pub plan: SparsePlan,
    /// `phi_i = min_j (c_ij + psi_j)` on the sources, length n.
    pub source_potential: Vec<f64>,
    /// `psi_j` on the targets, length m; where `q_j = 0` the smallest admissible value `max_i (phi_i - c_ij)`.
    pub target_potential: Vec<f64>,
    /// Certified lower bound `sum_i p_i phi_i - sum_j q_j psi_j`.
    pub lower: f64,
    /// Upper bound `<c, G>`.
    pub upper: f64,
    /// How the solver ended.
    pub outcome: Outcome,
    /// Passes over the whole cost.
    pub passes: usize,
    /// Arcs pivoted in.
    pub iterations: usize,
    /// Wall-clock time, certificate included.
    pub seconds: f64,
}

impl BalancedTransport {
    /// `upper - lower`, non-negative up to rounding.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }
}

/// Solves balanced transport for `p` (length n) on the sources and `q` (length m) on the targets of `cost`.
///
/// Weights are non-negative with sum 1 (to 1e-9; they are normalised). Errors: lengths, weights.
pub fn balanced_transport(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
) -> Result<BalancedTransport, InvalidInput> {
    let clock = Instant::now();
    let p = checked_weights("source weights", p, cost.sources())?;
    let q = checked_weights("target weights", q, cost.targets())?;
    let solved = solve(cost, &p, &q);
    let plan = solved.basis.plan(&p, &q);
    let mut psi = solved.basis.potential[p.len()..].to_vec();
    if q.contains(&0.0) {
        let phi = &solved.basis.potential[..p.len()];
        let nearest = pricing::nearest_sources(cost, &p, phi);
        for j in (0..q.len()).filter(|&j| q[j] == 0.0) {
            psi[j] = phi[nearest[j].0 as usize] - nearest[j].1;
        }
    }
    let phi = lower_transform(cost, &psi);
    let dual = |weights: &[f64], values: &[f64], sign: f64| -> Vec<f64> {
        weights.iter().zip(values).filter(|(w, _)| **w > 0.0).map(|(w, v)| sign * w * v).collect()
    };
    let terms = [dual(&p, &phi, 1.0), dual(&q, &psi, -1.0)].concat();
    let lower = compensated_sum(terms.iter().copied());
    let upper = compensated_sum(plan.iter().map(|&(i, j, mass)| mass * cost.entry(i as usize, j as usize)));
    let scale: f64 = terms.iter().map(|term| term.abs()).sum();
    let outcome = match solved.outcome {
        Outcome::IterationLimit => Outcome::IterationLimit,
        _ if upper - lower <= ROUNDING_GAP * scale => Outcome::Converged,
        _ => Outcome::Stalled,
    };
    Ok(BalancedTransport {
        plan,
        source_potential: phi,
        target_potential: psi,
        lower,
        upper,
        outcome,
        passes: solved.passes,
        iterations: solved.pivots,
        seconds: clock.elapsed().as_secs_f64(),
    })
}

struct Solved {
    basis: Basis,
    outcome: Outcome,
    passes: usize,
    pivots: usize,
}

fn solve(cost: &dyn GroundCost, p: &[f64], q: &[f64]) -> Solved {
    let thinned = if p.len().min(q.len()) < SMALLEST_THINNED { None } else { start::thin(cost, p, q) };
    let psi = match thinned {
        None => vec![0.0; q.len()],
        Some(thinned) => {
            let coarse = solve(&thinned.cost, &thinned.p, &thinned.q);
            start::extend(cost, &thinned, &coarse.basis.potential[..thinned.p.len()])
        }
    };
    let mut basis = Basis::new(p.len(), q.len(), &greedy_tree(cost, p, q, &psi));
    let mut pricer = Pricer::new(cost, p, SHORTLIST);
    let (mut passes, mut pivots) = (0, 0);
    let outcome = loop {
        basis.retighten();
        let reachable: Vec<f64> = basis.potential[p.len()..]
            .iter()
            .zip(q)
            .map(|(psi, q)| if *q > 0.0 { *psi } else { f64::INFINITY })
            .collect();
        let lists = pricer.pass(&reachable);
        passes += 1;
        // Potentials carry a rounding error of a few eps of the largest one; smaller reduced costs mean nothing.
        let scale = basis.potential.iter().fold(0.0_f64, |scale, v| scale.max(v.abs()));
        let found = exhaust(&mut basis, lists, 16.0 * f64::EPSILON * scale);
        pivots += found;
        if found == 0 {
            break Outcome::Converged;
        }
        if passes >= MAXIMUM_PASSES {
            break Outcome::IterationLimit;
        }
    };
    Solved { basis, outcome, passes, pivots }
}

/// Pivots in the arcs of the shortlists, most negative reduced cost first, until none is below `-rounding`.
fn exhaust(basis: &mut Basis, lists: &[Shortlist], rounding: f64) -> usize {
    let mut pivots = 0;
    let mut candidates: Vec<(f64, u32, u32, f64)> = Vec::new();
    loop {
        candidates.clear();
        for (i, list) in lists.iter().enumerate() {
            let reduced = |&(j, c): &(u32, f64)| (basis.reduced_cost(i as u32, j, c), i as u32, j, c);
            let best = list.entries.iter().map(reduced).min_by(|a, b| a.0.total_cmp(&b.0));
            candidates.extend(best.filter(|best| best.0 < -rounding));
        }
        candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let before = pivots;
        for &(reduced, i, j, c) in &candidates {
            if basis.reduced_cost(i, j, c) < (0.5 * reduced).min(-rounding) {
                basis.pivot(i, j, c);
                pivots += 1;
            }
        }
        if pivots == before {
            return pivots;
        }
    }
}

/// A spanning tree `(i, j, c_ij, mass)`, cheap at the potentials `psi`: arcs of the shortlists by reduced cost, then
/// whatever is left in order. Masses are compared as if every source had an infinitesimal more and the last target took
/// it all (Orden's perturbation, second component): then no arc of the tree is empty and every arc exhausts exactly one
/// of its ends, which makes the tree strongly feasible with the last target as its root.
fn greedy_tree(cost: &dyn GroundCost, p: &[f64], q: &[f64], psi: &[f64]) -> Vec<(u32, u32, f64, f64)> {
    let reachable: Vec<f64> =
        psi.iter().zip(q).map(|(psi, q)| if *q > 0.0 { *psi } else { f64::INFINITY }).collect();
    let mut pricer = Pricer::new(cost, p, SHORTLIST);
    let mut candidates: Vec<(f64, u32, u32)> = Vec::new();
    for (i, list) in pricer.pass(&reachable).iter().enumerate() {
        candidates
            .extend(list.entries.iter().map(|&(j, c)| (c + reachable[j as usize] - list.least, i as u32, j)));
    }
    candidates.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));

    let sources: Vec<u32> = (0..p.len() as u32).filter(|&i| p[i as usize] > 0.0).collect();
    let targets: Vec<u32> = (0..q.len() as u32).filter(|&j| q[j as usize] > 0.0).collect();
    let last = targets[targets.len() - 1];
    let mut supply: Vec<(f64, i64)> = p.iter().map(|p| (*p, 1)).collect();
    let mut demand: Vec<(f64, i64)> = q.iter().map(|q| (*q, 0)).collect();
    demand[last as usize].1 = sources.len() as i64;
    let (mut source_done, mut target_done) = (vec![false; p.len()], vec![false; q.len()]);
    let (mut sources_left, mut targets_left) = (sources.len(), targets.len());
    let mut tree = Vec::with_capacity(sources.len() + targets.len());
    let mut ship = |i: u32, j: u32| {
        let (a, b) = (i as usize, j as usize);
        if source_done[a] || target_done[b] || sources_left + targets_left < 2 {
            return (source_done[a], target_done[b]);
        }
        // The last source and the last target close only together, whatever rounding left of them.
        let source_first = match (sources_left, targets_left) {
            (_, 1) => true,
            (1, _) => false,
            _ => supply[a] < demand[b],
        };
        let mass = if source_first { supply[a] } else { demand[b] };
        tree.push((i, j, cost.entry(a, b), mass.0.max(0.0)));
        supply[a] = (supply[a].0 - mass.0, supply[a].1 - mass.1);
        demand[b] = (demand[b].0 - mass.0, demand[b].1 - mass.1);
        if source_first {
            source_done[a] = true;
            sources_left -= 1;
        } else {
            target_done[b] = true;
            targets_left -= 1;
        }
        (source_done[a], target_done[b])
    };
    for &(_, i, j) in &candidates {
        ship(i, j);
    }
    let (mut s, mut t) = (0, 0);
    while s < sources.len() && t < targets.len() {
        let (source_done, target_done) = ship(sources[s], targets[t]);
        s += usize::from(source_done);
        t += usize::from(target_done && !source_done);
    }
    tree
}

/// A spanning tree over the sources `0..n` and targets `n..n+m` that carry mass.
struct Basis {
    n: usize,
    links: Links,
    root: u32,
    /// `phi` at sources, then `psi` at targets; tight along the arcs.
    potential: Vec<f64>,
}

impl Basis {
    fn new(n: usize, m: usize, tree: &[(u32, u32, f64, f64)]) -> Self {
        let mut links = Links::new(n + m);
        for &(i, j, cost, mass) in tree {
            let target = (n + j as usize) as u32;
            // Hang whole trees: the target becomes the root of what it has gathered.
            links.reroot(target);
            links.hang(target, i, cost, mass);
        }
        let root = tree.iter().map(|&(_, j, _, _)| (n + j as usize) as u32).max().unwrap_or(0);
        links.reroot(root);
        Self { n, links, root, potential: vec![0.0; n + m] }
    }

    fn reduced_cost(&self, i: u32, j: u32, cost: f64) -> f64 {
        cost + self.potential[self.n + j as usize] - self.potential[i as usize]
    }

    /// Recomputes the potentials from the arcs, with `psi = 0` at the root.
    fn retighten(&mut self) {
        self.potential[self.root as usize] = 0.0;
        let mut next = self.links.following(self.root, self.root);
        while let Some(v) = next {
            let above = self.potential[self.links.parent(v) as usize];
            let cost = self.links.cost(v);
            self.potential[v as usize] = if (v as usize) < self.n { above + cost } else { above - cost };
            next = self.links.following(v, self.root);
        }
    }

    /// Brings in arc `(i, j)`. Of the arcs that run empty, the last one met on the cycle, seen from its apex in the
    /// direction of the new arc, leaves.
    fn pivot(&mut self, i: u32, j: u32, cost: f64) {
        let target = (self.n + j as usize) as u32;
        let apex = self.links.apex(i, target);
        let (mut mass, mut leaving) = (f64::INFINITY, NONE);
        let (mut v, mut loses) = (i, true);
        while v != apex {
            if loses && self.links.flow(v) < mass {
                (mass, leaving) = (self.links.flow(v), v);
            }
            (v, loses) = (self.links.parent(v), !loses);
        }
        (v, loses) = (target, true);
        while v != apex {
            if loses && self.links.flow(v) <= mass {
                (mass, leaving) = (self.links.flow(v), v);
            }
            (v, loses) = (self.links.parent(v), !loses);
        }
        if mass > 0.0 {
            for start in [i, target] {
                (v, loses) = (start, true);
                while v != apex {
                    let flow = self.links.flow(v);
                    self.links.set_flow(v, if loses { flow - mass } else { flow + mass });
                    (v, loses) = (self.links.parent(v), !loses);
                }
            }
        }
        let rise = self.potential[i as usize] - cost - self.potential[target as usize];
        self.links.cut(leaving);
        let below = self.links.root(i) == leaving;
        let (node, above, shift) = if below { (i, target, -rise) } else { (target, i, rise) };
        self.links.reroot(node);
        let mut next = Some(node);
        while let Some(v) = next {
            self.potential[v as usize] += shift;
            next = self.links.following(v, node);
        }
        self.links.hang(node, above, cost, mass);
    }

    /// The plan of the tree, by leaf elimination from the marginals.
    fn plan(&self, p: &[f64], q: &[f64]) -> SparsePlan {
        let order: Vec<u32> =
            std::iter::successors(Some(self.root), |&v| self.links.following(v, self.root)).collect();
        let mut balance: Vec<f64> = p.iter().copied().chain(q.iter().map(|q| -q)).collect();
        let mut plan = Vec::with_capacity(order.len());
        for &v in order[1..].iter().rev() {
            let (node, above) = (v as usize, self.links.parent(v));
            balance[above as usize] += balance[node];
            let (i, j, mass) =
                if node < self.n { (v, above, balance[node]) } else { (above, v, -balance[node]) };
            if mass > 0.0 {
                plan.push((i, j - self.n as u32, mass));
            }
        }
        plan
    }
}
