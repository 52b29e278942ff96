#![allow(clippy::unwrap_used)]
use super::*;
use approx::assert_relative_eq;
use ndarray::{Array3, array};

/// Straight unit-speed lines, three samples in the plane, over \[0, 2\].
pub(super) fn straight(steps: usize) -> Array3<f64> {
    Array3::from_shape_fn((steps + 1, 3, 2), |(k, i, c)| {
        let t = 2.0 * k as f64 / steps as f64;
        let angle = i as f64;
        i as f64 + t * if c == 0 { angle.cos() } else { angle.sin() }
    })
}

#[test]
fn straight_paths_have_ratio_and_straightness_one_and_no_acceleration() {
    let positions = straight(7);
    let paths = Trajectories::uniform(2.0, positions.view()).unwrap();
    assert_relative_eq!(paths.kinetic_energy().value, 1.0, epsilon = 1e-14);
    assert_relative_eq!(paths.displacement_energy().value, 1.0, epsilon = 1e-14);
    assert_relative_eq!(paths.energy_ratio().value, 1.0, epsilon = 1e-14);
    assert_relative_eq!(paths.straightness().value, 1.0, epsilon = 1e-14);
    assert!(paths.acceleration().value < 1e-14);
    let coarse = straight(2);
    let coarse = Trajectories::uniform(2.0, coarse.view()).unwrap();
    assert!(coarse.step_size_deviation(&paths).unwrap().value < 1e-14);
}

#[test]
fn straightness_and_acceleration_fail_on_arcs() {
    let steps = 64;
    let arc = Array3::from_shape_fn((steps + 1, 1, 2), |(k, _, c)| {
        let angle = std::f64::consts::PI * k as f64 / steps as f64;
        if c == 0 { angle.cos() } else { angle.sin() }
    });
    let paths = Trajectories::uniform(1.0, arc.view()).unwrap();
    // Half circle: length over chord = pi / 2, polygon error O(1 / steps^2).
    assert_relative_eq!(paths.straightness().value, std::f64::consts::FRAC_PI_2, epsilon = 1e-3);
    assert_relative_eq!(paths.energy_ratio().value, std::f64::consts::FRAC_PI_2.powi(2), epsilon = 2e-3);
    assert_relative_eq!(paths.acceleration().value, std::f64::consts::PI / steps as f64, epsilon = 1e-4);
}

#[test]
fn terminal_residual_is_per_sample_without_division_by_the_sample_count() {
    let zeros = Array2::zeros((4, 2));
    let ones = array![[3.0, 4.0], [3.0, 4.0], [3.0, 4.0], [3.0, 4.0]];
    assert_relative_eq!(terminal_residual(zeros.view(), ones.view()).unwrap().value, 5.0);
    let slopes = slope(array![[0.0, 1.0], [3.0, 4.0]].view());
    assert_relative_eq!(slopes.mean.value, 3.0);
    assert_relative_eq!(slopes.max, 5.0);
}

#[test]
fn samples_that_do_not_move_are_left_out_of_straightness_and_counted_so() {
    let mut positions = straight(3);
    for k in 0..4 {
        positions[[k, 0, 0]] = 0.0;
        positions[[k, 0, 1]] = 0.0;
    }
    let paths = Trajectories::uniform(1.0, positions.view()).unwrap();
    assert_eq!(paths.straightness().count, 2);
}

#[test]
fn bad_trajectories_are_refused_by_name() {
    let positions = Array3::<f64>::zeros((2, 3, 1));
    assert_eq!(Trajectories::new(vec![0.0], positions.view()).unwrap_err().field, "times");
    assert_eq!(Trajectories::new(vec![1.0, 0.0], positions.view()).unwrap_err().field, "times");
    assert_eq!(Trajectories::uniform(-1.0, positions.view()).unwrap_err().field, "horizon");
    let mut broken = positions.clone();
    broken[[1, 2, 0]] = f64::NAN;
    assert_eq!(Trajectories::uniform(1.0, broken.view()).unwrap_err().field, "positions");
    let empty = Array3::<f64>::zeros((1, 3, 1));
    assert_eq!(Trajectories::uniform(1.0, empty.view()).unwrap_err().field, "positions");
}
