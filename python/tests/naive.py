"""Independent twins of the solvers, over SciPy, for small problems."""

import numpy as np
from scipy.optimize import linprog, minimize

GENERATORS = {  # f and f'
    "kl": (lambda x: np.where(x > 0, x * np.log(np.maximum(x, 1e-300)), 0.0), lambda x: np.log(x) + 1),
    "reverse-kl": (lambda x: -np.log(x), lambda x: -1 / x),
    "alpha:0.5": (lambda x: (x**0.5 - 1) / (0.5 * -0.5), lambda x: x**-0.5 / -0.5),
    "alpha:3": (lambda x: (x**3 - 1) / 6, lambda x: x**2 / 2),
    "chi2": (lambda x: (x**2 - 1) / 2, lambda x: x),
    "js": (
        lambda x: x * np.log(x) - (1 + x) * np.log((1 + x) / 2),
        lambda x: np.log(x) - np.log((1 + x) / 2),
    ),
    "hellinger": (lambda x: (np.sqrt(x) - 1) ** 2, lambda x: 1 - 1 / np.sqrt(x)),
}


def distances(x, z):
    return np.sqrt(((x[:, None] - z[None]) ** 2).sum(-1))


def transport(cost, a, b):
    """Balanced transport by SciPy's linear programming (HiGHS)."""
    n, m = cost.shape
    rows = np.kron(np.eye(n), np.ones(m))
    columns = np.kron(np.ones(n), np.eye(m))
    bounds = [(0, 0) if np.isinf(c) else (0, None) for c in cost.ravel()]
    solved = linprog(
        np.where(np.isinf(cost), 0.0, cost).ravel(),
        A_eq=np.vstack([rows, columns]),
        b_eq=np.concatenate([a, b]),
        bounds=bounds,
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    return solved.fun if solved.success else np.inf


def semi_relaxed(cost, a, b, f):
    """Semi-relaxed transport by SciPy's SLSQP on the plan."""
    value, slope = GENERATORS[f]
    n, m = cost.shape

    def objective(plan):
        ratio = np.maximum(plan.reshape(n, m).sum(0) / b, 1e-14)
        gradient = cost + slope(ratio)[None]
        return (cost.ravel() @ plan) + b @ value(ratio), gradient.ravel()

    start = np.outer(a, b).ravel()
    solved = minimize(
        objective,
        start,
        jac=True,
        bounds=[(0, 1)] * (n * m),
        constraints={"type": "eq", "fun": lambda g: g.reshape(n, m).sum(1) - a, "jac": lambda g: np.kron(np.eye(n), np.ones(m))},
        method="SLSQP",
        options={"maxiter": 2000, "ftol": 1e-15},
    )
    return solved.fun


def huber(r, lam, horizon, lipschitz):
    kink = lipschitz * horizon / lam
    return np.where(r <= kink, lam * r**2 / (2 * horizon), lipschitz * (r - kink / 2))


def difference_quotient(function, x, step=1e-6):
    """Central differences of a scalar function of an array."""
    gradient = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        plus, minus = x.copy(), x.copy()
        plus[k] += step
        minus[k] -= step
        gradient[k] = (function(plus) - function(minus)) / (2 * step)
    return gradient
