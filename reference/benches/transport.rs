//! Criterion benches of the transport kernels: `cargo bench -p proxflow-reference --bench transport`.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros make an undocumented public function

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ndarray::Array2;
use proxflow_reference::DivergenceKind;
use proxflow_reference::Options;
use proxflow_reference::transport::{PointCost, PointwiseCost, balanced_transport, semi_relaxed_transport};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

fn cloud(n: usize, d: usize, shift: f64, seed: u64) -> Array2<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((n, d), || {
        let value: f64 = StandardNormal.sample(&mut random);
        value + shift
    })
}

fn lipschitz(n: usize, d: usize) -> PointCost {
    let cost = PointwiseCost::Lipschitz { lipschitz: 1.0 };
    PointCost::new(cost, cloud(n, d, 0.0, 1).view(), cloud(n, d, 0.5, 2).view()).unwrap()
}

fn distances(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("distances");
    group.sample_size(10);
    for (n, d) in [(1000, 8), (1000, 784)] {
        let cost = lipschitz(n, d);
        group.bench_function(BenchmarkId::new("dense", format!("{n}x{n} d={d}")), |bencher| {
            bencher.iter(|| cost.clone().into_dense());
        });
    }
    group.finish();
}

fn solvers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("solvers");
    group.sample_size(10);
    for n in [200, 1000] {
        let cost = lipschitz(n, 8).into_dense();
        let p = vec![1.0 / n as f64; n];
        let options = Options::default();
        for kind in [DivergenceKind::KullbackLeibler, DivergenceKind::ChiSquared] {
            group.bench_function(BenchmarkId::new(format!("semi-relaxed {kind}"), n), |bencher| {
                bencher.iter(|| semi_relaxed_transport(&cost, &p, &p, kind, &options).unwrap().gap());
            });
        }
        group.bench_function(BenchmarkId::new("balanced", n), |bencher| {
            bencher.iter(|| balanced_transport(&cost, &p, &p, &options).unwrap().gap());
        });
    }
    group.finish();
}

criterion_group!(benches, distances, solvers);
criterion_main!(benches);
