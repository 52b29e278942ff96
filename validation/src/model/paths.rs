//! Statements about the paths alone: straight lines, step-size invariance, largest speed.

use proxflow_reference::trajectory::Trajectories;

use super::{Subject, record_mean, shifted};
use crate::claim::{CheckError, Measured};
use crate::instances::largest;
use proxflow_io::plot::Plot;

pub(super) fn straight_lines(subject: &Subject) -> Result<Measured, CheckError> {
    let paths = subject.finest()?;
    if paths.steps() == 1 {
        return Err(CheckError::NotApplicable("a single step is a straight line by construction".into()));
    }
    if paths.kinetic_energy().value == 0.0 {
        return Err(CheckError::NotApplicable("nothing moves: there is no path to be straight".into()));
    }
    let mut measured = Measured::new();
    // Samples that end where they started have no direction; their energy ratio sees them.
    let straightness = paths.straightness();
    if straightness.count > 0 {
        record_mean(&mut measured, "straightness - 1", "", shifted(straightness, -1.0));
    } else {
        measured.record("straightness - 1", f64::INFINITY);
    }
    record_mean(&mut measured, "energy ratio - 1", "", shifted(paths.energy_ratio(), -1.0));
    record_mean(&mut measured, "acceleration", "", paths.acceleration());
    measured.figure("kinetic energy", paths.kinetic_energy().value);
    measured.figure("displacement energy", paths.displacement_energy().value);
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
    measured.plot(plot);
    Ok(measured)
}

fn speeds(paths: &Trajectories, k: usize) -> Vec<f64> {
    let step = &paths.at(k + 1) - &paths.at(k);
    let h = paths.times()[k + 1] - paths.times()[k];
    step.rows().into_iter().map(|row| row.dot(&row).sqrt() / h).collect()
}

fn mean_speed(paths: &Trajectories, k: usize) -> f64 {
    speeds(paths, k).iter().sum::<f64>() / paths.samples() as f64
}

pub(super) fn step_size(subject: &Subject) -> Result<Measured, CheckError> {
    let finest = subject.finest()?;
    let coarser: Vec<Trajectories> = subject.paths[..subject.paths.len() - 1]
        .iter()
        .map(|path| path.trajectories())
        .collect::<Result<_, _>>()?;
    let coarser: Vec<Trajectories> =
        coarser.into_iter().filter(|paths| paths.steps() < finest.steps()).collect();
    if coarser.is_empty() {
        return Err(CheckError::NotApplicable(format!(
            "needs simulations with several step sizes; {} given, of {} steps",
            subject.paths.len(),
            finest.steps()
        )));
    }
    if finest.displacement_energy().value == 0.0 {
        return Err(CheckError::NotApplicable("nothing moves: deviations have no scale".into()));
    }
    let mut measured = Measured::new();
    for paths in coarser {
        let case = format!("{} steps from {}", paths.steps(), finest.steps());
        record_mean(&mut measured, "deviation", &case, paths.step_size_deviation(&finest)?);
        measured.figure(format!("kinetic energy, {} steps", paths.steps()), paths.kinetic_energy().value);
    }
    Ok(measured)
}

pub(super) fn speed(subject: &Subject) -> Result<Measured, CheckError> {
    let parameters = subject.parameters()?;
    let paths = subject.finest()?;
    let fastest = largest((0..paths.steps()).flat_map(|k| speeds(&paths, k)));
    let mut measured = Measured::new();
    measured
        .record("largest speed", fastest * parameters.lambda / parameters.lipschitz)
        .figure("largest |v| over samples and steps", fastest);
    Ok(measured)
}
