//! `certify wasserstein` and `certify transport`: exact transport between two fixed marginals.

use std::ops::RangeInclusive;

use clap::Args;
use ndarray::Ix2;
use proxflow_io::array::{ArrayFile, ArrayPath, read_points};
use proxflow_io::command::Failure;
use proxflow_reference::InvalidInput;
use proxflow_reference::transport::{BalancedTransport, DenseCost, Order, balanced_transport, wasserstein};

use crate::certificate::{Summary, Verdict};
use crate::problem::{Common, file};
use crate::progress::Gauge;

const ORDERS: RangeInclusive<i64> = 1..=2;

#[derive(Args)]
pub struct WassersteinTask {
    /// Source points, (n, d).
    #[arg(long, value_name = "FILE")]
    model: ArrayPath,
    /// Weights of the source points, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<ArrayPath>,
    /// Target points, (m, d).
    #[arg(long, value_name = "FILE")]
    data: ArrayPath,
    /// The order p of W_p.
    #[arg(short = 'p', long = "order", default_value_t = 2, value_name = "1|2", value_parser = clap::value_parser!(i64).range(ORDERS))]
    order: i64,
    #[command(flatten)]
    common: Common,
}

/// W_p between two weighted point sets.
pub fn run_wasserstein(task: &WassersteinTask) -> Result<(), Failure> {
    let common = &task.common;
    let files =
        common.files().input("--model", Some(&task.model.file)).input("--data", Some(&task.data.file));
    files.input("--model-weights", file(&task.model_weights)).check()?;
    let input = common.measures((read_points(&task.model)?, task.model_weights.as_ref()), &task.data)?;
    let order = if task.order == 1 { Order::One } else { Order::Two };
    let progress = Gauge::new("distances and a first plan");
    let observe = progress.observer();
    let found = wasserstein(&input.model, &input.data, order, &common.options().observed_by(&observe))?;
    progress.stage("writing the optimisers");
    write(common, &found.transport, [input.model.len(), input.data.len()])?;
    drop(progress);
    let summary = Summary {
        lower: found.lower,
        upper: found.upper,
        order: Some(task.order),
        cost: Some(found.transport.bounds().into()),
        dimension: Some(input.model.dimension()),
        ..Summary::of(&found, [input.model.len(), input.data.len()], common.rigorous)
    };
    // Squared distances carry rounding of their own size: the tolerance is that of the cost.
    let verdict =
        Verdict { gap: found.transport.gap(), value: found.transport.upper, tolerance: common.tolerance };
    summary.report(&format!("W{}(model, data)", task.order), common.json.as_deref(), &verdict)
}

#[derive(Args)]
pub struct TransportTask {
    /// The costs, (n, m); `inf` forbids a pair.
    #[arg(long, value_name = "FILE")]
    cost: ArrayPath,
    /// Weights of the sources, (n).
    #[arg(long, value_name = "FILE")]
    model_weights: Option<ArrayPath>,
    #[command(flatten)]
    common: Common,
}

/// The cheapest plan for a given cost matrix.
pub fn run_transport(task: &TransportTask) -> Result<(), Failure> {
    let common = &task.common;
    let files = common.files().input("--cost", Some(&task.cost.file));
    files.input("--model-weights", file(&task.model_weights)).check()?;
    common.require_weights(task.model_weights.as_ref())?;
    let cost = read_cost(&task.cost)?;
    let [n, m] = [cost.matrix().nrows(), cost.matrix().ncols()];
    let p = common.shares(task.model_weights.as_ref(), n)?;
    let q = common.shares(common.data_weights.as_ref(), m)?;
    let progress = Gauge::new("a first plan");
    let observe = progress.observer();
    let found = balanced_transport(&cost, &p, &q, &common.options().observed_by(&observe))?;
    progress.stage("writing the optimisers");
    write(common, &found, [n, m])?;
    drop(progress);
    let verdict = Verdict { gap: found.gap(), value: found.upper, tolerance: common.tolerance };
    Summary::of(&found, [n, m], common.rigorous).report(
        "the transport cost",
        common.json.as_deref(),
        &verdict,
    )
}

/// A matrix of finite numbers and `+inf`.
fn read_cost(path: &ArrayPath) -> Result<DenseCost, Failure> {
    let matrix = ArrayFile::open(&path.file)?.read_one(path)?;
    let refused = InvalidInput::new(path, format!("shape {:?}", matrix.shape()), "(n, m) with n, m >= 1");
    let matrix = matrix.into_dimensionality::<Ix2>().map_err(|_| refused.clone())?;
    if matrix.is_empty() {
        return Err(refused.into());
    }
    let named = |error: InvalidInput| InvalidInput { field: format!("{path}: {}", error.field), ..error };
    Ok(DenseCost::with_forbidden(matrix).map_err(named)?)
}

fn write(common: &Common, found: &BalancedTransport, shape: [usize; 2]) -> Result<(), Failure> {
    if !found.bounds().is_finite() {
        return Ok(());
    }
    common.write_potential(&found.source_potential, || found.target_potential.clone())?;
    common.write_plan(found.plan.iter().copied(), shape)
}
