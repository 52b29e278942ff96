//! Value parsers of command-line options: each names the range it allows.

use proxflow_reference::{DivergenceKind, InvalidInput};

/// A finite number above zero.
pub fn positive(text: &str) -> Result<f64, String> {
    number(text, "a finite number > 0", |value| value > 0.0)
}

/// A finite number from zero upwards.
pub fn non_negative(text: &str) -> Result<f64, String> {
    number(text, "a finite number >= 0", |value| value >= 0.0)
}

/// A divergence by name.
pub fn divergence(text: &str) -> Result<DivergenceKind, String> {
    text.parse().map_err(|error: InvalidInput| format!("allowed: {}", error.allowed))
}

fn number(text: &str, allowed: &str, inside: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && inside(value) => Ok(value),
        _ => Err(format!("allowed: {allowed}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused_with_the_range() {
        assert_eq!(positive("0.5"), Ok(0.5));
        assert_eq!(non_negative("0"), Ok(0.0));
        for text in ["0", "-1", "nan", "inf", "1e999", "steep", ""] {
            assert_eq!(positive(text), Err("allowed: a finite number > 0".into()), "{text}");
        }
        assert!(non_negative("-1e-300").is_err());
        assert!(divergence("KL").is_err_and(|line| line.contains("reverse-kl")));
    }
}
