//! scratch
use std::io::Read;
use ndarray::{s, Array2};
use proxflow_reference::{DivergenceKind, ProximalParameters};
use proxflow_reference::transport::{PointCost, PointwiseCost, SemiRelaxedOptions, semi_relaxed_transport};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
fn idx(name: &str) -> Array2<f64> {
    let dir = std::env::var("PROXFLOW_MNIST").unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(format!("{dir}/{name}")).unwrap()).read_to_end(&mut bytes).unwrap();
    let n = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
    Array2::from_shape_fn((n, 784), |(i, k)| bytes[16 + i * 784 + k] as f64 / 255.0)
}
fn main() {
    let train = idx("train-images-idx3-ubyte.gz");
    let test = idx("t10k-images-idx3-ubyte.gz");
    let mut r = ChaCha8Rng::seed_from_u64(0);
    let pick = |a: &Array2<f64>, n: usize, r: &mut ChaCha8Rng| { let mut ids: Vec<usize> = (0..a.nrows()).collect(); ids.shuffle(r); a.select(ndarray::Axis(0), &ids[..n]) };
    let z = pick(&train, 6000, &mut r);
    let held = pick(&test, 1000, &mut r);
    let noise = Array2::from_shape_simple_fn((1000, 784), || r.random_range(0.0..0.5));
    let p = vec![1e-3; 1000]; let q = vec![1.0 / 6000.0; 6000];
    let par = ProximalParameters { lipschitz: 1.0, lambda: 0.05, horizon: 5.0 };
    for (name, x, c) in [("J*", &noise, PointwiseCost::Huber(par)), ("heldout", &held, PointwiseCost::Lipschitz { lipschitz: 1.0 })] {
        let t = std::time::Instant::now();
        let cost = PointCost::new(c, x.view(), z.view()).unwrap().into_dense();
        println!("distances {:.2}", t.elapsed().as_secs_f64());
        let o = SemiRelaxedOptions::default();
        let s = proxflow_reference::transport::semi_relaxed_transport_observed(&cost, &p, &q, DivergenceKind::KullbackLeibler, &o, &mut |_| ()).unwrap();
        println!("{name} {:.3} s gap {:.1e} value {:.6} kl {:.5} K* {:.4} passes {} pivots {} {:?}", s.seconds, s.gap(), s.upper, s.divergence, s.transport / 0.05, s.passes, s.iterations, s.outcome);
    }
    let _ = s![..]; let _ = semi_relaxed_transport;
}
