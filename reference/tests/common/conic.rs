//! The same problems handed to a generic conic interior-point solver (Clarabel), in dual form: shares no code with ours.
//!
//! ```text
//! max sum_i p_i phi_i - Lambda_q(psi)   subject to   phi_i - psi_j <= c_ij
//! ```
//! Accuracy about 1e-8 relative: Clarabel's own tolerance.

use clarabel::algebra::CscMatrix;
use clarabel::solver::SupportedConeT::{
    ExponentialConeT, NonnegativeConeT, PowerConeT, SecondOrderConeT, ZeroConeT,
};
use clarabel::solver::{DefaultSettingsBuilder, DefaultSolver, IPSolver, SolverStatus, SupportedConeT};
use ndarray::Array2;
use proxflow_reference::DivergenceKind;

/// `sum_k a_k x_k + constant`.
type Affine = (Vec<(usize, f64)>, f64);

#[derive(Default)]
struct Program {
    linear: Vec<f64>,
    quadratic: Vec<f64>,
    rows: Vec<Affine>,
    cones: Vec<SupportedConeT<f64>>,
}

impl Program {
    /// Adds a variable with this coefficient in the minimised objective.
    fn variable(&mut self, linear: f64) -> usize {
        self.linear.push(linear);
        self.quadratic.push(0.0);
        self.linear.len() - 1
    }

    fn require(&mut self, cone: SupportedConeT<f64>, rows: impl IntoIterator<Item = Affine>) {
        self.rows.extend(rows);
        self.cones.push(cone);
    }

    fn minimise(self) -> f64 {
        let n = self.linear.len();
        let (mut row, mut column, mut value) = (vec![], vec![], vec![]);
        for (index, (terms, _)) in self.rows.iter().enumerate() {
            for (k, coefficient) in terms {
                row.push(index);
                column.push(*k);
                value.push(-coefficient);
            }
        }
        let constraints = CscMatrix::new_from_triplets(self.rows.len(), n, row, column, value);
        let constants: Vec<f64> = self.rows.iter().map(|(_, constant)| *constant).collect();
        let charged: Vec<usize> = (0..n).filter(|k| self.quadratic[*k] > 0.0).collect();
        let diagonal = charged.iter().map(|k| self.quadratic[*k]).collect();
        let quadratic = CscMatrix::new_from_triplets(n, n, charged.clone(), charged, diagonal);
        let settings = DefaultSettingsBuilder::default().verbose(false).max_iter(400).build().unwrap();
        let mut solver =
            DefaultSolver::new(&quadratic, &self.linear, &constraints, &constants, &self.cones, settings)
                .unwrap();
        solver.solve();
        assert!(
            matches!(solver.solution.status, SolverStatus::Solved | SolverStatus::AlmostSolved),
            "clarabel: {:?}",
            solver.solution.status
        );
        solver.solution.obj_val
    }
}

/// Variables `phi_i` (in the objective with `-p_i`) and `psi_j` under `phi_i - psi_j <= c_ij`.
fn potentials(cost: &Array2<f64>, p: &[f64]) -> (Program, Vec<usize>) {
    let mut program = Program::default();
    let phi: Vec<usize> = p.iter().map(|p| program.variable(-p)).collect();
    let psi: Vec<usize> = (0..cost.ncols()).map(|_| program.variable(0.0)).collect();
    let rows = cost.indexed_iter().map(|((i, j), c)| (vec![(phi[i], -1.0), (psi[j], 1.0)], *c));
    program.require(NonnegativeConeT(cost.len()), rows);
    (program, psi)
}

