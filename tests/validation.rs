//! Every claim as a test: `cargo test --release validation`.
//!
//! CI scale by default; `PROXFLOW_SCALE=paper` runs the long form. Claims that need data read the folders named by
//! `PROXFLOW_MNIST` and `PROXFLOW_PUBLISHED` and say loudly when they are skipped.

mod common;

mod validation {
    use proxflow_validation::{Setting, Verdict, claims, document};

    fn run(id: &str) {
        let claim = claims::find(id).expect("the macro and the list are one");
        let outcome = claim.run(&Setting::from_environment());
        println!("{id}\n{}", outcome.finding);
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
    fn every_claim_declares_its_quantities_and_its_removals_once() {
        let mut ids = std::collections::BTreeSet::new();
        for claim in claims::all() {
            assert!(ids.insert(claim.id), "{} appears twice", claim.id);
            assert!(claim.statement.len() > 10, "{}: the statement is missing", claim.id);
            assert!(!claim.removals.is_empty(), "{}: nothing is removed", claim.id);
            let mut names = std::collections::BTreeSet::new();
            for quantity in claim.quantities {
                assert!(names.insert(quantity.name), "{}: {} appears twice", claim.id, quantity.name);
                assert!(
                    !quantity.what.is_empty() && !quantity.basis.reason().is_empty(),
                    "{}",
                    quantity.name
                );
            }
            for name in claim.removals.iter().flat_map(|removal| removal.breaks) {
                assert!(names.contains(name), "{}: no quantity is called {name}", claim.id);
            }
        }
    }

    #[test]
    fn a_claim_whose_removals_do_nothing_is_reported_as_failed() {
        // Every claim of the list is deaf once it measures the intact mechanism whatever it is told.
        let claim = claims::find("huber_cost").expect("a claim of the list");
        let intact = claim.measure;
        let (verdict, _) = proxflow_validation::claim::judge(claim.quantities, claim.removals, |_| {
            intact(&Setting::from_environment(), proxflow_validation::claim::Mechanism::Intact)
        });
        let Verdict::Fails(reason) = verdict else { panic!("{verdict:?}") };
        assert!(reason.contains("removal not noticed: without value of lambda"), "{reason}");
    }

    #[test]
    fn the_document_is_generated_from_the_list() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/claims.md");
        let written = std::fs::read_to_string(path).expect("docs/claims.md is committed");
        let now = document::markdown(&claims::all());
        assert!(written == now, "run `cargo run --release --bin validate -- --document docs/claims.md`");
    }
}
