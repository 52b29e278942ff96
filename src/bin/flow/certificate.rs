//! `J - J*` of a flow on a fixed batch that it never sees: source points and held-out data, both ends by the oracle.
//!
//! Two samples of one law differ, so that no flow that has not seen these very points reaches `J*` on them. [`HeldOut::floor`] says
//! what points of the training data themselves, as many, would pay: below that no difference can be told.

use ndarray::{Array2, s};
use proxflow::command::Failure;
use proxflow::libtorch::{rows_of, tensor_of};
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::configuration::Configuration;
use proxflow_gpu::flow::simulate;
use proxflow_gpu::random::{StreamLabel, place};
use proxflow_reference::proximal::{CombinedProximal, combined_proximal};
use proxflow_reference::{Divergence, DivergenceKind, Measure, Options, ProximalParameters};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::configuration::RunConfiguration;
use crate::problem::Problem;

/// Certified to this, relative to `1 + |value|`.
const TOLERANCE: f64 = 1e-8;

/// The batch, with its optimum.
pub struct HeldOut {
    source: Tensor,
    data: Measure,
    kind: DivergenceKind,
    parameters: ProximalParameters,
    /// `J*` between its bounds, with the optimal flow.
    pub optimum: CombinedProximal,
    /// `D_f^L` of as many training points to the held-out ones, over `J*`.
    pub floor: f64,
}

/// What the oracle says of one flow.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Gap {
    /// `J` of the flow on the batch.
    pub objective: [f64; 2],
    /// `J*` on the batch.
    pub optimum: [f64; 2],
    /// `J - J*`: the true difference lies between.
    pub gap: [f64; 2],
    /// The upper end over the lower bound of `J*`.
    pub relative: f64,
    /// `K_h` of the flow on the batch.
    pub kinetic_energy: f64,
    /// `D_f^L(x_T | held-out)`, upper bound.
    pub divergence: f64,
    /// [`HeldOut::floor`].
    pub floor: f64,
}

impl HeldOut {
    /// Draws the source points and solves for the optimum from them to the held-out rows.
    pub fn new(problem: &Problem, configuration: &RunConfiguration, device: Device) -> Result<Self, Failure> {
        let Configuration { f, seed, .. } = configuration.training;
        let parameters = configuration.parameters()?;
        // A stream of its own: the certificate's, past what a population certificate draws from it, is never needed here.
        let noise = problem.noise(configuration.gap_samples, seed ^ BATCH, StreamLabel::Certificate);
        let data = Measure::uniform(problem.held_out.view())?;
        let points = noise.mapv(f64::from);
        let optimum = combined_proximal(&Measure::uniform(points.view())?, &data, f, parameters, &options())?;
        let count = problem.train.nrows().min(configuration.gap_samples);
        let train = Measure::uniform(problem.train.slice(s![..count, ..]))?;
        let floor =
            Divergence::of(f).lipschitz(parameters.lipschitz).options(options()).between(&train, &data)?;
        Ok(Self {
            source: place(&tensor_of(&noise), (Kind::Float, device)),
            data,
            kind: f,
            parameters,
            floor: floor.upper / optimum.lower,
            optimum,
        })
    }

    /// The source points `(n, d)`.
    pub fn source(&self) -> &Tensor {
        &self.source
    }

    /// Judges the Euler flow of `model` with its own number of steps.
    pub fn judge(&self, model: &Model) -> Result<Gap, Failure> {
        let trajectory = simulate(&model.potential, &self.source, model.flow);
        let positions: Vec<Array2<f64>> = trajectory.positions.iter().map(rows_of).collect();
        let step = model.flow.step();
        let count = self.source.size()[0] as f64;
        let energy: f64 = positions
            .windows(2)
            .map(|pair| (&pair[1] - &pair[0]).mapv(|value| value * value).sum() / (2.0 * step * count))
            .sum();
        let end = positions.last().cloned().unwrap_or_default();
        if end.iter().any(|value| !value.is_finite()) {
            return Err(Failure::Run("the flow is not finite on the held-out batch".to_owned()));
        }
        let functional = Divergence::of(self.kind).lipschitz(self.parameters.lipschitz).options(options());
        let terminal = functional.between(&Measure::uniform(end.view())?, &self.data)?;
        let running = self.parameters.lambda * energy;
        let objective = [running + terminal.lower, running + terminal.upper];
        let optimum = [self.optimum.lower, self.optimum.upper];
        let gap = [objective[0] - optimum[1], objective[1] - optimum[0]];
        Ok(Gap {
            objective,
            optimum,
            gap,
            relative: gap[1] / optimum[0],
            kinetic_energy: energy,
            divergence: terminal.upper,
            floor: self.floor,
        })
    }
}

/// Apart from the noise that training and population certificates see.
const BATCH: u64 = 0x6865_6c64;

fn options() -> Options<'static> {
    Options::new().tolerance(TOLERANCE)
}
