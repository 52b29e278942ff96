//! Flaws planted in the data of a model: the statement that they concern must notice, by the code that judges the model itself.

use ndarray::Axis;

use super::subject::{Subject, spread};
use crate::claim::Removal;

/// A part of what an optimal model has, and how its data look without it.
pub(super) struct Flaw {
    pub(super) removal: Removal,
    /// Plants the flaw.
    pub(super) plant: fn(&mut Subject),
}

/// Interior points leave their path by the spread of the points, to alternating sides; a single step gets none.
pub(super) fn bend(subject: &mut Subject) {
    let size = spread(subject);
    for path in &mut subject.paths {
        let last = path.times.len() - 1;
        for k in 1..last {
            let side = if k % 2 == 0 { size } else { -size };
            path.positions.index_axis_mut(Axis(0), k).column_mut(0).mapv_inplace(|x| x + side);
        }
    }
}

/// The first sample crosses three times what `L / lambda` allows in its last step.
pub(super) fn jump(subject: &mut Subject) {
    let Some(parameters) = subject.parameters else { return };
    if let Some(path) = subject.paths.last_mut() {
        let last = path.times.len() - 1;
        let allowed = parameters.lipschitz / parameters.lambda * (path.times[last] - path.times[last - 1]);
        path.positions[[last, 0, 0]] = path.positions[[last - 1, 0, 0]] + 3.0 * allowed;
    }
}

/// Every simulation but the finest ends where it started.
pub(super) fn stand_still(subject: &mut Subject) {
    let count = subject.paths.len();
    for path in &mut subject.paths[..count - 1] {
        let start = path.positions.index_axis(Axis(0), 0).to_owned();
        let last = path.times.len() - 1;
        path.positions.index_axis_mut(Axis(0), last).assign(&start);
    }
}

/// `dU/dt` with flipped sign.
pub(super) fn reverse_time(subject: &mut Subject) {
    for derivatives in subject.paths.iter_mut().filter_map(|path| path.potential.as_mut()) {
        derivatives.time_derivatives.mapv_inplace(|rate| -rate);
    }
}

/// `grad phi` tilted by `3 L` along the first axis.
pub(super) fn tilt(subject: &mut Subject) {
    let Some(parameters) = subject.parameters else { return };
    for gradients in subject.paths.iter_mut().filter_map(|path| path.critic_gradients.as_mut()) {
        gradients.column_mut(0).mapv_inplace(|g| g + 3.0 * parameters.lipschitz);
    }
}
