//! Settling a tree: its targets receive what they attract. One sweep finds that flow by leaf elimination; arcs that run
//! empty on the way there are cut, and the pieces are settled in turn.

use super::{Forest, Scratch};
use crate::transport::law::TargetLaw;
use crate::transport::links::NONE;

impl Forest<'_> {
    /// Settles every tree.
    pub(in crate::transport) fn settle_all(&mut self, law: &TargetLaw<'_>) {
        for tree in 0..self.trees.len() as u32 {
            if self.trees[tree as usize].member != NONE {
                self.settle(law, tree);
            }
        }
    }

    /// `c_ij + psi_j - phi_i`; settles the two trees first if it compares potentials of different ones.
    pub(in crate::transport) fn settled_reduced_cost(
        &mut self,
        law: &TargetLaw<'_>,
        i: usize,
        j: usize,
        cost: f64,
    ) -> f64 {
        let (tree_i, tree_j) = (self.tree_of[i], self.tree_of[self.n + j]);
        if tree_i != tree_j {
            self.settle(law, tree_i);
            // Settling may have moved the target to a tree of its own, which is settled then.
            if self.tree_of[self.n + j] != NONE {
                self.settle(law, self.tree_of[self.n + j]);
            }
        }
        self.reduced_cost(i, j, cost)
    }

    /// Walks from the current flow to the settled one; arcs that run empty are cut and the pieces settled in turn.
    pub(super) fn settle(&mut self, law: &TargetLaw<'_>, tree: u32) {
        if self.trees[tree as usize].settled {
            return;
        }
        let mut pending = vec![tree];
        while let Some(tree) = pending.pop() {
            let root = self.rooted_at_a_source(tree);
            self.list(root);
            self.balance(law);
            match self.blocked_step() {
                None => {
                    for &v in &self.scratch.order[1..] {
                        self.links.set_flow(v, self.scratch.next[v as usize]);
                    }
                    self.trees[tree as usize].settled = true;
                    if !law.always_attracts() {
                        self.release_idle_targets(law);
                    }
                }
                Some(step) => {
                    let emptied = self.step(step);
                    pending.push(tree);
                    for v in emptied {
                        pending.push(self.cut(v, false));
                    }
                }
            }
        }
    }

    /// Shifts the potentials of the listed tree so that its targets attract exactly the mass of its sources.
    fn balance(&mut self, law: &TargetLaw<'_>) {
        let Scratch { order, targets, .. } = &mut self.scratch;
        targets.clear();
        let mut mass = 0.0;
        for &v in order.iter() {
            if (v as usize) < self.n {
                mass += self.p[v as usize];
            } else {
                targets.push(v - self.n as u32);
            }
        }
        let shift = law.balance(targets, &self.potential[self.n..], mass, &mut self.share);
        for &v in order.iter() {
            self.potential[v as usize] += shift;
        }
    }

    /// Settled flows of the listed tree by leaf elimination; the largest step towards them if an arc blocks it.
    fn blocked_step(&mut self) -> Option<f64> {
        let n = self.n;
        let Scratch { balance, next, order, .. } = &mut self.scratch;
        let mut mass = 0.0;
        for &v in order.iter() {
            let v = v as usize;
            balance[v] = if v < n { self.p[v] } else { -self.share[v - n] };
            mass += balance[v].max(0.0);
        }
        // Leaf elimination rounds each flow by a few eps of the mass it has added up; such negatives are zero.
        let rounding = 4.0 * f64::EPSILON * mass;
        let mut step = f64::INFINITY;
        for &v in order[1..].iter().rev() {
            let node = v as usize;
            let flow = if node < n { balance[node] } else { -balance[node] };
            balance[self.links.parent(v) as usize] += balance[node];
            next[node] = flow;
            if flow < 0.0 {
                if flow >= -rounding {
                    next[node] = 0.0;
                } else {
                    let current = self.links.flow(v);
                    step = step.min(current / (current - flow));
                }
            }
        }
        (step < f64::INFINITY).then_some(step)
    }

    /// Moves the flows of the listed tree by `step` towards the settled ones; returns the nodes whose arcs run empty.
    fn step(&mut self, step: f64) -> Vec<u32> {
        let mut emptied = Vec::new();
        for &v in &self.scratch.order[1..] {
            let (flow, next) = (self.links.flow(v), self.scratch.next[v as usize]);
            if next < 0.0 && flow / (flow - next) <= step {
                emptied.push(v);
            } else {
                self.links.set_flow(v, (flow + step * (next - flow)).max(0.0));
            }
        }
        emptied
    }

    /// Targets of the listed tree that attract nothing leave it and wait at their idle price.
    fn release_idle_targets(&mut self, law: &TargetLaw<'_>) {
        let idle: Vec<u32> = self.scratch.order[1..]
            .iter()
            .copied()
            .filter(|&v| v as usize >= self.n && self.share[v as usize - self.n] <= 0.0)
            .collect();
        for v in idle {
            while self.links.first_child(v) != NONE {
                self.cut(self.links.first_child(v), true);
            }
            let alone = self.cut(v, true);
            self.trees[alone as usize].member = NONE;
            self.unused.push(alone);
            self.tree_of[v as usize] = NONE;
            self.potential[v as usize] = law.idle_potential(v as usize - self.n);
        }
    }
}
