//! The report: one self-contained HTML page and the same content as JSON.

pub mod plot;

use std::fmt::Write;

use base64::Engine;
use serde::Serialize;

use crate::claim::{Measurement, Outcome, Scale, Verdict, number};

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
    /// Device of the libtorch checks, or `none` without libtorch.
    pub device: String,
    /// The model that was examined, where there was one.
    pub subject: Option<String>,
    /// UTC time at which the run started, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started: String,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
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

    /// The page: no script, no link, no outside resource; pictures are data URIs.
    pub fn to_html(&self) -> Result<String, String> {
        let mut page = String::from(HEAD);
        let provenance = &self.provenance;
        page += "<h1>Claims of arXiv:2407.11901</h1>\n<p class=\"lead\">Generative flows by combined \
                 Wasserstein-1 and Wasserstein-2 proximals: what the theory says, measured.</p>\n";
        if !self.model.is_empty() {
            let subject = provenance.subject.as_deref().unwrap_or("model");
            section(&mut page, &format!("What holds for {subject}"), &self.model)?;
        }
        if !self.claims.is_empty() {
            section(&mut page, "Theory and implementation", &self.claims)?;
        }
        page += "<h2>Provenance</h2>\n<table class=\"provenance\">\n";
        let seconds = format!("{:.1}", provenance.seconds);
        let seed = provenance.seed.to_string();
        let scale = format!("{:?}", provenance.scale).to_lowercase();
        for (name, value) in [
            ("commit", provenance.commit.as_str()),
            ("command", &provenance.command),
            ("seed", &seed),
            ("scale", &scale),
            ("device", &provenance.device),
            ("started (UTC)", &provenance.started),
            ("seconds", &seconds),
        ] {
            let _ = writeln!(page, "<tr><th>{name}</th><td>{}</td></tr>", escape(value));
        }
        page += "</table>\n</main>\n</body>\n</html>\n";
        Ok(page)
    }
}

fn section(page: &mut String, title: &str, outcomes: &[Outcome]) -> Result<(), String> {
    let [holds, fails, absent] = Report::counts(outcomes);
    let _ = writeln!(
        page,
        "<h2>{}</h2>\n<p><b class=\"holds\">{holds} hold</b>, <b class=\"fails\">{fails} fail</b>, \
         <b class=\"absent\">{absent} not applicable</b>.</p>\n<table class=\"claims\">\n<thead><tr><th>claim</th>\
         <th>verdict</th><th>measured</th><th class=\"number\">value</th><th>bound</th><th>basis</th></tr></thead>",
        escape(title)
    );
    for outcome in outcomes {
        claim_rows(page, outcome);
    }
    page.push_str("</table>\n");
    for outcome in outcomes {
        for plot in &outcome.finding.plots {
            let svg = base64::engine::general_purpose::STANDARD.encode(plot.to_svg()?);
            let _ = writeln!(
                page,
                "<figure><img alt=\"{}\" src=\"data:image/svg+xml;base64,{svg}\"><figcaption><code>{}</code> {}\
                 </figcaption></figure>",
                escape(&plot.title),
                escape(&outcome.id),
                escape(&plot.caption)
            );
        }
    }
    Ok(())
}

fn claim_rows(page: &mut String, outcome: &Outcome) {
    let finding = &outcome.finding;
    let rows = (finding.measurements.len() + finding.controls.len()).max(1);
    let (class, word, reason) = match &outcome.verdict {
        Verdict::Holds => ("holds", "holds", ""),
        Verdict::Fails(reason) => ("fails", "fails", reason.as_str()),
        Verdict::NotApplicable(reason) => ("absent", "not applicable", reason.as_str()),
    };
    let _ = write!(
        page,
        "<tbody id=\"{id}\"><tr><td rowspan=\"{rows}\"><b>{id}</b><br>{}<br><span class=\"source\">{}; {:.1} s</span>\
         </td><td rowspan=\"{rows}\" class=\"{class}\"><b>{word}</b><br><span class=\"source\">{}</span></td>",
        escape(&outcome.statement),
        escape(&outcome.source),
        outcome.seconds,
        escape(reason),
        id = escape(&outcome.id),
    );
    let mut cells: Vec<String> = finding.measurements.iter().map(|m| measurement_cells(m, None)).collect();
    cells.extend(finding.controls.iter().map(|c| measurement_cells(&c.measurement, Some(c.detected))));
    if cells.is_empty() {
        cells.push("<td colspan=\"4\"></td>".into());
    }
    let _ = writeln!(page, "{}</tr>", cells.join("</tr>\n<tr>"));
    if !finding.figures.is_empty() {
        let figures: Vec<String> = finding
            .figures
            .iter()
            .map(|(name, value)| format!("{} {}", escape(name), number(*value)))
            .collect();
        let _ = writeln!(
            page,
            "<tr><td></td><td colspan=\"5\" class=\"source\">figures: {}</td></tr>",
            figures.join("; ")
        );
    }
    page.push_str("</tbody>\n");
}

