//! The released training curves of the four MNIST cases \[46\]-\[49\].

use crate::claim::{Basis, Bound, CheckError, Claim, Measured, Mechanism, Quantity, Removal, Setting};
use crate::mnist::released;
use proxflow_io::plot::Plot;

pub(in crate::claims) const CLAIM: Claim = Claim {
    id: "published_curves",
    statement: "On MNIST, in the released definitions, the kinetic term halves the kinetic energy (w1 23.9, w1w2 12.2 on \
                average), both reach a terminal cost near 7.9, and the cases without the W1 proximal become non-finite.",
    equations: &[(46, 49)],
    notation: &["4"],
    quantities: &[
        Quantity {
            name: "kinetic energy, w1w2",
            what: "mean over the released curve, iteration 0 left out",
            bound: Bound::Near { value: 12.2, tolerance: 0.05 },
            basis: PRINTED,
        },
        Quantity {
            name: "kinetic energy, w1",
            what: "the same",
            bound: Bound::Near { value: 23.9, tolerance: 0.05 },
            basis: PRINTED,
        },
        Quantity {
            name: "their ratio",
            what: "w1 / w1w2",
            bound: Bound::Near { value: 1.96, tolerance: 0.02 },
            basis: PRINTED,
        },
        Quantity {
            name: "terminal cost, w1w2",
            what: "mean over the released curve, iteration 0 left out",
            bound: Bound::Near { value: 7.9, tolerance: 0.05 },
            basis: PRINTED,
        },
        Quantity {
            name: "terminal cost, w1",
            what: "the same",
            bound: Bound::Near { value: 7.8, tolerance: 0.05 },
            basis: PRINTED,
        },
        Quantity {
            name: "end of none",
            what: "first iteration with a non-finite kinetic energy",
            bound: Bound::Near { value: 145.0, tolerance: 4.0 },
            basis: LOGGED,
        },
        Quantity {
            name: "end of w2",
            what: "the same",
            bound: Bound::Near { value: 132.0, tolerance: 4.0 },
            basis: LOGGED,
        },
    ],
    removals: &[Removal {
        name: "names of the cases",
        what: "w1w2 exchanged with w1, none with w2",
        breaks: &[
            "kinetic energy, w1w2",
            "kinetic energy, w1",
            "their ratio",
            "terminal cost, w1w2",
            "terminal cost, w1",
            "end of none",
            "end of w2",
        ],
    }],
    measure,
};

const PRINTED: Basis = Basis::Golden("logs released with the paper (published/mnist_curves.csv); half of the last printed digit");
const LOGGED: Basis = Basis::Golden("logs released with the paper, one line every four iterations");

fn measure(setting: &Setting, mechanism: Mechanism) -> Result<Measured, CheckError> {
    let path = released(setting, "mnist_curves.csv")?;
    let text = std::fs::read_to_string(&path).map_err(|error| CheckError::Run(error.to_string()))?;
    let exchanged = mechanism.lacks("names of the cases");
    let case = |name: &str| match name {
        "w1w2" if exchanged => "w1".to_owned(),
        "w1" if exchanged => "w1w2".to_owned(),
        "none" if exchanged => "w2".to_owned(),
        "w2" if exchanged => "none".to_owned(),
        other => other.to_owned(),
    };
    let rows: Vec<(String, Vec<f64>)> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(','))
        .map(|(name, rest)| (case(name), rest.split(',').map(|v| v.parse().unwrap_or(f64::NAN)).collect()))
        .collect();
    let column = |case: &str, index: usize| -> Vec<(f64, f64)> {
        rows.iter().filter(|row| row.0 == case).map(|row| (row.1[0], row.1[index])).collect()
    };
    let average = |case: &str, index: usize| {
        // The untrained networks of iteration 0 are left out, which reproduces the printed averages.
        let values: Vec<f64> = column(case, index).iter().skip(1).map(|v| v.1).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let lost = |case: &str| column(case, 2).iter().find(|v| !v.1.is_finite()).map_or(f64::INFINITY, |v| v.0);
    let mut measured = Measured::new();
    measured
        .record("kinetic energy, w1w2", average("w1w2", 2))
        .record("kinetic energy, w1", average("w1", 2))
        .record("their ratio", average("w1", 2) / average("w1w2", 2))
        .record("terminal cost, w1w2", average("w1w2", 1))
        .record("terminal cost, w1", average("w1", 1))
        .record("end of none", lost("none"))
        .record("end of w2", lost("w2"));
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
    measured.plot(plot);
    Ok(measured)
}
