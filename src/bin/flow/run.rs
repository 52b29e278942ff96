//! A finished run as other subcommands use it: its checkpoint, its frame, its source.

use std::path::Path;

use ndarray::{Array2, ArrayView2};
use proxflow::command::Failure;
use proxflow::libtorch::{bad_checkpoint, rows_of, tensor_of};
use proxflow::source_law::SourceLaw;
use proxflow_gpu::checkpoint::Model;
use proxflow_gpu::flow::{FlowSpecification, finite_endpoint};
use proxflow_gpu::random::place;
use tch::{Device, Kind, Tensor};

use crate::configuration::{self, RunConfiguration};
use crate::problem::{Frame, source_law};

/// Points that go through a network at once.
const CHUNK: usize = 2000;

/// What a run directory holds.
pub struct Run {
    /// `config.toml`.
    pub configuration: RunConfiguration,
    /// `data.json`.
    pub frame: Frame,
    /// `checkpoint.safetensors`.
    pub model: Model,
    /// The law of `x_0`.
    pub source: SourceLaw,
    options: (Kind, Device),
}

impl Run {
    /// Reads a run directory.
    pub fn open(folder: &Path, device: Device) -> Result<Self, Failure> {
        let configuration = configuration::read(folder)?;
        let frame = Frame::read(folder)?;
        let options = (Kind::Float, device);
        let model = Model::load(&folder.join("checkpoint.safetensors"), options).map_err(bad_checkpoint)?;
        let dimension = model.potential.architecture().dimension() as usize;
        if dimension != frame.standardisation.centre.len() {
            let value = format!("networks on {dimension} coordinates");
            let allowed = format!("{}, as data.json", frame.standardisation.centre.len());
            return Err(Failure::bad_input("run", value, allowed));
        }
        let source = source_law(&configuration.source, &frame.standardisation)?;
        Ok(Self { configuration, frame, model, source, options })
    }

    /// Dimension `d`.
    pub fn dimension(&self) -> usize {
        self.frame.standardisation.centre.len()
    }

    /// Points `(n, d)` in the flow's units as a tensor on the run's device.
    pub fn tensor(&self, rows: ArrayView2<'_, f64>) -> Tensor {
        place(&tensor_of(&rows.mapv(|value| value as f32)), self.options)
    }

    /// Where the flow of `steps` Euler steps takes points `(n, d)`, both in its own units.
    pub fn forward(&self, rows: ArrayView2<'_, f64>, steps: usize) -> Result<Array2<f64>, Failure> {
        let flow: FlowSpecification = self.model.flow.with_steps(steps);
        self.in_chunks(rows, |x| {
            finite_endpoint(&self.model.potential, x, flow)
                .map_err(|step| Failure::Run(format!("the flow is not finite at step {step} of {steps}")))
        })
    }

    /// Applies `map` to points in chunks.
    pub fn in_chunks(
        &self,
        rows: ArrayView2<'_, f64>,
        map: impl Fn(&Tensor) -> Result<Tensor, Failure>,
    ) -> Result<Array2<f64>, Failure> {
        let mut found = Array2::zeros(rows.dim());
        let axis = ndarray::Axis(0);
        for (part, mut place) in
            rows.axis_chunks_iter(axis, CHUNK).zip(found.axis_chunks_iter_mut(axis, CHUNK))
        {
            place.assign(&rows_of(&map(&self.tensor(part))?));
        }
        Ok(found)
    }
}
