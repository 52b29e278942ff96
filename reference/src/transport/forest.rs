//! A forest of arcs that carry mass, with potentials tight on every arc: `phi_i = c_ij + psi_j`.
//!
//! Nodes are the sources `0..n` and the targets `n..n+m`. Every tree keeps its nodes with parents before children, so
//! that potentials are one forward sweep and flows one backward sweep (leaf elimination). A tree is *settled* when its
//! targets receive what they attract at the current potentials; settling walks towards that flow and cuts every arc
//! that runs empty on the way, so the objective never rises. Each operation is linear in the trees it touches.

use super::law::TargetLaw;

const NONE: u32 = u32::MAX;

pub(super) struct Forest<'a> {
    n: usize,
    p: &'a [f64],
    /// `phi` at sources, then `psi` at targets; tight along the arcs.
    potential: Vec<f64>,
    /// What each target attracts at its potential (see [`TargetLaw::attraction`]).
    share: Vec<f64>,
    /// The arc to the parent is stored at the child: parent node, mass carried, cost.
    parent: Vec<u32>,
    flow: Vec<f64>,
    cost: Vec<f64>,
    tree_of: Vec<u32>,
    trees: Vec<Vec<u32>>,
    unused: Vec<u32>,
    scratch: Scratch,
    /// Arcs that ran empty since the start.
    pub(super) cuts: usize,
}

/// Work space of the sweeps, indexed by node.
struct Scratch {
    balance: Vec<f64>,
    next: Vec<f64>,
    stamp: Vec<u32>,
    clock: u32,
    cut: Vec<bool>,
    targets: Vec<u32>,
    path: Vec<u32>,
    rest: Vec<u32>,
}

impl<'a> Forest<'a> {
    /// A forest without arcs: all targets idle, no source has a tree yet.
    pub(super) fn new(p: &'a [f64], law: &TargetLaw<'_>, m: usize) -> Self {
        let n = p.len();
        let nodes = n + m;
        let mut potential = vec![0.0; nodes];
        (0..m).for_each(|j| potential[n + j] = law.idle_potential(j));
        Self {
            n,
            p,
            potential,
            share: vec![0.0; m],
            parent: vec![NONE; nodes],
            flow: vec![0.0; nodes],
            cost: vec![0.0; nodes],
            tree_of: vec![NONE; nodes],
            trees: Vec::new(),
            unused: Vec::new(),
            scratch: Scratch {
                balance: vec![0.0; nodes],
                next: vec![0.0; nodes],
                stamp: vec![0; nodes],
                clock: 0,
                cut: vec![false; nodes],
                targets: Vec::new(),
                path: Vec::new(),
                rest: Vec::new(),
            },
            cuts: 0,
        }
    }

    /// Plants trees from arcs `(i, j, c_ij, mass)` without cycles that reach every source of positive mass, takes the
    /// potential `psi` at one target of each tree, and settles.
    pub(super) fn plant(&mut self, law: &TargetLaw<'_>, arcs: &[(u32, u32, f64, f64)], psi: &[f64]) {
        let nodes = self.potential.len();
        let mut degree = vec![0_u32; nodes + 1];
        for &(i, j, _, _) in arcs {
            degree[i as usize + 1] += 1;
            degree[self.n + j as usize + 1] += 1;
        }
        (0..nodes).for_each(|v| degree[v + 1] += degree[v]);
        let mut next = degree.clone();
        let mut incident = vec![0_u32; 2 * arcs.len()];
        for (index, &(i, j, _, _)) in arcs.iter().enumerate() {
            for v in [i as usize, self.n + j as usize] {
                incident[next[v] as usize] = index as u32;
                next[v] += 1;
            }
        }
        for root in 0..self.n {
            if self.p[root] <= 0.0 || self.tree_of[root] != NONE {
                continue;
            }
            let tree = self.new_tree();
            let mut order = vec![root as u32];
            self.tree_of[root] = tree;
            let mut head = 0;
            while head < order.len() {
                let v = order[head] as usize;
                head += 1;
                for &index in &incident[degree[v] as usize..degree[v + 1] as usize] {
                    let (i, j, cost, mass) = arcs[index as usize];
                    let u = if v < self.n { self.n + j as usize } else { i as usize };
                    if self.tree_of[u] == NONE {
                        self.tree_of[u] = tree;
                        (self.parent[u], self.flow[u], self.cost[u]) = (v as u32, mass, cost);
                        order.push(u as u32);
                    }
                }
            }
            let first = order[1] as usize;
            self.potential[root] = self.cost[first] + psi[first - self.n];
            self.trees[tree as usize] = order;
            self.retighten(law, tree);
            self.settle(law, tree);
        }
    }

