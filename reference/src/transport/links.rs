//! Rooted trees by parent, first child and siblings; every arc lives at its child, with its cost and the mass it carries.
//!
//! Cutting and hanging a subtree touch a bounded number of nodes, turning a tree over touches the way to the root.

/// No node.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    parent: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    flow: f64,
    cost: f64,
}

pub(super) struct Links {
    links: Vec<Link>,
    stamp: Vec<u32>,
    clock: u32,
}

impl Links {
    /// `nodes` single nodes.
    pub(super) fn new(nodes: usize) -> Self {
        let alone =
            Link { parent: NONE, first_child: NONE, next: NONE, previous: NONE, flow: 0.0, cost: 0.0 };
        Self { links: vec![alone; nodes], stamp: vec![0; nodes], clock: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn parent(&self, v: u32) -> u32 {
        self.links[v as usize].parent
    }

    pub(super) fn first_child(&self, v: u32) -> u32 {
        self.links[v as usize].first_child
    }

    /// Mass on the arc from `v` to its parent.
    pub(super) fn flow(&self, v: u32) -> f64 {
        self.links[v as usize].flow
    }

    pub(super) fn set_flow(&mut self, v: u32, flow: f64) {
        self.links[v as usize].flow = flow;
    }

    /// Cost of the arc from `v` to its parent.
    pub(super) fn cost(&self, v: u32) -> f64 {
        self.links[v as usize].cost
    }

    /// Hangs the root `child` under `parent`.
    pub(super) fn hang(&mut self, child: u32, parent: u32, cost: f64, flow: f64) {
        let sibling = std::mem::replace(&mut self.links[parent as usize].first_child, child);
        if sibling != NONE {
            self.links[sibling as usize].previous = child;
        }
        let link = &mut self.links[child as usize];
        (link.parent, link.next, link.previous) = (parent, sibling, NONE);
        (link.cost, link.flow) = (cost, flow);
    }

    /// Takes `child` off its parent; returns cost and mass of the arc.
    pub(super) fn cut(&mut self, child: u32) -> (f64, f64) {
        let Link { parent, next, previous, flow, cost, .. } = self.links[child as usize];
        if previous == NONE {
            self.links[parent as usize].first_child = next;
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        let link = &mut self.links[child as usize];
        (link.parent, link.next, link.previous, link.flow) = (NONE, NONE, NONE, 0.0);
        (cost, flow)
    }

    /// Makes `v` the root of its tree: the arcs on its way up turn over.
    pub(super) fn reroot(&mut self, v: u32) {
        let (mut child, mut above) = (v, self.parent(v));
        if above == NONE {
            return;
        }
        let (mut cost, mut flow) = self.cut(v);
        while above != NONE {
            let beyond = self.parent(above);
            let arc = if beyond == NONE { (0.0, 0.0) } else { self.cut(above) };
            self.hang(above, child, cost, flow);
            ((cost, flow), child, above) = (arc, above, beyond);
        }
    }

    /// The node after `v` in depth-first order of the subtree of `top`; parents come before their children.
    pub(super) fn following(&self, v: u32, top: u32) -> Option<u32> {
        let link = &self.links[v as usize];
        if link.first_child != NONE {
            return Some(link.first_child);
        }
        let mut v = v;
        while v != top {
            let link = &self.links[v as usize];
            if link.next != NONE {
                return Some(link.next);
            }
            v = link.parent;
        }
        None
    }

    /// The root of the tree of `v`.
    pub(super) fn root(&self, mut v: u32) -> u32 {
        while self.parent(v) != NONE {
            v = self.parent(v);
        }
        v
    }

    /// The lowest common ancestor of two nodes of one tree, climbing from both sides in turn: linear in the longer way.
    pub(super) fn apex(&mut self, a: u32, b: u32) -> u32 {
        self.clock += 1;
        let (mut here, mut there) = (a, b);
        loop {
            if here != NONE {
                if std::mem::replace(&mut self.stamp[here as usize], self.clock) == self.clock {
                    return here;
                }
                here = self.parent(here);
            }
            std::mem::swap(&mut here, &mut there);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preorder(links: &Links, top: u32) -> Vec<u32> {
        std::iter::successors(Some(top), |&v| links.following(v, top)).collect()
    }

    #[test]
    fn rerooting_keeps_every_arc_and_cutting_removes_one_subtree() {
        let mut links = Links::new(6);
        for (child, parent) in [(1, 0), (2, 0), (3, 1), (4, 3), (5, 1)] {
            links.hang(child, parent, f64::from(child), 0.1 * f64::from(child));
        }
        assert_eq!(links.apex(4, 5), 1);
        assert_eq!(links.apex(2, 4), 0);
        links.reroot(4);
        assert_eq!(links.root(2), 4);
        let mut arcs: Vec<(u32, u32, f64)> = (0..6)
            .filter(|&v| links.parent(v) != NONE)
            .map(|v| (v, links.parent(v), links.cost(v)))
            .collect();
        arcs.sort_by_key(|arc| arc.0);
        assert_eq!(arcs, [(0, 1, 1.0), (1, 3, 3.0), (2, 0, 2.0), (3, 4, 4.0), (5, 1, 5.0)]);
        assert_eq!(preorder(&links, 4).len(), 6);
        let (cost, flow) = links.cut(1);
        assert_eq!((cost, flow), (3.0, 0.1 * 3.0));
        assert_eq!(preorder(&links, 4), [4, 3]);
        let mut rest = preorder(&links, 1);
        rest.sort_unstable();
        assert_eq!(rest, [0, 1, 2, 5]);
    }
}
