//! The comparison of the intact run and of every removal with one and the same bounds.

use serde::Serialize;

use super::{Basis, Bound, CheckError, Measured, Measurement, Mechanism, Quantity, Removal, Verdict};
use crate::number::{number, with_error};
use proxflow_io::plot::Plot;

/// One declared quantity: its bound, and what the intact run and each removal measured.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Name of the quantity.
    pub name: &'static str,
    /// The formula, or what it is in words.
    pub what: &'static str,
    /// What every measurement of the intact run must obey.
    pub bound: Bound,
    /// Why the bound is what it is.
    pub basis: Basis,
    /// Measurements of the intact run.
    pub intact: Vec<Measurement>,
    /// Measurements of every removal, in the order of [`Finding::removals`].
    pub removed: Vec<Vec<Measurement>>,
}

/// What came of a run without one part of the mechanism.
#[derive(Debug, Clone, Serialize)]
pub struct RemovalRun {
    /// What was taken away.
    pub name: &'static str,
    /// What stood in its place.
    pub what: &'static str,
    /// The quantities that must break.
    pub breaks: &'static [&'static str],
    /// Whether each of them did.
    pub detected: bool,
    /// Why the run did not take place, where it did not.
    pub error: Option<String>,
}

/// Everything that was found about a claim.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Finding {
    /// One entry for each declared quantity.
    pub quantities: Vec<Comparison>,
    /// One entry for each declared removal.
    pub removals: Vec<RemovalRun>,
    /// Quantities that no removal has to break: what they check rests on their bound alone.
    pub unguarded: Vec<&'static str>,
    /// Figures beside the bounds, `(name, value)`; they decide nothing.
    pub figures: Vec<(String, f64)>,
    /// Faults of the check itself, in words; empty when it is sound.
    pub faults: Vec<String>,
    /// Pictures for the report.
    #[serde(skip)]
    pub plots: Vec<Plot>,
}

impl Comparison {
    /// Whether `measurement` obeys the bound.
    pub fn admits(&self, measurement: &Measurement) -> bool {
        self.bound.admits(measurement.value, measurement.standard_error)
    }

    /// The measurement among `measurements` that uses most of the bound, with the count that breaks it.
    pub fn extreme<'a>(&self, measurements: &'a [Measurement]) -> Option<(&'a Measurement, usize)> {
        let strain = |m: &Measurement| self.bound.strain(m.value, m.standard_error);
        let worst = measurements.iter().max_by(|a, b| strain(a).total_cmp(&strain(b)))?;
        Some((worst, measurements.iter().filter(|m| !self.admits(m)).count()))
    }

    /// Whether a removal broke the bound: a number beyond it, not the absence of one.
    fn broken_by(&self, removed: &[Measurement]) -> bool {
        removed.iter().any(|m| !m.value.is_nan() && !self.admits(m))
    }
}

impl Measurement {
    /// The number for a reader, with its standard error where it has one.
    pub fn text(&self) -> String {
        self.standard_error.map_or_else(|| number(self.value), |error| with_error(self.value, error))
    }
}

/// Runs `measure` intact and once for every removal, and compares every run with the same bounds.
pub fn judge(
    quantities: &[Quantity],
    removals: &[Removal],
    measure: impl Fn(Mechanism) -> Result<Measured, CheckError>,
) -> (Verdict, Finding) {
    let intact = match measure(Mechanism::Intact) {
        Ok(measured) => measured,
        Err(CheckError::NotApplicable(reason)) => {
            return (Verdict::NotApplicable(reason), Finding::default());
        }
        Err(error) => return (Verdict::Fails(error.to_string()), Finding::default()),
    };
    let runs: Vec<Result<Measured, CheckError>> =
        removals.iter().map(|removal| measure(Mechanism::Without(removal))).collect();
    let finding = compare(quantities, removals, intact, runs);
    (finding.verdict(), finding)
}

