//! Statements about the networks of a model: Hamilton-Jacobi, terminal condition, Lipschitz bound.

use ndarray::{Axis, s};
use proxflow_reference::trajectory::{Mean, slope, terminal_residual};

use super::{Subject, record_mean};
use crate::claim::{CheckError, Measured};
use proxflow_io::plot::Plot;

fn unknown(what: &str) -> CheckError {
    CheckError::NotApplicable(format!("needs {what} (--checkpoint, or the arrays of that name in the .npz)"))
}

fn over(mean: Mean, scale: f64) -> Mean {
    Mean { value: mean.value / scale, standard_error: mean.standard_error / scale, ..mean }
}

pub(super) fn hamilton_jacobi(subject: &Subject) -> Result<Measured, CheckError> {
    let mut measured = Measured::new();
    let mut plot = Plot::new(
        "Mean Hamiltonian along the paths",
        "t",
        "E |grad U|^2 / (2 lambda)",
        "Constant at the optimum.",
    );
    for path in &subject.paths {
        let derivatives =
            path.potential.as_ref().ok_or_else(|| unknown("gradients and time_derivatives of U"))?;
        let lambda = subject.parameters()?.lambda;
        let paths = path.trajectories()?;
        if paths.kinetic_energy().value == 0.0 {
            return Err(CheckError::NotApplicable(
                "nothing moves: lambda K is no scale for the residual".into(),
            ));
        }
        let steps = paths.steps();
        let rates = derivatives.time_derivatives.slice(s![..steps, ..]);
        let gradients = derivatives.gradients.slice(s![..steps, .., ..]);
        let residual = paths.hamilton_jacobi(rates, gradients, lambda)?;
        let case = format!("{steps} steps");
        record_mean(&mut measured, "residual", &case, residual.relative);
        record_mean(&mut measured, "gauged residual", &case, residual.gauged_relative);
        let means = residual.mean_hamiltonian.iter().zip(&path.times);
        plot = plot.line(case, means.map(|(mean, t)| (*t, mean.value)).collect());
    }
    measured.plot(plot);
    Ok(measured)
}

pub(super) fn terminal_condition(subject: &Subject) -> Result<Measured, CheckError> {
    let mut measured = Measured::new();
    for path in &subject.paths {
        let derivatives = path.potential.as_ref().ok_or_else(|| unknown("gradients of U"))?;
        let critic = path.critic_gradients.as_ref().ok_or_else(|| unknown("critic_gradients"))?;
        let lipschitz = subject.parameters()?.lipschitz;
        let steps = path.times.len() - 1;
        let potential = derivatives.gradients.index_axis(Axis(0), steps);
        let residual = terminal_residual(potential, critic.view())?;
        let case = format!("{steps} steps");
        record_mean(&mut measured, "terminal residual", &case, over(residual, lipschitz));
        measured.figure(format!("mean |grad U(., T)|, {case}"), slope(potential).mean.value);
    }
    Ok(measured)
}

pub(super) fn lipschitz(subject: &Subject) -> Result<Measured, CheckError> {
    let finest = subject.paths.last().and_then(|path| path.critic_gradients.as_ref());
    let generated = finest.ok_or_else(|| unknown("critic_gradients"))?;
    let lipschitz = subject.parameters()?.lipschitz;
    let mut sets = vec![("generated samples", generated.clone())];
    let discriminator = subject.networks.as_ref().and_then(|networks| networks.discriminator.as_ref());
    if let (Some(data), Some(discriminator)) = (&subject.data, discriminator) {
        let paths = subject.finest()?;
        let count = data.nrows().min(paths.samples());
        let data = data.slice(s![..count, ..]);
        let middle = 0.5 * (&data + &paths.endpoints().slice(s![..count, ..]));
        sets.push(("data", discriminator.jet(data, 0.0)?.gradients));
        sets.push(("midpoints between both", discriminator.jet(middle.view(), 0.0)?.gradients));
    }
    let mut measured = Measured::new();
    for (name, gradients) in sets {
        let slopes = slope(gradients.view());
        record_mean(&mut measured, "mean slope", name, over(slopes.mean, lipschitz));
        measured.record_case("largest slope", name, slopes.max / lipschitz);
    }
    Ok(measured)
}
