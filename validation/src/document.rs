//! docs/claims.md, generated from the list of claims.

use std::fmt::Write;

use serde::Deserialize;

use crate::claim::Claim;

/// A mutation of the code that a claim must notice: `validation/mutations.py` applies it.
#[derive(Debug, Clone, Deserialize)]
pub struct Mutation {
    /// What is broken.
    pub name: String,
    /// Where.
    pub file: String,
    /// Claims of which at least one must fail.
    pub claims: Vec<String>,
}

/// Every mutation of `validation/mutations.json`.
pub fn mutations() -> Vec<Mutation> {
    serde_json::from_str(include_str!("../mutations.json")).unwrap_or_default()
}

/// The Markdown page that lists `claims`: every text and every bound is the one that the check compares.
pub fn markdown(claims: &[Claim]) -> String {
    let mut page = String::from(
        "# Claims\n\n\
         Generated from the list in `validation/src/claims.rs` by `cargo run --release --bin validate -- --document \
         docs/claims.md`; a test fails when this page and the list differ.\n\n\
         Each claim is one file in a room of `validation/src/claims/` and one test: `cargo test --release validation` runs them \
         all. A claim is a function of its mechanism: it is measured intact and once without each of the parts named \
         here, through the same code, and every run is compared with the same bounds. It holds when the intact run obeys \
         every bound *and* every removal breaks the quantities that it must. A removal that does nothing, a run that does \
         not take place, a quantity that is never compared and one that is not declared are failures. Numbers in brackets \
         are equations of arXiv:2407.11901; other items refer to notation.md.\n\n\
         What no run can do without is broken in the code itself: `python3 validation/mutations.py` applies the mutations \
         listed under a claim, one at a time, and each must fail it. `validation/sweep.py` mutates the numerics at random \
         places; [what survived](records/mutations.md) is read by a person.\n",
    );
    let mutations = mutations();
    for claim in claims {
        let _ = write!(page, "\n## {}\n\n{} ({})\n", claim.id, claim.statement, claim.source());
        page +=
            "\n| quantity | measured | bound | basis | broken by the removal of |\n|---|---|---|---|---|\n";
        for quantity in claim.quantities {
            let removals: Vec<&str> = claim
                .removals
                .iter()
                .filter(|removal| removal.breaks.contains(&quantity.name))
                .map(|removal| removal.name)
                .collect();
            let broken = if removals.is_empty() { "-".to_owned() } else { removals.join("; ") };
            let _ = writeln!(
                page,
                "| {} | {} | `{}` | {}: {} | {} |",
                cell(quantity.name),
                cell(quantity.what),
                quantity.bound,
                quantity.basis.kind(),
                cell(quantity.basis.reason()),
                cell(&broken)
            );
        }
        page += "\nRemovals:\n\n";
        for removal in claim.removals {
            let _ = writeln!(page, "- {}: {}", removal.name, removal.what);
        }
        let broken = |mutation: &&Mutation| mutation.claims.iter().any(|id| id == claim.id);
        let names: Vec<String> =
            mutations.iter().filter(broken).map(|m| format!("{} (`{}`)", m.name, m.file)).collect();
        if !names.is_empty() {
            let _ = writeln!(page, "\nMutations of the code: {}.", names.join("; "));
        }
    }
    page
}

/// Text that Markdown leaves alone inside a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*").replace('_', "\\_")
}
