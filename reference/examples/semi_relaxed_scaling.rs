//! Time and certified gap of semi-relaxed transport against the number of points (KL, `c = |x - z|`, dimension 8).

use ndarray::Array2;
use proxflow_reference::DivergenceKind;
use proxflow_reference::transport::{PointCost, PointwiseCost, SemiRelaxedOptions, semi_relaxed_transport};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

fn instance(n: usize, seed: u64) -> (Array2<f64>, Array2<f64>, Vec<f64>, Vec<f64>) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let x = Array2::from_shape_simple_fn((n, 8), || StandardNormal.sample(&mut generator));
    let z: Array2<f64> = Array2::from_shape_simple_fn((n, 8), || {
        let value: f64 = StandardNormal.sample(&mut generator);
        value + 0.5
    });
    let gamma = Gamma::new(2.0, 1.0).expect("positive parameters");
    let mut weights = || {
        let raw: Vec<f64> = (0..n).map(|_| gamma.sample(&mut generator)).collect();
        let total: f64 = raw.iter().sum();
        raw.into_iter().map(|w| w / total).collect::<Vec<f64>>()
    };
    let (p, q) = (weights(), weights());
    (x, z, p, q)
}

fn main() {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    for n in sizes {
        let (x, z, p, q) = instance(n, 1);
        let clock = std::time::Instant::now();
        let cost = PointCost::new(PointwiseCost::Lipschitz { lipschitz: 1.0 }, x.view(), z.view())
            .expect("valid points")
            .into_dense();
        let cost_seconds = clock.elapsed().as_secs_f64();
        let solution = semi_relaxed_transport(
            &cost,
            &p,
            &q,
            DivergenceKind::KullbackLeibler,
            &SemiRelaxedOptions::default(),
        )
        .expect("valid weights");
        println!(
            "n {n} cost {cost_seconds:.3} s solve {:.3} s gap {:.2e} value {:.6} passes {} pivots {} {:?}",
            solution.seconds,
            solution.gap(),
            solution.upper,
            solution.passes,
            solution.iterations,
            solution.outcome
        );
    }
}
