//! How to solve: accuracy, limits, threads, observer. One set of options for every solver of the library.

use std::fmt;

use rayon::ThreadPoolBuilder;

use crate::observer::{Observer, Watch};
use crate::specification::InvalidInput;
use crate::transport::cost::DENSE_COST_BYTES;

/// What becomes of mass of the intermediate measure outside the data, for generators with finite `f'(inf)`.
///
/// For KL, chi^2 and `Alpha(a > 1)` the two agree: such mass costs `+inf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SingularMass {
    /// `eta << Q`: the problem 1.4 as it stands, dual to `sup_phi E_P phi - Lambda_Q(phi)` with `Lambda_Q` reading `phi` on the
    /// data alone, which is what a discriminator is trained on.
    #[default]
    Forbidden,
    /// `eta` may leave mass where the model put it, at the price `f'(inf)` per unit (the recession convention of 1.1), dual to the
    /// same supremum under `phi <= nu + f'(inf)` everywhere. Then `D_f^L <= D_f` holds for singular P as well.
    Priced,
}

/// Options of every solver, built in a chain.
///
/// ```
/// use proxflow_reference::{Options, SingularMass};
/// let options = Options::new().tolerance(1e-9).threads(2).singular(SingularMass::Priced);
/// assert_eq!(options.threads, Some(2));
/// ```
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Stop when the certified gap is at most `tolerance (1 + |value|)`. Balanced transport ignores it and ends at rounding.
    pub tolerance: f64,
    /// Passes over the whole cost before giving up.
    pub maximum_passes: usize,
    /// Arcs per source that are priced between two passes.
    pub shortlist: usize,
    /// Whether mass may stay outside the data.
    pub singular: SingularMass,
    /// Largest cost matrix kept in memory, in bytes; beyond, entries are computed on the fly.
    pub dense_cost_bytes: usize,
    /// Threads to work in: a pool of this size made for the call, `None` for the global one.
    pub threads: Option<usize>,
    /// Whether both bounds are evaluated in outward-rounded arithmetic: see [`crate::rigorous`].
    pub rigorous: bool,
    /// Sees the progress and may stop the solver.
    pub observer: Option<&'a dyn Observer>,
}

impl Default for Options<'_> {
    /// Gap 1e-11 relative to `1 + |value|`: a tenth of what the project promises, far above rounding.
    fn default() -> Self {
        Self {
            tolerance: 1e-11,
            maximum_passes: 10_000,
            shortlist: 16,
            singular: SingularMass::default(),
            dense_cost_bytes: DENSE_COST_BYTES,
            threads: None,
            rigorous: false,
            observer: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("tolerance", &self.tolerance)
            .field("maximum_passes", &self.maximum_passes)
            .field("shortlist", &self.shortlist)
            .field("singular", &self.singular)
            .field("dense_cost_bytes", &self.dense_cost_bytes)
            .field("threads", &self.threads)
            .field("rigorous", &self.rigorous)
            .field("observed", &self.observer.is_some())
            .finish()
    }
}

impl<'a> Options<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stop when the certified gap is at most `tolerance (1 + |value|)`, `tolerance` finite and >= 0.
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }

    /// Passes over the whole cost before giving up, >= 1.
    pub fn maximum_passes(self, maximum_passes: usize) -> Self {
        Self { maximum_passes, ..self }
    }

    /// Whether mass may stay outside the data.
    pub fn singular(self, singular: SingularMass) -> Self {
        Self { singular, ..self }
    }

    /// Largest cost matrix kept in memory, in bytes.
    pub fn dense_cost_bytes(self, dense_cost_bytes: usize) -> Self {
        Self { dense_cost_bytes, ..self }
    }

    /// Work in a pool of `threads` threads (>= 1) made for the call. Being made anew it survives a `fork`.
    pub fn threads(self, threads: usize) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Makes `[lower, upper]` a theorem about the floating-point data, at the cost of one more pass over the costs and 320-bit
    /// arithmetic for each atom: see [`crate::rigorous`].
    pub fn rigorous(self, rigorous: bool) -> Self {
        Self { rigorous, ..self }
    }

    /// Shows the progress to `observer`, which may stop the solver.
    pub fn observed_by(self, observer: &'a dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidInput> {
        if !(self.tolerance.is_finite() && self.tolerance >= 0.0) {
            return Err(InvalidInput::new("tolerance", self.tolerance, "finite and >= 0"));
        }
        if self.maximum_passes == 0 || self.shortlist == 0 {
            return Err(InvalidInput::new("maximum_passes, shortlist", 0, ">= 1"));
        }
        Ok(())
    }

    pub(crate) fn watch(&self) -> Watch<'a> {
        Watch::new(self.observer)
    }

    /// Runs `work` in the pool asked for.
    pub(crate) fn in_pool<R: Send>(&self, work: impl FnOnce() -> R + Send) -> Result<R, InvalidInput> {
        match self.threads {
            None => Ok(work()),
            Some(threads) if (1..=1024).contains(&threads) => {
                let refused = |error| InvalidInput::new("threads", format!("{threads} ({error})"), "fewer");
                Ok(ThreadPoolBuilder::new().num_threads(threads).build().map_err(refused)?.install(work))
            }
            Some(threads) => Err(InvalidInput::new("threads", threads, "1 to 1024")),
        }
    }
}