    pub(super) fn psi(&self) -> &[f64] {
        &self.potential[self.n..]
    }

    pub(super) fn phi(&self) -> &[f64] {
        &self.potential[..self.n]
    }

    pub(super) fn is_idle(&self, j: usize) -> bool {
        self.tree_of[self.n + j] == NONE
    }

    /// `c_ij + psi_j - phi_i`.
    pub(super) fn reduced_cost(&self, i: usize, j: usize, cost: f64) -> f64 {
        cost + self.potential[self.n + j] - self.potential[i]
    }

    /// Number of trees that carry mass.
    pub(super) fn tree_count(&self) -> usize {
        self.trees.len() - self.unused.len()
    }

    /// The arcs with positive mass, `(i, j, mass)`.
    pub(super) fn arcs(&self) -> Vec<(u32, u32, f64)> {
        let n = self.n as u32;
        (0..self.potential.len() as u32)
            .filter(|&v| self.parent[v as usize] != NONE && self.flow[v as usize] > 0.0)
            .map(|v| {
                let (u, mass) = (self.parent[v as usize], self.flow[v as usize]);
                if v < n { (v, u - n, mass) } else { (u, v - n, mass) }
            })
            .collect()
    }

    /// Brings arc `(i, j)` of negative reduced cost into the forest: grows an idle target on, joins two trees, or pushes
    /// mass round the cycle it closes; then settles.
    pub(super) fn pivot(&mut self, law: &TargetLaw<'_>, i: usize, j: usize, cost: f64) {
        let target = self.n + j;
        let (tree_i, tree_j) = (self.tree_of[i], self.tree_of[target]);
        let merged = if tree_j == NONE {
            self.potential[target] = self.potential[i] - cost;
            self.share[j] = law.attraction(j, self.potential[target]);
            (self.parent[target], self.flow[target], self.cost[target]) = (i as u32, 0.0, cost);
            self.tree_of[target] = tree_i;
            self.trees[tree_i as usize].push(target as u32);
            tree_i
        } else if tree_i != tree_j {
            self.join(law, i, target, cost, 0.0)
        } else {
            let (leaving, mass) = self.push_round_cycle(i, target);
            self.scratch.cut[leaving] = true;
            self.split(tree_i);
            self.join(law, i, target, cost, mass)
        };
        self.settle(law, merged);
    }

    /// Recomputes all potentials from the arcs and all shares from the potentials, which removes accumulated rounding.
    pub(super) fn refresh(&mut self, law: &TargetLaw<'_>) {
        for tree in 0..self.trees.len() as u32 {
            if !self.trees[tree as usize].is_empty() {
                self.retighten(law, tree);
                self.settle(law, tree);
            }
        }
    }

    fn retighten(&mut self, law: &TargetLaw<'_>, tree: u32) {
        for &v in &self.trees[tree as usize] {
            let v = v as usize;
            if self.parent[v] != NONE {
                let above = self.potential[self.parent[v] as usize];
                self.potential[v] = if v < self.n { above + self.cost[v] } else { above - self.cost[v] };
            }
            if v >= self.n {
                self.share[v - self.n] = law.attraction(v - self.n, self.potential[v]);
            }
        }
    }

