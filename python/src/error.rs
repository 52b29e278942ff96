//! The oracle's refusals as `ValueError`, in the names of the Python arguments.

use proxflow_reference::InvalidInput;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// What the oracle calls its inputs, and what the caller does. Longer names first.
const NAMES: [(&str, &str); 14] = [
    ("weights of model", "a"),
    ("weights of data", "b"),
    ("model weights", "a"),
    ("data weights", "b"),
    ("source weights", "a"),
    ("target weights", "b"),
    ("sources", "X_a"),
    ("targets", "X_b"),
    ("model", "X_a"),
    ("source", "X_a"),
    ("data", "X_b"),
    ("cost", "M"),
    ("lambda", "lam"),
    ("tolerance", "tol"),
];

/// `ValueError("field: value is not allowed (allowed: range)")` with attributes `field`, `value` and `allowed`.
pub fn value_error(py: Python<'_>, error: &InvalidInput) -> PyErr {
    let mut field = error.field.clone();
    if let Some((name, argument)) = NAMES.iter().find(|(name, _)| field.contains(name)) {
        field = field.replace(name, argument);
    }
    let InvalidInput { value, allowed, .. } = error;
    let raised = PyValueError::new_err(format!("{field}: {value} is not allowed (allowed: {allowed})"));
    let instance = raised.value(py);
    for (name, text) in [("field", &field), ("value", value), ("allowed", allowed)] {
        if let Err(error) = instance.setattr(name, text) {
            return error;
        }
    }
    raised
}
