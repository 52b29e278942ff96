//! `proxflow._proxflow`: the oracle of `proxflow-reference` for Python. Everything a user reads is in `package/proxflow`; here are
//! arrays in, solvers off the interpreter lock, arrays out.
//!
//! Read in this order: `problems` (one function per problem), `solution` and `flow` (what they return), `run` (how a solver
//! runs beside Python), `pool`, `ground`, `error`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use pyo3::prelude::*;

mod error;
mod flow;
mod gap;
mod ground;
mod pool;
mod problems;
mod run;
mod solution;

#[pymodule]
fn _proxflow(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<solution::Solution>()?;
    module.add_class::<flow::Flow>()?;
    module.add_function(wrap_pyfunction!(problems::transport, module)?)?;
    module.add_function(wrap_pyfunction!(problems::wasserstein, module)?)?;
    module.add_function(wrap_pyfunction!(problems::semi_relaxed, module)?)?;
    module.add_function(wrap_pyfunction!(problems::lipschitz_divergence, module)?)?;
    module.add_function(wrap_pyfunction!(problems::combined_proximal, module)?)?;
    module.add_function(wrap_pyfunction!(gap::divergence, module)?)?;
    module.add_function(wrap_pyfunction!(gap::optimality_gap, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
