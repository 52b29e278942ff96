//! The report as one HTML page: tallies, indicators, the table of claims, plots, details, provenance.

use std::fmt::Write;

use base64::Engine;

use super::Report;
use crate::claim::{Basis, Bound, Comparison, Finding, Measurement, Outcome, RemovalRun, Verdict};
use crate::model::Indicators;
use crate::number::{number, with_error};

/// The page: no script, no link to the outside; pictures are data URIs.
pub(super) fn page(report: &Report) -> Result<String, String> {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n<title>proxflow validation \
         report</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n<h1>Claims of arXiv:2407.11901</h1>\n<p \
         class=\"lead\">Generative flows by combined Wasserstein-1 and Wasserstein-2 proximals: what the theory says, \
         measured.</p>\n",
        include_str!("style.css")
    );
    let subject = report.provenance.subject.as_deref().unwrap_or("model");
    let model = format!("What holds for {subject}");
    let mut sections: Vec<(&str, &str, &[Outcome])> = Vec::new();
    if !report.model.is_empty() {
        sections.push(("model", &model, &report.model));
    }
    if !report.claims.is_empty() {
        sections.push(("theory", "Theory and implementation", &report.claims));
    }
    page += "<nav>";
    for (id, title, outcomes) in &sections {
        let _ = write!(page, "<a href=\"#{id}\">{}</a>", escape(title));
        if has_plots(outcomes) {
            let _ = write!(page, "<a href=\"#{id}-plots\">plots</a>");
        }
    }
    page += "<a href=\"#provenance\">Provenance</a></nav>\n";
    for (id, title, outcomes) in sections {
        let _ = writeln!(page, "<h2 id=\"{id}\">{}</h2>\n{}", escape(title), tally(outcomes));
        if id == "model" && !report.indicators.is_empty() {
            page += &indicator_table(&report.indicators);
        }
        section(&mut page, id, outcomes)?;
    }
    page += "<h2 id=\"provenance\">Provenance</h2>\n<table class=\"narrow\">\n";
    for (name, value) in report.provenance.rows() {
        let _ = writeln!(page, "<tr><th>{}</th><td><code>{}</code></td></tr>", escape(&name), escape(&value));
    }
    page += "</table>\n</main>\n</body>\n</html>\n";
    Ok(page)
}

fn tally(outcomes: &[Outcome]) -> String {
    let [holds, fails, absent] = Report::counts(outcomes);
    let word = |class: &str, count: usize, verb: &str| format!("<li class=\"{class}\">{count} {verb}</li>");
    let words = [
        word("holds", holds, if holds == 1 { "holds" } else { "hold" }),
        word("fails", fails, if fails == 1 { "fails" } else { "fail" }),
        word("absent", absent, "not applicable"),
    ];
    format!("<ul class=\"tally\">{}</ul>", words.concat())
}

/// One row for each indicator, one column for each step size.
fn indicator_table(columns: &[Indicators]) -> String {
    let mut table = String::from(
        "<h3>Optimality indicators</h3>\n<p class=\"soft\">Means over samples with their standard errors; definitions in \
         section 5 of docs/notation.md.</p>\n<div class=\"scroll\"><table class=\"narrow\">\n<thead><tr><th></th>",
    );
    for column in columns {
        let _ = write!(
            table,
            "<th class=\"number\">{} steps, h = {}</th>",
            column.steps,
            crate::number::brief(column.step)
        );
    }
    table += "</tr></thead>\n";
    let names = columns.first().map_or(0, |column| column.means.len());
    for row in 0..names {
        if columns.iter().all(|column| column.means[row].mean.is_none()) {
            continue;
        }
        let _ = write!(table, "<tr><th>{}</th>", escape(columns[0].means[row].name));
        for column in columns {
            let text =
                column.means[row].mean.map_or("".into(), |mean| with_error(mean.value, mean.standard_error));
            let _ = write!(table, "<td class=\"number\">{}</td>", typeset(&text));
        }
        table += "</tr>\n";
    }
    if columns.iter().any(|column| column.critic_slope_max.is_some()) {
        table += "<tr><th>largest critic slope at x_N</th>";
        for column in columns {
            let text = column.critic_slope_max.map(number).unwrap_or_default();
            let _ = write!(table, "<td class=\"number\">{text}</td>");
        }
        table += "</tr>\n";
    }
    table + "</table></div>\n"
}

