//! How far f64 rounding grows in 20 outer steps: the run of `tests/processes.rs` with its batch in one piece and in four, which differ in the
//! order of summation alone. One line per set-up: the relative difference after 1, 5, 10 and 20 steps, and the parameters that
//! carry most of it.
//!
//! `cargo run --release -p proxflow-gpu --example rounding_growth`
#[cfg(feature = "torch")]
fn main() {
    use proxflow_gpu::architecture::{Activation, Architecture};
    use proxflow_gpu::{configuration::Configuration, objective::Case, team::Team, train};
    use tch::{Device, Kind, Tensor};
    const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    let run = |case: Case, f: &str, lambda: f64, pieces: usize| {
        let f = f.parse().expect("a divergence");
        let configuration =
            Configuration { case, f, lambda, batch: 22, lipschitz: 0.01, ..Configuration::default() };
        let data = Tensor::from_slice(&[2.0, 2.0, 2.5, 2.0, 2.0, 2.5, 1.0, 2.2, 1.7, 0.3]).reshape([5, 2]);
        let shape = |time| Architecture::dense(2, &[24, 24], Activation::Relu, time);
        let source = train::Source::Uniform;
        let trainer = train::Trainer::new(configuration, shape(true), shape(false), &data, source, OPTIONS);
        trainer.and_then(|trainer| trainer.with_team(Team::new(1, pieces, None)?)).expect("a valid run")
    };
    let others = ["reverse-kl", "alpha:0.5", "alpha:2.5", "chi2", "js", "hellinger"];
    let set_ups: Vec<_> =
        Case::ALL.map(|case| (case, "kl")).into_iter().chain(others.map(|f| (Case::W1W2, f))).collect();
    println!(
        "lambda case divergence | relative difference after 1, 5, 10, 20 steps | per parameter after 20: absolute (relative)"
    );
    for lambda in [0.05, 1.0] {
        for (case, f) in &set_ups {
            let (mut one, mut four) = (run(*case, f, lambda, 1), run(*case, f, lambda, 4));
            print!("{lambda} {} {f} |", case.name());
            for step in 1..=20 {
                one.step().and_then(|_| four.step()).expect("finite");
                let pairs = || {
                    let names = |network: &proxflow_gpu::network::Network, of: &str| -> Vec<String> {
                        let shapes = network.architecture().parameter_shapes();
                        shapes.iter().map(|(name, _)| format!("{of}.{name}")).collect()
                    };
                    let names = [names(&one.potential, "U"), names(&one.discriminator, "phi")].concat();
                    let parameters = |run: &train::Trainer| -> Vec<Tensor> {
                        let both = run.potential.parameters().iter().chain(run.discriminator.parameters());
                        both.map(Tensor::shallow_clone).collect()
                    };
                    names.into_iter().zip(parameters(&one).into_iter().zip(parameters(&four)))
                };
                if [1, 5, 10, 20].contains(&step) {
                    let squares = |of: &dyn Fn(&Tensor, &Tensor) -> f64| -> f64 {
                        pairs().map(|(_, (a, b))| of(&a, &b).powi(2)).sum::<f64>().sqrt()
                    };
                    print!(" {:.1e}", squares(&|a, b| norm(&(a - b))) / squares(&|a, _| norm(a)));
                }
                if step == 20 {
                    let mut found: Vec<_> =
                        pairs().map(|(name, (a, b))| (norm(&(&a - b)), norm(&a), name)).collect();
                    found.sort_by(|a, b| b.0.total_cmp(&a.0));
                    print!(" |");
                    for (difference, size, name) in found.iter().take(4) {
                        print!(" {name} {difference:.1e} ({:.1e})", difference / size);
                    }
                }
            }
            println!();
        }
    }
}

#[cfg(not(feature = "torch"))]
fn main() {
    println!("built without libtorch");
}
