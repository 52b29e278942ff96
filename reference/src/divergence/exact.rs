//! Exact f-divergences between discrete measures (notation 1.1).

use std::collections::BTreeMap;

use ndarray::ArrayView2;

use super::generator::Generator;
use crate::measure::{self, check_dimensions, check_points};
use crate::specification::{DivergenceKind, InvalidInput};

/// The weights of a probability measure on `atoms` points: `weights` checked and rescaled to sum 1, or uniform for `None`.
///
/// Refused: a wrong length, a negative or non-finite weight, a sum further than 1e-5 from 1.
///
/// ```
/// use proxflow_reference::divergence::probability_weights;
/// assert_eq!(probability_weights("weights", None, 2)?, [0.5, 0.5]);
/// assert!(probability_weights("weights", Some(&[0.5, 0.6]), 2).is_err());
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn probability_weights(
    field: &str,
    weights: Option<&[f64]>,
    atoms: usize,
) -> Result<Vec<f64>, InvalidInput> {
    match weights {
        Some(weights) => measure::probability(field, weights.to_vec(), atoms),
        None if atoms == 0 => Err(InvalidInput::new(field, "0 atoms", "at least one atom")),
        None => Ok(measure::uniform(atoms)),
    }
}

/// `D_f(P|Q) = sum_j q_j f(p_j/q_j)` for two weight vectors on the same atoms; an atom with `q_j = 0 < p_j` costs
/// `p_j f'(inf)`, which is `+inf` for KL, chi^2 and `Alpha(a > 1)`, and one with `p_j = 0 < q_j` costs `q_j f(0)`.
///
/// ```
/// use proxflow_reference::DivergenceKind;
/// use proxflow_reference::divergence::f_divergence;
/// let kl = f_divergence(DivergenceKind::KullbackLeibler, &[1.0, 0.0], &[0.5, 0.5])?;
/// assert!((kl - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn f_divergence(kind: DivergenceKind, model: &[f64], data: &[f64]) -> Result<f64, InvalidInput> {
    let generator = Generator::new(kind)?;
    let p = probability_weights("model weights", Some(model), model.len())?;
    let q = probability_weights("data weights", Some(data), model.len())?;
    Ok(sum_of_perspectives(&generator, &p, &q))
}

/// `D_f(P|Q)` for `P = sum p_i delta_{x_i}`, `Q = sum q_j delta_{z_j}` with `model` `(n, d)`, `data` `(m, d)`: atoms with equal
/// coordinates are the same point, everything else is mutually singular. Weights default to uniform.
///
/// ```
/// use ndarray::array;
/// use proxflow_reference::DivergenceKind;
/// use proxflow_reference::divergence::f_divergence_of_atoms;
/// let (model, data) = (array![[0.0], [0.0]], array![[0.0], [1.0]]);
/// let kind = DivergenceKind::KullbackLeibler;
/// let kl = f_divergence_of_atoms(kind, model.view(), None, data.view(), None)?;
/// assert!((kl - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), proxflow_reference::InvalidInput>(())
/// ```
pub fn f_divergence_of_atoms(
    kind: DivergenceKind,
    model: ArrayView2<f64>,
    model_weights: Option<&[f64]>,
    data: ArrayView2<f64>,
    data_weights: Option<&[f64]>,
) -> Result<f64, InvalidInput> {
    let generator = Generator::new(kind)?;
    check_points("model", model)?;
    check_points("data", data)?;
    check_dimensions(model, data)?;
    let p = probability_weights("model weights", model_weights, model.nrows())?;
    let q = probability_weights("data weights", data_weights, data.nrows())?;

    let mut masses: BTreeMap<Vec<u64>, (f64, f64)> = BTreeMap::new();
    for (point, weight) in model.outer_iter().zip(&p) {
        masses.entry(coordinate_bits(point)).or_default().0 += weight;
    }
    for (point, weight) in data.outer_iter().zip(&q) {
        masses.entry(coordinate_bits(point)).or_default().1 += weight;
    }
    let (p, q): (Vec<f64>, Vec<f64>) = masses.into_values().unzip();
    Ok(sum_of_perspectives(&generator, &p, &q))
}

fn coordinate_bits(point: ndarray::ArrayView1<f64>) -> Vec<u64> {
    // Adding zero folds -0.0 into 0.0.
    point.iter().map(|coordinate| (coordinate + 0.0).to_bits()).collect()
}