fn measurement_cells(measurement: &Measurement, detected: Option<bool>) -> String {
    let (class, lead) = match (detected, measurement.holds) {
        (None, true) => ("", ""),
        (None, false) => ("fails", ""),
        (Some(true), _) => ("control", "control, must break the bound: "),
        (Some(false), _) => ("fails", "control NOT detected: "),
    };
    let error = measurement.standard_error.map(|e| format!(" (s.e. {})", number(e))).unwrap_or_default();
    format!(
        "<td class=\"{class}\">{lead}{}</td><td class=\"number {class}\">{}{error}</td><td class=\"{class}\">{}</td>\
         <td class=\"{class}\">{}: {}</td>",
        escape(&measurement.quantity),
        number(measurement.measured),
        escape(&measurement.bound.to_string()),
        measurement.basis.kind(),
        escape(measurement.basis.reason())
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<link rel=\"icon\" href=\"data:,\">
<title>proxflow validation report</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; background: #fff; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 24px; }
h1 { margin: 0; } .lead { color: #57606a; margin-top: 4px; }
table { border-collapse: collapse; width: 100%; margin: 12px 0 24px; }
th, td { text-align: left; vertical-align: top; padding: 6px 8px; border: 1px solid #d0d7de; }
thead th { background: #f6f8fa; position: sticky; top: 0; }
.provenance { width: auto; } .claims td:first-child { width: 27%; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.source { color: #57606a; font-size: 13px; }
.holds { color: #116329; } .fails { color: #a40e26; background: #ffebe9; } .absent { color: #57606a; }
.control { color: #6e5494; }
p b.fails { background: none; }
figure { display: inline-block; width: 48%; min-width: 420px; margin: 0 1% 20px 0; vertical-align: top; }
figure img { width: 100%; border: 1px solid #d0d7de; }
figcaption { font-size: 13px; color: #57606a; }
</style>
</head>
<body>
<main>
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::claim::{Basis, Bound, Finding};

    pub(crate) fn example() -> Report {
        let mut finding = Finding::new();
        finding.measure("a <script> gap", 1e-12, Bound::AtMost(1e-10), Basis::Rounding("n eps".into()));
        finding.control("cost & transposed", 1.0, Bound::AtMost(1e-10), Basis::Rounding("n eps".into()));
        finding.plot(plot::Plot::new("t", "x", "y", "c").line("a", vec![(0.0, 1.0), (1.0, 2.0)]));
        let outcome = Outcome {
            id: "example".into(),
            statement: "x < y".into(),
            source: "[1]".into(),
            verdict: finding.verdict(),
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
                subject: None,
                started: "2026-01-01T00:00:00Z".into(),
                seconds: 1.0,
            },
            claims: vec![outcome],
            model: Vec::new(),
        }
    }

    #[test]
    fn page_is_self_contained_and_escapes_its_text() {
        let page = example().to_html().unwrap();
        assert!(!page.contains("<script") && !page.contains("http"), "no script, no outside resource");
        assert!(page.contains("a &lt;script&gt; gap") && page.contains("cost &amp; transposed"));
        assert!(page.contains("src=\"data:image/svg+xml;base64,"));
    }

    #[test]
    fn json_carries_verdict_measurement_and_control() {
        let json = serde_json::to_value(example()).unwrap();
        let claim = &json["claims"][0];
        assert_eq!(claim["verdict"], "holds");
        assert_eq!(claim["finding"]["measurements"][0]["bound"]["at_most"], 1e-10);
        assert_eq!(claim["finding"]["controls"][0]["detected"], true);
    }
}
