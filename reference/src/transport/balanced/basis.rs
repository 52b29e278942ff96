//! The spanning tree of the network simplex method: arcs with their masses, potentials tight along them.

use super::stretches::keeps_arcs;
use crate::observer::{Stopped, Watch};
use crate::transport::certificate::SparsePlan;
use crate::transport::cost::GroundCost;
use crate::transport::links::{Links, NONE};
use crate::transport::pricing::{Pricer, Shortlist};

/// Targets per source among which the first tree is sought, and which are the first known arcs. With 32 in the place of 16,
/// Gaussians in eight dimensions (n = 8000) take 0.76 of the time; with 64 as much as with 32.
const SHORTLIST: usize = 32;

/// The same where arcs are not kept.
const SHORT_SHORTLIST: usize = 16;

/// Where the simplex method starts: a spanning tree `(i, j, c_ij, mass)`, and the shortlists it was chosen from.
pub(super) struct Start {
    pub(super) tree: Vec<(u32, u32, f64, f64)>,
    pub(super) shortlists: Vec<Shortlist>,
}

/// A spanning tree, cheap at the potentials `psi`: arcs of the shortlists by reduced cost, then
/// whatever is left in order. Masses are compared as if every source had an infinitesimal more and the last target took
/// it all (Orden's perturbation, second component): then no arc of the tree is empty and every arc exhausts exactly one
/// of its ends, which makes the tree strongly feasible with the last target as its root.
pub(super) fn greedy_tree(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Start, Stopped> {
    let reachable: Vec<f64> =
        psi.iter().zip(q).map(|(psi, q)| if *q > 0.0 { *psi } else { f64::INFINITY }).collect();
    let mut pricer = Pricer::new(cost, p, if keeps_arcs(cost) { SHORTLIST } else { SHORT_SHORTLIST });
    pricer.pass(&reachable, watch)?;
    let shortlists = pricer.into_lists();
    let mut candidates: Vec<(f64, u32, u32)> = Vec::new();
    for (i, list) in shortlists.iter().enumerate() {
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
    Ok(Start { tree, shortlists })
}

/// A spanning tree over the sources `0..n` and targets `n..n+m` that carry mass.
pub(super) struct Basis {
    n: usize,
    links: Links,
    pub(super) root: u32,
    /// Nodes of each subtree.
    size: Vec<u32>,
    /// `phi` at sources, then `psi` at targets; tight along the arcs.
    pub(super) potential: Vec<f64>,
    /// Pivots since the potentials were recomputed.
    pivots: usize,
}

impl Basis {
    pub(super) fn new(n: usize, m: usize, tree: &[(u32, u32, f64, f64)]) -> Self {
        let mut links = Links::new(n + m);
        for &(i, j, cost, mass) in tree {
            let target = (n + j as usize) as u32;
            // Hang whole trees: the target becomes the root of what it has gathered.
            links.reroot(target);
            links.hang(target, i, cost, mass);
        }
        let root = tree.iter().map(|&(_, j, _, _)| (n + j as usize) as u32).max().unwrap_or(0);
        links.reroot(root);
        let mut size = vec![1; n + m];
        let order: Vec<u32> = std::iter::successors(Some(root), |&v| links.following(v, root)).collect();
        for &v in order[1..].iter().rev() {
            size[links.parent(v) as usize] += size[v as usize];
        }
        Self { n, links, root, size, potential: vec![0.0; n + m], pivots: 0 }
    }

    pub(super) fn reduced_cost(&self, i: u32, j: u32, cost: f64) -> f64 {
        cost + self.potential[self.n + j as usize] - self.potential[i as usize]
    }

    /// Recomputes the potentials from the arcs, with `psi = 0` at the root.
    pub(super) fn retighten(&mut self) {
        self.pivots = 0;
        self.potential[self.root as usize] = 0.0;
        let mut next = self.links.following(self.root, self.root);
        while let Some(v) = next {
            let above = self.potential[self.links.parent(v) as usize];
            let cost = self.links.cost(v);
            self.potential[v as usize] = if (v as usize) < self.n { above + cost } else { above - cost };
            next = self.links.following(v, self.root);
        }
    }

    /// The same once there have been a quarter as many pivots as nodes: their rounding adds up, and what it makes of potentials
    /// never comes to rest.
    pub(super) fn retighten_in_time(&mut self) {
        if 4 * self.pivots >= self.potential.len() {
            self.retighten();
        }
    }

    /// How far the potential of the root has moved since it was zero.
    pub(super) fn drift(&self) -> f64 {
        self.potential[self.root as usize].abs()
    }

    /// Brings in arc `(i, j)`. Of the arcs that run empty, the last one met on the cycle, seen from its apex in the
    /// direction of the new arc, leaves.
    pub(super) fn pivot(&mut self, i: u32, j: u32, cost: f64) {
        self.pivots += 1;
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
        // Whether the arc that leaves cuts off the source, not the target.
        let mut below = true;
        (v, loses) = (target, true);
        while v != apex {
            if loses && self.links.flow(v) <= mass {
                (mass, leaving, below) = (self.links.flow(v), v, false);
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
        let (node, above, shift) = if below { (i, target, -rise) } else { (target, i, rise) };
        let moved = self.exchange_sizes(apex, leaving, node, above);
        self.links.cut(leaving);
        self.links.reroot(node);
        // Only differences count: the smaller part moves.
        if 2 * moved <= self.size[self.root as usize] {
            self.raise(node, shift);
        } else {
            self.raise(self.root, -shift);
        }
        self.links.hang(node, above, cost, mass);
    }

    /// Subtree sizes once the subtree of `leaving` hangs from `above` by `node`; returns its size.
    fn exchange_sizes(&mut self, apex: u32, leaving: u32, node: u32, above: u32) -> u32 {
        let moved = self.size[leaving as usize];
        let mut v = self.links.parent(leaving);
        while v != apex {
            self.size[v as usize] -= moved;
            v = self.links.parent(v);
        }
        v = above;
        while v != apex {
            self.size[v as usize] += moved;
            v = self.links.parent(v);
        }
        // The way from `node` up to `leaving` turns over.
        let (mut v, mut new) = (node, moved);
        loop {
            let old = std::mem::replace(&mut self.size[v as usize], new);
            if v == leaving {
                return moved;
            }
            new = moved - old;
            v = self.links.parent(v);
        }
    }

    fn raise(&mut self, top: u32, shift: f64) {
        let mut next = Some(top);
        while let Some(v) = next {
            self.potential[v as usize] += shift;
            next = self.links.following(v, top);
        }
    }

    /// The plan of the tree, by leaf elimination from the marginals.
    pub(super) fn plan(&self, p: &[f64], q: &[f64]) -> SparsePlan {
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::transport::DenseCost;

    #[test]
    fn pivots_keep_sizes_flows_and_tight_arcs() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (n, m) = (23, 31);
        let cost = DenseCost::new(Array2::from_shape_fn((n, m), |_| f64::from(random.random_range(0..6))));
        let cost = cost.expect("finite");
        let (p, q) = (vec![1.0 / n as f64; n], vec![1.0 / m as f64; m]);
        let start = greedy_tree(&cost, &p, &q, &vec![0.0; m], &mut Watch::new(None)).expect("not stopped");
        let mut basis = Basis::new(n, m, &start.tree);
        basis.retighten();
        let mut drifted = false;
        for _ in 0..500 {
            let (i, j) = (random.random_range(0..n as u32), random.random_range(0..m as u32));
            let entry = cost.entry(i as usize, j as usize);
            if basis.reduced_cost(i, j, entry) < 0.0 {
                basis.pivot(i, j, entry);
            }
            drifted |= basis.drift() > 0.0;
            let order: Vec<u32> =
                std::iter::successors(Some(basis.root), |&v| basis.links.following(v, basis.root)).collect();
            assert_eq!(order.len(), n + m);
            let mut size = vec![1_u32; n + m];
            for &v in order[1..].iter().rev() {
                let above = basis.links.parent(v);
                size[above as usize] += size[v as usize];
                let (source, target) = if (v as usize) < n { (v, above) } else { (above, v) };
                assert_eq!(basis.reduced_cost(source, target - n as u32, basis.links.cost(v)), 0.0);
                assert!(basis.links.flow(v) > -1e-15);
            }
            assert_eq!(size, basis.size);
        }
        assert!(drifted, "the smaller part was always below");
    }
}