fn has_plots(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.finding.plots.is_empty())
}

fn section(page: &mut String, id: &str, outcomes: &[Outcome]) -> Result<(), String> {
    *page += "<table class=\"summary cards\">\n<thead><tr><th>claim</th><th>verdict</th><th>intact, tightest</th>\
              <th>bound</th><th>basis</th><th>removed</th></tr></thead>\n<tbody>\n";
    outcomes.iter().for_each(|outcome| summary_row(page, outcome));
    *page += "</tbody>\n</table>\n";
    if has_plots(outcomes) {
        let _ = writeln!(page, "<h3 id=\"{id}-plots\">Plots</h3>\n<div class=\"plots\">");
        for outcome in outcomes {
            for plot in &outcome.finding.plots {
                let svg = base64::engine::general_purpose::STANDARD.encode(plot.to_svg()?);
                let _ = writeln!(
                    page,
                    "<figure><img alt=\"{}\" width=\"640\" height=\"400\" src=\"data:image/svg+xml;base64,{svg}\">\
                     <figcaption><a href=\"#{id}\"><code>{id}</code></a>. {}</figcaption></figure>",
                    escape(&plot.title),
                    escape(&plot.caption),
                    id = escape(&outcome.id),
                );
            }
        }
        *page += "</div>\n";
    }
    *page += "<h3>Every number</h3>\n";
    outcomes.iter().for_each(|outcome| details(page, outcome));
    Ok(())
}

fn word(verdict: &Verdict) -> (&'static str, &'static str, &str) {
    match verdict {
        Verdict::Holds => ("holds", "holds", ""),
        Verdict::Fails(reason) => ("fails", "fails", reason),
        Verdict::NotApplicable(reason) => ("absent", "not applicable", reason),
    }
}

fn summary_row(page: &mut String, outcome: &Outcome) {
    let (class, verdict, reason) = word(&outcome.verdict);
    let _ = write!(
        page,
        "<tr><td><a href=\"#{id}\"><code>{id}</code></a><br>{}<br><span class=\"soft\">{}</span></td>\
         <td data-label=\"verdict\"><span class=\"word {class}\">{verdict}</span></td>",
        escape(&outcome.statement),
        escape(&outcome.source),
        id = escape(&outcome.id),
    );
    let finding = &outcome.finding;
    match finding.tightest() {
        None => {
            let _ = write!(
                page,
                "<td colspan=\"4\" class=\"soft\" data-label=\"reason\">{}</td>",
                escape(reason)
            );
        }
        Some((comparison, worst)) => {
            let _ = write!(
                page,
                "<td data-label=\"intact, tightest of {count}\"><span class=\"value\">{}</span><br><span class=\"soft\">{}\
                 </span></td><td data-label=\"bound\" class=\"value\">{}</td><td data-label=\"basis\">{}</td>\
                 <td data-label=\"removed\">{}</td>",
                measured(worst),
                escape(comparison.name),
                bound(comparison.bound),
                basis(&comparison.basis),
                detected(finding),
                count = finding.quantities.len(),
            );
        }
    }
    *page += "</tr>\n";
}

/// How many removals break what they must, with their names.
fn detected(finding: &Finding) -> String {
    let count = finding.removals.iter().filter(|removal| removal.detected).count();
    let names: Vec<&str> = finding.removals.iter().map(|removal| removal.name).collect();
    format!("{count} of {} noticed<br><span class=\"soft\">{}</span>", names.len(), escape(&names.join("; ")))
}

fn measured(measurement: &Measurement) -> String {
    typeset(&measurement.text())
}

fn bound(bound: Bound) -> String {
    typeset(&bound.to_string())
}

/// `<=`, `>=`, `+-` as signs, a true minus.
fn typeset(text: &str) -> String {
    text.replace("<=", "\u{2264}").replace(">=", "\u{2265}").replace("+-", "\u{b1}").replace('-', "\u{2212}")
}

