//! The two objectives of Algorithm 1 and their exact parameter gradients.
//!
//! Critic \[40,41\]: maximise `mean phi(x_N) - Lambda(phi) - w mean (|grad phi(x^)|^2 - L^2)_+`.
//! Potential \[42\]: minimise `mean phi(x_N) + lambda h sum_k mean |v_k|^2 / 2`.
//!
//! With `a_k = (h/lambda) (grad_x U(x_k, t_k) - p_{k+1})`, held constant, the gradient of \[42\] is
//! `d/dtheta sum_k mean <grad_x U_theta(x_k, t_k), a_k>`, where the costate runs `p_N = grad phi(x_N)`, `p_k = p_{k+1} + Hess_x U(x_k, t_k) a_k`.
//! A piecewise linear potential has `Hess_x U = 0` almost everywhere, so `p_k = grad phi(x_N)` for all k and no unrolling is
//! needed; smooth potentials take the general adjoint.

mod case;
mod critic;
mod potential;
#[cfg(test)]
mod tests;

pub use case::{Case, Penalty};
pub use critic::{CriticEvaluation, CriticPart, critic, critic_part};
pub use potential::{PotentialEvaluation, potential, potential_part};