fn compare(
    quantities: &[Quantity],
    removals: &[Removal],
    intact: Measured,
    runs: Vec<Result<Measured, CheckError>>,
) -> Finding {
    let errors: Vec<Option<String>> =
        runs.iter().map(|run| run.as_ref().err().map(ToString::to_string)).collect();
    let runs: Vec<Measured> = runs.into_iter().map(Result::unwrap_or_default).collect();
    let mut faults = Vec::new();
    for recorded in std::iter::once(&intact).chain(&runs).flat_map(|run| &run.measurements) {
        if !quantities.iter().any(|quantity| quantity.name == recorded.quantity) {
            let fault = format!("undeclared quantity measured: {}", recorded.quantity);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
    }
    let of = |run: &Measured, name: &str| -> Vec<Measurement> {
        run.measurements.iter().filter(|m| m.quantity == name).cloned().collect()
    };
    let comparisons: Vec<Comparison> = quantities
        .iter()
        .map(|&Quantity { name, what, bound, basis }| Comparison {
            name,
            what,
            bound,
            basis,
            intact: of(&intact, name),
            removed: runs.iter().map(|run| of(run, name)).collect(),
        })
        .collect();
    let unmeasured = comparisons.iter().filter(|comparison| comparison.intact.is_empty());
    faults.extend(
        unmeasured.map(|comparison| format!("declared quantity never compared: {}", comparison.name)),
    );
    let run = |(index, removal): (usize, &Removal)| {
        let broken =
            |name: &&str| comparisons.iter().any(|c| c.name == *name && c.broken_by(&c.removed[index]));
        RemovalRun {
            name: removal.name,
            what: removal.what,
            breaks: removal.breaks,
            detected: errors[index].is_none()
                && !removal.breaks.is_empty()
                && removal.breaks.iter().all(broken),
            error: errors[index].clone(),
        }
    };
    let removed: Vec<RemovalRun> = removals.iter().enumerate().map(run).collect();
    let guarded = |name: &str| removals.iter().any(|removal| removal.breaks.contains(&name));
    Finding {
        unguarded: quantities.iter().map(|q| q.name).filter(|name| !guarded(name)).collect(),
        quantities: comparisons,
        removals: removed,
        figures: intact.figures,
        faults,
        plots: intact.plots,
    }
}

impl Finding {
    /// Holds when the check is sound, every measurement of the intact run obeys its bound, and every removal breaks what it
    /// must: a check that cannot fail decides nothing.
    pub fn verdict(&self) -> Verdict {
        let reason = self.faults.first().cloned().or_else(|| self.broken()).or_else(|| self.undetected());
        match reason {
            Some(reason) => Verdict::Fails(reason),
            None if self.quantities.is_empty() => Verdict::Fails("no quantity is declared".into()),
            None if self.removals.is_empty() => Verdict::Fails("no removal is declared".into()),
            None => Verdict::Holds,
        }
    }

    /// The first bound that the intact run breaks, in words.
    pub fn broken(&self) -> Option<String> {
        self.quantities.iter().find_map(|comparison| {
            let (worst, broken) = comparison.extreme(&comparison.intact)?;
            let case = if worst.case.is_empty() { String::new() } else { format!(" ({})", worst.case) };
            (broken > 0).then(|| {
                format!("{}{case}: measured {}, bound {}", comparison.name, worst.text(), comparison.bound)
            })
        })
    }

    /// The first removal that nothing noticed, in words.
    pub fn undetected(&self) -> Option<String> {
        let (index, removal) = self.removals.iter().enumerate().find(|(_, removal)| !removal.detected)?;
        if let Some(error) = &removal.error {
            return Some(format!("the run without {} did not take place: {error}", removal.name));
        }
        let silent = removal.breaks.iter().find_map(|name| {
            let Some(comparison) = self.quantities.iter().find(|comparison| comparison.name == *name) else {
                return Some(format!("{name} is not declared"));
            };
            let removed = &comparison.removed[index];
            match comparison.extreme(removed) {
                None => Some(format!("{name} was not measured")),
                Some(_) if comparison.broken_by(removed) => None,
                Some((worst, _)) => Some(format!("{name} = {} obeys {}", worst.text(), comparison.bound)),
            }
        });
        let silent = silent.unwrap_or_else(|| "it has to break nothing".into());
        Some(format!("removal not noticed: without {}, {silent}", removal.name))
    }

    /// The comparison that uses most of its bound in the intact run: the broken one where one is.
    pub fn tightest(&self) -> Option<(&Comparison, &Measurement)> {
        let strain = |(comparison, worst): &(&Comparison, &Measurement)| {
            comparison.bound.strain(worst.value, worst.standard_error)
        };
        self.quantities
            .iter()
            .filter_map(|comparison| Some((comparison, comparison.extreme(&comparison.intact)?.0)))
            .max_by(|a, b| strain(a).total_cmp(&strain(b)))
    }

    /// For one quantity, every removal that must break it: its name, the extreme measurement, and how many of how many
    /// measurements break the bound.
    pub fn removed<'a>(
        &'a self,
        comparison: &'a Comparison,
    ) -> impl Iterator<Item = (&'a RemovalRun, Option<(&'a Measurement, usize, usize)>)> {
        self.removals.iter().zip(&comparison.removed).filter_map(|(removal, measured)| {
            let extreme = comparison.extreme(measured).map(|(worst, broken)| (worst, broken, measured.len()));
            removal.breaks.contains(&comparison.name).then_some((removal, extreme))
        })
    }
}

