//! Time, certified gap and memory of semi-relaxed transport against the number of points.
//!
//! KL, `c = |x - z|`, dimension 8, normal against shifted normal, gamma weights; each size is solved three times and the
//! median time is printed, distances included, with the exponent of a power law fitted to the sizes.
//!
//! ```text
//! cargo run --release -p proxflow-reference --example semi_relaxed_scaling -- 1000 2000 4000
//! cargo run --release -p proxflow-reference --example semi_relaxed_scaling -- --export DIR 200   # instance as .npy too
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array1, Array2};
use ndarray_npy::write_npy;
use proxflow_reference::DivergenceKind;
use proxflow_reference::transport::{PointCost, PointwiseCost, SemiRelaxedOptions, semi_relaxed_transport};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

const DIMENSION: usize = 8;
const SHIFT: f64 = 0.5;
const REPEATS: usize = 3;

struct Instance {
    x: Array2<f64>,
    z: Array2<f64>,
    p: Array1<f64>,
    q: Array1<f64>,
}

fn instance(n: usize, seed: u64) -> Instance {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = |shift: f64| {
        Array2::from_shape_simple_fn((n, DIMENSION), || {
            let value: f64 = StandardNormal.sample(&mut random);
            value + shift
        })
    };
    let (x, z) = (normal(0.0), normal(SHIFT));
    let gamma = Gamma::new(2.0, 1.0).expect("positive parameters");
    let mut weights = || {
        let raw = Array1::from_shape_simple_fn(n, || gamma.sample(&mut random));
        &raw / raw.sum()
    };
    let (p, q) = (weights(), weights());
    Instance { x, z, p, q }
}

/// Peak resident memory of this process in MiB, where the system tells.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn export(directory: &Path, n: usize, instance: &Instance) -> Result<(), Box<dyn std::error::Error>> {
    write_npy(directory.join(format!("x{n}.npy")), &instance.x)?;
    write_npy(directory.join(format!("z{n}.npy")), &instance.z)?;
    write_npy(directory.join(format!("p{n}.npy")), &instance.p)?;
    write_npy(directory.join(format!("q{n}.npy")), &instance.q)?;
    Ok(())
}

/// Slope of the least-squares line through `(ln n, ln seconds)`.
fn fitted_exponent(points: &[(f64, f64)]) -> f64 {
    let mean =
        |values: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(values).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(&|point| point.0.ln()), mean(&|point| point.1.ln()));
    let covariance = mean(&|point| (point.0.ln() - x) * (point.1.ln() - y));
    covariance / mean(&|point| (point.0.ln() - x).powi(2))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut sizes: Vec<usize> = Vec::new();
    let mut directory: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--export" {
            directory = arguments.next().map(PathBuf::from);
        } else {
            sizes.push(argument.parse()?);
        }
    }
    if sizes.is_empty() {
        sizes = vec![1000, 2000, 4000];
    }
    println!(
        "{:>7}{:>11}{:>11}{:>11}{:>14}{:>8}{:>8}{:>12}",
        "n", "distances", "total s", "gap", "value", "passes", "pivots", "peak MiB"
    );
    let mut points = Vec::new();
    for &n in &sizes {
        let data = instance(n, 1);
        if let Some(directory) = &directory {
            export(directory, n, &data)?;
        }
        let (p, q) = (data.p.to_vec(), data.q.to_vec());
        let mut runs = Vec::new();
        for _ in 0..REPEATS {
            let clock = Instant::now();
            let lipschitz = PointwiseCost::Lipschitz { lipschitz: 1.0 };
            let cost = PointCost::new(lipschitz, data.x.view(), data.z.view())?.into_dense();
            let distances = clock.elapsed().as_secs_f64();
            let kind = DivergenceKind::KullbackLeibler;
            let solution = semi_relaxed_transport(&cost, &p, &q, kind, &SemiRelaxedOptions::default())?;
            runs.push((clock.elapsed().as_secs_f64(), distances, solution));
        }
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (total, distances, solution) = &runs[REPEATS / 2];
        points.push((n as f64, *total));
        println!(
            "{n:>7}{distances:>11.4}{total:>11.4}{:>11.1e}{:>14.9}{:>8}{:>8}{:>12}",
            solution.gap(),
            solution.upper,
            solution.passes,
            solution.iterations,
            peak_memory().map_or("unknown".into(), |mib| format!("{mib:.0}")),
        );
    }
    if points.len() > 1 {
        println!("time grows as n^{:.2}", fitted_exponent(&points));
    }
    Ok(())
}
