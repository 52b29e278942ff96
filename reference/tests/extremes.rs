//! Extreme numbers against 320 bits: scales 1e-150 to 1e150, weights to 1e-300, L over 30 decades, every f and its limits. Whatever
//! a solver reports must agree with the outward-rounded bounds of the same problem, or be a failure without numbers; none
//! may take longer than 20 s.
//!
//! `PROXFLOW_EXTREMES=20000` runs a longer sweep; a case that goes wrong is named by its seed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ndarray::Array2;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use proxflow_reference::proximal::combined_proximal;
use proxflow_reference::transport::{
    DenseCost, Order, balanced_transport, semi_relaxed_transport, wasserstein,
};
use proxflow_reference::{
    Certified, Divergence, DivergenceKind, InvalidInput, Measure, Options, ProximalParameters, SingularMass,
    Termination,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LONGEST: Duration = Duration::from_secs(20);

/// The orders at which the alpha family has limits, or loses digits.
const ORDERS: [f64; 14] = [
    1e-30,
    1e-15,
    1e-6,
    1e-3,
    0.1,
    0.5,
    1.0 - 1e-9,
    1.0 - 1.2e-16,
    1.0 + 2.3e-16,
    1.0 + 1e-9,
    1.5,
    3.0,
    20.0,
    200.0,
];

/// What one solve said, without its plan.
#[derive(Debug, Clone)]
struct Said {
    lower: f64,
    upper: f64,
    termination: Termination,
    /// The largest potential of an atom with mass.
    potential: f64,
}

fn said<T>(found: &Certified<T>, potentials: [(&[f64], &[f64]); 2]) -> Said {
    let charged = potentials.iter().flat_map(|(values, weights)| {
        values.iter().zip(*weights).filter(|(_, w)| **w > 0.0).map(|(v, _)| v.abs()).filter(|v| v.is_finite())
    });
    let Certified { lower, upper, termination, .. } = *found;
    Said { lower, upper, termination, potential: charged.fold(0.0, f64::max) }
}

fn decades(random: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    10f64.powf(random.random_range(low..high))
}

/// Weights of which some are ordinary, some as small as 1e-300 and some zero.
fn masses(random: &mut ChaCha8Rng, n: usize) -> Vec<f64> {
    let mut masses: Vec<f64> = (0..n)
        .map(|_| match random.random_range(0..4) {
            0 => decades(random, -300.0, 0.0),
            1 if n > 1 => 0.0,
            _ => random.random_range(0.05..1.0),
        })
        .collect();
    masses[0] = random.random_range(0.05..1.0);
    masses
}

/// Points of one scale, some of them equal to or very close to others.
fn points(random: &mut ChaCha8Rng, n: usize, d: usize, scale: f64) -> Array2<f64> {
    let mut points = Array2::from_shape_simple_fn((n, d), || scale * random.random_range(-1.0..1.0));
    for i in 1..n {
        match random.random_range(0..5) {
            0 => {
                let first = points.row(0).to_owned();
                points.row_mut(i).assign(&first);
            }
            1 => {
                let near = decades(random, -16.0, 0.0);
                let first = points.row(0).mapv(|x| x * (1.0 + near));
                points.row_mut(i).assign(&first);
            }
            _ => {}
        }
    }
    points
}

/// One problem of a seed: what it is, and its solver.
type Solver = Box<dyn Fn(Options<'static>) -> Result<Said, InvalidInput> + Send>;

fn problem(seed: u64) -> (String, Solver) {
    let random = &mut ChaCha8Rng::seed_from_u64(seed);
    let (n, m, d) = (random.random_range(1..7), random.random_range(1..7), random.random_range(1..4));
    let scale = decades(random, -150.0, 150.0);
    let (x, mut z) = (points(random, n, d, scale), points(random, m, d, scale));
    if random.random_bool(0.3) {
        let common = x.row(0).to_owned();
        z.row_mut(0).assign(&common);
    }
    let p = Measure::normalised(x, masses(random, n)).unwrap();
    let q = Measure::normalised(z, masses(random, m)).unwrap();
    let mut kinds = DivergenceKind::ALL.to_vec();
    kinds.extend(ORDERS.map(DivergenceKind::Alpha));
    let kind = kinds[random.random_range(0..kinds.len())];
    // L in units of one over the scale, or as it comes.
    let unit = if random.random_bool(0.7) { scale } else { 1.0 };
    let lipschitz = decades(random, -15.0, 15.0) / unit;
    let singular = if random.random_bool(0.5) { SingularMass::Forbidden } else { SingularMass::Priced };
    match random.random_range(0..8) {
        0..=2 => {
            let name = format!("divergence {kind} L {lipschitz:e} scale {scale:e} {singular:?} {n} x {m}");
            let solve = move |options: Options<'static>| {
                let options = options.singular(singular);
                let found = Divergence::of(kind).lipschitz(lipschitz).options(options).between(&p, &q)?;
                let psi = found.data_potential();
                Ok(said(&found, [(&found.model_potential, p.weights()), (&psi, q.weights())]))
            };
            (name, Box::new(solve))
        }
        3 | 4 => {
            let lambda = decades(random, -15.0, 15.0) / unit;
            let horizon = decades(random, -6.0, 6.0) * if random.random_bool(0.5) { unit } else { 1.0 };
            let name = format!(
                "proximal {kind} L {lipschitz:e} lambda {lambda:e} T {horizon:e} scale {scale:e} {n} x {m}"
            );
            let solve = move |options: Options<'static>| {
                let parameters = ProximalParameters::new(lipschitz, lambda, horizon)?;
                let found = combined_proximal(&p, &q, kind, parameters, &options.singular(singular))?;
                let psi = found.potential.values_at_atoms();
                Ok(said(&found, [(&found.initial_potential, p.weights()), (&psi, q.weights())]))
            };
            (name, Box::new(solve))
        }
        5 => {
            let order = if random.random_bool(0.5) { Order::One } else { Order::Two };
            let name = format!("{order:?} scale {scale:e} {n} x {m}");
            let solve = move |options: Options<'static>| {
                let found = wasserstein(&p, &q, order, &options)?;
                let reach = if order == Order::Two { found.upper * 1e8 } else { 0.0 };
                let transport = &found.transport;
                let potentials = [
                    (&transport.source_potential[..], p.weights()),
                    (&transport.target_potential[..], q.weights()),
                ];
                let said = said(&found, potentials);
                // W2 is known to the root of the rounding of its square.
                let potential =
                    if order == Order::Two { (said.potential).sqrt() * 1e8 } else { said.potential };
                Ok(Said { potential: potential.max(reach), ..said })
            };
            (name, Box::new(solve))
        }
        rest => {
            let signs = random.random_bool(0.5);
            let spread = if random.random_bool(0.5) { 150.0 } else { 1.0 };
            let middle = random.random_range(-100.0..100.0);
            let matrix = Array2::from_shape_simple_fn((n, m), || {
                let sign = if signs && random.random_bool(0.5) { -1.0 } else { 1.0 };
                if random.random_bool(0.1) {
                    0.0
                } else {
                    sign * decades(random, middle - spread, middle + spread)
                }
            });
            let (p, q) = (p.weights().to_vec(), q.weights().to_vec());
            let balanced = rest == 6;
            let name =
                format!("{} {kind} cost {matrix:?}", if balanced { "balanced" } else { "semi-relaxed" });
            let solve = move |options: Options<'static>| {
                let cost = DenseCost::new(matrix.clone())?;
                if balanced {
                    let found = balanced_transport(&cost, &p, &q, &options)?;
                    return Ok(said(&found, [(&found.source_potential, &p), (&found.target_potential, &q)]));
                }
                let found = semi_relaxed_transport(&cost, &p, &q, kind, &options)?;
                Ok(said(&found, [(&found.source_potential, &p), (&found.potential, &q)]))
            };
            (name, Box::new(solve))
        }
    }
}

