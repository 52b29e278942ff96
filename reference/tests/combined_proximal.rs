//! Properties of the combined proximal: notation 2.1 to 2.3, straight lines, the optimality gap of given flows.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CERTIFIED, Measure, any_kind, measure, priced, scale};
use ndarray::{Array2, Array3, Axis, array, stack};
use proptest::prelude::*;
use proxflow_reference::divergence::LipschitzRegularisedDivergence;
use proxflow_reference::proximal::{CombinedProximal, combined_proximal, optimality_gap};
use proxflow_reference::transport::{Order, PointwiseCost, wasserstein};
use proxflow_reference::{
    Divergence, DivergenceKind, Measure as LawOf, Options, ProximalParameters, Termination,
};

fn solve(p: &Measure, q: &Measure, kind: DivergenceKind, parameters: ProximalParameters) -> CombinedProximal {
    combined_proximal(&p.law(), &q.law(), kind, parameters, &Options::new()).unwrap()
}

fn terminal_divergence(
    solved: &CombinedProximal,
    q: &Measure,
    kind: DivergenceKind,
) -> LipschitzRegularisedDivergence {
    let end = LawOf::new(solved.endpoints.view(), solved.masses()).unwrap();
    Divergence::of(kind).lipschitz(solved.parameters.lipschitz).between(&end, &q.law()).unwrap()
}

fn any_parameters() -> impl Strategy<Value = ProximalParameters> {
    (0.2..4.0f64, 0.1..4.0f64, 0.2..3.0f64)
        .prop_map(|(lipschitz, lambda, horizon)| ProximalParameters::new(lipschitz, lambda, horizon).unwrap())
}

