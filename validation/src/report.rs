//! The report: one self-contained HTML page and the same content as JSON.

mod page;

use serde::Serialize;

use crate::claim::{Outcome, Scale, Verdict};
use crate::model::Indicators;

/// Where the numbers come from.
#[derive(Debug, Clone, Serialize)]
pub struct Provenance {
    /// Commit of the program.
    pub commit: String,
    /// The command line.
    pub command: String,
    /// Root seed.
    pub seed: u64,
    /// CI or paper scale.
    pub scale: Scale,
    /// Devices of the libtorch checks, or `none` without libtorch.
    pub device: String,
    /// Operating system, architecture and number of processors.
    pub machine: String,
    /// The model that was examined, where there was one.
    pub subject: Option<String>,
    /// Parameters of the examined model, `(name, value)`.
    pub parameters: Vec<(String, String)>,
    /// Files that were read, `(name, SHA-256)`.
    pub inputs: Vec<(String, String)>,
    /// UTC time at which the run started, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started: String,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
}

impl Provenance {
    /// Rows for a reader, `(name, value)`.
    pub fn rows(&self) -> Vec<(String, String)> {
        let scale = format!("{:?}", self.scale).to_lowercase();
        let minutes = if self.seconds < 100.0 {
            format!("{:.1} s", self.seconds)
        } else {
            format!("{:.1} min", self.seconds / 60.0)
        };
        let own = [
            ("program", format!("proxflow {}, commit {}", env!("CARGO_PKG_VERSION"), self.commit)),
            ("command", self.command.clone()),
            ("started", self.started.clone()),
            ("wall-clock time", minutes),
            ("scale, root seed", format!("{scale}, {}", self.seed)),
            ("machine", self.machine.clone()),
            ("libtorch device", self.device.clone()),
        ];
        let inputs = self.inputs.iter().map(|(name, digest)| (format!("SHA-256 of {name}"), digest.clone()));
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.parameters.iter().cloned()).chain(inputs).collect()
    }
}

/// Everything a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Where the numbers come from.
    pub provenance: Provenance,
    /// The claims about the theory and its implementation.
    pub claims: Vec<Outcome>,
    /// What holds for the examined model, in the same form; empty without one.
    pub model: Vec<Outcome>,
    /// The indicators of the examined model, one entry for each step size; empty without one.
    pub indicators: Vec<Indicators>,
}

impl Report {
    /// Number of claims that hold, fail and are not applicable.
    pub fn counts(outcomes: &[Outcome]) -> [usize; 3] {
        let count = |matches: fn(&Verdict) -> bool| outcomes.iter().filter(|o| matches(&o.verdict)).count();
        [
            count(|v| matches!(v, Verdict::Holds)),
            count(|v| matches!(v, Verdict::Fails(_))),
            count(|v| matches!(v, Verdict::NotApplicable(_))),
        ]
    }

    /// The page: no script, no link to the outside; pictures are data URIs.
    pub fn to_html(&self) -> Result<String, String> {
        page::page(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::claim::{Basis, Bound, Measured, Quantity, Removal, judge};

    const GAP: Quantity = Quantity {
        name: "gap",
        what: "a <script> gap",
        bound: Bound::AtMost(1e-10),
        basis: Basis::Rounding("n eps"),
    };
    const COST: Removal = Removal { name: "cost", what: "cost & transposed", breaks: &["gap"] };

    pub(crate) fn example() -> Report {
        let (verdict, finding) = judge(&[GAP], &[COST], |mechanism| {
            let mut measured = Measured::new();
            measured.record("gap", if mechanism.is_intact() { 1e-12 } else { 2.5 });
            measured.plot(
                proxflow_io::plot::Plot::new("t", "x", "y", "c").line("a", vec![(0.0, 1.0), (1.0, 2.0)]),
            );
            Ok(measured)
        });
        let outcome = Outcome {
            id: "example".into(),
            statement: "x < y".into(),
            source: "[1]".into(),
            verdict,
            finding,
            seconds: 0.1,
        };
        Report {
            provenance: Provenance {
                commit: "abc".into(),
                command: "validate".into(),
                seed: 0,
                scale: Scale::Ci,
                device: "cpu".into(),
                machine: "linux x86_64, 2 processors".into(),
                subject: None,
                parameters: vec![("lambda".into(), "0.05".into())],
                inputs: vec![("model.npz".into(), "00ff".into())],
                started: "2026-01-01T00:00:00Z".into(),
                seconds: 1.0,
            },
            claims: vec![outcome],
            model: Vec::new(),
            indicators: Vec::new(),
        }
    }

    #[test]
    fn page_is_self_contained_and_escapes_its_text() {
        let page = example().to_html().unwrap();
        assert!(!page.contains("<script") && !page.contains("http"), "no script, no outside resource");
        assert!(page.contains("a &lt;script&gt; gap") && page.contains("cost &amp; transposed"));
        assert!(page.contains("src=\"data:image/svg+xml;base64,"));
        for part in [
            "1 of 1 noticed",
            "without cost: <span class=\"value\">2.500</span>, 1 of 1 break",
            "rounding",
            "\u{2264} 1e\u{2212}10",
            "SHA-256 of model.npz",
        ] {
            assert!(page.contains(part), "{part} is missing");
        }
    }

    #[test]
    fn json_carries_verdict_intact_and_removed_values() {
        let json = serde_json::to_value(example()).unwrap();
        let claim = &json["claims"][0];
        assert_eq!(claim["verdict"], "holds");
        let quantity = &claim["finding"]["quantities"][0];
        assert_eq!(quantity["bound"]["at_most"], 1e-10);
        assert_eq!(
            (&quantity["intact"][0]["value"], &quantity["removed"][0][0]["value"]),
            (&1e-12.into(), &2.5.into())
        );
        assert_eq!(claim["finding"]["removals"][0]["detected"], true);
    }
}
