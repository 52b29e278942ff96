//! What every solver of this library returns: bounds on a value, how the solver ended, and its solution.
//!
//! Every number passes one gate: both bounds finite, `lower <= upper` up to the stated rounding of their sums, and not
//! negative where the quantity cannot be. A pair that does not pass is never reported: the bounds become
//! [`Bounds::UNKNOWN`], which is true of every number, and the status [`Termination::Failed`].

use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Bounds `lower <= value <= upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// A lower bound, usually the dual value at some potential.
    pub lower: f64,
    /// An upper bound, usually the primal value at some plan.
    pub upper: f64,
}

impl Bounds {
    /// Nothing is known: `[-inf, inf]`.
    pub const UNKNOWN: Self = Self { lower: f64::NEG_INFINITY, upper: f64::INFINITY };

    /// `upper - lower`: non-negative up to rounding.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }

    /// These bounds of a quantity that cannot be negative, through the gate of every certificate: `None` where an end is not
    /// finite, or they cross or lie below zero by more than `rounding`; a lower bound below zero is raised to it.
    ///
    /// ```
    /// use proxflow_reference::Bounds;
    /// let gap = Bounds { lower: -1e-15, upper: 2.0 }.of_a_non_negative(1e-14);
    /// assert_eq!(gap, Some(Bounds { lower: 0.0, upper: 2.0 }));
    /// assert_eq!(Bounds { lower: 1.0, upper: 0.5 }.of_a_non_negative(1e-14), None);
    /// ```
    pub fn of_a_non_negative(self, rounding: f64) -> Option<Self> {
        gate(self, rounding, Sign::NonNegative)
    }

    /// Whether both ends are finite.
    pub fn is_finite(&self) -> bool {
        self.lower.is_finite() && self.upper.is_finite()
    }
}

/// How a solver ended. The bounds that come with it hold whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Termination {
    /// The certified gap meets the tolerance.
    Converged,
    /// No step improves the bounds any more, but the certified gap exceeds the tolerance: transport, no arc of negative reduced
    /// cost is left above rounding; torus, the gap is the floor of this grid (O(h^2) on smooth data).
    Stalled,
    /// The limit of passes, iterations or time was reached first.
    IterationLimit,
    /// The observer asked to stop; bounds are those known by then.
    Cancelled,
    /// No plan avoids the forbidden pairs (infinite costs): the value is `+inf`.
    Infeasible,
    /// Rounding or overflow destroyed the bounds: nothing is reported.
    Failed,
}

impl Termination {
    /// A word or two for reports: `converged`, `stalled`, `iteration limit`, `cancelled`, `infeasible`, `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Stalled => "stalled",
            Self::IterationLimit => "iteration limit",
            Self::Cancelled => "cancelled",
            Self::Infeasible => "infeasible",
            Self::Failed => "failed",
        }
    }
}

/// A value between certified bounds, with the solution that proves them; the solution's fields are reached directly
/// (`certified.plan`).
///
/// After [`Termination::Failed`] and wherever nothing is known yet the bounds are [`Bounds::UNKNOWN`] and the numbers of the
/// solution NaN; its plan is what the solver held, possibly empty.
#[derive(Debug, Clone)]
pub struct Certified<T> {
    /// Certified lower bound.
    pub lower: f64,
    /// Certified upper bound.
    pub upper: f64,
    /// How the solver ended.
    pub termination: Termination,
    /// Wall-clock time, certificate included.
    pub seconds: f64,
    /// The optimisers.
    pub solution: T,
}

impl<T> Certified<T> {
    /// Both bounds.
    pub fn bounds(&self) -> Bounds {
        Bounds { lower: self.lower, upper: self.upper }
    }

    /// `upper - lower`: non-negative up to rounding, `+inf` where nothing is known.
    pub fn gap(&self) -> f64 {
        self.upper - self.lower
    }

    /// Whether the certified gap met the tolerance.
    pub fn is_converged(&self) -> bool {
        self.termination == Termination::Converged
    }

    /// The same certificate for another presentation of the solution.
    pub(crate) fn map<S>(self, present: impl FnOnce(T) -> S) -> Certified<S> {
        let Self { lower, upper, termination, seconds, solution } = self;
        Certified { lower, upper, termination, seconds, solution: present(solution) }
    }
}

impl<T> Deref for Certified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.solution
    }
}

/// Which signs a quantity can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Any,
    /// A divergence or a distance: a lower bound below zero is raised to it.
    NonNegative,
}

/// The gate: `bounds` if they can be reported, else `None`. `rounding` bounds the rounding error of both sums.
pub(crate) fn gate(bounds: Bounds, rounding: f64, sign: Sign) -> Option<Bounds> {
    let Bounds { lower, upper } = bounds;
    // NaN fails every comparison.
    if !(bounds.is_finite() && lower <= upper + rounding) {
        return None;
    }
    match sign {
        Sign::Any => Some(bounds),
        Sign::NonNegative if upper >= -rounding => {
            Some(Bounds { lower: lower.max(0.0), upper: upper.max(0.0) })
        }
        Sign::NonNegative => None,
    }
}

/// [`gate`] for a solver that ended as `termination` says: bounds and status to report.
pub(crate) fn gated(
    bounds: Bounds,
    rounding: f64,
    sign: Sign,
    termination: Termination,
) -> (Bounds, Termination) {
    match (termination, gate(bounds, rounding, sign)) {
        (Termination::Cancelled, passed) => (passed.unwrap_or(Bounds::UNKNOWN), termination),
        (Termination::Infeasible, _) => (Bounds { lower: f64::INFINITY, upper: f64::INFINITY }, termination),
        (_, Some(passed)) => (passed, termination),
        (_, None) => (Bounds::UNKNOWN, Termination::Failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lets_through_what_rounding_explains_and_nothing_else() {
        let pass = |lower, upper, sign| gate(Bounds { lower, upper }, 1e-12, sign);
        assert_eq!(pass(1.0, 1.0 - 1e-13, Sign::Any), Some(Bounds { lower: 1.0, upper: 1.0 - 1e-13 }));
        assert_eq!(pass(-2.0, -1.0, Sign::Any), Some(Bounds { lower: -2.0, upper: -1.0 }));
        assert_eq!(pass(-1e-17, 1e-17, Sign::NonNegative), Some(Bounds { lower: 0.0, upper: 1e-17 }));
        for (lower, upper, sign) in [
            (1.6545, 1.5379, Sign::Any),
            (f64::NAN, 1.0, Sign::Any),
            (0.0, f64::NAN, Sign::NonNegative),
            (0.0, f64::INFINITY, Sign::Any),
            (f64::NEG_INFINITY, 0.0, Sign::Any),
            (-0.7, -0.68, Sign::NonNegative),
        ] {
            assert_eq!(pass(lower, upper, sign), None, "[{lower}, {upper}]");
            let (bounds, ended) = gated(Bounds { lower, upper }, 1e-12, sign, Termination::Converged);
            assert_eq!((bounds, ended), (Bounds::UNKNOWN, Termination::Failed));
        }
    }
}
