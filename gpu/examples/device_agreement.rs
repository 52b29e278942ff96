//! A device beside the CPU on the same weights and draws, as one JSON object on standard output: relative differences to f64 on the CPU of
//! the values, slopes and gradients of both objectives in each number format, of the parameters after 1, 5 and all outer steps,
//! milliseconds of the parts of a step, and memory.
//!
//! `device_agreement [cpu|cuda|cuda:INDEX] [batch] [outer steps that are compared]`
#[cfg(feature = "torch")]
mod check {
    use std::time::Instant;

    use proxflow_gpu::adam::Adam;
    use proxflow_gpu::architecture::Architecture;
    use proxflow_gpu::configuration::Configuration;
    use proxflow_gpu::device::{self, Arithmetic};
    use proxflow_gpu::flow::{self, FlowSpecification};
    use proxflow_gpu::network::Network;
    use proxflow_gpu::objective::{self, Case, Penalty};
    use proxflow_gpu::random::{Stream, StreamLabel};
    use proxflow_gpu::train::{Source, Trainer};
    use serde_json::{Map, Value, json};
    use tch::{Device, Kind, Tensor};

    const EXACT: (Kind, Device) = (Kind::Double, Device::Cpu);
    const FORMATS: [&str; 4] = ["f64", "f32", "tf32", "bf16"];

    /// One batch and the published set-up.
    pub struct Set {
        configuration: Configuration,
        place: FlowSpecification,
        penalty: Penalty,
        x0: Tensor,
        data: Tensor,
        /// Where slopes are asked for.
        between: Tensor,
    }

    impl Set {
        pub fn new(batch: usize, seed: u64) -> Self {
            let configuration = Configuration { batch, ..Configuration::default() };
            let draw = |label, low, high| Stream::new(seed, label).uniform(batch as i64, 784, low, high);
            let (x0, data) = (draw(StreamLabel::Noise, 0.0, 0.5), draw(StreamLabel::Batch, 0.0, 1.0));
            let between = (&data + &x0) * 0.5;
            let Configuration { horizon, steps, lambda, .. } = configuration;
            let penalty = configuration.penalty().expect("the published case has a penalty");
            Self {
                configuration,
                place: FlowSpecification { horizon, steps, lambda },
                penalty,
                x0,
                data,
                between,
            }
        }

        /// What a step computes, in f64 on the host, computed in `options` from weights that do not depend on them.
        fn quantities(&self, options: (Kind, Device)) -> Vec<(&'static str, Tensor)> {
            let glorot = |architecture, label| {
                Network::glorot(architecture, &mut Stream::new(1, label), EXACT).to(options)
            };
            let potential = glorot(Architecture::mnist_potential(), StreamLabel::PotentialInit);
            let critic = glorot(Architecture::mnist_discriminator(), StreamLabel::DiscriminatorInit);
            let [x0, data, between] = [&self.x0, &self.data, &self.between]
                .map(|tensor| tensor.to_kind(options.0).to_device(options.1));
            let slope = critic.slope(&between, 0.0);
            let f = self.configuration.f;
            let of_critic = objective::critic(&critic, f, &between, &data, Some((self.penalty, &between)));
            let of_potential = objective::potential(&potential, &critic, &x0, self.place, Case::W1W2);
            vec![
                ("endpoint", host(&flow::endpoint(&potential, &x0, self.place))),
                ("value", host(&slope.value)),
                ("slope", host(&slope.gradient)),
                ("critic gradient", flat(&of_critic.gradient)),
                ("potential gradient", flat(&of_potential.gradient)),
            ]
        }

        fn trainer(&self, device: Device) -> Trainer {
            Trainer::new(
                self.configuration.clone(),
                Architecture::mnist_potential(),
                Architecture::mnist_discriminator(),
                &self.data,
                Source::Uniform,
                (Kind::Float, device),
            )
            .expect("a valid set-up")
        }
    }

