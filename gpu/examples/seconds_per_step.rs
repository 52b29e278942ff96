//! Prints the median seconds per outer step of the published MNIST set-up (batch 200, 5 critic steps, T = 5, h = 1) on random images.
//!
//! `cargo run --release -p proxflow-gpu --example seconds_per_step -- [cpu|cuda] [outer steps]`
#[cfg(feature = "torch")]
fn main() {
    use proxflow_gpu::{architecture::Architecture, configuration::Configuration, device, train};
    use tch::{Kind, Tensor};
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "cpu".to_owned());
    let outer_steps: usize = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(10);
    let choice: device::DeviceChoice = name.parse().expect("a device name");
    let device = choice.resolve().expect("a device of this machine");
    let data = Tensor::rand([6000, 784], (Kind::Float, tch::Device::Cpu));
    device::keep_freed_memory();
    let mut trainer = train::Trainer::new(
        Configuration::default(),
        Architecture::mnist_potential(),
        Architecture::mnist_discriminator(),
        &data,
        train::Source::Uniform,
        (Kind::Float, device),
    )
    .expect("the published set-up is valid");
    let mut seconds: Vec<f64> = (0..outer_steps + 2)
        .map(|_| {
            let start = std::time::Instant::now();
            trainer.step().expect("finite");
            start.elapsed().as_secs_f64()
        })
        .skip(2)
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!("{:.4}", seconds[seconds.len() / 2]);
}

#[cfg(not(feature = "torch"))]
fn main() {
    println!("built without libtorch");
}
