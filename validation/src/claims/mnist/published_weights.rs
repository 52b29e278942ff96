//! The released W1+W2 weights, as they are (docs/notation.md, section 6).

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use proxflow_reference::InvalidInput;
use proxflow_reference::checkpoint::NamedArrays;
use proxflow_reference::flow::{Flow, Potential};
use proxflow_reference::network::Network;
use proxflow_reference::trajectory::{Mean, slope, terminal_residual};
use rand::Rng;
use serde_json::Value;

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::mnist::released;
use proxflow_io::plot::Plot;

const RATIO: Bound = Bound::Mean { value: 1.0, errors: 4.0, tolerance: 0.0 };
const INDEPENDENT: Basis = Basis::Golden(
    "validation/golden/published_weights.json, numpy on 200 samples of its own; the standard errors of both samples together",
);

macro_rules! ratio {
    ($name:literal, $what:literal) => {
        Quantity { name: $name, what: $what, bound: RATIO, basis: INDEPENDENT }
    };
}

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "published_weights",
    statement: "The released W1+W2 MNIST weights, evaluated with the definitions of section 5: kinetic energy 19.2, \
                displacement energy 7.92, straightness 1.455, Hamilton-Jacobi residual 1.110 (gauged 0.145 of lambda K), \
                terminal residual 6.55 at h = 1; deviation 0.355 from h = 1/64. The paper's statements (straightness 1, step-size \
                invariance, Hamilton-Jacobi, terminal condition, slope L) do not hold for them.",
    equations: &[(22, 29), (39, 39), (43, 44)],
    notation: &["5"],
    quantities: &[
        ratio!("kinetic energy", "over its golden value, by the oracle's network and flow with 5, 40 and 320 steps"),
        ratio!("displacement energy", "over its golden value, 5, 40 and 320 steps"),
        ratio!("straightness", "over its golden value, 5, 40 and 320 steps"),
        ratio!("Hamilton-Jacobi residual", "over its golden value, 5, 40 and 320 steps"),
        ratio!("residual with flipped sign", "over its golden value, 5, 40 and 320 steps"),
        ratio!("gauged residual", "relative to lambda K, over its golden value, 5 steps"),
        ratio!("deviation", "of 5 and of 40 steps from 320, over its golden value"),
        ratio!("terminal residual", "over its golden value, 5 steps"),
        ratio!("critic slope", "mean at the generated samples over its golden value, 5 steps"),
        ratio!("released energy", "grad U at (x_{k+1}, t_k), over its golden value, 5 steps"),
    ],
    removals: &[
        Removal {
            name: "time feature",
            what: "U(., 0) at all times",
            breaks: &["displacement energy", "straightness"],
        },
        Removal {
            name: "place of the velocity",
            what: "grad U at (x_{k+1}, t_k) for the kinetic energy and at (x_k, t_k) for the released one",
            breaks: &["kinetic energy", "released energy"],
        },
        Removal {
            name: "sign of the Hamiltonian",
            what: "dU/dt with flipped sign",
            breaks: &["Hamilton-Jacobi residual", "residual with flipped sign"],
        },
        Removal {
            name: "norm of each sample",
            what: "root of the sum of all squares over the root of the sample count times itself, as released",
            breaks: &["terminal residual"],
        },
        Removal { name: "finest flow", what: "10 steps in the place of 320 as reference", breaks: &["deviation"] },
        Removal { name: "generated samples", what: "the critic at x_0", breaks: &["critic slope"] },
    ],
    measure,
};

/// A potential that does not see the time.
struct Frozen<'a>(&'a Network);

impl Potential for Frozen<'_> {
    fn derivatives(&self, points: ArrayView2<f64>, _: f64) -> Result<(Array2<f64>, Array1<f64>), InvalidInput> {
        self.0.derivatives(points, 0.0)
    }
}

const LAMBDA: f64 = 0.05;
const HORIZON: f64 = 5.0;

/// The numbers of the independent program.
struct Golden(Value);

impl Golden {
    fn read() -> Result<Self, CheckError> {
        let text = include_str!("../../../golden/published_weights.json");
        serde_json::from_str(text).map(Self).map_err(|error| CheckError::Run(error.to_string()))
    }

