//! docs/claims.md, generated from the list of claims.

use std::fmt::Write;

use crate::claim::Claim;

/// The Markdown page that lists `claims`.
pub fn markdown(claims: &[Claim]) -> String {
    let mut page = String::from(
        "# Claims\n\n\
         Generated from the list in `validation/src/claims.rs` by `cargo run --release --bin validate -- --document \
         docs/claims.md`; a test fails when this page and the list differ.\n\n\
         Each claim is one file in `validation/src/claims/` and one test: `cargo test --release validation` runs them \
         all. A claim holds when every measured quantity obeys its bound *and* every negative control, the same check \
         with the mechanism removed, breaks it. Numbers in brackets are equations of arXiv:2407.11901; other items \
         refer to notation.md.\n",
    );
    for claim in claims {
        let _ = write!(
            page,
            "\n## {}\n\n{} ({})\n\n- Measured: {}\n- Bound: {}\n- Negative control: {}\n",
            claim.id,
            claim.statement,
            claim.source(),
            claim.measured,
            claim.bound,
            claim.control
        );
    }
    page
}