/// Value of semi-relaxed transport; all `q_j > 0`.
pub fn semi_relaxed_transport(cost: &Array2<f64>, p: &[f64], q: &[f64], kind: DivergenceKind) -> f64 {
    let (mut program, psi) = potentials(cost, p);
    let nu = program.variable(1.0);
    // The argument of f* for each target: psi_j - nu.
    let argument = |j: usize, factor: f64, constant: f64| (vec![(psi[j], factor), (nu, -factor)], constant);
    let constant = |value: f64| (vec![], value);
    let mut offset = 0.0;
    match kind {
        DivergenceKind::KullbackLeibler => {
            // nu + sum q e^{psi - nu - 1}: the term r_j >= e^{psi_j - nu - 1}.
            for (j, q) in q.iter().enumerate() {
                let r = program.variable(*q);
                program.require(
                    ExponentialConeT(),
                    [argument(j, 1.0, -1.0), constant(1.0), (vec![(r, 1.0)], 0.0)],
                );
            }
        }
        DivergenceKind::ReverseKullbackLeibler => {
            offset = -1.0;
            for (j, q) in q.iter().enumerate() {
                let w = program.variable(-q);
                program.require(
                    ExponentialConeT(),
                    [(vec![(w, 1.0)], 0.0), constant(1.0), argument(j, -1.0, 0.0)],
                );
            }
        }
        DivergenceKind::JensenShannon => {
            for (j, q) in q.iter().enumerate() {
                let (w, u) = (program.variable(-q), program.variable(0.0));
                program.require(
                    ExponentialConeT(),
                    [(vec![(w, 1.0)], 0.0), constant(1.0), (vec![(u, -1.0)], 2.0)],
                );
                program.require(
                    ExponentialConeT(),
                    [argument(j, 1.0, 0.0), constant(1.0), (vec![(u, 1.0)], 0.0)],
                );
            }
        }
        DivergenceKind::SquaredHellinger => {
            offset = -1.0;
            // r (1 - s) >= 1.
            for (j, q) in q.iter().enumerate() {
                let r = program.variable(*q);
                let (mut sum, mut difference) = (argument(j, -1.0, 1.0), argument(j, 1.0, -1.0));
                sum.0.push((r, 1.0));
                difference.0.push((r, 1.0));
                program.require(SecondOrderConeT(3), [sum, difference, constant(2.0)]);
            }
        }
        DivergenceKind::ChiSquared => {
            offset = 0.5;
            for (j, q) in q.iter().enumerate() {
                let positive = program.variable(0.0);
                program.quadratic[positive] = *q;
                let mut above = argument(j, -1.0, 0.0);
                above.0.push((positive, 1.0));
                program.require(NonnegativeConeT(2), [above, (vec![(positive, 1.0)], 0.0)]);
            }
        }
        DivergenceKind::Alpha(a) => {
            offset = 1.0 / (a * (a - 1.0));
            for (j, q) in q.iter().enumerate() {
                let r = program.variable(q / a);
                if a > 1.0 {
                    // r >= y^{a/(a-1)}, y >= (a-1) s.
                    let y = program.variable(0.0);
                    let mut above = argument(j, 1.0 - a, 0.0);
                    above.0.push((y, 1.0));
                    program.require(NonnegativeConeT(1), [above]);
                    program.require(
                        PowerConeT((a - 1.0) / a),
                        [(vec![(r, 1.0)], 0.0), constant(1.0), (vec![(y, 1.0)], 0.0)],
                    );
                } else {
                    // r >= y^{-a/(1-a)}, y = (a-1) s: r^{1-a} y^a >= 1.
                    program.require(
                        PowerConeT(1.0 - a),
                        [(vec![(r, 1.0)], 0.0), argument(j, a - 1.0, 0.0), constant(1.0)],
                    );
                }
            }
        }
    }
    -(program.minimise() + offset)
}

/// Value of balanced transport `min <c, G>` with both marginals fixed.
pub fn balanced_transport(cost: &Array2<f64>, p: &[f64], q: &[f64]) -> f64 {
    let (mut program, psi) = potentials(cost, p);
    for (psi, q) in psi.iter().zip(q) {
        program.linear[*psi] = *q;
    }
    // Fixes the constant.
    program.require(ZeroConeT(1), [(vec![(psi[0], 1.0)], 0.0)]);
    -program.minimise()
}

/// Euclidean distances between the rows of `x` and of `z`.
pub fn distances(x: &Array2<f64>, z: &Array2<f64>) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), z.nrows()), |(i, j)| {
        (&x.row(i) - &z.row(j)).mapv(|difference| difference * difference).sum().sqrt()
    })
}