    /// Walks from the current flow to the settled one; arcs that run empty are cut and the pieces settled in turn.
    fn settle(&mut self, law: &TargetLaw<'_>, tree: u32) {
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            self.root_at_a_source(tree);
            self.balance(law, tree);
            match self.blocked_step(tree) {
                None => {
                    for &v in &self.trees[tree as usize] {
                        self.flow[v as usize] = self.scratch.next[v as usize];
                    }
                    if !law.always_attracts() {
                        self.release_idle_targets(law, tree);
                    }
                }
                Some(step) => {
                    self.step_and_mark_empty(tree, step);
                    pending.push(tree);
                    pending.extend(self.split(tree));
                }
            }
        }
    }

    /// Shifts the potentials of a tree so that its targets attract exactly the mass of its sources.
    fn balance(&mut self, law: &TargetLaw<'_>, tree: u32) {
        let n = self.n;
        let order = &self.trees[tree as usize];
        let targets = &mut self.scratch.targets;
        targets.clear();
        let mut mass = 0.0;
        for &v in order {
            if (v as usize) < n {
                mass += self.p[v as usize];
            } else {
                targets.push(v - n as u32);
            }
        }
        let shift = law.balance(targets, &self.potential[n..], mass, &mut self.share);
        for &v in order {
            self.potential[v as usize] += shift;
        }
    }

    /// Settled flows by leaf elimination, into `scratch.next`; the largest step towards them if an arc blocks it.
    fn blocked_step(&mut self, tree: u32) -> Option<f64> {
        let n = self.n;
        let order = &self.trees[tree as usize];
        let Scratch { balance, next, .. } = &mut self.scratch;
        let mut mass = 0.0;
        for &v in order {
            let v = v as usize;
            balance[v] = if v < n { self.p[v] } else { -self.share[v - n] };
            mass += balance[v].max(0.0);
        }
        // Leaf elimination rounds each flow by a few eps of the mass it has added up; such negatives are zero.
        let rounding = 4.0 * f64::EPSILON * mass;
        let mut step = f64::INFINITY;
        for &v in order[1..].iter().rev() {
            let v = v as usize;
            let flow = if v < n { balance[v] } else { -balance[v] };
            balance[self.parent[v] as usize] += balance[v];
            next[v] = flow;
            if flow < 0.0 {
                if flow >= -rounding {
                    next[v] = 0.0;
                } else {
                    step = step.min(self.flow[v] / (self.flow[v] - flow));
                }
            }
        }
        (step < f64::INFINITY).then_some(step)
    }

    fn step_and_mark_empty(&mut self, tree: u32, step: f64) {
        for &v in &self.trees[tree as usize][1..] {
            let v = v as usize;
            let (flow, next) = (self.flow[v], self.scratch.next[v]);
            if next < 0.0 && flow / (flow - next) <= step {
                self.flow[v] = 0.0;
                self.scratch.cut[v] = true;
                self.cuts += 1;
            } else {
                self.flow[v] = (flow + step * (next - flow)).max(0.0);
            }
        }
    }

    /// Targets that attract nothing leave their tree and wait at their idle price.
    fn release_idle_targets(&mut self, law: &TargetLaw<'_>, tree: u32) {
        let n = self.n;
        let mut found = false;
        for &v in &self.trees[tree as usize][1..] {
            let v = v as usize;
            let above = self.parent[v] as usize;
            let idle = if v < n { self.share[above - n] <= 0.0 } else { self.share[v - n] <= 0.0 };
            self.scratch.cut[v] = idle;
            found |= idle;
        }
        if !found {
            return;
        }
        for piece in self.split(tree) {
            if let [v] = self.trees[piece as usize][..]
                && v as usize >= n
            {
                self.tree_of[v as usize] = NONE;
                self.potential[v as usize] = law.idle_potential(v as usize - n);
                self.trees[piece as usize].clear();
                self.unused.push(piece);
            }
        }
    }

    /// Cuts the marked nodes of a tree from their parents (and unmarks them); returns the new trees.
    fn split(&mut self, tree: u32) -> Vec<u32> {
        let order = std::mem::take(&mut self.trees[tree as usize]);
        let mut kept = Vec::with_capacity(order.len());
        let mut pieces = Vec::new();
        for &v in &order {
            let node = v as usize;
            if std::mem::take(&mut self.scratch.cut[node]) {
                self.parent[node] = NONE;
                self.flow[node] = 0.0;
                let piece = self.new_tree();
                pieces.push(piece);
                self.tree_of[node] = piece;
            } else if self.parent[node] != NONE {
                self.tree_of[node] = self.tree_of[self.parent[node] as usize];
            }
            if self.tree_of[node] == tree {
                kept.push(v);
            } else {
                self.trees[self.tree_of[node] as usize].push(v);
            }
        }
        self.trees[tree as usize] = kept;
        pieces
    }

    /// Connects the trees of source `i` and node `target` by an arc; the smaller one is hung under the larger.
    fn join(&mut self, law: &TargetLaw<'_>, i: usize, target: usize, cost: f64, mass: f64) -> u32 {
        let (tree_i, tree_j) = (self.tree_of[i], self.tree_of[target]);
        let rise = self.potential[i] - cost - self.potential[target];
        let hang_target = self.trees[tree_j as usize].len() <= self.trees[tree_i as usize].len();
        let (small, large, node, above, shift) = if hang_target {
            (tree_j, tree_i, target, i, rise)
        } else {
            (tree_i, tree_j, i, target, -rise)
        };
        self.reroot(small, node);
        (self.parent[node], self.flow[node], self.cost[node]) = (above as u32, mass, cost);
        let order = std::mem::take(&mut self.trees[small as usize]);
        let factor = law.share_factor(shift);
        for &v in &order {
            let v = v as usize;
            self.tree_of[v] = large;
            self.potential[v] += shift;
            if v >= self.n {
                self.share[v - self.n] *= factor;
            }
        }
        self.trees[large as usize].extend_from_slice(&order);
        let mut order = order;
        order.clear();
        self.trees[small as usize] = order;
        self.unused.push(small);
        large
    }

    /// Sends as much mass as fits round the cycle that arc `(i, target)` closes; returns the node whose arc runs empty
    /// and the mass.
    fn push_round_cycle(&mut self, i: usize, target: usize) -> (usize, f64) {
        let Scratch { stamp, clock, .. } = &mut self.scratch;
        *clock += 1;
        let mut v = i as u32;
        while v != NONE {
            stamp[v as usize] = *clock;
            v = self.parent[v as usize];
        }
        let mut apex = target as u32;
        while stamp[apex as usize] != *clock {
            apex = self.parent[apex as usize];
        }
        // Along both ways up, arcs lose mass and gain it in turn, beginning with a loss.
        let (mut mass, mut leaving) = (f64::INFINITY, i);
        for start in [i as u32, target as u32] {
            let (mut v, mut loses) = (start, true);
            while v != apex {
                if loses && self.flow[v as usize] < mass {
                    (mass, leaving) = (self.flow[v as usize], v as usize);
                }
                (v, loses) = (self.parent[v as usize], !loses);
            }
        }
        for start in [i as u32, target as u32] {
            let (mut v, mut loses) = (start, true);
            while v != apex {
                self.flow[v as usize] += if loses { -mass } else { mass };
                (v, loses) = (self.parent[v as usize], !loses);
            }
        }
        (leaving, mass)
    }

    fn root_at_a_source(&mut self, tree: u32) {
        let order = &self.trees[tree as usize];
        if order[0] as usize >= self.n && order.len() > 1 {
            let child = order[1] as usize;
            self.reroot(tree, child);
        }
    }

    /// Makes `root` the root of its tree: arcs on the way up turn over, all others keep their parents.
    fn reroot(&mut self, tree: u32, root: usize) {
        if self.parent[root] == NONE {
            return;
        }
        let Scratch { stamp, clock, path, rest, .. } = &mut self.scratch;
        *clock += 1;
        path.clear();
        let mut v = root as u32;
        while v != NONE {
            stamp[v as usize] = *clock;
            path.push(v);
            v = self.parent[v as usize];
        }
        for k in (1..path.len()).rev() {
            let (child, above) = (path[k - 1] as usize, path[k] as usize);
            self.parent[above] = child as u32;
            self.flow[above] = self.flow[child];
            self.cost[above] = self.cost[child];
        }
        self.parent[root] = NONE;
        self.flow[root] = 0.0;
        let order = &mut self.trees[tree as usize];
        rest.clear();
        rest.extend(order.iter().copied().filter(|&v| stamp[v as usize] != *clock));
        order.clear();
        order.extend_from_slice(path);
        order.extend_from_slice(rest);
    }

    fn new_tree(&mut self) -> u32 {
        self.unused.pop().unwrap_or_else(|| {
            self.trees.push(Vec::new());
            (self.trees.len() - 1) as u32
        })
    }
}
