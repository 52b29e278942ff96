//! What holds for a given model: trajectories from any program, or a checkpoint, against the statements of the paper.
//!
//! These statements are measured against stated requirements, not derived bounds: an optimal flow obeys every one of them
//! exactly, a trained one up to what its training left. The verdict says which, with numbers. A statement that would also hold
//! for the same model with a planted flaw decides nothing, and says so.

mod flaws;
mod indicators;
mod networks;
mod optimality;
mod paths;
mod subject;

use proxflow_reference::trajectory::Mean;

use self::flaws::Flaw;
pub use self::indicators::{Indicators, indicators};
pub use self::subject::{Networks, Path, PotentialDerivatives, Subject};
use crate::claim::{
    Basis, Bound, CheckError, Measured, Mechanism, Outcome, Quantity, Removal, Verdict, judge,
};

/// One statement about a model.
struct Statement {
    id: &'static str,
    statement: &'static str,
    source: &'static str,
    /// The quantities, whose slack is [`Subject::tolerance`].
    quantities: Vec<Quantity>,
    flaw: Flaw,
    measure: fn(&Subject) -> Result<Measured, CheckError>,
}

const STATED: Basis = Basis::Requirement("the exact value with the slack of --tolerance, stated in advance");

fn at_most(name: &'static str, what: &'static str, value: f64) -> Quantity {
    Quantity { name, what, bound: Bound::AtMost(value), basis: STATED }
}

fn flaw(
    name: &'static str,
    what: &'static str,
    breaks: &'static [&'static str],
    plant: fn(&mut Subject),
) -> Flaw {
    Flaw { removal: Removal { name, what, breaks }, plant }
}

/// Every statement, in the order of the paper.
fn statements(tolerance: f64) -> [Statement; 7] {
    [
        Statement {
            id: "model_optimality",
            statement: "The flow attains J*: its objective exceeds the certified optimum by a small fraction.",
            source: "[10]-[12], notation 2.1",
            quantities: vec![
                at_most("excess", "(J - J*) / J*, both certified on the same samples", tolerance),
                Quantity {
                    name: "infimum",
                    what: "J - J*",
                    bound: Bound::AtLeast(-1e-9),
                    basis: Basis::Exact("J* is the infimum; certified tolerances 1e-11"),
                },
            ],
            flaw: flaw("short paths", "every path takes a detour", &["excess"], flaws::bend),
            measure: optimality::optimality,
        },
        Statement {
            id: "model_speed",
            statement: "No sample moves faster than L / lambda.",
            source: "notation 2.2",
            quantities: vec![at_most(
                "largest speed",
                "over samples and steps, times lambda / L",
                1.0 + tolerance,
            )],
            flaw: flaw("speed limit", "one sample jumps in its last step", &["largest speed"], flaws::jump),
            measure: paths::speed,
        },
        Statement {
            id: "model_straight_lines",
            statement: "Paths are straight lines at constant speed.",
            source: "[22]-[29]",
            quantities: vec![
                at_most("straightness - 1", "E[length / distance] - 1", tolerance),
                at_most("energy ratio - 1", "kinetic / displacement energy - 1", tolerance),
                at_most("acceleration", "E|v' - v| / E|v|", tolerance),
            ],
            flaw: flaw(
                "straight paths",
                "every path takes a detour",
                &["straightness - 1", "energy ratio - 1", "acceleration"],
                flaws::bend,
            ),
            measure: paths::straight_lines,
        },
        Statement {
            id: "model_step_size",
            statement: "Generated samples do not depend on the step size.",
            source: "[39]",
            quantities: vec![at_most(
                "deviation",
                "E|x_N - x_N of the finest| / |x_N of the finest - x_0|",
                tolerance,
            )],
            flaw: flaw(
                "coarse motion",
                "every simulation but the finest ends where it started",
                &["deviation"],
                flaws::stand_still,
            ),
            measure: paths::step_size,
        },
        Statement {
            id: "model_hamilton_jacobi",
            statement: "The potential solves Hamilton-Jacobi along its paths, raw and up to a gauge c(t).",
            source: "[43]",
            quantities: vec![
                at_most("residual", "E sum h |dU/dt - |grad U|^2/(2 lambda)| / (lambda K)", tolerance),
                at_most("gauged residual", "its mean over samples removed at each time", tolerance),
            ],
            flaw: flaw(
                "sign of the Hamiltonian",
                "dU/dt with flipped sign",
                &["residual"],
                flaws::reverse_time,
            ),
            measure: networks::hamilton_jacobi,
        },
        Statement {
            id: "model_terminal_condition",
            statement: "grad U(., T) = grad phi at the generated samples.",
            source: "[44]",
            quantities: vec![at_most(
                "terminal residual",
                "E|grad U(x_N, T) - grad phi(x_N)| / L",
                tolerance,
            )],
            flaw: flaw(
                "own critic",
                "grad phi tilted by 3 L on the first axis",
                &["terminal residual"],
                flaws::tilt,
            ),
            measure: networks::terminal_condition,
        },
        Statement {
            id: "model_lipschitz",
            statement: "The discriminator is L-Lipschitz.",
            source: "[40], [41]",
            quantities: vec![
                at_most("mean slope", "E|grad phi| / L", 1.0 + tolerance),
                at_most("largest slope", "largest |grad phi| / L", 1.0 + tolerance),
            ],
            flaw: flaw(
                "Lipschitz bound",
                "grad phi at the generated samples tilted by 3 L on the first axis",
                &["largest slope"],
                flaws::tilt,
            ),
            measure: networks::lipschitz,
        },
    ]
}

