//! Every claim as a test: `cargo test --release validation`.
//!
//! CI scale by default; `PROXFLOW_SCALE=paper` runs the long form. Claims that need data read the folders named by
//! `PROXFLOW_MNIST` and `PROXFLOW_PUBLISHED` and say loudly when they are skipped.

mod common;

mod validation {
    use proxflow_validation::claim::number;
    use proxflow_validation::{Setting, Verdict, claims, document};

    fn run(id: &str) {
        let claim = claims::find(id).expect("the macro and the list are one");
        let outcome = claim.run(&Setting::from_environment());
        for measurement in &outcome.finding.measurements {
            println!(
                "{id}: {} = {} (bound {}, {})",
                measurement.quantity,
                number(measurement.measured),
                measurement.bound,
                measurement.basis.kind()
            );
        }
        for control in &outcome.finding.controls {
            println!(
                "{id}: control {} = {} (must break {})",
                control.mechanism,
                number(control.measurement.measured),
                control.measurement.bound
            );
        }
        println!("{id}: {:.1} s", outcome.seconds);
        match outcome.verdict {
            Verdict::Holds => {}
            Verdict::NotApplicable(reason) => crate::common::skipped(id, &reason),
            Verdict::Fails(reason) => panic!("{id} fails: {reason}"),
        }
    }

    macro_rules! test {
        ($name:ident) => {
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        };
    }
    proxflow_validation::for_each_claim!(test);

    #[test]
    fn every_equation_and_every_notation_item_has_a_claim() {
        assert_eq!(claims::uncovered(), Vec::<String>::new());
    }

    #[test]
    fn every_claim_states_what_it_measures_its_bound_and_its_control() {
        let mut ids = std::collections::BTreeSet::new();
        for claim in claims::all() {
            assert!(ids.insert(claim.id), "{} appears twice", claim.id);
            for text in [claim.statement, claim.measured, claim.bound, claim.control] {
                assert!(text.len() > 10, "{}: a description is missing", claim.id);
            }
        }
    }

    #[test]
    fn the_document_is_generated_from_the_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/claims.md");
        let written = std::fs::read_to_string(path).expect("docs/claims.md is committed");
        let now = document::markdown(&claims::all());
        assert!(written == now, "run `cargo run --release --bin validate -- --document docs/claims.md`");
    }
}
