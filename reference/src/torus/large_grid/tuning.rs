//! Every constant of the large-grid solver that steers work or precision, with its reason.
//!
//! No constant enters a bound: whatever its value, `lower <= J <= upper` holds, and a bad value costs time or width. "Measured"
//! names the figure that set it; a constant without that word was chosen by its reason alone and has not been varied systematically.

// ---- The ladder of levels.

/// Nodes per side below which coarsening stops: a grid of 32^2 costs below a millisecond for each Newton step, and a coarser one
/// no longer shows the supports of the named densities.
pub(super) const COARSEST_SIDE: usize = 32;

/// Newton steps on each coarser grid without the cap: a limit that a start within the discretisation error does not reach.
pub(super) const COARSE_FREE_STEPS: usize = 30;

/// Multiplier steps on each coarser grid: its multipliers start the finer one, which corrects them.
pub(super) const COARSE_ROUNDS: usize = 4;

/// Newton steps between multiplier steps, on certified grids and on coarser ones; fewer where one predicts less than the resolution.
pub(super) const INNER_STEPS: usize = 10;
/// As [`INNER_STEPS`], where the multipliers will change again on the next grid.
pub(super) const COARSE_INNER_STEPS: usize = 4;

/// Where the cap does not act, the bounds are those of the node problem, which the static solver shares, unless those of the
/// continuum meet the gap or are tighter by this factor. Reason: comparability with the static solver; no cost.
pub(super) const NODES_PREFERRED: f64 = 4.0;

// ---- When steps stop: parts of `lambda d h^2 / (12 T)`, what the plan's spread over cells costs, the unit of every gap on a grid.

/// Coarse grid: its error is the discretisation, a tenth of the unit is well below it.
pub(super) const COARSE_FREE_RESOLUTION: f64 = 1e-1;
/// Certified grid: the divergence of the plan sees node-to-node oscillations long after the objective stops seeing them, so
/// steps go on far below the unit; quadratic convergence makes the last orders cheap.
pub(super) const FREE_RESOLUTION: f64 = 1e-7;
/// Where fields of different starts are compared.
pub(super) const SETTLED_FREE_RESOLUTION: f64 = 1e-10;
/// Inside a round of the cap: the multiplier step that follows changes more.
pub(super) const CAPPED_RESOLUTION: f64 = 1e-2;
/// The same where fields are compared.
pub(super) const SETTLED_CAPPED_RESOLUTION: f64 = 1e-6;
/// A step that predicts less than this part of the resolution is not even tried.
pub(super) const LAST_STEP: f64 = 1e-2;
/// No resolution is below this many rounding units of the objective.
pub(super) const ROUNDING_UNITS: f64 = 16.0;

/// A round of the cap counts as idle when it leaves more than this part of the gap.
pub(super) const IDLE: f64 = 0.98;

/// Idle rounds in a row after which the grid is the limit.
pub(super) const IDLE_ROUNDS: usize = 2;
/// The same where fields are compared, which settle long after the gap.
pub(super) const SETTLING_IDLE_ROUNDS: usize = 40;

// ---- Newton's method on one grid.

/// Relative residual of the linear solve: the Newton steps contract by about this near the optimum.
pub(super) const LINEAR_TOLERANCE: f64 = 1e-2;

/// Conjugate-gradient products after which an inexact direction is used as it is. Measured (docs/torus.md, contrast 170): 80 and
/// 160 products made the solve slower.
pub(super) const PRODUCTS: usize = 40;

/// Relative density below which the metric treats the torus as empty: bounds the condition of the scaling by about 30.
pub(super) const FLAT_DENSITY: f64 = 1e-3;

/// Part of the predicted increase that a step must bring (Armijo).
pub(super) const SUFFICIENT_INCREASE: f64 = 1e-4;
/// A shortened step is between these parts of the last one, at the maximum of the parabola through both.
pub(super) const SHORTENED: [f64; 2] = [0.1, 0.5];
/// Shorter steps are not tried: the objective is flat to rounding there.
pub(super) const SHORTEST_STEP: f64 = 1e-8;

/// Up to this many nodes per side the double transform uses all directions; above, the axes alone (the transform in all
/// directions takes a grid of 16 times the nodes, and coarser levels have done it).
pub(super) const FULL_TRANSFORM_SIDE: usize = 64;
/// The grid of that transform is this much finer: nearly every direction of the plane.
pub(super) const FULL_TRANSFORM_REFINEMENT: usize = 4;

// ---- The cap.

/// `beta`, from the problem: stiff against the kinetic part, whose second derivative has the scale `T/lambda`, and so that a flux
/// of order 1 breaks the cap by order `L`.
pub(super) fn penalty(diffusion: f64, lipschitz: f64) -> f64 {
    (10.0 * diffusion).max(1.0 / lipschitz)
}

/// The part of the cap by which slopes may break it before they are projected rather than scaled away: a quarter of the gap
/// asked for, since scaling by `1 - t` costs at most the part `t` of the bound.
pub(super) fn scaled_part(relative_gap: f64) -> f64 {
    (0.25 * relative_gap).clamp(1e-6, 1e-3)
}

// ---- The bounds.

/// Nodes of the fine grid of the lower bound at most: four times finer up to 512^2, twice at 1024^2 (32 MiB for each field).
pub(super) const FINE_NODES: usize = 1 << 22;
/// Candidates for how much finer it is; its error falls with the square.
pub(super) const FINE_REFINEMENTS: [usize; 2] = [4, 2];

/// `M` of the rearrangement along lines: hats of spacing `1/M` leave at most `1/(4 M^2)` of the cost of a common hat noise.
pub(super) const REARRANGEMENT_REFINEMENT: usize = 4;

/// Lengths, in spacings, below which `eta` follows what the flux leaves over; above, the flux is corrected. The best is searched
/// from the last best one.
pub(super) const ABSORPTION: [f64; 7] = [0.0, 1.0, 2.0, 4.0, 8.0, 32.0, f64::INFINITY];
/// Least part of itself that `eta` keeps: it stays positive, and the flux carries the rest.
pub(super) const KEPT: f64 = 0.25;

// ---- The repair of potentials that break the cap.

/// Projections for each node of the grid before scaling.
pub(super) const VISITS: usize = 8;
/// How often the potential is averaged over neighbours before each trial: kinks want few, broad regions at the cap many.
pub(super) const AVERAGES: [usize; 3] = [0, 2, 6];
/// Nodes up to which the Lipschitz envelope is exact; above, levels and near cones stand for it.
pub(super) const EXACT_NODES: usize = 1 << 14;

/// Radii, in spacings, of the full ball and of the spheres that near cones start from. Directions to those on a sphere of radius
/// `R` are `1/R` apart, so that slopes in between can exceed the cap by a part of `1/(8 R^2)`: `3e-5` for `R = 64`.
pub(super) const fn cone_radii(dimension: usize) -> (f64, &'static [f64]) {
    match dimension {
        1 => (1.0, &[]),
        2 => (6.0, &[16.0, 32.0, 64.0]),
        _ => (4.0, &[9.0]),
    }
}
