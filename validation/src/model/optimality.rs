//! How far a flow is from the certified optimum on its own samples.

use ndarray::Array2;

use super::subject::{Subject, spread};
use crate::claim::{CheckError, Measured};
use crate::instances::{Measure, huber_transport, lipschitz_divergence};

pub(super) fn optimality(subject: &Subject) -> Result<Measured, CheckError> {
    let parameters = subject.parameters()?;
    let data =
        subject.data.as_ref().ok_or_else(|| CheckError::NotApplicable("needs data (--data)".into()))?;
    let paths = subject.finest()?;
    let uniform = |points: Array2<f64>| {
        let n = points.nrows();
        Measure { points, weights: vec![1.0 / n as f64; n] }
    };
    let (source, end) = (uniform(paths.at(0).to_owned()), uniform(paths.endpoints().to_owned()));
    let target = uniform(data.clone());
    let optimum = huber_transport(&source, &target, subject.kind, parameters)?;
    let terminal = lipschitz_divergence(&end, &target, subject.kind, parameters.lipschitz)?;
    let kinetic = parameters.lambda * paths.kinetic_energy().value;
    let objective = kinetic + terminal.upper;
    // Where nothing has to move J* is zero, and 1e-9 of what crossing the spread of the points costs is the scale instead.
    let scale = optimum.upper.max(1e-9 * parameters.lipschitz * spread(subject));
    let excess = if objective == optimum.lower { 0.0 } else { (objective - optimum.lower) / scale };
    let mut measured = Measured::new();
    measured
        .record("excess", excess)
        .record("infimum", objective - optimum.lower)
        .figure("J", objective)
        .figure("lambda K", kinetic)
        .figure("D_f^L of the generated samples, lower", terminal.lower)
        .figure("D_f^L of the generated samples, upper", terminal.upper)
        .figure("D_f^L, divergence part", terminal.divergence)
        .figure("J*, lower", optimum.lower)
        .figure("J*, upper", optimum.upper)
        .figure("L T / lambda", parameters.kink());
    Ok(measured)
}
