//! Linear systems with a symmetric positive definite matrix: LAPACK where it is linked (feature `lapack`), else the textbook
//! Cholesky factorisation, several times slower from about 500 unknowns on.

use ndarray::{Array1, Array2};

/// The solution of `matrix x = right`, read from the lower triangle; `None` when a pivot is not positive.
#[cfg(feature = "lapack")]
pub(crate) fn solve(matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    use ndarray_linalg::{FactorizeC, SolveC, UPLO};
    matrix.factorizec(UPLO::Lower).and_then(|factor| factor.solvec(right)).ok()
}

/// The solution of `matrix x = right`, read from the lower triangle; `None` when a pivot is not positive.
#[cfg(not(feature = "lapack"))]
pub(crate) fn solve(matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    solve_by_cholesky(matrix, right)
}

#[cfg(any(test, not(feature = "lapack")))]
fn solve_by_cholesky(matrix: &Array2<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    let n = right.len();
    let mut factor = Array2::<f64>::zeros((n, n));
    let mut x = right.clone();
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[[i, k]] * factor[[j, k]]).sum();
            let rest = matrix[[i, j]] - known;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                factor[[i, i]] = rest.sqrt();
            } else {
                factor[[i, j]] = rest / factor[[j, j]];
            }
        }
        let known: f64 = (0..i).map(|k| factor[[i, k]] * x[k]).sum();
        x[i] = (x[i] - known) / factor[[i, i]];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|k| factor[[k, i]] * x[k]).sum();
        x[i] = (x[i] - known) / factor[[i, i]];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_solvers_solve_and_refuse_indefinite_matrices() {
        let n = 7;
        let root = Array2::from_shape_fn((n, n), |(i, j)| {
            ((3 * i + 5 * j) % 7) as f64 + f64::from(u8::from(i == j))
        });
        let matrix = root.dot(&root.t()) + Array2::<f64>::eye(n);
        let x = Array1::from_shape_fn(n, |i| i as f64 - 2.5);
        let right = matrix.dot(&x);
        for solved in [solve(&matrix, &right), solve_by_cholesky(&matrix, &right)] {
            // Condition number below 1e4.
            assert!((solved.unwrap() - &x).iter().all(|error| error.abs() < 1e-10));
        }
        let indefinite = &matrix - 1e4;
        assert!(solve(&indefinite, &right).is_none() && solve_by_cholesky(&indefinite, &right).is_none());
    }
}
