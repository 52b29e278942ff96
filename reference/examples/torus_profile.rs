//! A performance profile of the large-grid solver over random instances: share solved to a relative gap within so many
//! processor seconds.
//!
//! `RAYON_NUM_THREADS=1 cargo run --release -p proxflow-reference --example torus_profile -- [COUNT SIDE SEED GAP REFINEMENTS]`
//! (default 100 256 1 1e-3 1). Families in turn: random Fourier densities, rings, points, clouds, lattices, equal and nearly
//! equal pairs; contrast 1 to 1e4; `T` in 0.05 to 2, `L` in 0.02 to 20 (`lambda = 1`: far active to inactive). One line for each
//! instance and one for a fixed thin ring, then the profile. Processor seconds are the process's own, so that a loaded machine changes little.
//!
//! *Solved* means a gap of at most GAP times the upper bound. The value is at least 0 and may be as good as that, so a second profile
//! also counts gaps of at most GAP times a thousandth of the dearest displacement, the Huber cost of half the diagonal: the natural
//! scale of the problem.

use std::f64::consts::TAU;
use std::fs;
use std::time::Instant;

use ndarray::ArrayD;
use proxflow_reference::Termination;
use proxflow_reference::torus::{
    DualOptions, TorusGrid, TorusProblem, geodesic_difference, solve_dual_observed,
};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FAMILIES: [&str; 7] = ["fourier", "ring", "points", "cloud", "lattice", "equal", "nearly-equal"];

fn main() -> Result<(), InvalidInput> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, fallback: f64| match arguments.get(index) {
        Some(text) => text
            .parse::<f64>()
            .map_err(|_| InvalidInput::new(format!("argument {}", index + 1), text, "a number")),
        None => Ok(fallback),
    };
    let (count, side, seed) = (number(0, 100.0)? as u64, number(1, 256.0)? as usize, number(2, 1.0)? as u64);
    let (relative_gap, refinements) = (number(3, 1e-3)?, number(4, 1.0)? as usize);
    let grid = TorusGrid::new(2, side)?;
    let mut rows: Vec<(bool, bool, f64)> = Vec::new();
    println!(
        "# family source target contrast L T lower upper relative_gap stop bounded processor_s wall_s newton_steps products"
    );
    for index in 0..=count {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(index));
        let family = if index == count { "thin-ring" } else { FAMILIES[index as usize % FAMILIES.len()] };
        let mut power = |low: f64, high: f64| 10_f64.powf(rng.random_range(low..high));
        let (contrast, lipschitz, horizon) = match family {
            "thin-ring" => (1e3, 0.7, 0.2),
            _ => (power(0.0, 4.0), power(-1.7, 1.3), power(-1.3, 0.3)),
        };
        let (source, target) = pair(family, &grid, contrast, &mut rng);
        let parameters = ProximalParameters::new(lipschitz, 1.0, horizon)?;
        let kind = DivergenceKind::KullbackLeibler;
        let problem = TorusProblem::new(grid, &source.1, &target.1, parameters, kind)?;
        let options = DualOptions { relative_gap, refinements, ..DualOptions::default() };
        let (mut steps, mut products) = (0, 0);
        let (clock, before) = (Instant::now(), processor_seconds());
        let solved = solve_dual_observed(&problem, &options, &mut |step| {
            steps += 1;
            products += step.products;
        })?;
        let seconds = processor_seconds() - before;
        println!(
            "{index} {family} {} {} {contrast:.3e} {lipschitz:.3e} {horizon:.3e} {:.9e} {:.9e} {:.2e} {:?} {:?} {seconds:.2} {:.2} {steps} {products}",
            source.0,
            target.0,
            solved.lower,
            solved.upper,
            solved.relative_gap(),
            solved.termination,
            solved.bounded,
            clock.elapsed().as_secs_f64(),
        );
        let sound = solved.termination != Termination::Failed && solved.lower <= solved.upper;
        assert!(sound, "instance {index}: [{}, {}] is no certificate", solved.lower, solved.upper);
        let dearest = problem.huber_cost().fold(0.0_f64, |most, cost| most.max(*cost));
        let relative = solved.relative_gap() <= relative_gap;
        if index == count {
            continue;
        }
        rows.push((relative, relative || solved.gap() <= relative_gap * 1e-3 * dearest, seconds));
    }
    for limit in [2.0, 4.0, 8.0, 20.0, f64::INFINITY] {
        let in_time = || rows.iter().filter(|(_, _, seconds)| *seconds <= limit);
        println!(
            "# within {limit} processor seconds: {} of {} solved, {} counting small absolute gaps",
            in_time().filter(|(relative, ..)| *relative).count(),
            rows.len(),
            in_time().filter(|(_, scaled, _)| *scaled).count(),
        );
    }
    println!("# above 20 processor seconds: {}", rows.iter().filter(|(.., seconds)| *seconds > 20.0).count());
    Ok(())
}

