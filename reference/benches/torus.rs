#![allow(missing_docs)] // criterion_group! makes an undocumented function
//! Hopf-Lax transforms and the large-grid solver: `cargo bench -p proxflow-reference --bench torus`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use proxflow_reference::torus::{
    DualOptions, NamedDensity, TorusGrid, TorusProblem, hopf_lax, lipschitz_envelope, solve_dual,
};
use proxflow_reference::{DivergenceKind, ProximalParameters};

fn problem(side: usize) -> TorusProblem {
    let grid = TorusGrid::new(2, side).expect("a valid grid");
    let parameters = ProximalParameters::new(10.0, 1.0, 1.0).expect("positive parameters");
    let (source, target) = (NamedDensity::Bump.on(&grid), NamedDensity::Mixture.on(&grid));
    TorusProblem::new(grid, &source, &target, parameters, DivergenceKind::KullbackLeibler)
        .expect("valid densities")
}

fn torus(criterion: &mut Criterion) {
    for side in [256, 512] {
        let grid = TorusGrid::new(2, side).expect("a valid grid");
        let phi = grid.tabulate(|x| 0.1 * (6.3 * x[0]).sin() * (6.3 * x[1]).cos());
        criterion.bench_function(&format!("hopf_lax_{side}"), |bencher| {
            bencher.iter(|| hopf_lax(&grid, black_box(&phi), 1.0, 1.0));
        });
        criterion.bench_function(&format!("lipschitz_envelope_{side}"), |bencher| {
            bencher.iter(|| lipschitz_envelope(&grid, black_box(&phi), 0.5));
        });
    }
    let game = problem(128);
    let options = DualOptions { relative_gap: 2e-3, ..DualOptions::default() };
    criterion.bench_function("solve_dual_128", |bencher| {
        bencher.iter(|| solve_dual(black_box(&game), &options));
    });
}

criterion_group! { name = benches; config = Criterion::default().sample_size(10); targets = torus }
criterion_main!(benches);