fn norm(vector: ndarray::ArrayView1<f64>) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_huber_cost_is_what_remains_when_the_middle_point_is_eliminated(
        parameters in any_parameters(), ratio in 0.01..3.0f64,
    ) {
        let ProximalParameters { lipschitz, lambda, horizon } = parameters;
        let r = ratio * parameters.kink();
        let through = |travelled: f64| lambda * travelled * travelled / (2.0 * horizon) + lipschitz * (r - travelled);
        // Naive twin: the best of a fine grid of middle points on the segment; error lambda h^2/(8T).
        let cells = 4000;
        let best = (0..=cells).map(|k| through(r * f64::from(k) / f64::from(cells))).fold(f64::INFINITY, f64::min);
        let cost = PointwiseCost::Huber(parameters).of_squared_distance(r * r);
        let spacing = r / f64::from(cells);
        prop_assert!(cost <= best + 1e-13 * scale(best));
        prop_assert!(best - cost <= lambda * spacing * spacing / (2.0 * horizon) + 1e-13 * scale(best));
        prop_assert!((through(r.min(parameters.kink())) - cost).abs() <= 1e-13 * scale(cost));
    }

    #[test]
    fn the_recovered_flow_costs_the_optimal_value_at_bounded_speed(
        p in measure(2, 6), q in measure(2, 6), kind in any_kind(), parameters in any_parameters(),
    ) {
        let solved = solve(&p, &q, kind, parameters);
        let ProximalParameters { lipschitz, lambda, horizon } = parameters;
        let tolerance = CERTIFIED * scale(solved.upper);
        prop_assert!(solved.gap().abs() <= tolerance, "{kind} {}", solved.gap());
        let parts = lambda * solved.kinetic_energy + solved.transport + solved.divergence;
        prop_assert!((parts - solved.upper).abs() <= tolerance, "{kind} {parts} {}", solved.upper);

        let velocities = solved.velocities();
        let mut kinetic = 0.0;
        for (velocity, path) in velocities.outer_iter().zip(&solved.paths) {
            let speed = norm(velocity);
            prop_assert!(speed <= lipschitz / lambda * (1.0 + 1e-12), "{speed}");
            kinetic += path.mass * horizon * speed * speed / 2.0;
            // Mass that leaves a remainder to W1 travels at full speed.
            let z = q.points.row(path.data.unwrap());
            let r = norm((&z - &p.points.row(path.source)).view());
            if r > parameters.kink() * (1.0 + 1e-9) {
                prop_assert!((speed - lipschitz / lambda).abs() <= 1e-12 * speed);
            } else {
                prop_assert!((speed - r / horizon).abs() <= 1e-9 * (1.0 + speed));
            }
        }
        prop_assert!((kinetic - solved.kinetic_energy).abs() <= 1e-12 * scale(kinetic));
        // Each source atom keeps its mass.
        let mut sources = vec![0.0; p.weights.len()];
        solved.paths.iter().for_each(|path| sources[path.source] += path.mass);
        prop_assert!(sources.iter().zip(&p.weights).all(|(got, p)| (got - p).abs() < 1e-14));
        prop_assert!((&solved.positions(0.0).unwrap() - &solved.starts).iter().all(|e| *e == 0.0));
        prop_assert!((&solved.positions(horizon).unwrap() - &solved.endpoints).iter().all(|e| *e == 0.0));
    }

    #[test]
    fn the_proximal_is_the_composition_of_its_two_steps(
        p in measure(2, 5), q in measure(2, 5), kind in any_kind(), parameters in any_parameters(),
    ) {
        let solved = solve(&p, &q, kind, parameters);
        let terminal = terminal_divergence(&solved, &q, kind);
        let tolerance = 2.0 * CERTIFIED * scale(solved.upper);
        // The W1 proximal of rho_T: same value, same eta*.
        let expected = solved.transport + solved.divergence;
        prop_assert!((terminal.upper - expected).abs() <= tolerance, "{kind} {} {expected}", terminal.upper);
        for (j, (eta, again)) in solved.intermediate.iter().zip(&terminal.intermediate).enumerate() {
            let twin = |k: usize| norm((&q.points.row(k) - &q.points.row(j)).view()) == 0.0;
            // Mass on coinciding data atoms is split by strict convexity of f alone: equal up to sqrt(gap).
            prop_assert!((eta - again).abs() < 2e-5 || (0..q.weights.len()).any(|k| k != j && twin(k)), "{kind} {j}: {eta} {again}");
        }
        // J* = lambda/(2T) W2^2(rho0, rho_T) + D_f^L(rho_T|pi), and the flow is the optimal one for W2.
        let masses = solved.masses();
        let end = LawOf::new(solved.endpoints.view(), masses).unwrap();
        let distance = wasserstein(&p.law(), &end, Order::Two, &Options::new()).unwrap();
        let energy = distance.upper * distance.upper / (2.0 * parameters.horizon);
        let total = parameters.lambda * energy + terminal.upper;
        prop_assert!((total - solved.upper).abs() <= tolerance * scale(energy), "{kind} {total} {}", solved.upper);
        prop_assert!((energy - solved.kinetic_energy).abs() <= CERTIFIED * scale(energy) * scale(solved.upper / parameters.lambda));
    }

    #[test]
    fn the_initial_potential_is_the_hopf_lax_transform_of_the_discriminator(
        p in measure(2, 5), q in measure(2, 5), kind in any_kind(), parameters in any_parameters(),
        probes in prop::collection::vec(prop::array::uniform2(-3.0..3.0f64), 24),
    ) {
        let solved = solve(&p, &q, kind, parameters);
        let ProximalParameters { lambda, horizon, .. } = parameters;
        let points = Array2::from_shape_fn((probes.len(), 2), |(k, c)| probes[k][c]);
        let phi = solved.potential.values(points.view()).unwrap();
        let arrived = solved.potential.values(solved.endpoints.view()).unwrap();
        for (i, u) in solved.initial_potential.iter().enumerate() {
            let kinetic = |y: ndarray::ArrayView1<f64>| {
                let r = norm((&y - &p.points.row(i)).view());
                lambda * r * r / (2.0 * horizon)
            };
            for (y, phi) in points.outer_iter().zip(&phi) {
                prop_assert!(*u <= phi + kinetic(y) + 1e-12 * scale(*u), "{kind}");
            }
            // Attained at the end points of the paths from this atom.
            for (k, path) in solved.paths.iter().enumerate().filter(|(_, path)| path.source == i && path.mass > 1e-9) {
                let reached = arrived[k] + kinetic(solved.endpoints.row(k));
                prop_assert!((reached - u).abs() <= CERTIFIED * scale(*u) / path.mass.min(1.0), "{kind} {reached} {u}");
            }
        }
    }

    #[test]
    fn velocities_are_minus_the_gradient_of_the_discriminator_where_it_is_smooth(
        p in measure(2, 5), q in measure(2, 5), kind in any_kind(), parameters in any_parameters(),
    ) {
        // [44]: v = -grad phi*(x_T)/lambda at end points away from the data and from ties.
        let solved = solve(&p, &q, kind, parameters);
        let velocities = solved.velocities();
        for (k, path) in solved.paths.iter().enumerate() {
            let y = solved.endpoints.row(k);
            let (_, at) = solved.potential.value_and_gradient(y).unwrap();
            let apex = norm((&y - &q.points.row(path.data.unwrap())).view());
            if path.mass > 1e-6 && at.margin > 1e-6 && apex > 1e-3 {
                let residual = &velocities.row(k) + &(&at.gradient / parameters.lambda);
                prop_assert!(norm(residual.view()) < 1e-9 * scale(parameters.lipschitz / parameters.lambda), "{kind}");
            }
        }
    }

    #[test]
    fn no_flow_beats_the_optimum_and_the_optimal_flow_has_no_gap(
        p in measure(2, 5), q in measure(2, 5), kind in any_kind(), parameters in any_parameters(), steps in 1usize..5,
        noise in prop::collection::vec(-0.3..0.3f64, 64),
    ) {
        let solved = solve(&p, &q, kind, parameters);
        let frames: Vec<Array2<f64>> =
            (0..=steps).map(|k| solved.positions(parameters.horizon * k as f64 / steps as f64).unwrap()).collect();
        let flow = |frames: &[Array2<f64>]| -> Array3<f64> {
            stack(Axis(0), &frames.iter().map(|frame| frame.view()).collect::<Vec<_>>()).unwrap()
        };
        let gap = |frames: &[Array2<f64>]| {
            let masses = solved.masses();
            optimality_gap(flow(frames).view(), Some(&masses), &q.law(), kind, parameters, &Options::new()).unwrap()
        };
        let optimal = gap(&frames);
        let tolerance = 4.0 * CERTIFIED * scale(solved.upper);
        prop_assert!(optimal.lower.abs() <= tolerance && optimal.upper.abs() <= tolerance, "{kind} {optimal:?}");
        prop_assert!((optimal.kinetic_energy - solved.kinetic_energy).abs() <= 1e-11 * scale(solved.kinetic_energy));

        // Negative control: any other flow from the same atoms costs more; end points moved by noise, and a detour.
        let mut moved = frames.clone();
        let last = moved.last_mut().unwrap();
        last.iter_mut().zip(noise.iter().cycle()).for_each(|(x, e)| *x += e);
        prop_assert!(gap(&moved).upper >= -tolerance);
        if steps >= 2 {
            let mut detour = frames.clone();
            detour[1] += 0.5;
            let h = parameters.horizon / steps as f64;
            let excess = gap(&detour);
            // Two legs of the detour: lambda (|0.5, 0.5|^2)/(2h) each, the linear terms cancel on a straight line.
            let expected = parameters.lambda * 0.5 / h;
            prop_assert!((excess.lower - expected).abs() <= tolerance + 1e-10 * scale(expected), "{kind} {excess:?}");
        }
    }
}