    /// Records `mean` over its golden value, with the standard error of both samples.
    fn compare(&self, measured: &mut Measured, quantity: &'static str, steps: usize, mean: Mean) {
        let pair = &self.0["steps"][steps.to_string()][quantity];
        let [golden, error] = [0, 1].map(|k| pair[k].as_f64().unwrap_or(f64::NAN));
        let error = mean.standard_error.hypot(error);
        measured
            .record_mean(quantity, format!("{steps} steps"), mean.value / golden, error / golden)
            .figure(format!("{quantity}, {steps} steps"), mean.value);
    }
}

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let path = released(setting, "mnist_w1w2.safetensors")?;
    let bytes = std::fs::read(&path).map_err(|error| CheckError::Run(error.to_string()))?;
    let checkpoint = NamedArrays::from_safetensors(&bytes)?;
    let potential = Network::from_checkpoint(&checkpoint, "potential", true)?;
    let critic = Network::from_checkpoint(&checkpoint, "discriminator", false)?;
    let golden = Golden::read()?;
    let samples = setting.choose(100, 500);
    let mut generator = setting.stream("noise");
    let start = Array2::from_shape_simple_fn((samples, 784), || 0.5 * generator.random::<f64>());
    let simulate = |steps: usize, samples: usize| {
        let start = start.slice(s![..samples, ..]);
        if mechanism.lacks("time feature") {
            Flow::simulate(&Frozen(&potential), start, HORIZON, steps, LAMBDA)
        } else {
            Flow::simulate(&potential, start, HORIZON, steps, LAMBDA)
        }
    };
    let mut measured = Measured::new();
    // The five-step flow notices every removal; 320 steps of fewer samples are what two cores afford.
    let few = setting.choose(40, 200);
    let mut flows = vec![simulate(5, samples)?];
    if mechanism.is_intact() {
        flows.extend([simulate(40, samples)?, simulate(320, few)?]);
    }
    let mut plot = Plot::new(
        "Mean Hamiltonian of the released weights",
        "t",
        "E |grad U|^2/(2 lambda)",
        "Constant at an optimum.",
    );
    for flow in &flows {
        let steps = flow.times.len() - 1;
        let paths = flow.trajectories()?;
        let sign = if mechanism.lacks("sign of the Hamiltonian") { -1.0 } else { 1.0 };
        let rates = sign * &flow.time_derivatives.slice(s![..steps, ..]);
        let residual =
            paths.hamilton_jacobi(rates.view(), flow.gradients.slice(s![..steps, .., ..]), LAMBDA)?;
        let kinetic = if mechanism.lacks("place of the velocity") {
            energy(&potential, flow, 1)?
        } else {
            paths.kinetic_energy()
        };
        golden.compare(&mut measured, "kinetic energy", steps, kinetic);
        golden.compare(&mut measured, "displacement energy", steps, paths.displacement_energy());
        golden.compare(&mut measured, "straightness", steps, paths.straightness());
        golden.compare(&mut measured, "Hamilton-Jacobi residual", steps, residual.raw);
        golden.compare(&mut measured, "residual with flipped sign", steps, residual.sign_flipped);
        if steps == 5 {
            golden.compare(&mut measured, "gauged residual", 5, residual.gauged_relative);
            let late = usize::from(!mechanism.lacks("place of the velocity"));
            golden.compare(&mut measured, "released energy", 5, energy(&potential, flow, late)?);
            let place = if mechanism.lacks("generated samples") { paths.at(0) } else { paths.endpoints() };
            let slopes = slope(critic.jet(place, 0.0)?.gradients.view()).mean;
            golden.compare(&mut measured, "critic slope", 5, slopes);
            let gradients = critic.jet(paths.endpoints(), 0.0)?.gradients;
            let end = flow.gradients.index_axis(Axis(0), steps);
            let mut terminal = terminal_residual(end, gradients.view())?;
            if mechanism.lacks("norm of each sample") {
                terminal.value = (&end - &gradients).mapv(|g| g * g).sum().sqrt() / samples as f64;
            }
            golden.compare(&mut measured, "terminal residual", 5, terminal);
        }
        let line =
            residual.mean_hamiltonian.iter().zip(&flow.times).map(|(mean, t)| (*t, mean.value)).collect();
        plot = plot.line(format!("{steps} steps"), line);
    }
    let finest = if mechanism.is_intact() { flows.pop() } else { Some(simulate(10, few)?) };
    let finest = finest.ok_or_else(|| CheckError::Run("no flow was simulated".into()))?;
    for flow in &flows {
        let steps = flow.times.len() - 1;
        let mut same = flow.clone();
        same.positions = flow.positions.slice(s![.., ..few, ..]).to_owned();
        let deviation = same.trajectories()?.step_size_deviation(&finest.trajectories()?)?;
        golden.compare(&mut measured, "deviation", steps, deviation);
    }
    measured.plot(plot);
    Ok(measured)
}

/// `E sum_k h |grad U(x_{k + late}, t_k)|^2 / (2 lambda^2)`.
fn energy(potential: &Network, flow: &Flow, late: usize) -> Result<Mean, CheckError> {
    let samples = flow.positions.shape()[1];
    let mut sums = vec![0.0; samples];
    for (k, pair) in flow.times.windows(2).enumerate() {
        let gradients = potential.jet(flow.positions.index_axis(Axis(0), k + late), pair[0])?.gradients;
        for (sum, gradient) in sums.iter_mut().zip(gradients.rows()) {
            *sum += (pair[1] - pair[0]) * gradient.dot(&gradient) / (2.0 * LAMBDA * LAMBDA);
        }
    }
    Ok(Mean::of(sums))
}
