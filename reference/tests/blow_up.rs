//! Why the divergence is regularised: the three statements of notation 1.8, and the bounds and limits of 1.3 that involve W1.
#![allow(clippy::unwrap_used)]

mod common;

use common::{KINDS, Measure, any_kind, measure, priced};
use ndarray::{Array1, Array2, array};
use proptest::prelude::*;
use proxflow_reference::divergence::{Boundary, GridMeasure, UniformGrid, f_divergence_of_atoms};
use proxflow_reference::transport::{Order, wasserstein};
use proxflow_reference::{Divergence, DivergenceKind, Options};

const KL: DivergenceKind = DivergenceKind::KullbackLeibler;
/// Certified gaps of D and of W1 are far below this, relative to 1 + |value|.
const CERTIFIED: f64 = 1e-10;

fn divergence(p: &Measure, q: &Measure, kind: DivergenceKind, lipschitz: f64) -> f64 {
    let solved = Divergence::of(kind).lipschitz(lipschitz).between(&p.law(), &q.law()).unwrap();
    assert!(solved.gap().abs() <= 1e-10 * (1.0 + solved.upper), "{kind} gap {}", solved.gap());
    solved.upper
}

fn wasserstein_1(p: &Measure, q: &Measure) -> f64 {
    let distance = wasserstein(&p.law(), &q.law(), Order::One, &Options::new()).unwrap();
    assert!(distance.upper - distance.lower <= CERTIFIED * (1.0 + distance.upper));
    distance.upper
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lipschitz_times_wasserstein_one_bounds_the_value_and_is_its_limit(
        p in measure(2, 6), q in measure(2, 6), kind in any_kind(), lipschitz in 0.05..8.0f64,
    ) {
        let w1 = wasserstein_1(&p, &q);
        let bound = lipschitz * w1;
        prop_assert!(divergence(&p, &q, kind, lipschitz) <= bound + CERTIFIED * (1.0 + bound), "{kind}");
        let stays = common::solve(&p, &q, kind, lipschitz, &priced());
        prop_assert!(stays.lower <= bound + CERTIFIED * (1.0 + bound), "{kind}");
        // W1 - D/L <= L Var_Q(phi)/(2 f''(1)) + O(L^2) with a 1-Lipschitz phi: at most L diam^2/4 for f''(1) >= 1/2, diam < 6.
        for small in [1e-3, 1e-4] {
            let ratio = divergence(&p, &q, kind, small) / small;
            // The certified gap is divided by L.
            let noise = CERTIFIED * (1.0 + w1) / small;
            prop_assert!(ratio <= w1 + noise);
            prop_assert!(w1 - ratio <= 9.0 * small + noise, "{kind} {w1} {ratio}");
        }
    }
}

#[test]
fn the_ratio_to_the_lipschitz_constant_tends_to_wasserstein_one_at_first_order() {
    let p = Measure::new(array![[0.0], [1.0], [2.5]], vec![0.5, 0.3, 0.2]);
    let q = Measure::new(array![[0.4], [1.5], [3.5]], vec![0.2, 0.3, 0.5]);
    // On the line W1 = int |F_P - F_Q|: 0.4*0.5 + 0.6*0.3 + 0.5*0.6 + 1*0.3 + 1*0.5.
    let w1 = 0.2 + 0.18 + 0.3 + 0.3 + 0.5;
    assert!((wasserstein_1(&p, &q) - w1).abs() < CERTIFIED);
    for kind in KINDS {
        let errors: Vec<f64> =
            [0.08, 0.04, 0.02, 0.01].iter().map(|l| w1 - divergence(&p, &q, kind, *l) / l).collect();
        for pair in errors.windows(2) {
            let order = (pair[0] / pair[1]).log2();
            // First order, with second-order contamination of a few percent at these constants.
            assert!((order - 1.0).abs() < 0.1, "{kind}: order {order}");
        }
    }
}

#[test]
fn the_divergence_from_a_measure_on_a_line_is_infinite_and_its_regularisation_is_not() {
    // rho fills the plane, pi lives on the diagonal.
    let spread =
        Array2::from_shape_fn((36, 2), |(i, k)| if k == 0 { (i % 6) as f64 } else { (i / 6) as f64 });
    let rho = Measure::new(spread, vec![1.0; 36]);
    let diagonal = Array2::from_shape_fn((11, 2), |(j, _)| 0.5 * j as f64);
    let pi = Measure::new(diagonal, vec![1.0; 11]);
    let exact =
        f_divergence_of_atoms(KL, rho.points.view(), Some(&rho.weights), pi.points.view(), Some(&pi.weights))
            .unwrap();
    assert_eq!(exact, f64::INFINITY);
    let w1 = wasserstein_1(&rho, &pi);
    for lipschitz in [0.1, 1.0, 10.0, 100.0] {
        let value = divergence(&rho, &pi, KL, lipschitz);
        assert!(value > 0.0 && value <= lipschitz * w1 * (1.0 + CERTIFIED), "L={lipschitz}");
    }
    // Negative control: without a bound on the slope the value grows with L for ever.
    let growth = divergence(&rho, &pi, KL, 200.0) / divergence(&rho, &pi, KL, 100.0);
    assert!(growth > 1.9, "{growth}");
}

