//! The released training curves of the four MNIST cases \[46\]-\[49\].

use crate::claim::{Basis, Bound, CheckError, Claim, Finding, Setting};
use crate::mnist::released;
use crate::report::plot::Plot;

pub(super) const CLAIM: Claim = Claim {
    id: "published_curves",
    statement: "On MNIST, in the released definitions, the kinetic term halves the kinetic energy (w1 23.9, w1w2 12.2 on \
                average), both reach a terminal cost near 7.9, and the cases without the W1 proximal become non-finite.",
    equations: &[(46, 49)],
    notation: &["4"],
    measured: "averages over the released curves, iteration 0 left out, and the first non-finite iteration of none and w2",
    bound: "golden: 12.2, 23.9, 7.9, 7.8 each +- 0.05 (printed digits), ratio 1.96 +- 0.02; 145 +- 4 and 132 +- 4 steps (logged \
            every four)",
    control: "the two cases exchanged",
    check,
};

fn check(setting: &Setting) -> Result<Finding, CheckError> {
    let path = released(setting, "mnist_curves.csv")?;
    let text = std::fs::read_to_string(&path).map_err(|error| CheckError::Run(error.to_string()))?;
    let rows: Vec<(String, Vec<f64>)> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(case, rest)| {
            (case.to_owned(), rest.split(',').map(|v| v.parse().unwrap_or(f64::NAN)).collect())
        })
        .collect();
    let column = |case: &str, index: usize| -> Vec<(f64, f64)> {
        rows.iter().filter(|row| row.0 == case).map(|row| (row.1[0], row.1[index])).collect()
    };
    let average = |case: &str, index: usize| {
        // The untrained networks of iteration 0 are left out, which reproduces the printed averages.
        let values = column(case, index).split_off(1);
        values.iter().map(|v| v.1).sum::<f64>() / values.len() as f64
    };
    let lost = |case: &str| column(case, 2).iter().find(|v| !v.1.is_finite()).map_or(f64::INFINITY, |v| v.0);
    let golden = || Basis::Golden("logs released with the paper; last printed digit".into());
    let near = |value: f64, tolerance: f64| Bound::Near { value, tolerance };
    let (with, without) = (average("w1w2", 2), average("w1", 2));
    let mut finding = Finding::new();
    finding
        .measure("mean kinetic energy, w1w2", with, near(12.2, 0.05), golden())
        .measure("mean kinetic energy, w1", without, near(23.9, 0.05), golden())
        .measure("their ratio", without / with, near(1.96, 0.02), golden())
        .measure("mean terminal cost, w1w2", average("w1w2", 1), near(7.9, 0.05), golden())
        .measure("mean terminal cost, w1", average("w1", 1), near(7.8, 0.05), golden())
        .measure("first non-finite iteration, none", lost("none"), near(145.0, 4.0), golden())
        .measure("first non-finite iteration, w2", lost("w2"), near(132.0, 4.0), golden())
        .control("cases exchanged: mean kinetic energy", without, near(12.2, 0.05), golden());
    let mut plot = Plot::new(
        "Released kinetic energy, released definition",
        "outer steps",
        "K",
        "none and w2 end early, non-finite.",
    )
    .logarithmic();
    for case in ["none", "w2", "w1", "w1w2"] {
        plot = plot.line(case, column(case, 2));
    }
    finding.plot(plot);
    Ok(finding)
}