#[test]
fn a_split_at_the_kink_is_reproduced_by_hand() {
    // One source at 0, data at 1 and 4; L = lambda = T = 1: the kink is at r = 1. Costs 1/2 and 4 - 1/2.
    let (x, z) = (array![[0.0]], array![[1.0], [4.0]]);
    let parameters = ProximalParameters::new(1.0, 1.0, 1.0).unwrap();
    let kind = DivergenceKind::KullbackLeibler;
    let (p, q) = (LawOf::uniform(x.view()).unwrap(), LawOf::uniform(z.view()).unwrap());
    let solved = combined_proximal(&p, &q, kind, parameters, &Options::new()).unwrap();
    // min over eta of eta_2 * 3 + 1/2 + KL = 1/2 - ln(1/2 + e^{-3}/2).
    let partition = 0.5 * (1.0 + (-3.0f64).exp());
    assert!((solved.upper - (0.5 - partition.ln())).abs() < 1e-14);
    let far = 0.5 * (-3.0f64).exp() / partition;
    assert!((solved.intermediate[1] - far).abs() < 1e-15);
    // Both paths end at 1: the first on the data, the second short of it by 3, which W1 pays.
    assert!(solved.endpoints.iter().all(|y| (y - 1.0).abs() < 1e-15));
    assert!((solved.kinetic_energy - 0.5).abs() < 1e-15);
    assert!((solved.transport - 3.0 * far).abs() < 1e-15);
}