/// Processor seconds of this process so far, from `/proc/self/stat` (Linux; elsewhere 0).
fn processor_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = |field: usize| {
        after_name.split_whitespace().nth(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

type Named = (&'static str, ArrayD<f64>);

/// Source and target with the names of their kinds.
fn pair(family: &'static str, grid: &TorusGrid, contrast: f64, rng: &mut ChaCha8Rng) -> (Named, Named) {
    if family == "thin-ring" {
        let wave = |x: f64| (TAU * x).cos();
        let source = grid.tabulate(|x| 1.0 + 0.5 * wave(x[0]) * wave(x[1]));
        let target = grid.tabulate(|x| {
            let radius = grid.squared_distance(x, [0.5, 0.5, 0.0]).sqrt();
            1.0 / contrast + (-((radius - 0.25) / 0.03).powi(2)).exp()
        });
        return (("wave", source), (family, target));
    }
    let smooth = ["fourier", "ring", "cloud", "lattice"];
    let source_kind = smooth[rng.random_range(0..smooth.len())];
    let source = density(source_kind, grid, contrast, rng);
    let target = match family {
        "equal" => source.clone(),
        "nearly-equal" => {
            let size = 10_f64.powf(rng.random_range(-3.0..-1.0));
            let change = fourier(grid, rng);
            let mut target = source.clone();
            target.iter_mut().zip(&change).for_each(|(mass, change)| *mass *= 1.0 + size * (change - 0.5));
            target
        }
        kind => density(kind, grid, contrast, rng),
    };
    let target_kind = if family.ends_with("equal") { source_kind } else { family };
    ((source_kind, source), (target_kind, target))
}

fn density(kind: &str, grid: &TorusGrid, contrast: f64, rng: &mut ChaCha8Rng) -> ArrayD<f64> {
    let floor = 1.0 / contrast;
    let mut point = || [rng.random::<f64>(), rng.random::<f64>(), 0.0];
    let distance = |x: [f64; 3], y: [f64; 3]| grid.squared_distance(x, y).sqrt();
    match kind {
        "ring" => {
            let centre = point();
            let (radius, width) = (rng.random_range(0.1..0.35), rng.random_range(0.02..0.1));
            grid.tabulate(|x| floor + (-((distance(x, centre) - radius) / width).powi(2)).exp())
        }
        "points" => {
            let places: Vec<[f64; 3]> = (0..12).map(|_| point()).collect();
            let count = rng.random_range(1..=places.len());
            let nearest = |place: &[f64; 3]| {
                grid.flat_index([0, 1, 2].map(|axis| (place[axis] * grid.nodes_per_side as f64) as isize))
            };
            let mut masses = ArrayD::zeros(grid.shape());
            let values = masses.as_slice_mut().expect("standard layout");
            places[..count].iter().for_each(|place| values[nearest(place)] += 1.0);
            masses
        }
        "cloud" => {
            let centres: Vec<([f64; 3], f64)> =
                (0..20).map(|k| (point(), 0.02 + 0.003 * f64::from(k))).collect();
            grid.tabulate(|x| {
                let bump =
                    |(centre, width): &([f64; 3], f64)| (-(distance(x, *centre) / width).powi(2)).exp();
                floor + centres.iter().map(bump).sum::<f64>()
            })
        }
        "lattice" => {
            let (frequency, shift) = (f64::from(rng.random_range(2..7)), rng.random::<f64>());
            grid.tabulate(|x| {
                let wave = |axis: usize| {
                    (0.5 * TAU * frequency * geodesic_difference(x[axis] - shift)).cos().powi(2)
                };
                floor + wave(0) * wave(1)
            })
        }
        _ => fourier(grid, rng).mapv(|value| contrast.powf(value - 1.0)),
    }
}

/// A random trigonometric polynomial of degree 4 with amplitudes falling like `1 / |k|`, scaled to `[0, 1]`.
fn fourier(grid: &TorusGrid, rng: &mut ChaCha8Rng) -> ArrayD<f64> {
    let mut terms = Vec::new();
    for a in -4_i32..=4 {
        for b in 0..=4_i32 {
            if (a, b) != (0, 0) {
                let size = rng.random_range(-1.0..1.0) / f64::from(a * a + b * b).sqrt();
                terms.push((f64::from(a), f64::from(b), size, rng.random_range(0.0..TAU)));
            }
        }
    }
    let values = grid.tabulate(|x| {
        terms.iter().map(|(a, b, size, phase)| size * (TAU * (a * x[0] + b * x[1]) + phase).cos()).sum()
    });
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)));
    values.mapv(|value| (value - low) / (high - low).max(f64::MIN_POSITIVE))
}
