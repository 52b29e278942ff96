use proxflow_reference::torus::*;
use proxflow_reference::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[1].parse().unwrap();
    let grid = TorusGrid::new(a[2].parse().unwrap(), n).unwrap();
    let s: NamedDensity = a[3].parse().unwrap();
    let t: NamedDensity = a[4].parse().unwrap();
    let p =
        ProximalParameters::new(a[5].parse().unwrap(), a[6].parse().unwrap(), a[7].parse().unwrap()).unwrap();
    let pr = TorusProblem::new(grid, &s.on(&grid), &t.on(&grid), p, DivergenceKind::KullbackLeibler).unwrap();
    let tol: f64 = a[8].parse().unwrap();
    let it: usize = a.get(9).map_or(100, |x| x.parse().unwrap());
    let x =
        solve_dual(&pr, &DualOptions { relative_gap: tol, iterations: it, ..Default::default() }).unwrap();
    println!(
        "{} lower {} upper {} gap {:.3e} rel {:.3e} it {} {:?} kin {} lip {} div {} s {:.3}",
        n,
        x.lower,
        x.upper,
        x.gap(),
        x.relative_gap(),
        x.iterations,
        x.termination,
        x.kinetic_cost,
        x.lipschitz_cost,
        x.divergence,
        x.seconds
    );
}
