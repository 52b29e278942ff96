//! One order of summation whatever the number of workers: a binary tree over a row of leaves.
//!
//! Floating-point addition is not associative. Each worker holds some neighbouring leaves; it adds those that form whole branches, and
//! the branches of all workers are added in the tree's order, so that the sum does not depend on who held what.

use std::collections::BTreeMap;
use std::ops::Range;

/// The largest branches of the tree over `leaves` that lie within `own`, in their order. A branch is halved at its middle; `own` of
/// n leaves holds at most `2 log2 n` of them, and one if both it and the tree are a power of two long and `own` starts at a multiple.
pub fn branches(leaves: usize, own: &Range<usize>) -> Vec<Range<usize>> {
    fn walk(branch: Range<usize>, own: &Range<usize>, found: &mut Vec<Range<usize>>) {
        if branch.is_empty() || branch.end <= own.start || branch.start >= own.end {
            return;
        }
        if own.start <= branch.start && branch.end <= own.end {
            return found.push(branch);
        }
        let middle = middle(&branch);
        walk(branch.start..middle, own, found);
        walk(middle..branch.end, own, found);
    }
    let mut found = Vec::new();
    walk(0..leaves, own, &mut found);
    found
}

/// The sum over a branch from the sums of smaller branches or leaves, which are taken out of `known`; `None` if a leaf is missing.
pub fn sum<T>(
    branch: &Range<usize>,
    known: &mut BTreeMap<(usize, usize), T>,
    add: &impl Fn(T, T) -> T,
) -> Option<T> {
    if let Some(found) = known.remove(&(branch.start, branch.end)) {
        return Some(found);
    }
    if branch.len() < 2 {
        return None;
    }
    let middle = middle(branch);
    let left = sum(&(branch.start..middle), known, add)?;
    Some(add(left, sum(&(middle..branch.end), known, add)?))
}

fn middle(branch: &Range<usize>) -> usize {
    branch.start + branch.len() / 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    /// The sum as `(((0+1)+2)...` writes it, so that equal texts mean equal orders.
    fn written(leaves: usize, shares: &[Range<usize>]) -> String {
        let add = |a: String, b: String| format!("({a}+{b})");
        let mut all = BTreeMap::new();
        for own in shares {
            let mut known = own.clone().map(|leaf| ((leaf, leaf + 1), leaf.to_string())).collect();
            for branch in branches(leaves, own) {
                let value = sum(&branch, &mut known, &add).unwrap();
                all.insert((branch.start, branch.end), value);
            }
            assert!(known.is_empty());
        }
        sum(&(0..leaves), &mut all, &add).unwrap()
    }

    #[test]
    fn the_order_of_summation_does_not_depend_on_the_shares() {
        for leaves in 1..13 {
            let alone = written(leaves, &[0..leaves]);
            for first in 0..=leaves {
                for second in first..=leaves {
                    assert_eq!(alone, written(leaves, &[0..first, first..second, second..leaves]));
                }
            }
        }
        assert_eq!(written(4, &[0..4]), "((0+1)+(2+3))");
    }

    #[test]
    fn a_share_that_is_a_power_of_two_is_one_branch() {
        for size in [1, 2, 4, 8] {
            for rank in 0..8 / size {
                assert_eq!(branches(8, &(rank * size..(rank + 1) * size)), [rank * size..(rank + 1) * size]);
            }
        }
    }

    #[test]
    fn a_missing_leaf_is_noticed() {
        assert_eq!(sum(&(0..2), &mut BTreeMap::from([((0, 1), 1)]), &|a, b| a + b), None);
    }
}
