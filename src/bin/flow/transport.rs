//! `flow transport`: given points forward along the flow, or back along its straight lines.
//!
//! At the optimum `x_0 = x_T + (T/lambda) grad U(x_T, T)`: one step back undoes any number of steps forward. How far that is true
//! of a trained flow is measured by going forward again. A Hopf-Lax flow takes a whole cell of the source to each of its
//! prototypes and has no inverse there; back goes then to the mean of the source points that it takes to the nearest prototype.

use std::path::PathBuf;

use clap::Args;
use ndarray::{Array2, ArrayView2};
use proxflow::array::{self, ArrayPath};
use proxflow::command::{COMMIT, Failure, print_aside, write_json};
use proxflow_gpu::random::{Stream, StreamLabel};
use serde_json::json;

use crate::configuration::ModelChoice;
use crate::run::Run;
use crate::sample::{OnRun, steps};

/// Options of `flow transport`.
#[derive(Args, Clone)]
#[command(
    after_help = "Examples:\n  flow transport --run runs/x --points x.npy --npy y.npy\n  flow transport --run runs/x --points y.npy --backward --npy x.npy"
)]
pub struct Arguments {
    #[command(flatten)]
    on: OnRun,
    /// Points (n, d) in the units of the data
    #[arg(long, value_name = "FILE")]
    points: String,
    /// From the data's end to the source's
    #[arg(long)]
    backward: bool,
    /// Euler steps forward [default: those of the run]
    #[arg(long)]
    steps: Option<usize>,
    /// Where they go, (n, d), in the same units
    #[arg(long, value_name = "FILE.npy")]
    npy: PathBuf,
}

/// Source points behind the cells of a Hopf-Lax flow.
const CELL_DRAWS: usize = 50_000;

/// Moves and writes.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let input = ArrayPath::from(arguments.points.as_str());
    arguments
        .on
        .outputs()
        .input("--points", Some(&input.file))
        .output("--npy", Some(&arguments.npy))
        .check()?;
    let points = array::read_points(&input)?;
    let run = arguments.on.open()?;
    if points.ncols() != run.dimension() {
        let value = format!("{} columns", points.ncols());
        return Err(Failure::bad_input(
            &arguments.points,
            value,
            format!("{}, as the data of the run", run.dimension()),
        ));
    }
    let steps = steps(arguments.steps, &run)?;
    let own = run.frame.standardisation.apply(points.view());
    let moved =
        if arguments.backward { backward(&run, own.view())? } else { run.forward(own.view(), steps)? };
    let round_trip = match arguments.backward {
        true => Some(mean_distance(run.forward(moved.view(), steps)?.view(), own.view())),
        false => None,
    };
    array::write_array(&arguments.npy, &run.frame.standardisation.undo(moved.view()))?;
    if let Some(distance) = round_trip {
        print_aside(&format!(
            "forward again: mean distance {distance:.4} from the given points, in standard deviations\n"
        ));
    }
    match &arguments.on.json {
        Some(target) => write_json(
            target,
            &json!({ "status": "done", "run": arguments.on.run, "points": points.nrows(), "backward": arguments.backward,
                "steps": steps, "round_trip": round_trip, "npy": arguments.npy, "commit": COMMIT }),
        ),
        None => Ok(()),
    }
}

fn mean_distance(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    let distances =
        a.rows().into_iter().zip(b.rows()).map(|(x, y)| (&x - &y).mapv(|value| value * value).sum().sqrt());
    distances.sum::<f64>() / a.nrows().max(1) as f64
}

fn backward(run: &Run, ends: ArrayView2<'_, f64>) -> Result<Array2<f64>, Failure> {
    match run.configuration.model {
        ModelChoice::Dense => {
            let flow = run.model.flow;
            let factor = flow.horizon / flow.lambda;
            run.in_chunks(ends, |x| Ok(x + run.model.potential.gradient(x, flow.horizon) * factor))
        }
        ModelChoice::HopfLax => cell_means(run, ends),
    }
}

/// The mean of the source points whose end is nearest to each of `ends`: exact up to sampling where the ends are the flow's own.
fn cell_means(run: &Run, ends: ArrayView2<'_, f64>) -> Result<Array2<f64>, Failure> {
    let mut stream = Stream::new(run.configuration.training.seed, StreamLabel::Evaluation);
    let noise = run.source.draw(CELL_DRAWS, run.dimension(), stream.generator()).mapv(f64::from);
    let reached = run.forward(noise.view(), run.model.flow.steps)?;
    let nearest = proxflow::pictures::nearest(reached.view(), ends);
    let mut sums = Array2::<f64>::zeros(ends.dim());
    let mut counts = vec![0_usize; ends.nrows()];
    for (row, &(index, _)) in noise.rows().into_iter().zip(&nearest) {
        let mut sum = sums.row_mut(index);
        sum += &row;
        counts[index] += 1;
    }
    // An end that is nobody's nearest takes the source point that ends nearest to it.
    let own = proxflow::pictures::nearest(ends, reached.view());
    for (k, mut row) in sums.rows_mut().into_iter().enumerate() {
        match counts[k] {
            0 => row.assign(&noise.row(own[k].0)),
            count => row.mapv_inplace(|value| value / count as f64),
        }
    }
    Ok(sums)
}
