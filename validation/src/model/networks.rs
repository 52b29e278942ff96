//! Statements about the networks of a model: Hamilton-Jacobi, terminal condition, Lipschitz bound.

use ndarray::{Array2, Axis, s};
use proxflow_reference::trajectory::{Mean, slope, terminal_residual};

use super::{Subject, measure_mean};
use crate::claim::{Bound, CheckError, Finding};
use crate::report::plot::Plot;

fn unknown(what: &str) -> CheckError {
    CheckError::NotApplicable(format!("needs {what} (--checkpoint, or the arrays of that name in the .npz)"))
}

pub(super) fn hamilton_jacobi(subject: &Subject) -> Result<Finding, CheckError> {
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
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
        let steps = paths.steps();
        let rates = derivatives.time_derivatives.slice(s![..steps, ..]);
        let gradients = derivatives.gradients.slice(s![..steps, .., ..]);
        let residual = paths.hamilton_jacobi(rates, gradients, lambda)?;
        let name = |what: &str| format!("{what}, {steps} steps");
        for (what, mean) in [
            ("residual / (lambda K)", residual.relative),
            ("gauged residual / (lambda K)", residual.gauged_relative),
        ] {
            measure_mean(&mut finding, &name(what), mean, bound, subject.requirement());
        }
        // At a solution U_t equals the Hamiltonian, so dropping U_t leaves one energy.
        let frozen = paths.hamilton_jacobi(Array2::zeros(rates.raw_dim()).view(), gradients, lambda)?;
        finding.control(name("time feature dropped"), frozen.relative.value, bound, subject.requirement());
        let means = residual.mean_hamiltonian.iter().zip(&path.times);
        plot = plot.line(format!("{steps} steps"), means.map(|(mean, t)| (*t, mean.value)).collect());
    }
    finding.plot(plot);
    Ok(finding)
}

pub(super) fn terminal_condition(subject: &Subject) -> Result<Finding, CheckError> {
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    for path in &subject.paths {
        let derivatives = path.potential.as_ref().ok_or_else(|| unknown("gradients of U"))?;
        let critic = path.critic_gradients.as_ref().ok_or_else(|| unknown("critic_gradients"))?;
        let lipschitz = subject.parameters()?.lipschitz;
        let steps = path.times.len() - 1;
        let potential = derivatives.gradients.index_axis(Axis(0), steps);
        let residual = terminal_residual(potential, critic.view())?;
        let relative = Mean {
            value: residual.value / lipschitz,
            standard_error: residual.standard_error / lipschitz,
            ..residual
        };
        let quantity = format!("terminal residual / L, {steps} steps");
        measure_mean(&mut finding, &quantity, relative, bound, subject.requirement());
        finding.figure(format!("mean |grad U(., T)|, {steps} steps"), slope(potential).mean.value);
        let tilted = critic.mapv(|g| g + lipschitz);
        let control = terminal_residual(potential, tilted.view())?.value / lipschitz;
        finding.control(
            format!("critic tilted by L on every axis, {steps} steps"),
            control,
            bound,
            subject.requirement(),
        );
    }
    Ok(finding)
}

pub(super) fn lipschitz(subject: &Subject) -> Result<Finding, CheckError> {
    let finest = subject.paths.last().and_then(|path| path.critic_gradients.as_ref());
    let generated = finest.ok_or_else(|| unknown("critic_gradients"))?;
    let l = subject.parameters()?.lipschitz;
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
    let mut finding = Finding::new();
    let bound = Bound::AtMost(l * (1.0 + subject.tolerance));
    for (name, gradients) in sets {
        let slopes = slope(gradients.view());
        let quantity = format!("mean |grad phi| at {name}");
        measure_mean(&mut finding, &quantity, slopes.mean, bound, subject.requirement());
        finding.measure(format!("largest |grad phi| at {name}"), slopes.max, bound, subject.requirement());
        let factor = 1.0 + 2.0 * l * (1.0 + subject.tolerance) / slopes.max.max(1e-12);
        finding.control(
            format!("critic scaled up at {name}"),
            slopes.max * factor,
            bound,
            subject.requirement(),
        );
    }
    Ok(finding)
}