/// A smooth rho on the unit square torus and pi on the circle y = 1/2, smoothed at bandwidth s: KL and its derivative grow as
/// 1/s^2.
#[test]
fn smoothing_the_data_leaves_the_divergence_unbounded_and_the_regularisation_bounded() {
    let grid = UniformGrid::new(2, 32, 0.0, 1.0, Boundary::Periodic).unwrap();
    let rho = GridMeasure::smoothed(grid, array![[0.5, 0.5]].view(), None, 0.35).unwrap();
    let circle = Array2::from_shape_fn((32, 2), |(j, k)| if k == 0 { (j as f64 + 0.5) / 32.0 } else { 0.5 });
    let on_circle = Measure::new(circle, vec![1.0; 32]);
    let centres = grid.centres();
    let spread = Measure::new(centres.clone(), rho.masses());
    let lipschitz = 3.0;
    let bandwidths = [0.1, 0.05, 0.025, 0.0125];
    let (mut exact, mut steepest, mut regularised, mut bounds) = (vec![], vec![], vec![], vec![]);
    for s in bandwidths {
        let pi = GridMeasure::smoothed(grid, on_circle.points.view(), None, s).unwrap();
        exact.push(rho.f_divergence(&pi, KL).unwrap());
        // The variational derivative 1 + ln(d rho/d pi): its largest value on the grid.
        let log = |measure: &GridMeasure| measure.log_masses().to_vec();
        steepest.push(log(&rho).iter().zip(log(&pi)).map(|(r, p)| 1.0 + r - p).fold(0.0, f64::max));
        let smoothed = Measure::new(centres.clone(), pi.masses());
        regularised.push(divergence(&spread, &smoothed, KL, lipschitz));
        bounds.push(lipschitz * wasserstein_1(&spread, &smoothed));
    }
    for k in 1..bandwidths.len() {
        // Towards a factor of 4 for each halving.
        assert!(exact[k] / exact[k - 1] > 2.9, "{exact:?}");
        assert!(steepest[k] / steepest[k - 1] > 2.9, "{steepest:?}");
    }
    for (value, bound) in regularised.iter().zip(&bounds) {
        assert!(*value <= bound + CERTIFIED && *bound < 1.0, "{regularised:?} {bounds:?}");
    }
    let last = regularised.len() - 1;
    assert!((regularised[last] - regularised[last - 1]).abs() < 0.1 * regularised[last], "{regularised:?}");
    assert!(exact[last] > 20.0 * regularised[last], "{exact:?} {regularised:?}");
}

#[test]
fn two_kantorovich_potentials_differ_by_more_than_a_constant() {
    // W1(delta_0, delta_1) = 1; both functions are 1-Lipschitz and attain it.
    let (p, q) = (0.0, 1.0);
    let linear = |x: f64| -x;
    let cone = |x: f64| (x - 1.0).abs();
    assert_eq!((linear(p) - linear(q), cone(p) - cone(q)), (1.0, 1.0));
    let line: Array1<f64> = Array1::linspace(-3.0, 3.0, 61);
    for (x, y) in line.iter().zip(line.iter().skip(1)) {
        assert!((linear(*x) - linear(*y)).abs() <= (x - y).abs() + 1e-15);
        assert!((cone(*x) - cone(*y)).abs() <= (x - y).abs() + 1e-15);
    }
    let difference = |x: f64| linear(x) - cone(x);
    assert!((difference(2.0) - difference(0.0)).abs() > 1.0);
    // So the derivative of W1 towards delta_2 is not the pairing with either at will: they disagree, and W1 follows the larger.
    let towards = |phi: &dyn Fn(f64) -> f64| phi(2.0) - phi(p);
    assert_eq!((towards(&linear), towards(&cone)), (-2.0, 0.0));
    let mixed = Measure::new(array![[0.0], [2.0]], vec![0.9, 0.1]);
    let w1 = wasserstein_1(&mixed, &Measure::new(array![[1.0]], vec![1.0]));
    assert!((w1 - 1.0).abs() < CERTIFIED);
}

#[test]
fn wasserstein_one_has_a_corner_where_the_regularised_divergence_is_smooth() {
    // P_e = (1/2 + e) delta_0 + (1/2 - e) delta_1 against Q = P_0: W1 = |e|, while D is quadratic in e.
    let q = Measure::new(array![[0.0], [1.0]], vec![0.5, 0.5]);
    let at = |e: f64| Measure { points: q.points.clone(), weights: vec![0.5 + e, 0.5 - e] };
    let e = 1e-3;
    let corner = (wasserstein_1(&at(e), &q) - 2.0 * wasserstein_1(&q, &q) + wasserstein_1(&at(-e), &q)) / e;
    assert!((corner - 2.0).abs() < 1e-2, "{corner}");
    for kind in KINDS {
        let second = (divergence(&at(e), &q, kind, 1.0) + divergence(&at(-e), &q, kind, 1.0)) / e;
        // f''(1) (2e)^2 / e, up to e^3: no corner.
        assert!(second < 5.0 * e, "{kind}: {second}");
    }
}