#[test]
fn a_short_reach_leaves_transport_to_w1_and_a_long_reach_leaves_none() {
    let p = Measure::new(array![[0.0, 0.0], [0.5, 0.0]], vec![0.5, 0.5]);
    let q = Measure::new(array![[3.0, 1.0], [2.0, -2.0]], vec![0.4, 0.6]);
    for kind in common::KINDS {
        let reach = |lambda: f64| solve(&p, &q, kind, ProximalParameters::new(1.0, lambda, 1.0).unwrap());
        let long = reach(0.05);
        assert!(long.transport == 0.0 && long.paths.iter().all(|path| path.data.is_some()), "{kind}");
        let short = reach(2.0);
        assert!(short.transport > 0.5, "{kind}");
        assert!(short.velocities().outer_iter().all(|v| (norm(v) - 0.5).abs() < 1e-14), "{kind}");
    }
}

#[test]
fn one_plan_uses_both_sides_of_the_kink_and_recovery_without_it_costs_more() {
    let p = Measure::new(array![[0.0, 0.0], [0.5, 0.2], [-0.3, 0.4]], vec![0.3, 0.4, 0.3]);
    let q = Measure::new(array![[0.6, -0.3], [3.0, 1.0], [-4.0, 0.5]], vec![0.4, 0.3, 0.3]);
    let parameters = ProximalParameters::new(1.0, 0.8, 1.0).unwrap();
    for kind in common::KINDS {
        let solved = solve(&p, &q, kind, parameters);
        let to_data = |k: usize| q.points.row(solved.paths[k].data.unwrap()).to_owned();
        let length = |k: usize| norm((&to_data(k) - &solved.starts.row(k)).view());
        let (short, long): (Vec<usize>, Vec<usize>) =
            (0..solved.paths.len()).partition(|&k| length(k) <= parameters.kink());
        assert!(!short.is_empty() && !long.is_empty(), "{kind}: one side of the kink is not used");
        assert!(short.iter().all(|&k| solved.endpoints.row(k) == to_data(k)), "{kind}");
        let left = |k: usize| norm((&to_data(k) - &solved.endpoints.row(k)).view());
        assert!(long.iter().all(|&k| (left(k) + parameters.kink() - length(k)).abs() < 1e-12), "{kind}");

        // Negative control: the same plan carried all the way to the data, and a law stopped half way.
        let cost = |reach: &dyn Fn(usize) -> f64| {
            let mut kinetic = 0.0;
            let mut ends = solved.starts.clone();
            for (k, path) in solved.paths.iter().enumerate() {
                let step = (&to_data(k) - &solved.starts.row(k)) * reach(k);
                kinetic += path.mass * step.dot(&step) / (2.0 * parameters.horizon);
                ends.row_mut(k).scaled_add(1.0, &step);
            }
            let law = Measure { points: ends, weights: solved.masses() };
            parameters.lambda * kinetic + common::divergence(&law, &q, kind, parameters.lipschitz).upper
        };
        let recovered = cost(&|k| (parameters.kink() / length(k)).min(1.0));
        assert!((recovered - solved.upper).abs() < CERTIFIED * scale(recovered), "{kind}");
        assert!(cost(&|_| 1.0) > solved.upper + 1e-2, "{kind}: all the way");
        assert!(cost(&|_| 0.5) > solved.upper + 1e-2, "{kind}: half way");
    }
}

