//! Time, certified gap and memory of semi-relaxed transport against the number of points.
//!
//! By default KL and `c = |x - z|`; dimension 8, normal against shifted normal, gamma weights. Sizes up to 4000 are solved
//! three times and the median is printed, distances included, wall-clock and processor seconds, with the exponents of power
//! laws fitted to the sizes. Costs beyond `--dense-mib` (2048) are computed on the fly.
//!
//! ```text
//! cargo run --release -p proxflow-reference --example semi_relaxed_scaling -- 1000 2000 4000
//! cargo run --release -p proxflow-reference --example semi_relaxed_scaling -- --f chi2 --cost huber 1000 2000 4000
//! cargo run --release -p proxflow-reference --example semi_relaxed_scaling -- --export DIR 200   # instance as .npy too
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array1, Array2};
use ndarray_npy::write_npy;
use proxflow_reference::Options;
use proxflow_reference::transport::cost::DENSE_COST_BYTES;
use proxflow_reference::transport::{PointCost, PointwiseCost, SemiRelaxedTransport, semi_relaxed_transport};
use proxflow_reference::{DivergenceKind, ProximalParameters};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

const DIMENSION: usize = 8;
const SHIFT: f64 = 0.5;
/// Sizes up to this are repeated.
const LARGEST_REPEATED: usize = 4000;
const REPEATS: usize = 3;

struct Arguments {
    sizes: Vec<usize>,
    kind: DivergenceKind,
    cost: PointwiseCost,
    dense_bytes: usize,
    export: Option<PathBuf>,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut options = Self {
            sizes: Vec::new(),
            kind: DivergenceKind::KullbackLeibler,
            cost: PointwiseCost::Lipschitz { lipschitz: 1.0 },
            dense_bytes: DENSE_COST_BYTES,
            export: None,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--export" => options.export = Some(PathBuf::from(value()?)),
                "--f" => options.kind = value()?.parse()?,
                "--dense-mib" => options.dense_bytes = value()?.parse::<usize>()? << 20,
                "--cost" => {
                    options.cost = match value()?.as_str() {
                        "lipschitz" => PointwiseCost::Lipschitz { lipschitz: 1.0 },
                        // The kink at r = 4 is near the mean distance.
                        "huber" => PointwiseCost::Huber(ProximalParameters::new(1.0, 0.25, 1.0)?),
                        "squared" => PointwiseCost::SquaredDistance,
                        other => {
                            return Err(
                                format!("--cost: {other} is none of lipschitz, huber, squared").into()
                            );
                        }
                    }
                }
                size => options.sizes.push(size.parse()?),
            }
        }
        if options.sizes.is_empty() {
            options.sizes = vec![1000, 2000, 4000];
        }
        Ok(options)
    }
}

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

/// Processor seconds of all threads of this process, where the system tells, to a hundredth.
fn processor_seconds() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Fields after the parenthesised name; utime and stime are the 14th and 15th of all, in ticks of 1/100 s.
    let fields: Vec<&str> = status.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?) / 100.0)
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

/// One timed solution.
struct Run {
    seconds: f64,
    processor: f64,
    distances: f64,
    solution: SemiRelaxedTransport,
}

fn solve(data: &Instance, options: &Arguments) -> Result<Run, Box<dyn std::error::Error>> {
    let (p, q) = (data.p.to_vec(), data.q.to_vec());
    let (clock, before) = (Instant::now(), processor_seconds());
    let cost = PointCost::new(options.cost, data.x.view(), data.z.view())?.within_memory(options.dense_bytes);
    let distances = clock.elapsed().as_secs_f64();
    let solution = semi_relaxed_transport(cost.as_ref(), &p, &q, options.kind, &Options::default())?;
    let processor = processor_seconds().zip(before).map_or(f64::NAN, |(after, before)| after - before);
    Ok(Run { seconds: clock.elapsed().as_secs_f64(), processor, distances, solution })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Arguments::parse(std::env::args().skip(1))?;
    println!("f {}, cost {:?}, dimension {DIMENSION}", options.kind, options.cost);
    println!(
        "{:>7}{:>11}{:>11}{:>11}{:>11}{:>16}{:>8}{:>8}{:>10}{:>12}",
        "n", "distances", "seconds", "processor", "gap", "value", "passes", "pivots", "peak MiB", "costs"
    );
    let (mut wall, mut processor) = (Vec::new(), Vec::new());
    for &n in &options.sizes {
        let data = instance(n, 1);
        if let Some(directory) = &options.export {
            export(directory, n, &data)?;
        }
        let repeats = if n <= LARGEST_REPEATED { REPEATS } else { 1 };
        let mut runs = (0..repeats).map(|_| solve(&data, &options)).collect::<Result<Vec<_>, _>>()?;
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let run = &runs[repeats / 2];
        wall.push((n as f64, run.seconds));
        // A tick of 1/100 s keeps the logarithm finite.
        processor
            .push((n as f64, runs.iter().map(|run| run.processor).sum::<f64>().max(0.01) / repeats as f64));
        println!(
            "{n:>7}{:>11.4}{:>11.4}{:>11.3}{:>11.1e}{:>16.9}{:>8}{:>8}{:>10}{:>12}",
            run.distances,
            run.seconds,
            processor[processor.len() - 1].1,
            run.solution.gap(),
            run.solution.upper,
            run.solution.passes,
            run.solution.iterations,
            peak_memory().map_or("unknown".into(), |mib| format!("{mib:.0}")),
            if 8 * n * n <= options.dense_bytes { "in memory" } else { "on the fly" },
        );
    }
    if wall.len() > 1 {
        println!(
            "seconds grow as n^{:.2}, processor seconds as n^{:.2}",
            fitted_exponent(&wall),
            fitted_exponent(&processor)
        );
    }
    Ok(())
}
