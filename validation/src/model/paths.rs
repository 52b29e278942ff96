//! Statements about the paths alone: straight lines, step-size invariance, largest speed.

use ndarray::{Array3, Axis};
use proxflow_reference::trajectory::Trajectories;

use super::{Subject, measure_mean, shifted};
use crate::claim::{Bound, CheckError, Finding};
use crate::instances::largest;
use crate::report::plot::Plot;

pub(super) fn straight_lines(subject: &Subject) -> Result<Finding, CheckError> {
    let paths = subject.finest()?;
    let bound = Bound::AtMost(subject.tolerance);
    let mut finding = Finding::new();
    measure_mean(
        &mut finding,
        "straightness - 1",
        shifted(paths.straightness(), -1.0),
        bound,
        subject.requirement(),
    );
    let ratio = shifted(paths.energy_ratio(), -1.0);
    measure_mean(&mut finding, "kinetic / displacement energy - 1", ratio, bound, subject.requirement());
    if paths.steps() > 1 {
        let bound = Bound::AtMost(subject.tolerance);
        measure_mean(
            &mut finding,
            "acceleration E|v' - v| / E|v|",
            paths.acceleration(),
            bound,
            subject.requirement(),
        );
    }
    // Every interior point leaves its path by one mean displacement in alternating directions.
    let mut bent = subject.paths[subject.paths.len() - 1].positions.clone();
    let size = (2.0 * paths.horizon() * paths.displacement_energy().value).sqrt().max(1e-3);
    let last = paths.steps();
    if last > 1 {
        for k in 1..last {
            bent.index_axis_mut(Axis(0), k)
                .column_mut(0)
                .mapv_inplace(|x| x + size * if k % 2 == 0 { 1.0 } else { -1.0 });
        }
        let control = Trajectories::new(paths.times().to_vec(), bent.view())?;
        finding.control(
            "interior points displaced",
            control.straightness().value - 1.0,
            bound,
            subject.requirement(),
        );
    } else {
        return Err(CheckError::NotApplicable("a single step is a straight line by construction".into()));
    }
    finding.figure("kinetic energy", paths.kinetic_energy().value);
    finding.figure("displacement energy", paths.displacement_energy().value);
    let mut plot = Plot::new(
        "Mean speed along the paths",
        "t",
        "E |v|",
        "Constant for an optimal flow; one line for each step size.",
    );
    for path in &subject.paths {
        let paths = path.trajectories()?;
        let speeds = (0..paths.steps()).map(|k| (paths.times()[k], mean_speed(&paths, k))).collect();
        plot = plot.line(format!("{} steps", paths.steps()), speeds);
    }
    finding.plot(plot);
    Ok(finding)
}

fn mean_speed(paths: &Trajectories, k: usize) -> f64 {
    let step = &paths.at(k + 1) - &paths.at(k);
    let h = paths.times()[k + 1] - paths.times()[k];
    step.rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f64>() / (h * paths.samples() as f64)
}

pub(super) fn step_size(subject: &Subject) -> Result<Finding, CheckError> {
    let reference = subject.finest()?;
    if subject.paths.len() < 2 {
        return Err(CheckError::NotApplicable("needs simulations with several step sizes".into()));
    }
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    for path in &subject.paths[..subject.paths.len() - 1] {
        let paths = path.trajectories()?;
        let quantity = format!("deviation of {} steps from {}", paths.steps(), reference.steps());
        measure_mean(
            &mut finding,
            &quantity,
            paths.step_size_deviation(&reference)?,
            bound,
            subject.requirement(),
        );
        finding.figure(format!("kinetic energy, {} steps", paths.steps()), paths.kinetic_energy().value);
    }
    // Ending where one started is a deviation of one.
    let path = &subject.paths[subject.paths.len() - 1];
    let still = Array3::from_shape_fn((2, reference.samples(), path.positions.shape()[2]), |(_, i, c)| {
        path.positions[[0, i, c]]
    });
    let still = Trajectories::new(vec![0.0, reference.horizon()], still.view())?;
    let control = still.step_size_deviation(&reference)?.value;
    finding.control("a flow that does not move", control, bound, subject.requirement());
    Ok(finding)
}

pub(super) fn speed(subject: &Subject) -> Result<Finding, CheckError> {
    let parameters = subject.parameters()?;
    let limit = parameters.lipschitz / parameters.lambda;
    let paths = subject.finest()?;
    let fastest = largest((0..paths.steps()).map(|k| {
        let step = &paths.at(k + 1) - &paths.at(k);
        largest(step.rows().into_iter().map(|row| row.dot(&row).sqrt()))
            / (paths.times()[k + 1] - paths.times()[k])
    }));
    let bound = Bound::AtMost(limit * (1.0 + subject.tolerance));
    let mut finding = Finding::new();
    finding.measure("largest |v| over samples and steps", fastest, bound, subject.requirement());
    let factor = (2.0 * limit / fastest.max(1e-12)).max(2.0);
    finding.control("time running faster", fastest * factor, bound, subject.requirement());
    Ok(finding)
}
