//! Bounds on the value of semi-relaxed transport, evaluated from a plan and a potential alone (notation 1.4).
//!
//! ```text
//! sum_i p_i min_j (c_ij + psi_j) - Lambda_q(psi)  <=  value  <=  <c, G> + D_f(G^T 1 | q)
//! ```
//! for every `psi` and every `G >= 0` with `G 1 = p`. Nothing here knows the solver or its state: all of the cost is
//! read again. Sums are compensated (Neumaier), so that each bound carries a rounding error of a few units in the last
//! place of its largest term; two equal bounds may therefore cross by that much.

use rayon::prelude::*;

use super::cost::{GroundCost, row_of};
use crate::divergence::{Generator, generalised_cumulant};
use crate::observer::{Stopped, Watch};

/// A plan as `(source, target, mass)`, each pair at most once.
pub type SparsePlan = Vec<(u32, u32, f64)>;

/// The dual side: `lower` and the transform `phi_i = min_j (c_ij + psi_j)` at all sources.
#[derive(Debug, Clone)]
pub struct DualValue {
    /// `sum_i p_i phi_i - Lambda_q(psi)`.
    pub lower: f64,
    /// `phi_i`, length n.
    pub source_potential: Vec<f64>,
}

/// Evaluates the dual at any finite `psi` (length m).
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::DivergenceKind;
/// use proxflow_reference::divergence::Generator;
/// use proxflow_reference::transport::DenseCost;
/// use proxflow_reference::transport::certificate::{dual_value, primal_value};
/// let cost = DenseCost::new(array![[0.0, 1.0]])?;
/// let kl = Generator::new(DivergenceKind::KullbackLeibler)?;
/// // Any potential bounds from below, any plan from above.
/// let lower = dual_value(&cost, &[1.0], &[0.5, 0.5], &kl, &[0.0, 0.0]).lower;
/// let plan = primal_value(&cost, &[0.5, 0.5], &kl, &vec![(0, 0, 1.0)]);
/// assert!(lower <= plan.transport + plan.divergence);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn dual_value(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    psi: &[f64],
) -> DualValue {
    dual_value_watched(cost, p, q, generator, psi, &mut Watch::new(None)).expect("nobody stops it")
}