    fn host(tensor: &Tensor) -> Tensor {
        tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double)
    }

    fn flat(tensors: &[Tensor]) -> Tensor {
        Tensor::cat(&tensors.iter().map(|tensor| host(tensor).flatten(0, -1)).collect::<Vec<_>>(), 0)
    }

    fn relative(found: &Tensor, exact: &Tensor) -> f64 {
        ((found - exact).norm() / exact.norm()).double_value(&[])
    }

    fn differences(found: &[(&'static str, Tensor)], exact: &[(&'static str, Tensor)]) -> Value {
        let pairs = found.iter().zip(exact);
        pairs
            .map(|((name, found), (_, exact))| ((*name).to_owned(), json!(relative(found, exact))))
            .collect::<Map<_, _>>()
            .into()
    }

    /// In every format the differences of `device`, and of the CPU where it knows the format: the measure of what rounding alone does.
    /// The control are the differences of another batch, which no bound may let pass.
    pub fn agreement(set: &Set, device: Device) -> Value {
        let exact = set.quantities(EXACT);
        let entry = |format: &str| {
            let (kind, arithmetic) = match format {
                "f64" => (Kind::Double, Arithmetic::Full),
                "f32" => (Kind::Float, Arithmetic::Full),
                "tf32" => (Kind::Float, Arithmetic::Tf32),
                _ => (Kind::BFloat16, Arithmetic::Full),
            };
            device::set_arithmetic(arithmetic);
            let found = differences(&set.quantities((kind, device)), &exact);
            device::set_arithmetic(Arithmetic::Full);
            let cpu = (format != "tf32").then(|| differences(&set.quantities((kind, Device::Cpu)), &exact));
            (format.to_owned(), json!({ "device": found, "cpu": cpu }))
        };
        let found: Map<_, _> = FORMATS.into_iter().map(entry).collect();
        let other = Set::new(set.configuration.batch, 4).quantities(EXACT);
        json!({ "formats": found, "control": differences(&other, &exact) })
    }

    /// Relative difference of all parameters between runs on `device` and on the CPU in f32.
    pub fn drift(set: &Set, device: Device, steps: u64) -> Value {
        let (mut here, mut there) = (set.trainer(Device::Cpu), set.trainer(device));
        let all = |run: &Trainer| {
            Tensor::cat(&[flat(run.potential.parameters()), flat(run.discriminator.parameters())], 0)
        };
        let mut drift = Map::new();
        for step in 1..=steps {
            here.step().expect("finite");
            there.step().expect("finite");
            if [1, 5, steps].contains(&step) {
                drift.insert(step.to_string(), json!(relative(&all(&there), &all(&here))));
            }
        }
        drift.into()
    }

    /// Median milliseconds of the parts of an outer step in f32; a number read back waits for the device.
    pub fn profile(set: &Set, device: Device, repeats: u64) -> Value {
        let mut run = set.trainer(device);
        let median = |work: &mut dyn FnMut() -> Tensor| {
            let mut milliseconds: Vec<f64> = (0..repeats + 2)
                .map(|_| {
                    let start = Instant::now();
                    let _ = work().sum(Kind::Float).double_value(&[]);
                    start.elapsed().as_secs_f64() * 1e3
                })
                .skip(2)
                .collect();
            milliseconds.sort_by(f64::total_cmp);
            milliseconds[milliseconds.len() / 2]
        };
        let whole = median(&mut || {
            run.step().expect("finite");
            run.potential.parameters()[0].shallow_clone()
        });
        let [x0, data, between] =
            [&set.x0, &set.data, &set.between].map(|tensor| tensor.to_kind(Kind::Float).to_device(device));
        let (potential, critic, f) = (&run.potential, &run.discriminator, set.configuration.f);
        let all_at_once = x0.repeat([set.configuration.critic_steps as i64, 1]);
        let gradient = objective::critic(critic, f, &between, &data, None).gradient;
        let mut adam = Adam::new(set.configuration.critic_adam, critic.parameters());
        let mut copy = critic.to((Kind::Float, device));
        json!({
            "outer step": whole,
            "all critic samples": median(&mut || flow::endpoint(potential, &all_at_once, set.place)),
            "critic gradient without penalty": median(&mut || {
                objective::critic(critic, f, &between, &data, None).gradient.remove(0)
            }),
            "critic gradient": median(&mut || {
                objective::critic(critic, f, &between, &data, Some((set.penalty, &between))).gradient.remove(0)
            }),
            "Adam on the critic": median(&mut || {
                adam.update(copy.parameters_mut(), &gradient, 1.0);
                copy.parameters()[0].shallow_clone()
            }),
            "potential gradient": median(&mut || {
                objective::potential(potential, critic, &x0, set.place, Case::W1W2).gradient.remove(0)
            }),
        })
    }
}

#[cfg(feature = "torch")]
fn main() {
    use proxflow_gpu::device;
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "cpu".to_owned());
    let batch = arguments.next().map_or(200, |count| count.parse().expect("a batch size"));
    let steps = arguments.next().map_or(20, |count| count.parse().expect("a number of steps"));
    let choice: device::DeviceChoice = name.parse().expect("a device name");
    let device = choice.resolve().unwrap_or_else(|error| {
        eprintln!("device_agreement: {error}");
        std::process::exit(2)
    });
    device::keep_freed_memory();
    let set = check::Set::new(batch, 3);
    let cuda = device.is_cuda();
    let result = serde_json::json!({
        "device": device::device_name(device),
        "libtorch": device::LIBTORCH_VERSION,
        "cuda runtime": cuda.then(tch::utils::version_cudart),
        "cudnn": cuda.then(tch::utils::version_cudnn),
        "batch": batch,
        "relative_difference_to_f64_on_the_cpu": check::agreement(&set, device),
        "parameters_after_steps_beside_the_cpu_f32": check::drift(&set, device, steps),
        "milliseconds_f32": check::profile(&set, device, steps.min(7)),
        "peak_device_memory_mib": device::peak_memory_mib(device),
    });
    println!("{result}");
}

#[cfg(not(feature = "torch"))]
fn main() {
    println!("built without libtorch");
}
