//! Statements about the networks of a checkpoint: Hamilton-Jacobi, terminal condition, Lipschitz bound.

use ndarray::{Array2, Array3, Axis, s};
use proxflow_reference::trajectory::{Mean, Trajectories, slope, terminal_residual};

use super::{Subject, measure_mean};
use crate::claim::{Bound, CheckError, Finding};
use crate::report::plot::Plot;

pub(super) fn hamilton_jacobi(subject: &Subject) -> Result<Finding, CheckError> {
    let networks = subject.networks()?;
    let lambda = subject.parameters()?.lambda;
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    let mut plot = Plot::new(
        "Mean Hamiltonian along the paths",
        "t",
        "E |grad U|^2 / (2 lambda)",
        "Constant at the optimum.",
    );
    for path in &subject.paths {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let steps = paths.steps();
        let mut gradients = Array3::zeros((steps, paths.samples(), path.positions.shape()[2]));
        let mut rates = Array2::zeros((steps, paths.samples()));
        for k in 0..steps {
            let jet = networks.potential.jet(paths.at(k), path.times[k])?;
            gradients.index_axis_mut(Axis(0), k).assign(&jet.gradients);
            rates.row_mut(k).assign(&jet.time_derivatives);
        }
        let residual = paths.hamilton_jacobi(rates.view(), gradients.view(), lambda)?;
        let name = |what: &str| format!("{what}, {steps} steps");
        finding.figure(name("raw residual"), residual.raw.value);
        finding.figure(name("raw residual with flipped sign"), residual.sign_flipped.value);
        measure_mean(
            &mut finding,
            &name("residual / (lambda K)"),
            residual.relative,
            bound,
            subject.requirement(),
        );
        measure_mean(
            &mut finding,
            &name("gauged residual / (lambda K)"),
            residual.gauged_relative,
            bound,
            subject.requirement(),
        );
        // At a solution U_t equals the Hamiltonian, so dropping U_t leaves one energy.
        let frozen =
            paths.hamilton_jacobi(Array2::zeros(rates.raw_dim()).view(), gradients.view(), lambda)?;
        finding.control(name("time feature dropped"), frozen.relative.value, bound, subject.requirement());
        let line =
            residual.mean_hamiltonian.iter().zip(&path.times).map(|(mean, t)| (*t, mean.value)).collect();
        plot = plot.line(format!("{steps} steps"), line);
    }
    finding.plot(plot);
    Ok(finding)
}

pub(super) fn terminal_condition(subject: &Subject) -> Result<Finding, CheckError> {
    let discriminator = subject.discriminator()?;
    let parameters = subject.parameters()?;
    let mut finding = Finding::new();
    let bound = Bound::AtMost(subject.tolerance);
    for path in &subject.paths {
        let paths = Trajectories::new(path.times.clone(), path.positions.view())?;
        let potential = subject.networks()?.potential.jet(paths.endpoints(), parameters.horizon)?.gradients;
        let critic = discriminator.jet(paths.endpoints(), 0.0)?.gradients;
        let residual = terminal_residual(potential.view(), critic.view())?;
        finding.figure(format!("terminal residual, {} steps", paths.steps()), residual.value);
        finding.figure(
            format!("mean |grad U(., T)|, {} steps", paths.steps()),
            slope(potential.view()).mean.value,
        );
        let relative = Mean {
            value: residual.value / parameters.lipschitz,
            standard_error: residual.standard_error / parameters.lipschitz,
            ..residual
        };
        let quantity = format!("terminal residual / L, {} steps", paths.steps());
        measure_mean(&mut finding, &quantity, relative, bound, subject.requirement());
        let unit = critic.mapv(|g| g + parameters.lipschitz);
        let control = terminal_residual(potential.view(), unit.view())?.value / parameters.lipschitz;
        finding.control("critic tilted by L on every axis", control, bound, subject.requirement());
    }
    Ok(finding)
}

pub(super) fn lipschitz(subject: &Subject) -> Result<Finding, CheckError> {
    let discriminator = subject.discriminator()?;
    let l = subject.parameters()?.lipschitz;
    let paths = subject.finest()?;
    let mut sets = vec![("generated samples", paths.endpoints().to_owned())];
    if let Some(data) = &subject.data {
        let count = data.nrows().min(paths.samples());
        let data = data.slice(s![..count, ..]).to_owned();
        let middle = 0.5 * (&data + &paths.endpoints().slice(s![..count, ..]));
        sets.push(("data", data));
        sets.push(("midpoints between both", middle));
    }
    let mut finding = Finding::new();
    let bound = Bound::AtMost(l * (1.0 + subject.tolerance));
    for (name, points) in sets {
        let slopes = slope(discriminator.jet(points.view(), 0.0)?.gradients.view());
        measure_mean(
            &mut finding,
            &format!("mean |grad phi| at {name}"),
            slopes.mean,
            bound,
            subject.requirement(),
        );
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
