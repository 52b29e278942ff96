"""Golden values for the divergences and proximals, from programs that share no code with this project.

    python3 -m venv venv && venv/bin/pip install POT==0.9.7.post1 cvxpy==1.9.3 clarabel==0.11.1 scipy==1.17.1 numpy==2.4.6
    venv/bin/python validation/golden/divergence.py > validation/golden/divergence.json

POT's network simplex gives W1 and W2^2 (accuracy: rounding). CVXPY with Clarabel solves the PRIMAL of semi-relaxed transport,
min <c, G> + D_f(G^T 1|q) over G >= 0, G 1 = p, written with the atoms of the modelling language (accuracy: about 1e-8). SciPy
minimises nu + E_q f*(psi - nu) for the cumulant and integrates the divergence between two normal densities.
"""

import importlib.metadata
import json
import platform

import cvxpy as cp
import numpy as np
import ot
import scipy.integrate
import scipy.optimize
import scipy.stats

KINDS = ["kl", "reverse-kl", "alpha:0.5", "alpha:1.5", "alpha:3", "chi2", "js", "hellinger"]

F = {
    "kl": lambda x: x * np.log(x),
    "reverse-kl": lambda x: -np.log(x),
    "alpha:0.5": lambda x: (x**0.5 - 1) / (0.5 * -0.5),
    "alpha:1.5": lambda x: (x**1.5 - 1) / (1.5 * 0.5),
    "alpha:3": lambda x: (x**3 - 1) / 6,
    "chi2": lambda x: (x**2 - 1) / 2,
    "js": lambda x: x * np.log(x) - (1 + x) * np.log((1 + x) / 2),
    "hellinger": lambda x: (np.sqrt(x) - 1) ** 2,
}


def divergence_expression(kind, eta, q):
    """D_f(eta|q) as a disciplined convex expression."""
    if kind == "kl":
        return cp.sum(cp.kl_div(eta, q)) + cp.sum(eta) - 1
    if kind == "reverse-kl":
        return -q @ cp.log(cp.multiply(1 / q, eta))
    if kind == "js":
        mean = (eta + q) / 2
        return cp.sum(cp.rel_entr(eta, mean)) + cp.sum(cp.rel_entr(q, mean))
    if kind == "hellinger":
        return 2 - 2 * q @ cp.sqrt(cp.multiply(1 / q, eta))
    order = {"chi2": 2.0}.get(kind) or float(kind.split(":")[1])
    ratio = cp.multiply(1 / q, eta)
    return (q @ cp.power(ratio, order) - 1) / (order * (order - 1))


def semi_relaxed(kind, cost, p, q):
    plan = cp.Variable(cost.shape, nonneg=True)
    eta = cp.sum(plan, axis=0)
    objective = cp.sum(cp.multiply(cost, plan)) + divergence_expression(kind, eta, q)
    problem = cp.Problem(cp.Minimize(objective), [cp.sum(plan, axis=1) == p])
    settings = dict(tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11, max_iter=500)
    problem.solve(solver=cp.CLARABEL, **settings)
    return {
        "value": problem.value,
        "status": problem.status,
        "transport": float(np.sum(cost * plan.value)),
        "intermediate": np.sum(plan.value, axis=0).tolist(),
    }


def cumulant(kind, psi, q):
    """inf over nu of nu + E_q f*(psi - nu), with f* itself as a supremum in closed form of the table."""
    conjugate = {
        "kl": lambda s: np.exp(s - 1),
        "reverse-kl": lambda s: -1 - np.log(-s) if s < 0 else np.inf,
        "alpha:0.5": lambda s: (-0.5 * s) ** -1 / 0.5 - 4 if s < 0 else np.inf,
        "alpha:1.5": lambda s: max(0.5 * s, 0.0) ** 3 / 1.5 + 4 / 3,
        "alpha:3": lambda s: max(2 * s, 0.0) ** 1.5 / 3 + 1 / 6,
        "chi2": lambda s: max(s, 0.0) ** 2 / 2 + 0.5,
        "js": lambda s: -np.log(2 - np.exp(s)) if s < np.log(2) else np.inf,
        "hellinger": lambda s: s / (1 - s) if s < 1 else np.inf,
    }[kind]
    objective = lambda nu: nu + sum(w * conjugate(s - nu) for s, w in zip(psi, q))
    grid = np.linspace(-20, 20, 4001)
    values = [objective(nu) for nu in grid]
    best = int(np.argmin(values))
    bracket = (grid[max(best - 1, 0)], grid[best + 1])
    found = scipy.optimize.minimize_scalar(objective, bounds=bracket, method="bounded", options={"xatol": 1e-12})
    return float(min(found.fun, values[best]))


def normal_divergence(kind, mean1, deviation1, mean2, deviation2):
    p, q = scipy.stats.norm(mean1, deviation1), scipy.stats.norm(mean2, deviation2)
    integrand = lambda x: q.pdf(x) * F[kind](p.pdf(x) / q.pdf(x))
    return scipy.integrate.quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-13, limit=400)[0]


def instance(seed, n, m, d, shift):
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(n, d)) + shift, random.normal(size=(m, d))
    p, q = random.gamma(1.0, size=n), random.gamma(1.0, size=m)
    p, q = p / p.sum(), q / q.sum()
    r = np.sqrt(((x[:, None, :] - z[None, :, :]) ** 2).sum(axis=2))
    distances = {"w1": float(ot.emd2(p, q, r)), "w2_squared": float(ot.emd2(p, q, r**2))}
    regularised, proximals = [], []
    for kind in KINDS:
        for lipschitz in [0.3, 2.0]:
            regularised.append({"f": kind, "lipschitz": lipschitz, **semi_relaxed(kind, lipschitz * r, p, q)})
    for kind in ["kl", "chi2", "js"]:
        for lipschitz, weight, horizon in [(1.0, 1.0, 1.0), (2.0, 0.5, 1.5)]:
            kink = lipschitz * horizon / weight
            cost = np.where(r <= kink, weight * r**2 / (2 * horizon), lipschitz * r - lipschitz**2 * horizon / (2 * weight))
            solved = semi_relaxed(kind, cost, p, q)
            proximals.append({"f": kind, "lipschitz": lipschitz, "lambda": weight, "horizon": horizon, **solved})
    return {
        "x": x.tolist(), "p": p.tolist(), "z": z.tolist(), "q": q.tolist(),
        "distances": distances, "regularised": regularised, "proximals": proximals,
    }


def main():
    random = np.random.default_rng(7)
    psi, q = random.normal(size=6).tolist(), random.dirichlet(np.ones(6)).tolist()
    normal = (0.3, 0.8, -0.2, 1.1)
    document = {
        "script": "validation/golden/divergence.py",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ["POT", "cvxpy", "clarabel", "scipy", "numpy"]},
        "cumulants": {"psi": psi, "q": q, "values": {kind: cumulant(kind, psi, q) for kind in KINDS}},
        "normal": {"parameters": normal, "values": {kind: normal_divergence(kind, *normal) for kind in KINDS}},
        "instances": [instance(11, 8, 6, 2, 0.8), instance(12, 25, 30, 3, 0.5)],
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