fn basis(basis: &Basis) -> String {
    format!("{}<br><span class=\"soft\">{}</span>", basis.kind(), escape(basis.reason()))
}

/// Everything that was measured for one claim, folded away.
fn details(page: &mut String, outcome: &Outcome) {
    let (class, verdict, reason) = word(&outcome.verdict);
    let finding = &outcome.finding;
    let count: usize = finding
        .quantities
        .iter()
        .map(|quantity| quantity.intact.len() + quantity.removed.iter().map(Vec::len).sum::<usize>())
        .sum();
    let _ = writeln!(
        page,
        "<details id=\"{id}\"><summary><code>{id}</code> <span class=\"word {class}\">{verdict}</span> <span class=\"soft\">\
         {count} numbers, {:.1} s</span></summary>\n<p>{}</p>\n<dl>",
        outcome.seconds,
        escape(&outcome.statement),
        id = escape(&outcome.id),
    );
    if !reason.is_empty() {
        let _ = writeln!(page, "<dt>verdict</dt><dd>{}</dd>", escape(reason));
    }
    for removal in &finding.removals {
        let error =
            removal.error.as_ref().map_or_else(String::new, |error| format!(" (did not run: {error})"));
        let text = format!("{}{error}", removal.what);
        let _ = writeln!(page, "<dt>without {}</dt><dd>{}</dd>", escape(removal.name), escape(&text));
    }
    *page += "</dl>\n";
    if !finding.quantities.is_empty() {
        *page += "<table class=\"cards\">\n<thead><tr><th>quantity</th><th>bound</th><th class=\"number\">intact</th>\
                  <th>removed: must break the bound</th></tr></thead>\n<tbody>\n";
        finding.quantities.iter().for_each(|comparison| comparison_row(page, finding, comparison));
        *page += "</tbody>\n</table>\n";
    }
    if !finding.unguarded.is_empty() {
        let names = finding.unguarded.join("; ");
        let _ = writeln!(page, "<p class=\"soft\">No removal breaks: {}</p>", escape(&names));
    }
    if !finding.figures.is_empty() {
        *page += "<p class=\"soft\">Figures without a bound</p>\n<dl>";
        for (name, value) in &finding.figures {
            let _ = write!(page, "<dt>{}</dt><dd>{}</dd>", escape(name), typeset(&number(*value)));
        }
        *page += "</dl>\n";
    }
    *page += "</details>\n";
}

/// One quantity: its bound, the intact value and the removed ones side by side.
fn comparison_row(page: &mut String, finding: &Finding, comparison: &Comparison) {
    let intact = comparison.extreme(&comparison.intact);
    let class = if intact.is_some_and(|(_, broken)| broken == 0) { "" } else { "broken" };
    let value = |measurement: &Measurement| {
        let case = if measurement.case.is_empty() {
            String::new()
        } else {
            format!("<br><span class=\"soft\">{}</span>", escape(&measurement.case))
        };
        format!("<span class=\"value\">{}</span>{case}", measured(measurement))
    };
    let text = intact.map_or("not measured".into(), |(worst, broken)| {
        format!(
            "{}<br><span class=\"soft\">{broken} of {} break</span>",
            value(worst),
            comparison.intact.len()
        )
    });
    let removed = |(removal, extreme): (&RemovalRun, Option<(&Measurement, usize, usize)>)| {
        let class = if removal.detected { "control" } else { "broken" };
        let text = extreme.map_or("not measured".into(), |(worst, broken, all)| {
            format!("<span class=\"value\">{}</span>, {broken} of {all} break", measured(worst))
        });
        format!("<div class=\"{class}\">without {}: {text}</div>", escape(removal.name))
    };
    let removed: String = finding.removed(comparison).map(removed).collect();
    let _ = writeln!(
        page,
        "<tr class=\"{class}\"><td>{}<br><span class=\"soft\">{}</span></td><td data-label=\"bound\"><span class=\"value\">{}\
         </span><br>{}</td><td class=\"number\" data-label=\"intact\">{text}</td><td data-label=\"removed\">{removed}</td></tr>",
        escape(comparison.name),
        escape(comparison.what),
        bound(comparison.bound),
        basis(&comparison.basis),
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
