//! A forest of arcs that carry mass, with potentials tight on every arc: `phi_i = c_ij + psi_j`.
//!
//! Nodes are the sources `0..n` and the targets `n..n+m`. A tree is *settled* when its targets receive what they attract
//! at the current potentials. Settling walks towards that flow (leaf elimination, one sweep) and cuts every arc that
//! runs empty on the way, so the objective never rises; it is linear in the tree. Exchanging arcs inside one tree keeps
//! the second marginal and touches the cycle and one subtree only, so that settling can wait.

mod settle;

use super::law::TargetLaw;
use super::links::{Links, NONE};

pub(super) struct Forest<'a> {
    n: usize,
    p: &'a [f64],
    links: Links,
    /// `phi` at sources, then `psi` at targets; tight along the arcs.
    potential: Vec<f64>,
    /// KL: what each target attracts at its potential. Others: work space of [`TargetLaw::balance`].
    share: Vec<f64>,
    tree_of: Vec<u32>,
    trees: Vec<Tree>,
    unused: Vec<u32>,
    scratch: Scratch,
}

#[derive(Debug, Clone, Copy)]
struct Tree {
    /// Some node of the tree; `NONE` for an unused entry.
    member: u32,
    size: u32,
    settled: bool,
}

/// Work space of the sweeps.
struct Scratch {
    balance: Vec<f64>,
    next: Vec<f64>,
    order: Vec<u32>,
    targets: Vec<u32>,
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
            links: Links::new(nodes),
            potential,
            share: vec![0.0; m],
            tree_of: vec![NONE; nodes],
            trees: Vec::new(),
            unused: Vec::new(),
            scratch: Scratch {
                balance: vec![0.0; nodes],
                next: vec![0.0; nodes],
                order: Vec::new(),
                targets: Vec::new(),
            },
        }
    }

    /// Turns a plan `(i, j, c_ij, mass)` whose rows sum to `p` into a forest of the same marginals and no larger cost,
    /// and takes the potential `psi` at one target of each tree. The trees are not settled: their potentials are as far
    /// off as their arcs, and following them would spoil the marginal.
    pub(super) fn plant(&mut self, law: &TargetLaw<'_>, plan: &[(u32, u32, f64, f64)], psi: &[f64]) {
        for &(i, j, _, _) in plan {
            for v in [i, self.target(j as usize)] {
                if self.tree_of[v as usize] == NONE {
                    self.tree_of[v as usize] = self.new_tree(Tree { member: v, size: 1, settled: false });
                    self.potential[v as usize] = 0.0;
                }
            }
        }
        for &(i, j, cost, mass) in plan {
            self.absorb(law, i, self.target(j as usize), cost, mass);
        }
        for tree in 0..self.trees.len() as u32 {
            if self.trees[tree as usize].member != NONE {
                let root = self.rooted_at_a_source(tree);
                let first = self.links.first_child(root);
                self.potential[root as usize] = self.links.cost(first) + psi[first as usize - self.n];
                self.retighten(law, tree);
            }
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

    /// The arcs with positive mass, `(i, j, mass)`.
    pub(super) fn arcs(&self) -> Vec<(u32, u32, f64)> {
        let n = self.n as u32;
        (0..self.links.len() as u32)
            .filter(|&v| self.links.parent(v) != NONE && self.links.flow(v) > 0.0)
            .map(|v| {
                let (u, mass) = (self.links.parent(v), self.links.flow(v));
                if v < n { (v, u - n, mass) } else { (u, v - n, mass) }
            })
            .collect()
    }

    /// Brings arc `(i, j)` of negative reduced cost into the forest: grows an idle target on or joins two trees, and
    /// settles; or pushes mass round the cycle that it closes.
    pub(super) fn pivot(&mut self, law: &TargetLaw<'_>, i: usize, j: usize, cost: f64) {
        let (source, target) = (i as u32, self.target(j));
        let (tree_i, tree_j) = (self.tree_of[i], self.tree_of[target as usize]);
        if tree_i == tree_j {
            let (leaving, mass) = self.push_round_cycle(source, target, true, f64::INFINITY);
            // Some arc of every cycle loses mass, unless overflow has made the flows no numbers: the certificate will say so.
            if let Some(leaving) = leaving {
                self.exchange(law, leaving, source, target, cost, mass);
            }
            return;
        }
        if tree_j == NONE {
            self.potential[target as usize] = self.potential[i] - cost;
            self.share[j] = law.attraction(j, self.potential[target as usize]);
            self.links.hang(target, source, cost, 0.0);
            self.tree_of[target as usize] = tree_i;
            self.trees[tree_i as usize].size += 1;
            self.trees[tree_i as usize].settled = false;
        } else {
            self.join(law, source, target, cost, 0.0);
        }
        self.settle(law, self.tree_of[i]);
    }

    /// Recomputes all potentials from the arcs and all shares from the potentials, which removes accumulated rounding.
    pub(super) fn retighten_all(&mut self, law: &TargetLaw<'_>) {
        for tree in 0..self.trees.len() as u32 {
            if self.trees[tree as usize].member != NONE {
                self.retighten(law, tree);
            }
        }
    }

    fn target(&self, j: usize) -> u32 {
        (self.n + j) as u32
    }

    /// Adds an arc with its mass. If it closes a cycle, mass is pushed round it in the cheaper direction until an arc
    /// is empty.
    fn absorb(&mut self, law: &TargetLaw<'_>, source: u32, target: u32, cost: f64, mass: f64) {
        if self.tree_of[source as usize] != self.tree_of[target as usize] {
            self.join(law, source, target, cost, mass);
            return;
        }
        let gains = cost + self.potential[target as usize] < self.potential[source as usize];
        let room = if gains { f64::INFINITY } else { mass };
        let (leaving, pushed) = self.push_round_cycle(source, target, gains, room);
        if let Some(leaving) = leaving {
            let rest = if gains { mass + pushed } else { mass - pushed };
            self.exchange(law, leaving, source, target, cost, rest);
        }
    }

    /// Lists the subtree of `root` with parents before children.
    fn list(&mut self, root: u32) {
        self.scratch.order.clear();
        self.scratch.order.extend(std::iter::successors(Some(root), |&v| self.links.following(v, root)));
    }

    fn retighten(&mut self, law: &TargetLaw<'_>, tree: u32) {
        let root = self.links.root(self.trees[tree as usize].member);
        self.list(root);
        for &v in &self.scratch.order {
            let (node, above) = (v as usize, self.links.parent(v));
            if above != NONE {
                let (above, cost) = (self.potential[above as usize], self.links.cost(v));
                self.potential[node] = if node < self.n { above + cost } else { above - cost };
            }
            if node >= self.n {
                self.share[node - self.n] = law.attraction(node - self.n, self.potential[node]);
            }
        }
        self.trees[tree as usize].settled = false;
    }

    /// Cuts the arc above `v`; the subtree becomes a tree of its own.
    fn cut(&mut self, v: u32, settled: bool) -> u32 {
        let old = self.tree_of[v as usize];
        let root = self.links.root(v);
        self.links.cut(v);
        let piece = self.new_tree(Tree { member: v, size: 0, settled });
        let mut size = 0;
        let mut next = Some(v);
        while let Some(u) = next {
            self.tree_of[u as usize] = piece;
            size += 1;
            next = self.links.following(u, v);
        }
        self.trees[piece as usize].size = size;
        self.trees[old as usize].size -= size;
        self.trees[old as usize].member = root;
        piece
    }

    /// Replaces the arc above `leaving` by arc `(source, target)`, which closes a cycle through it.
    fn exchange(
        &mut self,
        law: &TargetLaw<'_>,
        leaving: u32,
        source: u32,
        target: u32,
        cost: f64,
        mass: f64,
    ) {
        let root = self.links.root(leaving);
        self.links.cut(leaving);
        // The end of the new arc below the cut moves; the other one stays with the root.
        let below = self.links.root(source) == leaving;
        let (node, above) = if below { (source, target) } else { (target, source) };
        let rise = self.potential[source as usize] - cost - self.potential[target as usize];
        self.links.reroot(node);
        self.raise(law, node, if below { -rise } else { rise }, None);
        self.links.hang(node, above, cost, mass);
        let tree = &mut self.trees[self.tree_of[node as usize] as usize];
        (tree.settled, tree.member) = (false, root);
    }

    /// Connects the trees of `source` and `target` by an arc; the smaller one is hung under the larger.
    fn join(&mut self, law: &TargetLaw<'_>, source: u32, target: u32, cost: f64, mass: f64) {
        let (tree_i, tree_j) = (self.tree_of[source as usize], self.tree_of[target as usize]);
        let rise = self.potential[source as usize] - cost - self.potential[target as usize];
        let hang_target = self.trees[tree_j as usize].size <= self.trees[tree_i as usize].size;
        let (small, large, node, above, shift) = if hang_target {
            (tree_j, tree_i, target, source, rise)
        } else {
            (tree_i, tree_j, source, target, -rise)
        };
        self.links.reroot(node);
        self.raise(law, node, shift, Some(large));
        self.links.hang(node, above, cost, mass);
        self.trees[large as usize].size += self.trees[small as usize].size;
        self.trees[large as usize].settled = false;
        self.trees[small as usize].member = NONE;
        self.unused.push(small);
    }

    /// Adds `shift` to the potentials of the tree rooted at `root`, and moves it to another tree if one is given.
    fn raise(&mut self, law: &TargetLaw<'_>, root: u32, shift: f64, tree: Option<u32>) {
        let factor = law.share_factor(shift);
        let mut next = Some(root);
        while let Some(v) = next {
            let node = v as usize;
            self.potential[node] += shift;
            if node >= self.n {
                self.share[node - self.n] *= factor;
            }
            if let Some(tree) = tree {
                self.tree_of[node] = tree;
            }
            next = self.links.following(v, root);
        }
    }

    /// Pushes mass round the cycle that arc `(source, target)` closes, onto the arc (`gains`) or off it, as much as fits
    /// and at most `room`. Returns the node whose arc runs empty, unless `room` came first, and the mass.
    fn push_round_cycle(&mut self, source: u32, target: u32, gains: bool, room: f64) -> (Option<u32>, f64) {
        let apex = self.links.apex(source, target);
        // On both ways up, arcs lose and gain in turn; the first one does the opposite of the arc that closes the cycle.
        let (mut mass, mut leaving) = (room, None);
        for start in [source, target] {
            let (mut v, mut loses) = (start, gains);
            while v != apex {
                if loses && self.links.flow(v) < mass {
                    (mass, leaving) = (self.links.flow(v), Some(v));
                }
                (v, loses) = (self.links.parent(v), !loses);
            }
        }
        if mass == f64::INFINITY {
            return (None, mass);
        }
        for start in [source, target] {
            let (mut v, mut loses) = (start, gains);
            while v != apex {
                let flow = self.links.flow(v);
                self.links.set_flow(v, if loses { flow - mass } else { flow + mass });
                (v, loses) = (self.links.parent(v), !loses);
            }
        }
        (leaving, mass)
    }

    fn rooted_at_a_source(&mut self, tree: u32) -> u32 {
        let root = self.links.root(self.trees[tree as usize].member);
        let root = if (root as usize) < self.n { root } else { self.links.first_child(root) };
        self.links.reroot(root);
        self.trees[tree as usize].member = root;
        root
    }

    fn new_tree(&mut self, tree: Tree) -> u32 {
        match self.unused.pop() {
            Some(entry) => {
                self.trees[entry as usize] = tree;
                entry
            }
            None => {
                self.trees.push(tree);
                (self.trees.len() - 1) as u32
            }
        }
    }
}
