//! Prints the median seconds per outer step of the published MNIST set-up (batch 200, 5 critic steps, T = 5, h = 1) on random images:
//! processor time, then wall-clock time last.
//!
//! `cargo run --release -p proxflow-gpu --example seconds_per_step -- [cpu|cuda] [outer steps] [threads] [pieces] [tf32]`
#[cfg(feature = "torch")]
fn main() {
    use proxflow_gpu::{architecture::Architecture, configuration::Configuration, device, team::Team, train};
    use tch::{Kind, Tensor};
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "cpu".to_owned());
    let outer_steps: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(cores);
    let pieces = arguments.next().and_then(|count| count.parse().ok());
    let choice: device::DeviceChoice = name.parse().expect("a device name");
    let device = choice.resolve().expect("a device of this machine");
    if arguments.next().is_some_and(|word| word == "tf32") {
        device::set_arithmetic(device::Arithmetic::Tf32);
    }
    let data = Tensor::rand([6000, 784], (Kind::Float, tch::Device::Cpu));
    device::keep_freed_memory();
    let team = match device {
        tch::Device::Cpu => Team::new(threads, pieces.unwrap_or(threads.max(4)), None).expect("threads"),
        _ => Team::single(),
    };
    let mut trainer = train::Trainer::new(
        Configuration::default(),
        Architecture::mnist_potential(),
        Architecture::mnist_discriminator(),
        &data,
        train::Source::Uniform,
        (Kind::Float, device),
    )
    .expect("the published set-up is valid")
    .with_team(team)
    .expect("a batch that one process can share out");
    let warm = outer_steps.min(2);
    let mut seconds: Vec<(f64, f64)> = (0..outer_steps + warm)
        .map(|_| {
            let (start, busy) = (std::time::Instant::now(), processor_seconds());
            trainer.step().expect("finite");
            (processor_seconds() - busy, start.elapsed().as_secs_f64())
        })
        .skip(warm)
        .collect();
    let median = |time: &mut dyn FnMut(&(f64, f64)) -> f64| {
        seconds.sort_by(|a, b| time(a).total_cmp(&time(b)));
        time(&seconds[seconds.len() / 2])
    };
    let mut median = median;
    println!("{:.4} {:.4}", median(&mut |times| times.0), median(&mut |times| times.1));
}

/// User and system time of this process so far, in ticks of a hundredth of a second; zero where the system does not tell.
#[cfg(feature = "torch")]
fn processor_seconds() -> f64 {
    let Ok(text) = std::fs::read_to_string("/proc/self/stat") else { return 0.0 };
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[cfg(not(feature = "torch"))]
fn main() {
    println!("built without libtorch");
}
