//! The table of docs/records/torus.md: gap, seconds, milliseconds of one Hessian product, and its growth with the grid.
//!
//! `cargo run --release -p proxflow-reference --example torus_scaling -- [SOURCE TARGET LIPSCHITZ LAMBDA HORIZON GAP REFINEMENTS SIDES...]`

use proxflow_reference::torus::{DualOptions, NamedDensity, TorusGrid, TorusProblem, solve_dual_observed};
use proxflow_reference::{DivergenceKind, InvalidInput, ProximalParameters};

fn main() -> Result<(), InvalidInput> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |index: usize, fallback: &str| arguments.get(index).map_or(fallback, |text| text).to_owned();
    let number = |index: usize, fallback: &str| {
        let text = argument(index, fallback);
        text.parse::<f64>().map_err(|_| InvalidInput::new(format!("argument {index}"), text, "a number"))
    };
    let (source, target): (NamedDensity, NamedDensity) =
        (argument(0, "bump").parse()?, argument(1, "mixture").parse()?);
    let parameters = ProximalParameters::new(number(2, "10")?, number(3, "1")?, number(4, "1")?)?;
    let relative_gap = number(5, "0")?;
    let refinements = number(6, "0")? as usize;
    let sides = if arguments.len() > 7 {
        &arguments[7..]
    } else {
        &["128", "256", "512", "1024"].map(String::from)[..]
    };
    println!("N lower upper relative_gap gap/h^2 newton_steps seconds ms_per_product stop bounded exponent");
    let mut previous: Option<(f64, f64)> = None;
    for side in sides {
        let side: usize = side.parse().map_err(|_| InvalidInput::new("side", side, "an integer"))?;
        let grid = TorusGrid::new(2, side)?;
        let problem = TorusProblem::new(
            grid,
            &source.on(&grid),
            &target.on(&grid),
            parameters,
            DivergenceKind::KullbackLeibler,
        )?;
        let options = DualOptions { relative_gap, refinements, ..DualOptions::default() };
        let (mut seconds, mut products) = (0.0, 0);
        let solved = solve_dual_observed(&problem, &options, &mut |step| {
            if step.nodes_per_side == side {
                // A step costs its products and about two evaluations.
                seconds += step.seconds;
                products += step.products + 2;
            }
        })?;
        let each = seconds / f64::max(f64::from(products as u32), 1.0);
        let exponent =
            previous.map_or(f64::NAN, |(n, time)| (each / time).ln() / (side as f64 / n).powi(2).ln());
        previous = Some((side as f64, each));
        println!(
            "{side} {:.8} {:.8} {:.2e} {:.4} {} {:.2} {:.1} {:?} {:?} {exponent:.2}",
            solved.lower,
            solved.upper,
            solved.relative_gap(),
            solved.gap() * (side * side) as f64,
            solved.iterations,
            solved.seconds,
            1e3 * each,
            solved.termination,
            solved.bounded,
        );
    }
    Ok(())
}
