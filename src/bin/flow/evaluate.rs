//! `flow evaluate`: indicators, certified gap and distances of a run, on noise that its training has not seen.

use clap::Args;
use ndarray::ArrayView2;
use proxflow::command::{COMMIT, Failure, print_text, write_json};
use proxflow::pictures::nearest;
use proxflow_gpu::flow::finite_endpoint;
use proxflow_gpu::indicators::{self, FlowIndicators};
use proxflow_gpu::random::{Stream, StreamLabel};
use proxflow_io::memory;
use proxflow_reference::checkpoint::MOST_STEPS;
use serde_json::{Value, json};
use tch::Kind;

use crate::certificate::HeldOut;
use crate::learner::Learner;
use crate::problem::Problem;
use crate::sample::OnRun;

/// Options of `flow evaluate`.
#[derive(Args, Clone)]
#[command(after_help = "Example:\n  flow evaluate --run runs/moons --steps 1,8,64 --samples 1000 --json -")]
pub struct Arguments {
    #[command(flatten)]
    on: OnRun,
    /// Numbers of Euler steps; the largest is the reference of the step-size deviation
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5, 40])]
    steps: Vec<usize>,
    /// Source samples behind the indicators and on the batch that the oracle certifies
    #[arg(long, default_value_t = 500)]
    samples: usize,
    /// Root seed of the source samples
    #[arg(long, default_value_t = 2)]
    seed: u64,
}

/// Batches of 1000 source points behind the bounds over all noise.
const BATCHES: usize = 600;

/// Evaluates and prints; `--json` writes the report.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.on.outputs().check()?;
    if let Some(steps) = arguments.steps.iter().find(|steps| !(1..=MOST_STEPS).contains(*steps)) {
        return Err(Failure::bad_input(
            "steps",
            steps,
            format!("numbers in 1..={MOST_STEPS}, separated by commas"),
        ));
    }
    if !(2..=20_000).contains(&arguments.samples) {
        return Err(Failure::bad_input("samples", arguments.samples, "2..=20000"));
    }
    let run = arguments.on.open()?;
    let device = run.model.potential.options().1;
    let mut configuration = run.configuration.clone();
    let problem = Problem::load(&mut configuration)?;
    let rows =
        (problem.train.nrows().max(arguments.samples) as u64).checked_mul(16 * arguments.samples as u64);
    memory::require("samples", &arguments.samples.to_string(), rows)?;
    let checkpoint = arguments.on.run.join("checkpoint.safetensors");
    // Resuming checks by its digest that the data are the run's own.
    let learner = Learner::new(&problem, &configuration, Some(&checkpoint), (Kind::Float, device))?;
    let population = learner.population(BATCHES, &mut Stream::new(arguments.seed, StreamLabel::Certificate));

    let mut stream = Stream::new(arguments.seed, StreamLabel::Evaluation);
    let noise = run.source.draw(arguments.samples, run.dimension(), stream.generator()).mapv(f64::from);
    let x0 = run.tensor(noise.view());
    let finest = arguments.steps.iter().copied().max().unwrap_or(1);
    let (potential, discriminator, flow) = (&run.model.potential, &run.model.discriminator, run.model.flow);
    let reference = finite_endpoint(potential, &x0, flow.with_steps(finest))
        .map_err(|step| Failure::Run(format!("the flow of {finest} steps is not finite at step {step}")))?;
    let found: Vec<FlowIndicators> = arguments
        .steps
        .iter()
        .map(|&steps| {
            let other = Some(&reference).filter(|_| steps != finest);
            indicators::evaluate(potential, discriminator, &x0, flow.with_steps(steps), other)
        })
        .collect();

    configuration.gap_samples = arguments.samples;
    configuration.training.seed = arguments.seed;
    let gap = HeldOut::new(&problem, &configuration, device)?.judge(&run.model)?;
    let ends = run.forward(noise.view(), flow.steps)?;
    let mean = |rows: ArrayView2<'_, f64>| {
        let distances = nearest(rows, problem.train.view());
        distances.iter().map(|(_, distance)| distance).sum::<f64>() / distances.len().max(1) as f64
    };
    let report = json!({
        "status": "done", "run": arguments.on.run, "samples": arguments.samples, "seed": arguments.seed, "commit": COMMIT,
        "model": run.configuration.model, "steps": found, "held_out": gap,
        "population": population.map(|bounds| {
            let interval = bounds.interval(3.0);
            json!({ "bounds": bounds, "interval": interval, "relative": (interval[1] - interval[0]) / interval[0] })
        }),
        // In standard deviations: how near samples and data that were never seen are to a training point.
        "nearest_training_point": { "generated": mean(ends.view()), "held_out": mean(problem.held_out.view()) },
        "distance_to_support": run.frame.distance_to_support(ends.view()),
    });
    match arguments.on.json.as_deref() {
        Some(target) => {
            if target != "-" {
                print_text(&in_words(&report))?;
            }
            write_json(target, &report)
        }
        None => print_text(&in_words(&report)),
    }
}

fn in_words(report: &Value) -> String {
    let number = |value: &Value| value.as_f64().map_or_else(|| "reference".to_owned(), |x| format!("{x:.4}"));
    let mut text = String::from("steps    K         straightness  deviation  HJ gauged  slope max\n");
    for entry in report["steps"].as_array().into_iter().flatten() {
        let cell = |name: &str| number(&entry[name]);
        text += &format!(
            "{:<8} {:<9} {:<13} {:<10} {:<10} {}\n",
            entry["steps"],
            cell("kinetic_energy"),
            cell("straightness"),
            cell("deviation"),
            cell("hj_residual_gauged_relative"),
            cell("critic_slope_max")
        );
    }
    for name in ["population", "held_out", "nearest_training_point", "distance_to_support"] {
        if !report[name].is_null() {
            text += &format!("{name}: {:#}\n", report[name]);
        }
    }
    text
}