/// Every statement about `subject`, in the order of the paper.
pub fn examine(subject: &Subject) -> Vec<Outcome> {
    let run = |statement: Statement| {
        let start = std::time::Instant::now();
        let (verdict, finding) =
            judge(&statement.quantities, std::slice::from_ref(&statement.flaw.removal), |mechanism| {
                match mechanism {
                    Mechanism::Intact => (statement.measure)(subject),
                    Mechanism::Without(_) => {
                        let mut flawed = subject.clone();
                        (statement.flaw.plant)(&mut flawed);
                        (statement.measure)(&flawed)
                    }
                }
            });
        // A flaw that is not seen on these data leaves the statement open; that is no fault of the model.
        let verdict = match (verdict, finding.undetected()) {
            (Verdict::Fails(_), Some(silent)) if finding.broken().is_none() && finding.faults.is_empty() => {
                Verdict::NotApplicable(format!("these data decide nothing: {silent}"))
            }
            (verdict, _) => verdict,
        };
        Outcome {
            id: statement.id.into(),
            statement: statement.statement.into(),
            source: statement.source.into(),
            verdict,
            finding,
            seconds: start.elapsed().as_secs_f64(),
        }
    };
    statements(subject.tolerance).into_iter().map(run).collect()
}

fn record_mean(measured: &mut Measured, quantity: &'static str, case: &str, mean: Mean) {
    measured.record_mean(quantity, case, mean.value, mean.standard_error);
}

fn shifted(mean: Mean, by: f64) -> Mean {
    Mean { value: mean.value + by, ..mean }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ndarray::{Array2, Array3, Axis};
    use proxflow_reference::{DivergenceKind, ProximalParameters};

    use super::*;

    /// Points that move straight from `(i, 0)` to the data atom `(i, 1)` in unit time.
    fn subject(bend: f64) -> Subject {
        let positions = Array3::from_shape_fn((9, 12, 2), |(k, i, c)| {
            let t = k as f64 / 8.0;
            if c == 0 { i as f64 + bend * (std::f64::consts::PI * t).sin() } else { t }
        });
        let data = positions.index_axis(Axis(0), 8).to_owned();
        let times = (0..9).map(|k| k as f64 / 8.0).collect();
        Subject {
            name: "planted".into(),
            paths: vec![Path::new(times, positions)],
            networks: None,
            data: Some(data),
            parameters: Some(ProximalParameters::new(4.0, 0.5, 1.0).unwrap()),
            kind: DivergenceKind::KullbackLeibler,
            tolerance: 0.05,
        }
    }

    fn verdict(subject: &Subject, id: &str) -> Verdict {
        examine(subject).into_iter().find(|o| o.id == id).unwrap().verdict
    }

    #[test]
    fn an_optimal_flow_passes_and_a_bent_one_fails() {
        // Every atom moves to its own data atom at distance 1: optimal, since L exceeds the slope it needs.
        for id in ["model_optimality", "model_straight_lines", "model_speed"] {
            assert_eq!(verdict(&subject(0.0), id), Verdict::Holds, "{id}");
        }
        for id in ["model_optimality", "model_straight_lines"] {
            assert!(matches!(verdict(&subject(0.6), id), Verdict::Fails(_)), "{id}");
        }
    }

    #[test]
    fn a_stationary_optimal_flow_holds_or_is_not_applicable() {
        let mut still = subject(0.0);
        let start = still.paths[0].positions.index_axis(Axis(0), 0).to_owned();
        still.paths[0].positions.outer_iter_mut().for_each(|mut x| x.assign(&start));
        still.data = Some(start);
        for id in ["model_optimality", "model_speed"] {
            assert_eq!(verdict(&still, id), Verdict::Holds, "{id}");
        }
        assert!(matches!(verdict(&still, "model_straight_lines"), Verdict::NotApplicable(_)));
        for outcome in examine(&still) {
            let numbers = outcome.finding.quantities.iter().flat_map(|quantity| &quantity.intact);
            assert!(numbers.into_iter().all(|number| !number.value.is_nan()), "{}", outcome.id);
        }
    }

    #[test]
    fn paths_that_come_back_are_not_straight() {
        let mut subject = subject(0.6);
        let start = subject.paths[0].positions.index_axis(Axis(0), 0).to_owned();
        subject.paths[0].positions.index_axis_mut(Axis(0), 8).assign(&start);
        assert!(matches!(verdict(&subject, "model_straight_lines"), Verdict::Fails(_)));
    }

    #[test]
    fn the_same_step_count_twice_decides_nothing() {
        let mut twice = subject(0.0);
        twice.paths.push(twice.paths[0].clone());
        let Verdict::NotApplicable(reason) = verdict(&twice, "model_step_size") else {
            panic!("two simulations of 8 steps say nothing about the step")
        };
        assert!(reason.contains("of 8 steps"), "{reason}");
    }

    #[test]
    fn a_flaw_that_the_data_hide_leaves_the_statement_open() {
        // A critic whose recorded slope is L along the negative axis in one dimension hides a tilt of 2 L or less, not 3 L.
        let mut subject = subject(0.0);
        subject.paths[0].critic_gradients = Some(Array2::from_elem((12, 2), -1.5 * 4.0));
        assert!(matches!(verdict(&subject, "model_lipschitz"), Verdict::Fails(_)), "slope beyond L");
        subject.paths[0].critic_gradients = Some(Array2::zeros((12, 2)));
        assert_eq!(verdict(&subject, "model_lipschitz"), Verdict::Holds);
    }

    #[test]
    fn what_cannot_be_measured_is_not_applicable() {
        for id in ["model_step_size", "model_hamilton_jacobi", "model_terminal_condition", "model_lipschitz"]
        {
            assert!(matches!(verdict(&subject(0.0), id), Verdict::NotApplicable(_)), "{id}");
        }
    }
}