pub(super) fn dual_value_watched(
    cost: &dyn GroundCost,
    p: &[f64],
    q: &[f64],
    generator: &Generator,
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<DualValue, Stopped> {
    let source_potential = lower_transform(cost, psi, watch)?;
    let linear =
        compensated_sum(p.iter().zip(&source_potential).filter(|(p, _)| **p > 0.0).map(|(p, phi)| p * phi));
    let lower = linear - generalised_cumulant(generator, psi, q).value;
    Ok(DualValue { lower, source_potential })
}

/// `phi_i = min_j (c_ij + psi_j)` at all sources, one parallel pass over the cost.
pub(crate) fn lower_transform(
    cost: &dyn GroundCost,
    psi: &[f64],
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>, Stopped> {
    let mut values = vec![0.0; cost.sources()];
    watch.in_pieces(cost.sources(), |rows| {
        let first = rows.start;
        values[rows].par_iter_mut().enumerate().with_min_len(16).for_each_init(
            || vec![0.0; psi.len()],
            |buffer, (k, value)| {
                let row = row_of(cost, first + k, buffer);
                *value = row.iter().zip(psi).fold(f64::INFINITY, |least, (c, psi)| least.min(c + psi));
            },
        );
    })?;
    Ok(values)
}

/// The primal side: both terms, and the second marginal.
#[derive(Debug, Clone)]
pub struct PrimalValue {
    /// `<c, G>`.
    pub transport: f64,
    /// `D_f(G^T 1 | q)`.
    pub divergence: f64,
    /// `G^T 1`, length m.
    pub second_marginal: Vec<f64>,
    /// `<|c|, G>`, for the rounding.
    pub(crate) transport_scale: f64,
    /// Sum of the sizes of the terms of the divergence, for the rounding.
    pub(crate) scale: f64,
}

/// Evaluates the primal at a plan whose rows sum to `p`.
///
/// ```
/// # use ndarray::array;
/// # use proxflow_reference::DivergenceKind;
/// # use proxflow_reference::divergence::Generator;
/// # use proxflow_reference::transport::{DenseCost, certificate::primal_value};
/// let cost = DenseCost::new(array![[3.0, 1.0]])?;
/// let kl = Generator::new(DivergenceKind::KullbackLeibler)?;
/// let found = primal_value(&cost, &[0.5, 0.5], &kl, &vec![(0, 0, 1.0)]);
/// assert_eq!((found.transport, found.second_marginal), (3.0, vec![1.0, 0.0]));
/// assert!((found.divergence - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn primal_value(
    cost: &dyn GroundCost,
    q: &[f64],
    generator: &Generator,
    plan: &SparsePlan,
) -> PrimalValue {
    let mut second_marginal = vec![0.0; q.len()];
    for &(_, j, mass) in plan {
        second_marginal[j as usize] += mass;
    }
    let paid = |&(i, j, mass): &(u32, u32, f64)| mass * cost.entry(i as usize, j as usize);
    let terms: Vec<f64> =
        second_marginal.iter().zip(q).map(|(&eta, &q)| generator.perspective(eta, q)).collect();
    PrimalValue {
        transport: compensated_sum(plan.iter().map(paid)),
        divergence: compensated_sum(terms.iter().copied()),
        transport_scale: transport_scale(cost, plan),
        scale: terms.iter().map(|term| term.abs()).sum(),
        second_marginal,
    }
}

/// `<|c|, G>`: the size of what `<c, G>` adds up.
pub(crate) fn transport_scale(cost: &dyn GroundCost, plan: &SparsePlan) -> f64 {
    plan.iter().map(|&(i, j, mass)| mass * cost.entry(i as usize, j as usize).abs()).sum()
}

/// Bound of the rounding error of both sums of a certificate: a few units in the last place of their terms, whose sum of
/// sizes is `scale`, and as many more as plain sums of `terms` addends collect at random; costs that are summed up again for
/// the plan differ by their own rounding.
pub(crate) fn rounding_of_sums(cost: &dyn GroundCost, transport: f64, scale: f64, terms: usize) -> f64 {
    (32.0 + (terms as f64).sqrt()) * f64::EPSILON * (scale + transport) + cost.rounding() * transport
}

/// The largest size among the values of atoms with mass.
pub(crate) fn largest_charged(values: &[f64], masses: &[f64]) -> f64 {
    values
        .iter()
        .zip(masses)
        .filter(|(_, mass)| **mass > 0.0)
        .fold(0.0, |top, (value, _)| top.max(value.abs()))
}

/// Scales the rows of a non-negative plan so that row `i` sums to `p_i`; a row without mass must have `p_i = 0`.
pub(crate) fn renormalise_rows(plan: &mut SparsePlan, p: &[f64]) {
    let mut sums = vec![0.0; p.len()];
    for &(i, _, mass) in plan.iter() {
        sums[i as usize] += mass;
    }
    for (i, _, mass) in plan.iter_mut() {
        let sum = sums[*i as usize];
        if sum != p[*i as usize] {
            *mass *= p[*i as usize] / sum;
        }
    }
}

/// Sum with Neumaier's compensation: relative error a few eps of the sum of absolute values, independent of length.
/// Infinite terms give their plain sum.
pub(crate) fn compensated_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut compensation) = (0.0_f64, 0.0_f64);
    for term in terms {
        let next = sum + term;
        if next.is_finite() {
            compensation += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        }
        sum = next;
    }
    sum + compensation
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::specification::DivergenceKind;
    use crate::transport::DenseCost;

    #[test]
    fn compensated_sum_keeps_what_a_plain_sum_loses() {
        let terms = [1.0, 1e100, 1.0, -1e100];
        assert_eq!(compensated_sum(terms.into_iter()), 2.0);
        assert_eq!(terms.iter().sum::<f64>(), 0.0);
        assert_eq!(compensated_sum([1.0, f64::INFINITY].into_iter()), f64::INFINITY);
    }

    #[test]
    fn the_scale_of_a_transport_is_its_value_at_the_sizes_of_the_costs() {
        let matrix = array![[0.0, -3.0], [0.5, 4.0]];
        let plan = vec![(0, 0, 0.25), (0, 1, 0.25), (1, 1, 0.5)];
        let of = |matrix: Array2<f64>| DenseCost::new(matrix).expect("finite");
        let kl = Generator::new(DivergenceKind::KullbackLeibler).expect("a listed kind");
        let value = |cost: &DenseCost| primal_value(cost, &[0.5, 0.5], &kl, &plan);
        let (signed, sizes) = (of(matrix.clone()), of(matrix.mapv(f64::abs)));
        assert_eq!(value(&signed).transport_scale, value(&sizes).transport);
        assert!(value(&signed).transport < value(&sizes).transport);
        // A rounding error follows the unit of the costs, and free arcs have none.
        let scaled = of(&matrix * 8.0);
        assert_eq!(transport_scale(&scaled, &plan), 8.0 * transport_scale(&signed, &plan));
        assert_eq!(transport_scale(&signed, &vec![(0, 0, 1.0)]), 0.0);
    }

    #[test]
    fn renormalised_rows_sum_to_their_mass() {
        let mut plan = vec![(0, 0, 0.25), (0, 1, 0.3), (2, 1, 1.0)];
        renormalise_rows(&mut plan, &[0.5, 0.0, 0.5]);
        assert!((plan[0].2 + plan[1].2 - 0.5).abs() < 1e-16);
        assert_eq!(plan[2].2, 0.5);
    }
}