fn sum_of_perspectives(generator: &Generator, model: &[f64], data: &[f64]) -> f64 {
    model.iter().zip(data).map(|(p, q)| generator.perspective(*p, *q)).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::f64::consts::LN_2;

    use ndarray::array;
    use proptest::prelude::*;

    use super::*;
    const KINDS: [DivergenceKind; 9] = DivergenceKind::ALL;

    #[test]
    fn divergences_match_hand_computed_sums() {
        let (p, q) = ([0.5, 0.5], [0.25, 0.75]);
        let of = |kind| f_divergence(kind, &p, &q).unwrap();
        let kl = 0.5 * 2f64.ln() + 0.5 * (2f64 / 3.0).ln();
        assert!((of(DivergenceKind::KullbackLeibler) - kl).abs() < 1e-15);
        let reverse = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        assert!((of(DivergenceKind::ReverseKullbackLeibler) - reverse).abs() < 1e-15);
        let chi2 = 0.5 * (0.25f64.powi(2) / 0.25 + 0.25f64.powi(2) / 0.75);
        assert!((of(DivergenceKind::ChiSquared) - chi2).abs() < 1e-15);
        let hellinger = (0.5f64.sqrt() - 0.5).powi(2) + (0.5f64.sqrt() - 0.75f64.sqrt()).powi(2);
        assert!((of(DivergenceKind::SquaredHellinger) - hellinger).abs() < 1e-15);
    }

    #[test]
    fn singular_parts_and_empty_atoms_follow_the_recession_convention() {
        let (p, q) = ([1.0, 0.0], [0.0, 1.0]);
        for (kind, expected) in [
            (DivergenceKind::KullbackLeibler, f64::INFINITY),
            (DivergenceKind::ReverseKullbackLeibler, f64::INFINITY),
            (DivergenceKind::ChiSquared, f64::INFINITY),
            // f(0) + f'(inf).
            (DivergenceKind::Alpha(0.5), 4.0),
            (DivergenceKind::JensenShannon, 2.0 * LN_2),
            (DivergenceKind::SquaredHellinger, 2.0),
        ] {
            let value = f_divergence(kind, &p, &q).unwrap();
            assert!(value == expected || (value - expected).abs() < 1e-15, "{kind}: {value}");
        }
        // An atom that both leave empty changes nothing.
        for kind in KINDS {
            let with = f_divergence(kind, &[0.5, 0.5, 0.0], &[0.1, 0.9, 0.0]).unwrap();
            assert_eq!(with, f_divergence(kind, &[0.5, 0.5], &[0.1, 0.9]).unwrap());
        }
    }

    #[test]
    fn duplicate_atoms_count_as_one_point() {
        let model = array![[0.0, 1.0], [0.0, 1.0], [2.0, 2.0]];
        let data = array![[2.0, 2.0], [-0.0, 1.0]];
        for kind in KINDS {
            let value = f_divergence_of_atoms(kind, model.view(), None, data.view(), None).unwrap();
            let expected = f_divergence(kind, &[2.0 / 3.0, 1.0 / 3.0], &[0.5, 0.5]).unwrap();
            assert!((value - expected).abs() < 1e-15, "{kind}");
        }
    }

    #[test]
    fn bad_weights_and_points_are_named() {
        for (p, q) in [
            (vec![0.5, 0.5], vec![1.0]),
            (vec![0.5, -0.5], vec![0.5, 0.5]),
            (vec![0.5, f64::NAN], vec![0.5, 0.5]),
            (vec![0.5, 0.6], vec![0.5, 0.5]),
            (vec![], vec![]),
        ] {
            assert!(f_divergence(DivergenceKind::ChiSquared, &p, &q).is_err(), "{p:?} {q:?}");
        }
        let (points, bad) = (array![[0.0, 1.0]], array![[0.0, f64::NAN]]);
        let kind = DivergenceKind::KullbackLeibler;
        let error = f_divergence_of_atoms(kind, bad.view(), None, points.view(), None).unwrap_err();
        assert_eq!(error.field, "model[0, 1]");
        let flat = array![[0.0]];
        assert!(f_divergence_of_atoms(kind, flat.view(), None, points.view(), None).is_err());
    }

    proptest! {
        #[test]
        fn divergences_are_non_negative_vanish_on_equality_and_shrink_under_merging(
            masses in prop::collection::vec((0.01..1.0f64, 0.01..1.0f64), 2..8),
        ) {
            let total: (f64, f64) = masses.iter().fold((0.0, 0.0), |t, m| (t.0 + m.0, t.1 + m.1));
            let p: Vec<f64> = masses.iter().map(|m| m.0 / total.0).collect();
            let q: Vec<f64> = masses.iter().map(|m| m.1 / total.1).collect();
            for kind in KINDS {
                let value = f_divergence(kind, &p, &q).unwrap();
                prop_assert!(value >= -1e-14, "{kind}: {value}");
                prop_assert!(f_divergence(kind, &p, &p).unwrap().abs() < 1e-14, "{kind}");
                // Data processing: merging the first two atoms cannot raise the divergence.
                let merge = |w: &[f64]| -> Vec<f64> {
                    std::iter::once(w[0] + w[1]).chain(w[2..].iter().copied()).collect()
                };
                prop_assert!(f_divergence(kind, &merge(&p), &merge(&q)).unwrap() <= value + 1e-13, "{kind}");
            }
        }
    }
}
