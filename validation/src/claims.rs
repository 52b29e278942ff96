//! The list of claims. A claim is added by its file and one line here; tests, report and docs/claims.md follow.

use crate::claim::Claim;

macro_rules! claims {
    (($dollar:tt) $($room:ident { $($name:ident),* $(,)? })*) => {
        $(
            mod $room {
                $(pub(super) mod $name;)*
            }
        )*

        /// Every claim, in the order of the paper.
        pub fn all() -> Vec<Claim> {
            vec![$($($room::$name::CLAIM),*),*]
        }

        /// Calls the macro `each!(name)` for the name of every claim: one test per claim.
        #[macro_export]
        macro_rules! for_each_claim {
            ($dollar each:ident) => { $($($dollar each! { $name })*)* };
        }
    };
}

claims! {
    ($)
    divergence {
        fenchel_young,
        lipschitz_divergence,
        divergence_bounds,
        variational_derivative,
        huber_cost,
    }
    game {
        combined_proximal,
        mean_field_system,
        hopf_lax,
        grid_schemes,
        straight_lines,
        blow_up,
        monotonicity,
        energy_identity,
        uniqueness,
        large_grid,
    }
    training {
        network_agreement,
        objective_agreement,
        indicator_agreement,
        critic_monotonicity,
        trained_flow,
        four_cases,
    }
    mnist {
        published_curves,
        published_weights,
        mnist_optimum,
        exact_flow,
    }
}

/// The claim named `id`.
pub fn find(id: &str) -> Option<Claim> {
    all().into_iter().find(|claim| claim.id == id)
}

/// Equations of the paper that a claim must cover: \[1\]-\[44\] and the four cases \[46\]-\[49\].
pub const REQUIRED_EQUATIONS: &[(u32, u32)] = &[(1, 44), (46, 49)];

/// Items of docs/notation.md that a claim must cover, the project's own consequences (+) among them.
pub const REQUIRED_NOTATION: &[&str] = &[
    "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "2.1", "2.2", "2.3", "2.5", "3.1", "3.2", "3.3",
    "3.4", "3.5", "3.6", "4", "5",
];

/// What the list leaves uncovered, empty when it is complete.
pub fn uncovered() -> Vec<String> {
    let claims = all();
    let equations = REQUIRED_EQUATIONS
        .iter()
        .flat_map(|&(first, last)| first..=last)
        .filter(|n| {
            !claims.iter().any(|c| c.equations.iter().any(|(first, last)| (first..=last).contains(&n)))
        })
        .map(|n| format!("[{n}]"));
    let notation = REQUIRED_NOTATION
        .iter()
        .filter(|item| !claims.iter().any(|c| c.notation.contains(item)))
        .map(|item| format!("notation {item}"));
    equations.chain(notation).collect()
}
