//! Numbers as text.

/// A number for readers: four significant digits, scientific when very small or large.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.2e}")
    } else {
        let decimals = (3 - size.log10().floor() as i32).clamp(0, 6) as usize;
        format!("{value:.decimals$}")
    }
}

/// [`number`] without the zeros that end it: for bounds and axes, whose digits are exact.
pub fn brief(value: f64) -> String {
    let text = number(value);
    let (mantissa, exponent) = text.split_once('e').map_or((text.as_str(), None), |(m, e)| (m, Some(e)));
    let mantissa =
        if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    exponent.map_or_else(|| mantissa.to_owned(), |exponent| format!("{mantissa}e{exponent}"))
}

/// `value +- error`, both to the second significant digit of the standard error.
pub fn with_error(value: f64, error: f64) -> String {
    if !(error.is_finite() && error > 0.0 && value.abs() < 1e5) || error < 1e-6 {
        return number(value);
    }
    let decimals = (1 - error.log10().floor() as i32).clamp(0, 8) as usize;
    format!("{value:.decimals$} +- {error:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_readers() {
        assert_eq!(number(19.2345), "19.23");
        assert_eq!(number(1.5e-12), "1.50e-12");
        assert_eq!(number(0.0), "0");
    }

    #[test]
    fn exact_numbers_are_written_without_idle_zeros() {
        for (value, text) in
            [(1e-12, "1e-12"), (0.05, "0.05"), (21.0, "21"), (-4e-9, "-4e-9"), (100.0, "100"), (0.0, "0")]
        {
            assert_eq!(brief(value), text);
        }
    }

    #[test]
    fn means_are_written_to_the_digits_that_their_error_leaves() {
        assert_eq!(with_error(19.1834, 0.0914), "19.183 +- 0.091");
        assert_eq!(with_error(1.5, 0.0), "1.500");
        assert_eq!(with_error(f64::NAN, 0.1), "NaN");
    }
}