/// Solves plainly and rigorously, in a thread that is given up after [`LONGEST`].
fn solve(seed: u64) -> (String, Option<Result<[Said; 2], InvalidInput>>) {
    let (name, solver) = problem(seed);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let options = Options::new().threads(1);
        let both = solver(options).and_then(|plain| Ok([plain, solver(options.rigorous(true))?]));
        let _ = sender.send(both);
    });
    (name, receiver.recv_timeout(LONGEST).ok())
}

/// What may be reported.
fn judge([plain, rigorous]: &[Said; 2]) -> Result<&'static str, String> {
    for said in [plain, rigorous] {
        let known = said.lower.is_finite() && said.upper.is_finite();
        let unknown = said.lower == f64::NEG_INFINITY && said.upper == f64::INFINITY;
        if (said.termination == Termination::Failed) != unknown || !(known || unknown) {
            return Err(format!("bounds and status do not fit: {said:?}"));
        }
    }
    if plain.termination == Termination::Failed {
        return Ok("failed");
    }
    if rigorous.termination == Termination::Failed {
        return Ok("failed in 320 bits");
    }
    if rigorous.lower > rigorous.upper {
        return Err(format!("theorems that contradict: {rigorous:?}"));
    }
    // The stated rounding of plain sums: some units in the last place of what they add up.
    let rounding = 64.0 * f64::EPSILON * (1.0 + rigorous.upper.abs() + plain.potential);
    if plain.lower > rigorous.upper + rounding || plain.upper < rigorous.lower - rounding {
        return Err(format!("beyond the theorem by more than {rounding:e}: {plain:?} {rigorous:?}"));
    }
    let tight = |said: &Said, tolerance: f64| {
        said.upper - said.lower <= tolerance * (1.0 + said.upper.abs()) + rounding
    };
    match (plain.termination, rigorous.termination) {
        (Termination::Converged, _) if !tight(plain, 1e-10) => {
            Err(format!("converged at a wide gap: {plain:?}"))
        }
        (Termination::Converged, Termination::Converged) => Ok("converged"),
        (Termination::Converged, _) => Ok("converged, wider in 320 bits"),
        _ => Ok("bounds beyond the tolerance"),
    }
}

#[test]
fn extreme_problems_agree_with_their_rigorous_bounds_or_fail() {
    let cases = std::env::var("PROXFLOW_EXTREMES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    let mut runner =
        TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() });
    let tally = std::cell::RefCell::new(BTreeMap::<String, u32>::new());
    let longest = std::cell::RefCell::new((Duration::ZERO, String::new()));
    let outcome = runner.run(&any::<u64>().no_shrink(), |seed| {
        let clock = Instant::now();
        let (name, both) = solve(seed);
        if clock.elapsed() > longest.borrow().0 {
            *longest.borrow_mut() = (clock.elapsed(), format!("seed {seed}, {name}"));
        }
        let fault = |what: String| TestCaseError::fail(format!("seed {seed}, {name}: {what}"));
        let class = match both {
            None => return Err(fault(format!("longer than {LONGEST:?}, or a panic"))),
            Some(Err(error)) => format!("refused: {}", error.field),
            Some(Ok(both)) => judge(&both).map_err(fault)?.to_owned(),
        };
        *tally.borrow_mut().entry(class).or_default() += 1;
        Ok(())
    });
    let (time, slowest) = longest.into_inner();
    eprintln!("{cases} cases: {:?}; the longest {:.2} s: {slowest}", tally.borrow(), time.as_secs_f64());
    outcome.unwrap();
}