impl std::fmt::Display for Finding {
    /// Intact and removed values side by side, one block of lines for each quantity.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let case =
            |m: &Measurement| if m.case.is_empty() { String::new() } else { format!(" at {}", m.case) };
        for comparison in &self.quantities {
            let intact = comparison.extreme(&comparison.intact);
            let (text, count) = intact.map_or(("not measured".into(), 0), |(worst, _)| {
                (format!("{}{}", worst.text(), case(worst)), comparison.intact.len())
            });
            writeln!(
                formatter,
                "  {} [{}; {}]: {text} ({count} compared)",
                comparison.name,
                comparison.bound,
                comparison.basis.kind()
            )?;
            for (removal, extreme) in self.removed(comparison) {
                let text = extreme.map_or("not measured".into(), |(worst, broken, all)| {
                    format!("{}{} ({broken} of {all} break)", worst.text(), case(worst))
                });
                writeln!(formatter, "      without {}: {text}", removal.name)?;
            }
        }
        for (name, value) in &self.figures {
            writeln!(formatter, "  figure: {name} = {}", number(*value))?;
        }
        if !self.unguarded.is_empty() {
            writeln!(formatter, "  no removal breaks: {}", self.unguarded.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAP: Quantity = Quantity {
        name: "gap",
        what: "upper - lower",
        bound: Bound::AtMost(1e-10),
        basis: Basis::Rounding("test"),
    };
    const CAP: Removal = Removal { name: "cap", what: "no bound on the slope", breaks: &["gap"] };

    fn gap(value: f64) -> Result<Measured, CheckError> {
        let mut measured = Measured::new();
        measured.record("gap", value);
        Ok(measured)
    }

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::Fails(reason) => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_claim_whose_removal_breaks_its_bound_holds() {
        let (verdict, finding) = judge(&[GAP], &[CAP], |m| gap(if m.lacks("cap") { 1.0 } else { 0.0 }));
        assert_eq!(verdict, Verdict::Holds);
        assert!(finding.removals[0].detected && finding.unguarded.is_empty());
        assert!(finding.to_string().contains("without cap: 1.000 (1 of 1 break)"), "{finding}");
    }

    #[test]
    fn a_removal_that_does_nothing_fails_the_claim() {
        let (verdict, _) = judge(&[GAP], &[CAP], |_| gap(1e-12));
        assert!(reason(verdict).contains("removal not noticed: without cap, gap = 1.00e-12 obeys <= 1e-10"));
        // Every named quantity must break, not one of them.
        const BOTH: Removal = Removal { breaks: &["gap", "mass"], ..CAP };
        const MASS: Quantity = Quantity { name: "mass", ..GAP };
        let (verdict, _) = judge(&[GAP, MASS], &[BOTH], |m| {
            let mut measured = gap(if m.is_intact() { 0.0 } else { 1.0 })?;
            measured.record("mass", 0.0);
            Ok(measured)
        });
        assert!(reason(verdict).contains("mass = 0 obeys"));
    }

    #[test]
    fn a_removal_that_did_not_run_fails_the_claim() {
        for error in [CheckError::Run("diverged".into()), CheckError::NotApplicable("no weights".into())] {
            let (verdict, _) =
                judge(&[GAP], &[CAP], |m| if m.is_intact() { gap(0.0) } else { Err(error.clone()) });
            assert!(reason(verdict).contains("without cap did not take place"));
        }
        // Neither a missing number nor NaN is a bound broken.
        let (verdict, _) =
            judge(&[GAP], &[CAP], |m| if m.is_intact() { gap(0.0) } else { Ok(Measured::new()) });
        assert!(reason(verdict).contains("gap was not measured"));
        let (verdict, _) = judge(&[GAP], &[CAP], |m| gap(if m.is_intact() { 0.0 } else { f64::NAN }));
        assert!(reason(verdict).contains("removal not noticed"));
    }

    #[test]
    fn a_quantity_that_is_never_compared_or_not_declared_fails_the_claim() {
        const MASS: Quantity = Quantity { name: "mass", ..GAP };
        let works = |m: Mechanism| gap(if m.lacks("cap") { 1.0 } else { 0.0 });
        let (verdict, finding) = judge(&[GAP, MASS], &[CAP], works);
        assert_eq!(reason(verdict), "declared quantity never compared: mass");
        assert_eq!(finding.unguarded, ["mass"]);
        let (verdict, _) = judge(&[MASS], &[], works);
        assert_eq!(reason(verdict), "undeclared quantity measured: gap");
    }

    #[test]
    fn a_claim_without_removals_or_with_an_idle_one_fails() {
        assert_eq!(reason(judge(&[GAP], &[], |_| gap(0.0)).0), "no removal is declared");
        const IDLE: Removal = Removal { breaks: &[], ..CAP };
        assert!(reason(judge(&[GAP], &[IDLE], |_| gap(0.0)).0).contains("it has to break nothing"));
        const MISSPELT: Removal = Removal { breaks: &["gpa"], ..CAP };
        assert!(reason(judge(&[GAP], &[MISSPELT], |_| gap(0.0)).0).contains("gpa is not declared"));
    }

    #[test]
    fn the_intact_run_must_obey_every_bound_and_its_absence_is_not_a_failure() {
        let (verdict, _) = judge(&[GAP], &[CAP], |_| gap(1.0));
        assert_eq!(reason(verdict), "gap: measured 1.000, bound <= 1e-10");
        let (verdict, _) = judge(&[GAP], &[CAP], |_| Err(CheckError::NotApplicable("no weights".into())));
        assert_eq!(verdict, Verdict::NotApplicable("no weights".into()));
    }
}