#[test]
fn priced_singular_mass_stays_where_it_is() {
    let p = Measure::new(array![[0.0]], vec![1.0]);
    let q = Measure::new(array![[50.0]], vec![1.0]);
    let parameters = ProximalParameters::new(1.0, 1.0, 1.0).unwrap();
    let kind = DivergenceKind::JensenShannon;
    let solved = combined_proximal(&p.law(), &q.law(), kind, parameters, &priced()).unwrap();
    assert!(solved.gap().abs() < 1e-12 && solved.stayed[0] > 0.9);
    assert!(solved.upper <= 2.0 * 2f64.ln() + 1e-12);
    assert!((solved.intermediate[0] + solved.stayed[0] - 1.0).abs() < 1e-14);
    // All mass is on its way or stays.
    assert!((solved.masses().iter().sum::<f64>() - 1.0).abs() < 1e-14);
    assert_eq!(solved.paths.iter().filter(|path| path.data.is_none()).count(), 1);
    for (k, path) in solved.paths.iter().enumerate().filter(|(_, path)| path.data.is_none()) {
        assert_eq!(solved.starts.row(k), solved.endpoints.row(k));
        assert_eq!(path.mass, solved.stayed[0]);
    }
}

#[test]
fn times_and_flows_out_of_range_are_refused() {
    let p = Measure::new(array![[0.0]], vec![1.0]);
    let parameters = ProximalParameters::new(1.0, 1.0, 2.0).unwrap();
    let kind = DivergenceKind::KullbackLeibler;
    let solved = solve(&p, &p, kind, parameters);
    assert!(
        solved.positions(-0.1).is_err()
            && solved.positions(2.1).is_err()
            && solved.positions(f64::NAN).is_err()
    );
    let options = Options::new();
    let flow = Array3::<f64>::zeros((1, 1, 1));
    let error = optimality_gap(flow.view(), None, &p.law(), kind, parameters, &options).unwrap_err();
    assert_eq!(error.field, "trajectories");
    let mut broken = Array3::<f64>::zeros((3, 1, 1));
    broken[[1, 0, 0]] = f64::NAN;
    let error = optimality_gap(broken.view(), None, &p.law(), kind, parameters, &options).unwrap_err();
    assert_eq!(error.field, "trajectories[1, 0, 0]");
    let invalid = ProximalParameters { lambda: 0.0, ..parameters };
    assert!(combined_proximal(&p.law(), &p.law(), kind, invalid, &options).is_err());
}

#[test]
fn a_gap_whose_terms_overflow_is_failed_and_a_rigorous_one_contains_the_plain_one() {
    let p = Measure::new(array![[0.0], [1.0]], vec![0.3, 0.7]);
    let parameters = ProximalParameters::new(2.0, 0.7, 1.0).unwrap();
    let kind = DivergenceKind::KullbackLeibler;
    let gap = |flow: &Array3<f64>, options: Options<'_>| {
        optimality_gap(flow.view(), Some(&p.weights), &p.law(), kind, parameters, &options).unwrap()
    };
    let flow = array![[[0.0], [1.0]], [[0.3], [0.9]], [[0.1], [1.3]]];
    let (plain, rigorous) = (gap(&flow, Options::new()), gap(&flow, Options::new().rigorous(true)));
    assert_eq!((plain.termination, rigorous.termination), (Termination::Converged, Termination::Converged));
    assert!(
        rigorous.lower <= plain.lower + 1e-15 && plain.upper <= rigorous.upper + 1e-15 && plain.lower > 0.01
    );
    assert!(rigorous.lower < rigorous.upper && rigorous.gap() < 1e-11);

    let away = array![[[0.0], [1.0]], [[1e200], [0.0]], [[0.0], [1.0]]];
    for options in [Options::new(), Options::new().rigorous(true)] {
        let found = gap(&away, options);
        assert_eq!(found.termination, Termination::Failed);
        assert_eq!((found.lower, found.upper), (f64::NEG_INFINITY, f64::INFINITY));
    }
}
